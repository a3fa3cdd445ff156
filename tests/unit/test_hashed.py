"""Customer ids in log lines: hashed where that is asked for, wherever in the line they stand."""

import hashlib
import io
import json
import logging
from typing import Any, get_args
from urllib.parse import quote

import pytest

from poller.core.watched import Changed
from poller.errors import CustomerUnknown, Explanation, LogRefused, LogUnavailable, Rejected, SettingsError, Unauthorized
from poller.hashed import hashed, without_ids
from poller.journal import Journal
from poller.kafka.record import Destination, Found, Limits, records_of, restored_of
from poller.log_output import configure
from poller.model import NO_CHECKPOINT, Batch, Commit, CustomerId, Life, Restored
from poller.telemetry import EventName, Telemetry
from poller.watch_entry import to_customer
from tests.support.builders import activity, checkpoint, dead_letter, order, ownership, page
from tests.support.world import Told

IDS = tuple(CustomerId(id) for id in ("anna@example.com", "cust_eHnSqNkPhpPyBeQIkt6WZNIU", "käufer 7", 'O\'Neil "Bob"', "a+b/c?d&e@host"))
KNOWN_LATER = CustomerId("later@example.org")


def refused(call: Any, *arguments: Any) -> Any:
    try:
        call(*arguments)
    except (LogRefused, ValueError) as error:
        return error
    raise AssertionError("it was not refused")


def tell_everything(journal: Journal, id: CustomerId) -> None:
    """All that the journal says of a customer, with errors as they come, and every event with the id in whatever field may hold it."""
    said = Explanation(404, "not_found", f"Cannot find {id}", None, f"/v1/customers/{quote(id, safe='')}/activities: {json.dumps(id)}")
    journal.call_failed(order(id), CustomerUnknown(said), 1, 0)
    journal.page_received(order(id), page(), None, 2)
    journal.call_failed(order(id), Rejected(said), 3, 0)
    journal.call_failed(order(id), Unauthorized(said), 4, 99)
    was, gone = checkpoint(1), checkpoint(1, life=Life(retired_at=5))
    journal.batch_held(Batch(id, 0, None, was, gap=True, dropped=1, followable=False))
    batches = [
        Batch(id, 0, was, gone, records=(activity(1, "same"),), dead_letters=(dead_letter(),)),
        Batch(id, 0, gone, was),
        Batch(KNOWN_LATER, 0, None, was, records=(activity(1, "same"),)),
        Batch(id, 0, was, NO_CHECKPOINT, why="forgotten", removes=True),
        Batch(id, 0, was, NO_CHECKPOINT, why="kept long enough", removes=True),
    ]
    journal.committed(Commit(0, tuple(batches), ownership(), 0), 5, 6)
    journal.commit_undone(0, [id])
    journal.watch_entries_ignored({id: f"names a customer that cannot be asked for: {id!r} (why)"})
    journal.customers_file_broken(
        SettingsError([f"POLLER_CUSTOMERS_FILE='list': line 3: names {id!r}, which a line above names with another entry"])
    )
    journal.restored(0, Restored({id: was}, None), [], [], 0.5)
    journal.watched_set_changed("topic", Changed(added=(id,)), 7)
    found = refused(restored_of, {id.encode(): Found(7, b"no checkpoint")})
    journal.partition_failed(0, found, 1)
    large = refused(records_of, [Batch(id, 0, None, was)], ownership(), Destination(0, "url", "key", Limits(checkpoints_bytes_max=10)))
    journal.partition_failed(0, large, 1)
    journal.partition_failed(0, LogUnavailable(f"of {id.encode()!r}"), 1)
    for name in get_args(EventName):
        journal.event(
            name, customer=id, error=ValueError(f"of {id}, {id!r}, {id.encode()!r}, {quote(id)}"), customers=[id], first=id, other=id
        )


class ToldAnything(Told):
    """Takes fields that no event of that name has, as these may not show an id either."""

    def log(self, level: int, event: str, /, **fields: Any) -> None:
        self.events.append((event, fields))


@pytest.mark.parametrize("id", IDS)
def test_no_id_gets_through_in_any_event(id: CustomerId) -> None:
    told = ToldAnything()
    tell_everything(Journal(Telemetry(told, "hashed")), id)
    lines = [json.dumps(fields, default=str, ensure_ascii=False) for _, fields in told.events]
    forms = {id, quote(id), quote(id, safe=""), repr(id)[1:-1], json.dumps(id)[1:-1], repr(id.encode())[2:-1], KNOWN_LATER}

    assert {name for name, _ in told.events} == set(get_args(EventName))
    assert [line for line in lines if any(form in line for form in forms)] == []
    assert sum(hashed(id) in line for line in lines) > len(get_args(EventName))


def test_they_are_shown_as_they_are_where_nothing_else_is_asked_for() -> None:
    told = ToldAnything()
    tell_everything(Journal(Telemetry(told)), IDS[0])

    assert told.events[0] == ("customer_unknown", {"customer": IDS[0], "error": told.events[0][1]["error"]})
    assert IDS[0] in told.events[0][1]["error"]


def test_what_else_is_said_stays_readable() -> None:
    told = Told()
    telemetry = Telemetry(told, "hashed")
    telemetry.event(
        "settings_doubtful", warning="POLLER_CUSTOMERS_FILE='/etc/list': 3 customers, 12 calls/min at https://eu1.api.voucherify.io"
    )
    telemetry.event("commit_undone", partition=0, customers=3, first="7")
    telemetry.event("customer_failed", customer="7", error="HTTP 500 key='x7' after 17.5 s, 7 times")
    telemetry.event("partition_failed", error="the checkpoint topic's record b'\\townership' at offset 7 is no checkpoint")

    seven = "sha256:" + hashlib.sha256(b"7").hexdigest()[:12]
    assert [fields for _, fields in told.events] == [
        {"warning": "POLLER_CUSTOMERS_FILE='/etc/list': 3 customers, 12 calls/min at https://eu1.api.voucherify.io"},
        {"partition": 0, "customers": 3, "first": seven},
        {"customer": seven, "error": f"HTTP 500 key='x7' after 17.5 s, {seven} times"},
        {"error": "the checkpoint topic's record b'\\townership' at offset 7 is no checkpoint"},
    ]


def test_only_a_key_is_taken_for_one() -> None:
    said = "id sha256:38bfe1a9835b' request_id='v-6e2f', details='verb'"

    assert without_ids(said) == said


def test_an_id_that_cannot_be_asked_for_is_hashed_in_what_is_said_of_it() -> None:
    assert (
        without_ids(str(refused(to_customer, "..")))
        == f"names a customer that cannot be asked for: {hashed('..')} (would be taken for a part of the path)"
    )


def test_what_a_library_says_is_rid_of_what_looks_like_an_id() -> None:
    stream = io.StringIO()
    configure("json", "warning", clock=lambda: 0.0, stream=stream, customers="hashed")
    logging.getLogger("httpx").warning("GET %s", "https://api/v1/customers/anna%40example.com/activities for anna@example.com, cust_12ab")
    logging.getLogger().handlers.clear()
    (said,) = [json.loads(line)["event"] for line in stream.getvalue().splitlines()]

    anna = hashed("anna@example.com")
    assert said == f"GET https://api/v1/customers/{anna}/activities for {anna}, {hashed('cust_12ab')}"


def test_the_hash_is_the_one_that_the_documentation_computes() -> None:
    """As `printf %s anna@example.com | sha256sum | cut -c-12` has it."""
    assert hashed("anna@example.com") == "sha256:f7d54c22dda5"
