"""What does the I/O: Kafka, Voucherify, terminals and logs. By file: the mutant's name, the text, what stands there instead, the tests."""

CONTRACT = "tests/integration/test_log_contract.py::TestKafkaLog"
SAFEGUARDS = "tests/integration/test_log_safeguards.py"
CLIENT = "tests/unit/voucherify/test_client.py"
SOURCE = "tests/unit/voucherify/test_source_safeguards.py"
SOCKETS = "tests/integration/test_source_sockets.py"
WATCH = "tests/unit/kafka/test_watch.py"
WATCH_COMMANDS = "tests/integration/test_watch_commands.py"
FUZZ_WATCH = "tests/property/test_fuzz_watch.py"
CUSTOMERS = "tests/unit/test_customers.py"

Row = tuple[str, ...]

ROWS: dict[str, tuple[Row, ...]] = {
    "poller/voucherify/webhook.py": (
        (
            "any signature will do",
            '    if not hmac.compare_digest(signature(secret, body).encode(), given.encode(errors="surrogateescape")):\n        raise Forged\n',
            "    return\n",
            "tests/unit/voucherify/test_webhook.py::test_what_was_changed_or_signed_by_another_is_forged",
            "tests/property/test_fuzz_webhooks.py::test_whatever_is_signed_is_verified_by_its_signature_alone",
        ),
        (
            "blanks in texts are left out too",
            """rb'("(?:[^"\\\\]++|\\\\.)*+"?)|[ \\t\\r\\n]++'""",
            """rb'("")|[ \\t\\r\\n]++'""",
            "tests/unit/voucherify/test_webhook.py::test_only_insignificant_whitespace_is_left_out[blanks in texts]",
        ),
    ),
    "poller/voucherify/inbox.py": (
        (
            "a webhook that comes again is a new one",
            "        if event.id in self._ids:\n",
            "        if event.id == self._ids:\n",
            "tests/unit/voucherify/test_inbox.py::test_one_that_comes_again_brings_nothing_about",
        ),
        (
            "hints at others' customers are kept to ourselves",
            """        if whose == "another's":\n""",
            """        if whose == "nobody":\n""",
            "tests/unit/voucherify/test_inbox.py::test_ours_is_told_of_at_once_anothers_is_forwarded_and_nobodys_is_counted",
        ),
    ),
    "poller/kafka/watch.py": (
        (
            "who vanished from the watch topic while nobody read it stays watched",
            "        yield customer, known.get(customer) if there else None\n",
            "        yield customer, known.get(customer)\n",
            f"{WATCH}::test_who_vanished_while_nobody_read_is_noticed_when_all_is_read_again",
            f"{FUZZ_WATCH}::test_who_reads_all_again_has_what_stands_there_whatever_was_missed",
        ),
        (
            "a record that cannot be used takes its customer out of the watched set",
            "        there = customer in reading.changes or customer in reading.ignored\n",
            "        there = customer in reading.changes\n",
            f"{WATCH}::test_who_has_nothing_left_but_a_record_that_cannot_be_used_stays_as_it_was",
        ),
        (
            "a watch topic in another's place is taken for the same",
            "        if position < offset or not reader.partitions_for_topic(self._tp.topic):\n",
            "        if position is None:\n",
            f"{WATCH_COMMANDS}::test_a_topic_that_is_deleted_changes_nothing_and_who_is_missing_in_its_successor_is_noticed",
        ),
        (
            "a watch topic that was deleted is made anew, empty",
            "create_missing=not self._begun)",
            "create_missing=True)",
            f"{WATCH_COMMANDS}::test_a_topic_that_is_deleted_changes_nothing_and_who_is_missing_in_its_successor_is_noticed",
        ),
        (
            "only a part of the watch topic is taken for all of it",
            "            yield part, False\n",
            "            yield part, True\n",
            f"{WATCH}::test_much_is_told_in_parts_of_which_the_last_is_marked_and_nothing_in_one",
        ),
    ),
    "poller/customers.py": (
        (
            "the swap of a mounted ConfigMap is not noticed",
            "        found = path.stat()\n",
            "        found = path.lstat()\n",
            f"{CUSTOMERS}::test_a_mounted_config_map_is_read_again_when_its_link_is_swapped",
        ),
        (
            "a file that was just written is taken for settled",
            " - found.st_mtime_ns) < SETTLED_NS:\n",
            " - found.st_mtime_ns) < 0:\n",
            f"{CUSTOMERS}::test_what_was_just_written_may_be_written_again_within_the_same_tick_so_it_is_read_again",
        ),
    ),
    "poller/watch_entry.py": (
        (
            "what is misspelt is passed over where it is entered",
            "_decoded(_entered if strict else _read, value)",
            "_decoded(_read, value)",
            "tests/unit/test_watch_entry.py::test_what_is_not_known_is_refused_where_it_is_entered_and_passed_over_where_it_is_read",
        ),
        (
            "an entry's header may stand in for one that every record has",
            "        if _header_name.fullmatch(name) is None:\n",
            "        if not name:\n",
            'tests/unit/test_watch_entry.py::test_what_cannot_be_meant_is_refused_where_it_is_read_too[{"headers":{"ce_x":"1"}}]',
        ),
    ),
    "poller/kafka/log.py": (
        (
            "sends not awaited before the commit",
            "        await wait_for_sends(self._producer, sent)\n        assert all(future.done() for future in sent)\n",
            "",
            f"{SAFEGUARDS}::test_a_send_that_fails_is_noticed_before_the_commit_and_nothing_is_committed",
        ),
        (
            "restore before the producer is started",
            (
                "                await clients.start(producer, self._settings)\n"
                "                restored = await self._restore(partition, topics)\n"
            ),
            (
                "                restored = await self._restore(partition, topics)\n"
                "                await clients.start(producer, self._settings)\n"
            ),
            f"{SAFEGUARDS}::test_nobody_else_can_commit_once_the_restore_begins",
        ),
        (
            "records first, and their checkpoint in another transaction",
            "                await self._transact(records)\n",
            (
                '                await self._transact([one for one in records if one.topic != "checkpoints"] or records)\n'
                '                await self._transact([one for one in records if one.topic == "checkpoints"])\n'
            ),
            f"{CONTRACT}::test_reopened_after_a_failed_append_the_partition_tells_whether_it_was_committed[after]",
        ),
        (
            "the checkpoint first, and its records in another transaction",
            "                await self._transact(records)\n",
            (
                '                await self._transact([one for one in records if one.topic == "checkpoints"])\n'
                '                await self._transact([one for one in records if one.topic != "checkpoints"] or records)\n'
            ),
            f"{CONTRACT}::test_reopened_after_a_failed_append_the_partition_tells_whether_it_was_committed[after]",
        ),
        (
            "a producer is used again after an error",
            "            with anyio.fail_after(APPEND_SECONDS_MAX):\n                await self._transact(records)\n        self._usable = True\n",
            (
                "            try:\n"
                "                with anyio.fail_after(APPEND_SECONDS_MAX):\n"
                "                    await self._transact(records)\n"
                "            except Exception:\n"
                "                await self._producer.abort_transaction()\n"
                "                raise\n"
                "            finally:\n"
                "                self._usable = True\n"
            ),
            f"{SAFEGUARDS}::test_a_producer_that_failed_once_is_not_used_again_though_it_would_work",
        ),
        (
            "a deleted checkpoint topic is begun anew",
            "if found is None and emptied:",
            "if False:",
            f"{CONTRACT}::test_a_deleted_checkpoint_topic_is_not_begun_anew_until_somebody_says_so",
        ),
        (
            "anybody's partition is opened",
            "        check_ownership(found, self._settings.application_id, self._source_url, topics.checkpoint_partitions)\n",
            "",
            f"{CONTRACT}::test_a_partition_of_another_deployment_is_refused",
        ),
    ),
    "poller/kafka/record.py": (
        (
            "the ownership record left out",
            "    records.append(_to_own_partition(OWNERSHIP_KEY, encode_ownership(ownership), to))\n",
            "",
            "tests/unit/kafka/test_record.py::test_a_batch_is_its_activities_its_dead_letters_and_its_checkpoint_and_ownership_comes_last",
            f"{CONTRACT}::test_what_is_restored_is_exactly_what_was_committed_last",
        ),
        (
            "a checkpoint that is not understood is passed over",
            (
                "        return decode_checkpoint(found.value)\n    except (ValueError, TypeError, RecursionError) as error:\n"
                "        raise _not_understood(key, found, error) from error\n"
            ),
            "        return decode_checkpoint(found.value)\n    except (ValueError, TypeError, RecursionError):\n        return Checkpoint(0)\n",
            "tests/unit/kafka/test_record.py::test_a_checkpoint_that_cannot_be_understood_is_refused_by_its_place",
        ),
        (
            "a record that the topic refuses is sent all the same",
            "    if size <= limit:\n        return record\n",
            "    if size <= limit or limit:\n        return record\n",
            "tests/unit/kafka/test_record.py::test_the_largest_activity_that_fits_is_published_and_one_byte_more_is_a_dead_letter",
            f"{CONTRACT}::test_a_record_too_large_for_its_topic_is_a_dead_letter_in_the_same_transaction",
        ),
    ),
    "poller/kafka/clients.py": (
        (
            "a transactional id of its own for each process",
            'transactional_id=f"{settings.application_id}-{partition}",',
            'transactional_id=f"{settings.application_id}-{partition}-{id(settings)}",',
            f"{CONTRACT}::test_a_second_opener_fences_the_first",
        ),
        (
            "a restore reads what was not committed",
            "isolation_level=isolation_level,",
            'isolation_level="read_uncommitted",',
            f"{CONTRACT}::test_a_transaction_that_was_left_open_leaves_nothing",
        ),
    ),
    "poller/kafka/published.py": (
        (
            "what is not committed yet is not waited for",
            "ends = await looking.end_offsets(partitions)",
            "ends = await reader.end_offsets(partitions)",
            "tests/integration/test_rewind.py::test_what_was_written_and_is_not_committed_yet_is_waited_for",
        ),
    ),
    "poller/kafka/workarounds.py": (
        (
            "asking for a topic creates it",
            "super().__init__(topics, allow_auto_topic_creation=False)",
            "super().__init__(topics, allow_auto_topic_creation=True)",
            "tests/unit/kafka/test_workarounds.py::test_aiokafka_would_let_brokers_create_what_it_asks_for_and_does_not_once_it_is_told",
            "tests/integration/test_deleted_topics.py::test_asking_for_a_topic_that_was_deleted_does_not_bring_it_back",
        ),
        (
            "an emptied abort marker ends every restore",
            "            if type(error) is not KafkaError:\n                raise  # a corrupt record is a kind of KafkaError too\n            return False\n",
            "            raise error\n",
            "tests/unit/kafka/test_workarounds.py::test_an_emptied_abort_marker_is_passed_over",
        ),
        (
            "an expelled member claims what it had",
            "        assignor.member_assignment = None\n",
            "        pass\n",
            "tests/unit/kafka/test_workarounds.py::test_each_consumer_remembers_its_own_assignment_and_forgets_it_when_told",
        ),
    ),
    "poller/voucherify/client.py": (
        (
            "redirects are followed",
            "send(request, stream=True, follow_redirects=False)",
            "send(request, stream=True, follow_redirects=True)",
            f"{CLIENT}::test_a_redirect_is_not_followed",
            f"{SOCKETS}::test_a_redirect_to_another_host_gets_no_credentials_nor_a_call",
        ),
        (
            "cookies are kept",
            "        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),\n",
            "",
            f"{SOURCE}::test_an_api_that_sets_ever_new_cookies_fills_no_jar",
        ),
        (
            "proxies of the environment are used",
            (
                "        transport=_transport(settings) if transport is None else transport,\n"
                "        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),\n        trust_env=False,\n"
            ),
            "        transport=transport,\n        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),\n        trust_env=True,\n",
            f"{SOCKETS}::test_proxies_of_the_environment_are_not_used",
        ),
        (
            "any certificate is trusted",
            "return httpx.create_ssl_context(trust_env=False)",
            "return httpx.create_ssl_context(verify=False, trust_env=False)",
            f"{SOCKETS}::test_a_server_that_nobody_vouches_for_gets_no_credentials",
        ),
        (
            "an error quotes what was sent",
            "text: Any = None if isinstance(error, httpx.LocalProtocolError) else clean(",
            "text: Any = clean(",
            f"{CLIENT}::test_an_error_that_quotes_what_was_sent_is_not_passed_on",
        ),
        (
            "an error quotes the token",
            "without_token(await error_body_of(answer), request)",
            "await error_body_of(answer)",
            "tests/unit/voucherify/test_oauth.py::test_what_an_api_quotes_of_the_token_is_not_passed_on",
        ),
        (
            "a call takes as long as it takes",
            "with anyio.fail_after(self._timeout_seconds):",
            "with anyio.fail_after(self._timeout_seconds * 10):",
            f"{SOCKETS}::test_a_body_that_drips_ends_with_the_whole_calls_time",
        ),
    ),
    "poller/voucherify/body.py": (
        (
            "no limit on what is received",
            '            raise TooLarge(f"more than {self._bytes_max} bytes")\n        if chunk:',
            "            pass\n        if chunk:",
            "tests/unit/voucherify/test_body.py::test_exactly_the_limit_may_be_and_not_one_byte_more",
        ),
        (
            "no limit on what is inflated",
            "            inflated = self._zlib.decompress(chunk, self._left + 1)\n",
            "            inflated = self._zlib.decompress(chunk)\n",
            "tests/unit/voucherify/test_body.py::test_a_bomb_takes_no_more_memory_than_the_limit_allows",
        ),
        (
            "an inflated body may be of any size",
            '            raise TooLarge("inflated")\n',
            "            self._left = 1 << 30\n",
            f"{SOURCE}::test_a_body_that_inflates_beyond_its_limit_is_too_large_and_nothing_else",
        ),
    ),
    "poller/voucherify/route.py": (
        (
            "an id is not percent-encoded",
            'return quote(text, safe="")',
            "return text",
            "tests/unit/voucherify/test_route.py::test_every_id_stays_one_segment_and_one_parameter",
            f"{SOCKETS}::test_an_id_arrives_as_one_segment_byte_for_byte",
        ),
        (
            "a slash is left in an id",
            'return quote(text, safe="")',
            "return quote(text)",
            f"{SOURCE}::test_an_id_that_would_lead_elsewhere_stays_one_segment",
        ),
    ),
    "poller/customer_id.py": (
        (
            "an id of dots is asked for",
            'if id in (".", ".."):',
            "if False:",
            "tests/unit/test_customer_id.py::test_an_id_that_a_path_cannot_carry_is_refused_with_the_reason",
            "tests/unit/voucherify/test_route.py::test_an_id_that_a_path_cannot_carry_is_rejected",
        ),
        (
            "an id may hold control characters",
            'if "Cc" in categories:',
            "if False:",
            "tests/unit/test_customer_id.py::test_an_id_that_a_path_cannot_carry_is_refused_with_the_reason",
        ),
    ),
    "poller/voucherify/headers.py": (
        (
            "what the API says is logged as it is",
            '"".join(character if character.isprintable() else " " for character in text[: characters_max + 1]).strip()',
            "text",
            "tests/unit/voucherify/test_headers.py::test_text_of_the_other_side_is_one_short_line",
            "tests/unit/voucherify/test_failures.py::test_an_explanation_is_short_and_on_one_line",
        ),
    ),
    "poller/voucherify/auth.py": (
        (
            "a credential that no header can carry is sent",
            "return CREDENTIAL.fullmatch(text) is not None",
            "return True",
            "tests/unit/voucherify/test_auth.py::test_a_credential_that_no_header_can_carry_is_refused_and_not_shown",
        ),
    ),
    "poller/voucherify/wire.py": (
        (
            "what is nested too deeply makes the page undecodable",
            '    except RecursionError:\n        return ([] if text[at] == "[" else {}), _end_of_nested(text, at)\n',
            "",
            "tests/unit/voucherify/test_wire.py::test_what_is_no_activity_is_a_dead_letter_in_its_place",
        ),
        (
            "a crowd of values is decoded",
            'if body.count(b",") > BODY_COMMAS_MAX or body.count(b"[") + body.count(b"{") > BODY_BRACKETS_MAX:',
            "if False:",
            "tests/unit/voucherify/test_wire.py::test_what_is_no_page_is_undecodable_with_a_short_reason",
        ),
    ),
    "poller/secret.py": (
        (
            "a secret shows itself",
            'return "<secret>"',
            "return self._value",
            "tests/unit/test_config.py::test_a_secret_shows_itself_to_nobody_but_who_asks",
            "tests/unit/test_config.py::test_no_secret_stands_in_the_settings_their_report_or_an_error",
        ),
    ),
    "poller/config.py": (
        (
            "a fault of a secret quotes it",
            'shown = "" if (one.secret or one.meta.private) else f"',
            'shown = f"',
            "tests/unit/test_config.py::test_no_secret_stands_in_the_settings_their_report_or_an_error",
        ),
    ),
    "poller/log_output.py": (
        (
            "no redaction in logs",
            'text = text.replace(form, "<secret>")',
            "text = str(text)",
            "tests/unit/test_log_output.py::test_no_secret_is_ever_logged",
        ),
        (
            "a log line commands the terminal",
            "return {key: printable_lines(value) if isinstance(value, str) else value for key, value in event.items()}",
            "return event",
            "tests/unit/test_log_output.py::test_control_characters_of_others_never_reach_a_terminal",
        ),
        (
            "libraries are heard below warnings",
            "        logging.getLogger(library).setLevel(max(ours, logging.WARNING))\n",
            "        logging.getLogger(library).setLevel(ours)\n",
            "tests/unit/test_log_output.py::test_libraries_are_routed_into_the_same_stream_from_warnings_on",
        ),
    ),
    "poller/counts.py": (
        (
            "a backfill counts as stale",
            "return batch.new if began_ms is None else _since(batch.new, began_ms)",
            "return batch.new",
            "tests/unit/test_counts.py::test_of_a_first_read_only_what_was_created_since_it_began_is_a_matter_of_freshness",
        ),
        (
            "every type of activity is a series of its own",
            "type if type in DOCUMENTED else OTHER_TYPE, by=count",
            "type, by=count",
            "tests/unit/test_counts.py::test_a_commit_counts_its_activities_by_type_and_of_types_that_are_not_documented_together",
        ),
        (
            "a call that went into a token counts as a read",
            'self._called("token" if isinstance(error, OF_TOKENS) else purpose, call, now)',
            "self._called(purpose, call, now)",
            "tests/unit/test_counts.py::test_a_call_that_went_into_a_token_is_no_read_but_none_was_made_where_no_token_is_given",
        ),
    ),
    "poller/admin/exposition.py": (
        (
            "a quota of which nothing is known shows as used up",
            'yield ("poller_quota_calls_remaining",), overview.quota_remaining',
            'yield ("poller_quota_calls_remaining",), overview.quota_remaining or 0',
            "tests/unit/admin/test_exposition.py::test_what_is_not_known_is_absent_and_not_zero",
        ),
        (
            "staleness stands still while nobody looks",
            "None if read_at is None else max(0.0, now - read_at)",
            "None if read_at is None else max(0.0, surveyed.at - read_at)",
            "tests/unit/admin/test_exposition.py::test_staleness_ages_while_nobody_looks_again",
        ),
    ),
    "poller/commands/tail_lines.py": (
        (
            "tail prints control characters",
            'return printable(head), f"{record.partition}@{record.offset}", printable(preview)',
            'return head, f"{record.partition}@{record.offset}", preview',
            "tests/unit/test_terminal.py::test_a_readable_line_commands_nothing_and_is_short",
        ),
        (
            "tail prints control characters as JSON",
            "return json_escaped(line.decode()).encode() if for_terminal else line",
            "return line",
            "tests/unit/test_terminal.py::test_a_json_line_on_a_terminal_commands_nothing_and_means_the_same",
        ),
    ),
    "poller/commands/output.py": (
        (
            "a table prints control characters",
            "safe = [[printable(cell) for cell in line] for line in lines]",
            "safe = [list(line) for line in lines]",
            "tests/unit/commands/test_output.py::test_no_cell_of_a_table_commands_a_terminal",
        ),
    ),
    "poller/cli.py": (
        (
            "an error prints control characters",
            "print(printable_lines(str(error)), file=sys.stderr)",
            "print(str(error), file=sys.stderr)",
            "tests/unit/commands/test_output.py::test_no_error_commands_a_terminal",
        ),
        (
            "a run that is told to stop before it has begun is killed, or, as process 1, is not",
            '    signal.signal(signal.SIGTERM, partial(_terminated, OK if given[:1] == ["run"] else TERMINATED))\n',
            "",
            "tests/unit/test_cli.py::test_a_command_that_is_told_to_stop_before_it_has_begun_ends_by_itself",
        ),
    ),
    "poller/admin/http.py": (
        (
            "the admin server takes a head without end",
            "        h11_max_incomplete_event_size=REQUEST_HEAD_BYTES_MAX,\n",
            "        h11_max_incomplete_event_size=1 << 30,\n",
            "tests/unit/admin/test_http.py::test_a_request_head_without_end_is_cut_off",
        ),
    ),
    "poller/operations.py": (
        (
            "a probe shows what the log hides",
            "        return ready, self._voice.scrubbed(reason)\n",
            "        return ready, reason\n",
            "tests/unit/test_operations.py::test_what_the_api_quotes_of_us_is_shown_to_nobody",
        ),
    ),
    "poller/voucherify/oauth.py": (
        (
            "calls that have waited for a token are made late, all at once",
            "                if self._clock() - began > WAITED_SECONDS_MAX:\n",
            "                if self._clock() < began:\n",
            "tests/unit/voucherify/test_oauth.py::test_a_call_that_has_waited_long_for_a_token_is_asked_for_again_and_not_made_late",
        ),
    ),
    "poller/admin/guard.py": (
        (
            "the admin server answers whoever made a browser take our address for its own",
            "if over_loopback(scope) and not names_this_machine(host):",
            "if False:",
            "tests/unit/admin/test_guard.py::test_a_page_that_gave_its_own_name_to_our_address_learns_nothing",
        ),
        (
            "a browser may lend the admin server's answers to others",
            "                    headers.setdefault(name, value)\n",
            "                    headers.setdefault('x-none', value)\n",
            "tests/unit/admin/test_guard.py::test_every_answer_bears_the_headers_refusals_and_the_stream_too",
        ),
    ),
    "poller/admin/orders.py": (
        (
            "any token will do",
            'if scheme.lower() != "bearer" or not known:',
            'if scheme.lower() != "bearer":',
            "tests/unit/admin/test_orders.py::test_without_the_token_nothing_is_done_and_that_is_told",
        ),
        (
            "without a token set there are orders all the same",
            "            raise HTTPException(404)\n",
            "            return\n",
            "tests/unit/admin/test_orders.py::test_without_the_setting_there_are_no_orders",
        ),
    ),
    "poller/admin/events.py": (
        (
            "a stream holds up the end of the process",
            "            tasks.start_soon(ends_with, self._ending.wait)\n",
            "",
            "tests/unit/admin/test_events.py::test_it_ends_with_the_process_at_once_and_quietly",
        ),
        (
            "a listener who left makes no room",
            "                self._under_way -= 1\n",
            "                pass\n",
            "tests/unit/admin/test_events.py::test_only_so_many_listen_and_who_left_makes_room",
        ),
    ),
    "poller/admin/body.py": (
        (
            "a body may be of any length",
            "                if length > bytes_max:\n",
            "                if length < 0:\n",
            "tests/unit/admin/test_orders.py::test_a_body_that_is_too_large_is_refused",
        ),
    ),
}
