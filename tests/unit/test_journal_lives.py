"""What the journal says of customers' lives: each thing once."""

from typing import Any

from msgspec.structs import replace

from poller.core.walk import Way
from poller.errors import CustomerUnknown
from poller.journal import Journal
from poller.model import NO_CHECKPOINT, Batch, Commit, Fetch, Life
from poller.telemetry import Telemetry
from tests.support.builders import CUSTOMER, activity, checkpoint, order, ownership, page, walk
from tests.support.world import Told

RETIRED = checkpoint(1, life=Life(retired_at=5))


def told(*batches: Batch) -> list[tuple[str, dict[str, Any]]]:
    said = Told()
    Journal(Telemetry(said)).committed(Commit(0, batches, ownership(), 0), 1, 2)
    return [(name, fields) for name, fields in said.events if name != "published"]


def unknown(journal: Journal, fetch: Fetch) -> None:
    journal.call_failed(fetch, CustomerUnknown("HTTP 404"), 1, 0)


def test_an_unknown_customer_is_said_once_and_once_more_when_it_is_known_again() -> None:
    said = Told()
    journal = Journal(Telemetry(said))
    for fetch in (order(), order(), order("cust_2")):
        unknown(journal, fetch)
    journal.page_received(order(), page(), None, 2)
    journal.page_received(order(), page(), None, 3)
    unknown(journal, order())

    assert [(name, fields["customer"]) for name, fields in said.events if name != "read"] == [
        ("customer_unknown", "cust_1"),
        ("customer_unknown", "cust_2"),
        ("customer_known", "cust_1"),
        ("customer_unknown", "cust_1"),
    ]


def test_that_a_retired_customer_is_unknown_was_said_and_a_cursor_that_is_unknown_is_no_customer() -> None:
    said = Told()
    journal = Journal(Telemetry(said))
    unknown(journal, replace(order(), base=RETIRED))
    unknown(journal, replace(order(), walk=walk(way=Way.AFTER_ID)))

    assert [name for name, _ in said.events] == ["customer_failed"]


def test_who_is_retired_returns_or_is_forgotten_is_told_when_it_is_committed() -> None:
    alive = checkpoint(1)

    assert told(Batch(CUSTOMER, 0, None, RETIRED), Batch(CUSTOMER, 0, RETIRED, RETIRED), Batch(CUSTOMER, 0, alive, alive)) == [
        ("customer_retired", {"customer": CUSTOMER})
    ]
    assert told(Batch(CUSTOMER, 0, RETIRED, alive)) == [("customer_returned", {"customer": CUSTOMER})]
    assert told(Batch(CUSTOMER, 0, RETIRED, NO_CHECKPOINT, why="forgotten", removes=True)) == [
        ("customer_forgotten", {"customer": CUSTOMER})
    ]


def test_removed_checkpoints_are_told_in_one_line() -> None:
    assert told(*(Batch(order(f"c{i}").customer, 0, RETIRED, NO_CHECKPOINT, why="kept long enough", removes=True) for i in range(7))) == [
        ("checkpoints_removed", {"count": 7, "customers": ["c0", "c1", "c2", "c3", "c4"]})
    ]


def test_one_person_under_two_ids_is_told_once() -> None:
    two = [Batch(order(name).customer, 0, None, checkpoint(), records=(activity(1), activity(2))) for name in "ba"]

    assert told(*two) == [("same_person", {"customer": "a", "other": "b"})]
