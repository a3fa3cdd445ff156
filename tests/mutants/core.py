"""What decides: the core, and the worker that carries it out. By file: the mutant's name, the text, what stands there instead, the tests."""

UNIT = "tests/unit/core"
PAIRWISE = "tests/simulation/test_readings_pairwise.py::test_whatever_two_readings_meet_nothing_is_published_twice_or_lost_in_silence"
READINGS = "tests/property/test_mutants.py::test_a_reading_judge_finds_the_mutant_that_has"
TROUBLE = "tests/property/test_mutants.py::test_a_group_in_trouble_finds_the_mutant_in_which"
WHATEVER_FAILS = (
    "tests/property/test_engine.py::"
    "test_whatever_fails_nothing_is_published_twice_or_lost_and_no_call_is_made_beyond_the_budget_or_the_lease"
)
WINDOWS = "tests/property/test_budget.py::test_no_window_holds_more_calls_than_the_limit_whatever_happens_to_its_owners"
CYCLES = "tests/property/test_budget.py::test_no_cycle_holds_more_calls_than_its_cap_whatever_happens_to_its_owners"
REPLAYS = "tests/simulation/test_replays.py"
REWATCHED = "tests/simulation/test_watched.py::test_whoever_comes_and_goes_has_each_activity_published_once"
LISTED = "tests/property/test_listing.py::test_everybody_is_found_or_a_gap_is_told_and_it_ends"
SIMULATION = "tests/simulation/test_mutants.py::test_the_same_plans_without_a_mutant_satisfy_every_judge"

Row = tuple[str, ...]

ROWS: dict[str, tuple[Row, ...]] = {
    "poller/core/survey.py": (
        (
            "a survey leaves out who failed",
            '("read", "more_pages", "failing")',
            '("read", "more_pages")',
            "tests/property/test_survey.py::test_a_survey_is_the_plain_count_of_all_whom_nothing_happens_to_meanwhile",
        ),
    ),
    "poller/core/listing.py": (
        (
            "the listing goes on before what it found is written",
            "        new = sum(",
            "        self._owned[call.partition].listing = listing\n        new = sum(",
            f"{UNIT}/test_listing.py::test_the_position_moves_once_it_is_written_and_rides_with_the_commit",
        ),
        (
            "who is shown late is not looked for",
            "min(listing.newest_ms - 1, listing.look_ms - lookback_ms)",
            "listing.newest_ms - 1",
            f"{UNIT}/test_listing.py::test_the_next_look_begins_a_lookback_before_the_last_one_began_or_at_the_newest",
            LISTED,
        ),
        (
            "the next page begins after the newest",
            "after_ms=newest_ms - 1, ended=False",
            "after_ms=newest_ms, ended=False",
            f"{UNIT}/test_listing.py::test_the_next_page_begins_just_before_the_newest_that_was_shown",
            LISTED,
        ),
    ),
    "poller/core/cursor.py": (
        (
            "the time of the last request",
            "    if fetch.walk.calls > 0 or page.server_time is None:\n        return fetch.walk\n    return msgspec.structs.replace(fetch.walk, server_time=",
            (
                "    if page.server_time is None:\n        return msgspec.structs.replace(fetch.walk, sent=fetch.at)\n"
                "    return msgspec.structs.replace(fetch.walk, sent=fetch.at, server_time="
            ),
            f"{UNIT}/test_engine.py::test_a_read_of_several_pages_began_with_its_first_request",
            f"{READINGS}[the time of the last request]",
        ),
        (
            "no lookback",
            "reach_ms = server_ms - lookback_ms",
            "reach_ms = server_ms",
            f"{UNIT}/test_cursor.py::test_the_cursor_moves_with_the_servers_time_up_to_what_was_shown_and_never_back",
            f"{READINGS}[no lookback]",
            SIMULATION,
        ),
        (
            "the cursor moves back",
            "return max(cursor_ms, reach_ms if shown_to_ms is None else min(reach_ms, shown_to_ms))",
            "return reach_ms if shown_to_ms is None else min(reach_ms, shown_to_ms)",
            f"{UNIT}/test_cursor.py::test_the_cursor_moves_with_the_servers_time_up_to_what_was_shown_and_never_back",
        ),
        (
            "the cursor passes what was shown",
            "return max(cursor_ms, reach_ms if shown_to_ms is None else min(reach_ms, shown_to_ms))",
            "return max(cursor_ms, reach_ms)",
            f"{UNIT}/test_cursor.py::test_the_cursor_moves_with_the_servers_time_up_to_what_was_shown_and_never_back",
            "tests/property/test_readings.py::test_whatever_the_api_means_nothing_is_published_twice_or_lost_in_silence[past and present]",
        ),
        (
            "the Date header alone",
            "return math.floor(min([*known, walk.sent]) * 1000) if known else None",
            "return None if walk.server_time is None else math.floor(walk.server_time * 1000)",
            f"{UNIT}/test_cursor.py::test_the_time_of_a_read_is_the_smallest_estimate_of_its_first_request",
            f"{READINGS}[the Date header alone]",
        ),
        (
            "a commit that Kafka lost goes unnoticed",
            "return forgotten or is_ms < was_ms",
            "return False",
            f"{UNIT}/test_cursor.py::test_a_checkpoint_went_back_if_it_says_less_than_one_that_was_committed",
        ),
    ),
    "poller/core/lifecycle.py": (
        (
            "who was deleted is retired before the last of it is in",
            "elif complete_at is not None and cursor_ms >= deleted_ms + lookback_ms:",
            "elif complete_at is not None:",
            f"{UNIT}/test_lifecycle.py::test_it_is_read_as_all_others_until_its_last_activities_are_in",
        ),
        (
            "a clock that is ahead removes checkpoints",
            'return (None, "kept long enough") if clocks.earliest - since >= retention_seconds else None',
            'return (None, "kept long enough") if clocks.latest - since >= retention_seconds else None',
            f"{UNIT}/test_lifecycle.py::test_a_clock_that_is_ahead_removes_nothing",
        ),
        (
            "a checkpoint is removed though its customer is watched again",
            "if batch.why in NOT_OF_A_READ]",
            "if False]",
            f"{UNIT}/test_lifecycle.py::test_a_mark_or_removal_that_has_not_begun_to_be_committed_is_dropped_where_somebody_watches_the_customer_again",
        ),
        (
            "a call that is under way brings a forgotten customer back",
            "            self._in_flight[customer_id] = replace(fetch, base=NO_CHECKPOINT)\n",
            "            pass\n",
            f"{UNIT}/test_lifecycle.py::test_a_call_that_is_under_way_comes_to_nothing",
        ),
    ),
    "poller/core/dedupe.py": (
        (
            "recent ids forgotten",
            "kept = {key: at_ms for key, at_ms in recent.items() if at_ms >= cursor_ms}",
            "kept: dict[str, int] = {}",
            f"{UNIT}/test_engine.py::test_what_was_published_is_not_published_again",
            f"{READINGS}[no recent ids]",
            SIMULATION,
        ),
        (
            "ids dropped without moving the cursor",
            "cursor_ms = newest_first[count][1] + 1",
            "cursor_ms += 0",
            f"{UNIT}/test_dedupe.py::test_beyond_the_bound_the_oldest_ids_are_dropped_and_the_cursor_moves_above_them",
            "tests/property/test_dedupe.py::test_no_id_at_or_after_the_cursor_is_forgotten_and_what_is_kept_is_bounded",
        ),
        (
            "no cursor filter",
            "if created_at_ms < cursor_ms:",
            "if created_at_ms < 0:",
            f"{UNIT}/test_dedupe.py::test_what_was_created_at_the_cursor_is_published_and_what_was_created_before_is_not",
            f"{READINGS}[no cursor filter]",
        ),
        (
            "no dedupe inside a page",
            "if key in remembered:",
            "if key in recent:",
            f"{UNIT}/test_dedupe.py::test_an_id_that_stands_twice_on_a_page_is_published_once",
            f"{READINGS}[no dedupe inside a page]",
        ),
        (
            "an id that is dated anew is forgotten by its first date",
            "            remembered[key] = max(remembered[key], created_at_ms)\n",
            "            pass\n",
            f"{UNIT}/test_dedupe.py::test_a_recent_id_is_remembered_by_the_latest_of_its_instants_and_not_published_again",
        ),
    ),
    "poller/core/hints.py": (
        (
            "hints that find nothing cost nothing",
            "        self._credit -= spends\n",
            "",
            f"{UNIT}/test_hints.py::test_hints_that_bring_nothing_soon_have_no_credit_left_but_a_small_share_of_all_calls",
            "tests/simulation/test_webhooks.py::test_hints_that_are_all_wrong_cost_at_most_a_twentieth",
        ),
        (
            "hints that are right earn nothing",
            "            self._credit = min(self._credit + USEFUL_CALLS, CREDIT_MAX)\n",
            "",
            f"{UNIT}/test_hints.py::test_hints_that_are_right_are_all_followed",
        ),
        (
            "what is known is read again",
            "if is_known(customer.checkpoint, happened_ms, self._lookback_ms):",
            "if happened_ms is None:",
            f"{UNIT}/test_hints.py::test_a_known_hint_takes_nothing",
        ),
        (
            "what is shown late is not looked for again",
            "        return now + AGAIN_SECONDS\n",
            "        return None\n",
            f"{UNIT}/test_hints.py::test_what_was_not_shown_yet_is_looked_for_once_more_after_a_moment",
        ),
    ),
    "poller/core/shares.py": (
        (
            "calls of a newer cycle are taken",
            '(said.cycle or "") > (share.cycle or "")',
            "False",
            f"{UNIT}/test_shares.py::test_what_is_given_in_a_newer_cycle_waits_until_we_are_in_it",
        ),
        (
            "calls of an older cycle are taken",
            "if said.cycle is None or said.cycle != share.cycle:",
            "if said.cycle is None:",
            f"{UNIT}/test_shares.py::test_of_what_was_given_in_an_older_cycle_the_calls_are_gone",
        ),
        (
            "what was given is kept",
            "return self._equal_parts - sum(share.given.values())",
            "return self._equal_parts",
            "tests/property/test_shares.py::test_no_window_holds_more_calls_than_the_limit_while_shares_change_hands",
        ),
        (
            "a gift is taken each time it is heard of",
            "taken={**share.taken, giver: given}",
            "taken={**share.taken, giver: taken + given}",
            "tests/property/test_shares.py::test_no_window_holds_more_calls_than_the_limit_while_shares_change_hands",
        ),
        (
            "what is left of the cycle stays with the giver, too",
            "- sum(share.cycle_given.values())",
            "- 0 * sum(share.cycle_given.values())",
            f"{UNIT}/test_shares.py::test_calls_that_are_left_in_the_cycle_go_along",
        ),
        (
            "the part in a cycle follows what is given in it",
            "cycle_parts = parts if share.cycle is None else share.cycle_parts",
            "cycle_parts = parts",
            f"{UNIT}/test_shares.py::test_calls_that_are_left_in_the_cycle_go_along",
        ),
    ),
    "poller/core/walk.py": (
        ("short is less than 100", "PAGE_ACTIVITIES_SHORT = 5", "PAGE_ACTIVITIES_SHORT = 100", f"{READINGS}[short is less than 100]"),
        (
            "any short page ends the read",
            "if not full and (joined or walk.way in PROVEN_BY_DATE):",
            "if not full:",
            f"{UNIT}/test_walk.py::test_a_short_page_by_another_way_ends_the_read_only_if_it_is_joined",
            f"{READINGS}[any short page ends]",
        ),
        (
            "unjoined pages are trusted",
            "joined = _joined(walk, shown)",
            "joined = True",
            f"{UNIT}/test_walk.py::test_a_full_page_that_is_not_joined_is_not_trusted",
            f"{READINGS}[unjoined pages are trusted]",
        ),
        (
            "a gap is not counted",
            "way=Way.PAST_LOW, gap=True, stepped_ms=walk.low_ms)",
            "way=Way.PAST_LOW, stepped_ms=walk.low_ms)",
            f"{UNIT}/test_walk.py::test_the_ways_are_tried_in_turn_and_the_last_counts_a_gap",
            f"{READINGS}[gaps are not counted]",
        ),
        (
            "no id cursor",
            "if walk.way < Way.AFTER_ID and len(walk.page_ids) >= 2:",
            "if False:",
            f"{UNIT}/test_walk.py::test_the_ways_are_tried_in_turn_and_the_last_counts_a_gap",
            f"{READINGS}[no id cursor]",
        ),
        (
            "no millisecond before the cursor",
            "return Query(start_date_ms=walk.low_ms - 1 if",
            "return Query(start_date_ms=walk.low_ms if",
            f"{UNIT}/test_walk.py::test_each_way_asks_in_its_own_words",
            f"{READINGS}[no millisecond before the cursor]",
        ),
        (
            "a short page proves the end",
            "return End(shown_to_ms=max(shown.instants_ms) if capped else None,",
            "return End(shown_to_ms=None,",
            f"{UNIT}/test_walk.py::test_a_short_page_that_a_smaller_cap_may_have_cut_ends_the_read_but_holds_the_cursor",
            f"{READINGS}[a short page proves the end]",
        ),
        (
            "a page that may be cut ends the read though the cursor stays",
            "return shown.length >= PAGE_ACTIVITIES_SHORT and bool(shown.instants_ms) and",
            "return False and",
            f"{UNIT}/test_walk.py::test_a_short_page_that_would_leave_the_cursor_where_it_is_does_not_end_the_read",
        ),
        (
            "a late tie breaks the id cursor",
            "return fresh and tuple(",
            "return not late and tuple(",
            f"{UNIT}/test_walk.py::test_what_is_shown_late_among_the_ties_may_stand_before_the_last_id",
            f"{PAIRWISE}[page=(100, 7) tie=101 tie_at=95.0 late=True struck=restarted]",
        ),
        (
            "anything before the last id is trusted",
            "return fresh and tuple(",
            "return tuple(",
            f"{UNIT}/test_walk.py::test_a_page_that_does_not_show_again_what_it_should_is_not_trusted",
        ),
        (
            "a page of one instant proves a direction",
            "return all(a <= b for a, b in",
            "return all(a < b for a, b in",
            f"{UNIT}/test_walk.py::test_a_page_of_one_instant_proves_no_direction",
            f"{READINGS}[a page of one instant proves a direction]",
        ),
        (
            "a read without end",
            "if walk.calls >= CALLS_MAX:",
            "if False:",
            f"{UNIT}/test_walk.py::test_a_read_of_very_many_calls_that_got_stuck_ends_where_it_is",
        ),
    ),
    "poller/core/budget.py": (
        (
            "the grant is not set aside in the bucket",
            "ledger = Ledger(level=budget.level - grant,",
            "ledger = Ledger(level=budget.level,",
            f"{UNIT}/test_budget.py::test_a_commit_carries_the_ledger_as_if_all_that_it_grants_were_spent",
            WINDOWS,
        ),
        (
            "the grant is not set aside in the cycle",
            "cycle_spent=budget.cycle_spent + grant * self._counts())",
            "cycle_spent=budget.cycle_spent)",
            CYCLES,
        ),
        (
            "the bucket is full where nothing is known",
            "ledger = Ledger(level=0.0)",
            "ledger = Ledger(level=terms.capacity)",
            f"{UNIT}/test_budget.py::test_a_bucket_without_a_ledger_starts_empty",
        ),
        (
            "the bucket is full at a restart",
            "level=min(ledger.level, terms.capacity), at=now",
            "level=terms.capacity, at=now",
            f"{UNIT}/test_budget.py::test_a_bucket_goes_on_from_its_ledger_and_is_not_refilled_for_the_time_in_between",
            f"{TROUBLE}[the bucket is full at a restart]",
            WINDOWS,
        ),
        (
            "the cycle is forgotten at a restart",
            "cycle=ledger.cycle, cycle_spent=ledger.cycle_spent)",
            "cycle=ledger.cycle)",
            f"{TROUBLE}[the cycle is forgotten at a restart]",
            CYCLES,
            "tests/simulation/test_mutants.py::test_restarts_do_not_spend_a_cycle_twice",
        ),
        (
            "calls without a grant",
            "return self._level_reaches(1.0, now) if self.allowance >= 1 else math.inf",
            "return self._level_reaches(1.0, now)",
            f"{UNIT}/test_budget.py::test_no_call_may_start_before_a_commit_grants_it",
            f"{UNIT}/test_engine.py::test_no_call_is_made_without_a_commit_that_grants_it",
        ),
        (
            "a grant of the old cycle stands in the new one",
            "return msgspec.structs.replace(self, allowance=0, pending=pending, cycle=begun, cycle_spent=0)",
            "return msgspec.structs.replace(self, pending=pending, cycle=begun, cycle_spent=0)",
            f"{UNIT}/test_budget.py::test_what_was_granted_in_the_old_cycle_is_void_in_the_new_one",
        ),
        (
            "the bucket refills at the limit itself",
            "calls_per_second = (limit + 1 - (capacity + LEVEL_ROUNDING) * partitions) / (window_seconds + ARRIVAL_SECONDS)",
            "calls_per_second = limit / window_seconds",
            f"{UNIT}/test_budget.py::test_the_buckets_of_all_partitions_hold_and_refill_less_than_one_call_more_than_the_limit",
            "tests/property/test_budget.py::test_no_window_holds_more_calls_than_the_limit_where_all_are_wanted_after_a_rest",
        ),
    ),
    "poller/core/pauses.py": (
        (
            "a quota of which nothing remains is ignored",
            "if quota.remaining == 0:",
            "if False:",
            f"{UNIT}/test_engine.py::test_a_quota_of_which_nothing_remains_stops_every_call_until_it_is_granted_anew",
        ),
    ),
    "poller/core/watched.py": (
        (
            "who is paused is read",
            "if entry is None or entry.forget or entry.paused or has_ended(entry, checkpoint):",
            "if entry is None or entry.forget or has_ended(entry, checkpoint):",
            f"{UNIT}/test_watching.py::test_a_paused_customer_is_not_called_and_what_happens_meanwhile_is_published_once_it_is_resumed",
            REWATCHED,
        ),
        (
            "who is dropped begins anew when it comes back",
            "if (entry is None or entry.forget) and checkpoint is None and not busy:",
            "if (entry is None or entry.forget) and not busy:",
            f"{UNIT}/test_engine.py::test_a_customer_that_is_no_longer_watched_is_not_called_and_goes_on_where_it_was_when_it_is_watched_again",
            REWATCHED,
        ),
        (
            "the last source to speak counts",
            "            said.sort(key=lambda one: STRONGEST_FIRST.index(one[0]))\n",
            "            said.reverse()\n",
            f"{UNIT}/test_watched.py::test_the_entry_of_the_strongest_source_counts_whole",
        ),
        (
            "the hash forgets nobody",
            "self._digest ^= 0 if entry is None else _digest(customer, entry)",
            "self._digest |= 0 if entry is None else _digest(customer, entry)",
            f"{UNIT}/test_watched.py::test_the_hash_tells_entries_apart_and_does_not_know_of_the_topic",
        ),
    ),
    "poller/core/landing.py": (
        (
            "the cursor passes what is withheld",
            "shown_to_ms = self.entry.until_ms if shown_to_ms is None else min(shown_to_ms, self.entry.until_ms)",
            "pass",
            f"{UNIT}/test_watching.py::test_where_until_is_moved_or_taken_away_all_that_was_withheld_is_published_once[moved]",
            f"{UNIT}/test_watching.py::test_where_until_is_moved_or_taken_away_all_that_was_withheld_is_published_once[taken away]",
        ),
        (
            "what had happened before the start is withheld instead of remembered",
            "max(self.entry.until_ms, (remember_until_ms or 0) + 1)",
            "self.entry.until_ms",
            f"{UNIT}/test_watching.py::test_what_had_happened_before_the_start_is_not_published_though_an_until_is_taken_away",
        ),
    ),
    "poller/core/replay.py": (
        (
            "what a replay had published for the first time is new to the next one",
            "until_ms, recent = max(until_ms, checkpoint.replay.until_ms), {**checkpoint.replay.recent, **recent}",
            "pass",
            f"{UNIT}/test_replay.py::test_another_rewind_takes_the_place_of_the_one_under_way",
        ),
        (
            "what had been published after the cursor is new to a replay",
            "    return before or dedupe.key_of(entry) in replay.recent",
            "    return before",
            f"{UNIT}/test_replay.py::test_what_was_created_since_the_date_is_published_again_and_what_is_new_is_new",
            f"{REPLAYS}::test_whatever_is_rewound_and_whoever_dies_what_is_new_is_published_once_without_the_header",
        ),
        (
            "a replay is over with any read that ends",
            "    if ended and not more:",
            "    if ended:",
            f"{UNIT}/test_replay.py::test_it_goes_on_after_a_read_that_ended_before_and_at_once_where_that_one_went_as_far_as_it_was_shown",
        ),
        (
            "what is known for one rewind serves any other",
            "(found is None or found[0] != rewind)",
            "found is None",
            f"{UNIT}/test_replay.py::test_what_is_known_is_forgotten_where_it_is_paused_and_where_the_rewind_before_counts_again",
        ),
        (
            "a replay that comes no further is gone on with at once",
            "(checkpoint.cursor_ms < replay.until_ms and not replay.stalled)",
            "checkpoint.cursor_ms < replay.until_ms",
            f"{UNIT}/test_replay.py::test_a_replay_is_gone_on_with_at_once_unless_it_is_stalled",
        ),
    ),
    "poller/core/placing.py": (
        (
            "very many pages go before all others",
            "elif customer.walk.calls >= PAGES_AT_ONCE_MAX or (",
            "elif (",
            f"{UNIT}/test_engine.py::test_whoever_has_very_many_pages_shares_the_calls_from_some_page_on",
        ),
    ),
    "poller/core/engine.py": (
        (
            "nobody waits for the watch topic",
            "        if self._watched.awaited:\n            return Wait(",
            "        if False:\n            return Wait(",
            f"{UNIT}/test_watching.py::test_nobody_is_called_before_all_sources_have_said_whom_they_name",
            "tests/simulation/test_watched.py::test_nobody_is_called_before_the_watch_topic_was_read",
        ),
        (
            "the longest page is never forgotten",
            "self._page_lengths: deque[int] = deque(maxlen=PAGES_REMEMBERED)",
            "self._page_lengths: deque[int] = deque()",
            f"{UNIT}/test_engine.py::test_a_server_that_caps_its_pages_lower_is_understood_after_some_pages",
            f"{PAIRWISE}[page=(100, 7) clocks=behind]",
        ),
        (
            "the checkpoint moves before the commit",
            "        self._held[fetch.partition].put(batch)\n",
            (
                "        self._held[fetch.partition].put(batch)\n"
                "        if fetch.partition in self._owned:\n"
                "            self._owned[fetch.partition].customers[fetch.customer].checkpoint = batch.checkpoint\n"
            ),
            f"{TROUBLE}[the checkpoint moves before the commit]",
            WHATEVER_FAILS,
        ),
        (
            "a failed fetch forgets its customer",
            "            self._schedule(fetch.partition, fetch.customer, customer, now + wait if wait > 0 else None)\n",
            "            pass\n",
            f"{UNIT}/test_engine.py::test_a_customer_whose_read_failed_waits_and_the_others_do_not",
            f"{TROUBLE}[a failed fetch forgets its customer]",
            WHATEVER_FAILS,
        ),
        (
            "a batch is published whatever it was built on",
            "dropped = [batch for batch in held.batches.values() if batch.base != restored.checkpoints.get(batch.customer)]",
            "dropped: list[Batch] = []",
            f"{UNIT}/test_engine.py::test_a_held_batch_is_dropped_where_its_commit_stood_after_all",
            f"{TROUBLE}[a batch is published whatever it was built on]",
        ),
        (
            "an answer is taken whatever it was asked from",
            "if customer is not None and customer.checkpoint != fetch.base:",
            "if False:",
            f"{UNIT}/test_engine.py::test_an_answer_from_before_somebody_else_read_the_customer_is_dropped_and_the_customer_called_again",
        ),
        (
            "the lease is ignored",
            "if now >= self._lease_until:",
            "if False:",
            f"{UNIT}/test_engine.py::test_no_call_is_made_where_membership_was_not_confirmed_within_the_lease",
            f"{TROUBLE}[no lease]",
            "tests/unit/test_worker.py::test_an_owner_that_is_not_heard_makes_no_call_after_half_a_session",
        ),
        (
            "calls go on while the group divides its partitions anew",
            'no call until membership is confirmed again."""\n        self._lease_until = -math.inf\n',
            'no call until membership is confirmed again."""\n',
            f"{UNIT}/test_engine.py::test_no_call_is_made_while_the_assignment_is_made_anew",
        ),
        (
            "a token counts as a read",
            "        if isinstance(error, TokenRenewed):\n            self._again(fetch)\n",
            (
                "        if isinstance(error, TokenRenewed):\n"
                "            if (customer := self._standing(fetch)) is not None:\n"
                "                customer.last_read = now\n"
                "                self._schedule(fetch.partition, fetch.customer, customer, None)\n"
            ),
            f"{UNIT}/test_engine.py::test_a_call_that_went_into_a_token_costs_its_customer_nothing_but_the_call",
        ),
        (
            "pages are held without bound",
            "if pages >= HELD_PAGES_MAX or sum(held.bytes for held in self._held.values()) >= HELD_BYTES_MAX:",
            "if pages < 0:",
            f"{UNIT}/test_engine.py::test_no_call_is_made_while_too_many_pages_await_their_commit",
            f"{UNIT}/test_engine.py::test_no_call_is_made_while_too_many_bytes_await_their_commit",
        ),
        (
            "anybody's checkpoints are taken",
            "return ownership.refusal(restored.ownership, self._ownership(Ledger(level=0)))",
            "return None",
            f"{UNIT}/test_engine.py::test_a_partition_of_somebody_else_is_refused_and_differences_are_told",
        ),
        (
            "a revoked partition's batches are kept",
            "for kept in (self._owned, self._suspended, self._arriving, self._held):",
            "for kept in (self._owned, self._suspended, self._arriving):",
            f"{UNIT}/test_engine.py::test_a_revoked_partition_is_forgotten_with_what_is_held_and_what_is_under_way",
        ),
        (
            "who was busy when a partition came in stays unread",
            "        for customer_id in arrival.busy:\n            self._settle(owned, partition, customer_id)\n",
            "",
            f"{UNIT}/test_arrival.py::test_a_call_that_fails_meanwhile_leaves_its_customer_scheduled[4]",
        ),
        (
            "a partition that half came in is ours",
            " or not arrival.complete",
            "",
            f"{UNIT}/test_arrival.py::test_what_was_given_up_midway_is_begun_anew",
        ),
        (
            "what came in before a partition was restored anew is held for good",
            " or arrival.restored is not restored",
            "",
            f"{UNIT}/test_arrival.py::test_what_came_in_is_worth_nothing_once_the_partition_was_restored_anew",
        ),
        (
            "what is watched otherwise while a partition comes in is not heard",
            "self._owned | {partition: arrival.owned for partition, arrival in self._arriving.items()}",
            "self._owned",
            f"{UNIT}/test_arrival.py::test_whoever_is_watched_otherwise_meanwhile_is_read_as_is_wanted_in_the_end[3]",
        ),
    ),
    "poller/core/backoff.py": (
        (
            "a 429 is retried hot",
            "            return limited_wait_seconds(error, failures)\n",
            "            return 0.0\n",
            f"{UNIT}/test_engine.py::test_a_429_stops_every_call_and_the_customer_keeps_its_turn",
        ),
        (
            "a 429 that may be tried at once is retried hot",
            '    least = Backoff(first_seconds=QUOTA_SECONDS_MIN, longest_seconds=default).wait_seconds(failures, "source")\n',
            "    least = 0.0\n",
            f"{UNIT}/test_backoff.py::test_a_429_after_another_that_may_be_tried_at_once_waits_ever_longer",
        ),
        (
            "whoever was refused tries for all",
            "            return REFUSED.wait_seconds(failures, customer)\n",
            "            return 0.0\n",
            f"{UNIT}/test_engine.py::test_whoever_was_refused_is_not_the_next_to_try_as_it_may_be_refused_alone",
        ),
        (
            "a wait of any length is believed",
            "return min(max(seconds, 0.0), longest) + QUOTA_SECONDS_MIN",
            "return seconds + QUOTA_SECONDS_MIN",
            f"{UNIT}/test_backoff.py::test_a_429_stops_every_call_for_as_long_as_it_says_and_is_believed",
        ),
    ),
    "poller/worker.py": (
        (
            "whoever was fenced comes back unasked",
            "while isinstance(error, Fenced) and self._confirmed_at <= failed_at:",
            "while False and isinstance(error, Fenced):",
            "tests/unit/test_worker_fenced.py::test_who_was_fenced_opens_the_partition_again_only_once_the_group_confirms_that_it_is_its_own",
        ),
        (
            "a failed commit is taken for one that stands",
            "transaction_failed(self._clock() - began)\n                raise\n",
            "transaction_failed(self._clock() - began)\n",
            "tests/unit/test_worker_fenced.py::test_who_was_fenced_opens_the_partition_again_only_once_the_group_confirms_that_it_is_its_own",
            SIMULATION,
        ),
        (
            "no ownership record before the first call",
            "        assert isinstance(commit, Commit)\n        await self._append(commit, writer)\n",
            "        assert isinstance(commit, Commit)\n        self._engine.committed(commit, now)\n",
            "tests/unit/test_worker_fenced.py::test_an_owner_is_written_down_before_it_makes_a_call",
        ),
        (
            "a topic of another project is gone on with",
            "        if refusal is not None:\n            raise NotOurs(refusal)\n",
            "",
            "tests/unit/test_worker_fenced.py::test_checkpoints_of_another_project_end_the_worker_though_the_log_lets_them_pass",
        ),
    ),
}
