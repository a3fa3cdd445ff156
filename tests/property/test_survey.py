"""A survey is the plain count, whatever happens to others while it goes on."""

import math
from collections import Counter
from collections.abc import Generator

from hypothesis import given, settings
from hypothesis import strategies as st

from poller.core import survey
from poller.core.budget import Budget, Terms
from poller.core.overview import Surveyed
from poller.core.owned import Customer, Owned
from poller.core.schedule import Schedule
from poller.core.survey import state_of
from poller.core.watched import Watched
from poller.model import PLAIN, Checkpoint, CustomerId, Learned, Life, WatchEntry
from tests.support.builders import walk

NOW = 1_000.0
TERMS = Terms(capacity=1, calls_per_second=1.0)

CHECKPOINTS = st.none() | st.builds(
    Checkpoint,
    cursor_ms=st.integers(0, 10),
    recent=st.dictionaries(st.text(max_size=3), st.integers(0, 9), max_size=3),
    life=st.sampled_from((Life(), Life(retired_at=NOW))),
)
CUSTOMERS = st.none() | st.builds(
    Customer,
    checkpoint=CHECKPOINTS,
    last_read=st.just(-math.inf) | st.floats(0, NOW),
    walk=st.sampled_from((None, walk())),
    failures=st.integers(0, 2),
    unknown_since=st.sampled_from((None, NOW)),
)
ENTRIES = st.sampled_from((PLAIN, PLAIN, PLAIN, WatchEntry(paused=True), WatchEntry(until_ms=5), WatchEntry(forget=True)))
STEADY = st.lists(st.tuples(CUSTOMERS, ENTRIES), max_size=40)
IN_TURN = ("read", "more_pages", "failing")


def owned(customers: dict[CustomerId, Customer]) -> Owned:
    return Owned(customers, Budget(TERMS, 0.0, NOW), Schedule(Learned(), 1.0, None))


def carried_on(look: Generator[None, None, Surveyed], seen: list[Surveyed]) -> Generator[None, None, None]:
    seen.append((yield from look))


@given(steady=STEADY, others=st.lists(CUSTOMERS, max_size=6), copies=st.sampled_from((1, 60)))
@settings(max_examples=60, deadline=None)
def test_a_survey_is_the_plain_count_of_all_whom_nothing_happens_to_meanwhile(
    steady: list[tuple[Customer | None, WatchEntry]], others: list[Customer | None], copies: int
) -> None:
    watched = Watched()
    watched.partitioned(1)
    all_steady = {CustomerId(f"s{copy}-{number}"): one for copy in range(copies) for number, one in enumerate(steady)}
    fleeting = [CustomerId(f"f{number}") for number in range(len(others))]
    watched.put_all("setting", {name: entry for name, (_, entry) in all_steady.items()} | dict.fromkeys(fleeting, WatchEntry(forget=True)))
    customers = {name: one for name, (one, _) in all_steady.items() if one is not None}
    ours = {0: owned(customers)}
    seen: list[Surveyed] = []

    for step, _ in enumerate(carried_on(survey.survey(lambda: ours, watched, NOW), seen)):
        watched.change("topic", {CustomerId(f"new{step}"): PLAIN, **dict.fromkeys(fleeting[step : step + 1])})
        watched.change("setting", dict.fromkeys(fleeting[step : step + 1]))
        ours[0] = owned({**ours[0].customers})  # restored anew

    counted = {name: (one, state_of(one, entry)) for name, (one, entry) in all_steady.items() if not entry.forget}
    read = sorted(
        (one.last_read for one, state in counted.values() if one and state in IN_TURN and one.last_read > -math.inf), reverse=True
    )
    assert seen[0].states == Counter(state for _, state in counted.values())
    assert seen[0].recent_ids == sum(len(one.checkpoint.recent) for one, _ in counted.values() if one and one.checkpoint)
    assert seen[0].last_read_first == min(read, default=None)
    assert (seen[0].last_read_p50, seen[0].last_read_p95) == tuple(
        read[math.ceil(share * len(read)) - 1] if read else None for share in (0.5, 0.95)
    )
    assert [one.last_read for one in seen[0].oldest if one.last_read is not None] == read[::-1][:5]
    assert all(counted[one.customer][1] == one.state for one in seen[0].oldest)
