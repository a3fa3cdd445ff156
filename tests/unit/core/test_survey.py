"""A look at every customer, in slices."""

import math
from collections.abc import Generator

import pytest

from poller.core import survey
from poller.core.engine import Engine
from poller.core.overview import CustomerState, Oldest, Surveyed
from poller.core.owned import Customer
from poller.core.ownership import partition_of
from poller.core.policy import Policy
from poller.core.survey import quantile, state_of
from poller.errors import Limited
from poller.model import PLAIN, Checkpoint, CustomerId, Ledger, Life, Restored, WatchEntry
from tests.support.builders import activities, checkpoint, page, restored, walk
from tests.support.engines import NOW, fetch, owner

A, B, C, D, E, F, G = (CustomerId(name) for name in "abcdefg")
READ = checkpoint(5, last_read=NOW)


def engine(*customers: CustomerId, **checkpoints: Checkpoint) -> Engine:
    return owner(Policy(start="earliest", calls_limit=60_000), customers, restored(Ledger(10), **checkpoints))


def to_the_end(look: Generator[None, None, Surveyed]) -> tuple[int, Surveyed]:
    """Of a survey: in how many slices, and what it has seen."""

    def carry_on() -> Generator[None, None, None]:
        seen.append((yield from look))

    seen: list[Surveyed] = []
    return len(list(carry_on())), seen[0]


def surveyed(of: Engine, now: float = NOW) -> Surveyed:
    return to_the_end(of.view.survey(now))[1]


@pytest.mark.parametrize(
    ("customer", "entry", "state"),
    [
        (None, PLAIN, "never_read"),
        (Customer(None), PLAIN, "never_read"),
        (Customer(READ, NOW), PLAIN, "read"),
        (Customer(READ, NOW, walk()), PLAIN, "more_pages"),
        (Customer(READ, NOW, walk(), failures=1), PLAIN, "failing"),
        (Customer(READ, NOW, failures=1, unknown_since=NOW), PLAIN, "unknown"),
        (Customer(checkpoint(5, life=Life(retired_at=NOW)), NOW, unknown_since=NOW), PLAIN, "retired"),
        (Customer(checkpoint(5, life=Life(retired_at=NOW)), NOW), WatchEntry(until_ms=4), "ended"),
        (Customer(READ, NOW), WatchEntry(until_ms=6_000), "read"),
        (Customer(READ, NOW), WatchEntry(until_ms=4, paused=True), "paused"),
        (None, WatchEntry(paused=True), "paused"),
    ],
)
def test_a_customer_is_in_the_first_state_that_holds(customer: Customer | None, entry: WatchEntry, state: CustomerState) -> None:
    assert state_of(customer, entry) == state


def test_a_survey_counts_customers_by_state_and_tells_who_was_read_longest_ago() -> None:
    running = engine(
        A,
        B,
        C,
        D,
        a=checkpoint(5, last_read=NOW - 30, recent={"x": 1, "y": 2}),
        b=checkpoint(5, last_read=NOW - 10),
        d=checkpoint(5, recent={"z": 1}),
    )
    running.watch_changed("topic", {E: WatchEntry(paused=True), F: WatchEntry(forget=True)})

    assert surveyed(running, NOW + 5) == Surveyed(
        at=NOW + 5,
        states={"read": 2, "never_read": 2, "paused": 1},
        last_read_p50=NOW - 10,
        last_read_p95=NOW - 30,
        last_read_first=NOW - 30,
        recent_ids=3,
        oldest=(
            Oldest(customer=A, state="read", last_read=NOW - 30),
            Oldest(customer=B, state="read", last_read=NOW - 10),
            Oldest(customer=C, state="never_read", last_read=None),
            Oldest(customer=D, state="never_read", last_read=None),
        ),
    )


def test_of_many_only_the_oldest_are_named_with_what_went_wrong() -> None:
    running = engine(
        *"abcdefg", **{name: checkpoint(5, last_read=NOW - age) for name, age in zip("abcdefg", (1, 6, 2, 7, 3, 5, 4), strict=True)}
    )
    failed = fetch(running)
    running.fetch_failed(failed, Limited("try later", wait_seconds=1), NOW)

    assert [(one.customer, one.error != "") for one in surveyed(running).oldest] == [
        ("d", True),
        ("b", False),
        ("f", False),
        ("g", False),
        ("e", False),
    ]


def test_nothing_is_told_of_last_reads_where_there_were_none() -> None:
    seen = surveyed(engine(A))

    assert (seen.last_read_p50, seen.last_read_p95, seen.last_read_first) == (None, None, None)
    assert surveyed(engine()) == Surveyed(at=NOW, states={})


def test_the_share_that_a_quantile_names_was_read_since() -> None:
    last_reads = [float(at) for at in range(20, 0, -1)]

    assert [quantile(last_reads, share) for share in (0.5, 0.95, 1.0)] == [11.0, 2.0, 1.0]
    assert (quantile([7.0], 0.5), quantile([], 0.5)) == (7.0, None)


def test_it_pauses_after_each_slice_and_quantiles_come_from_a_sample() -> None:
    names = [CustomerId(f"c{number:05}") for number in range(25_000)]
    running = engine(*names, **{name: checkpoint(5, last_read=NOW - number) for number, name in enumerate(names)})

    assert len(list(running.view.survey(NOW))) == 25_000 / survey.CUSTOMERS_AT_ONCE
    seen = surveyed(running)
    assert (seen.last_read_first, seen.states) == (NOW - 24_999, {"read": 25_000})
    assert seen.last_read_p50 == pytest.approx(NOW - 12_500, abs=10)
    assert seen.last_read_p95 == pytest.approx(NOW - 23_750, abs=10)


@pytest.mark.parametrize("each", [2, 25])
def test_the_sample_is_of_those_who_are_read_in_turn_however_few_they_are_among_the_others(each: int) -> None:
    names = [CustomerId(f"c{number:05}") for number in range(25_000)]
    made = Engine(Policy(start="earliest"))
    made.partitioned(1)
    made.watch({name: PLAIN if number % each == 0 else WatchEntry(paused=True) for number, name in enumerate(names)})
    checkpoints = {name: checkpoint(5, last_read=NOW - number) for number, name in enumerate(names)}
    made.assigned(0, restored(Ledger(10), **checkpoints), NOW)
    seen = surveyed(made)

    assert seen.states == {"read": 25_000 / each, "paused": 25_000 - 25_000 / each}
    assert seen.last_read_p50 == pytest.approx(NOW - 12_500, abs=50)
    assert seen.last_read_p95 == pytest.approx(NOW - 23_750, abs=50)


def test_whoever_comes_goes_or_is_taken_away_meanwhile_does_no_harm() -> None:
    made = Engine(Policy(start="earliest"))
    made.partitioned(2)
    names = [CustomerId(f"c{number:05}") for number in range(5_000)]
    made.watch(names)
    for partition in (0, 1):
        made.assigned(partition, Restored(checkpoints={}, ownership=None), NOW)
    first = [name for name in names if partition_of(name, 2) == 0]
    look = made.view.survey(NOW)
    next(look)
    made.watch([*names[:-1000], CustomerId("new")])
    made.revoked(1)
    more, seen = to_the_end(look)

    left = [name for name in first if name not in names[-1000:]]
    gone_after_their_slice = [name for name in first[: survey.CUSTOMERS_AT_ONCE] if name in names[-1000:]]
    assert seen.states == {"never_read": len(left) + len(gone_after_their_slice)}
    assert 1 + more == math.ceil(len(first) / survey.CUSTOMERS_AT_ONCE)


def test_a_walk_under_way_is_seen_once_its_page_is_committed() -> None:
    running = engine(A, a=checkpoint(5, last_read=NOW - 50))
    running.page_received(fetch(running), page(*activities(*range(6, 16))), NOW)
    order = running.commit(0, NOW, at_once=True)
    running.committed(order, NOW)  # type: ignore[arg-type]

    assert surveyed(running).states == {"more_pages": 1}
