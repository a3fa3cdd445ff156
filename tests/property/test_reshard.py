"""The budget across changes of the number of partitions, whatever happens to the owners: no window and no cycle holds more calls than allowed."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from poller.core.budget import Cycle, Terms
from poller.core.reshard import divided
from tests.support.builders import ownership
from tests.support.spender import EPOCH, Event, Owner, most_in_a_window

EVENTS: tuple[Event, ...] = ("busy turn", "busy turn", "busy turn", "prepare", "stands", "fails", "stands unheard", "killed", "drained")
WAITS = (0.0, 0.1, 0.2, 0.2, 0.3, 0.5, 1.1, 30.0)
"""How long until the next event, in calls of the rate."""
SOME = st.tuples(st.sampled_from(WAITS), st.sampled_from(EVENTS))
LIVES = st.lists(st.tuples(st.integers(1, 5), st.lists(SOME, min_size=5, max_size=40)), min_size=2, max_size=8)
"""Numbers of partitions, one after the other, and what happens to all owners meanwhile."""

Lives = list[tuple[int, list[tuple[float, Event]]]]
BUSY: list[tuple[float, Event]] = [(0.2, "busy turn")] * 75
FULL: list[tuple[float, Event]] = [(30.0, "prepare"), (0.0, "stands"), (0.0, "busy turn"), (0.0, "busy turn")]
"""All buckets are full, and are spent at once."""


def lived(lives: Lives, limit: float, window_seconds: float, cycle: Cycle | None, scale: float) -> list[float]:
    """When calls were made."""
    now, calls, owners = EPOCH, list[float](), list[Owner]()
    for partitions, steps in lives:
        old = [ownership(ledger=owner.durable) for owner in owners]
        terms = Terms.of(limit, window_seconds, cycle, partitions)
        begin = [one.ledger for one in divided(old, [1] * len(old), partitions)] if old else [None] * partitions
        owners = [Owner(terms, now, ledger, calls=calls) for ledger in begin]
        for owner in owners:
            owner.grant()
        for wait, event in steps:
            now += wait * scale
            for owner in owners:
                owner.now = now
                owner.happen(event)
    return calls


@settings(max_examples=150)
@given(limit=st.sampled_from([(10.0, 60.0), (12.0, 60.0), (30.0, 5.0), (40.0, 4.0)]), lives=LIVES)
@example(limit=(10.0, 60.0), lives=[(5, FULL), (1, BUSY)])
@example(limit=(10.0, 60.0), lives=[(1, FULL), (5, BUSY)])
@example(limit=(30.0, 5.0), lives=[(1, FULL), (4, BUSY), (2, BUSY)])
def test_no_window_holds_more_calls_than_the_limit_though_partitions_change(limit: tuple[float, float], lives: Lives) -> None:
    calls = lived(lives, *limit, None, limit[1] / limit[0])

    assert most_in_a_window(calls, limit[1]) <= limit[0]


@settings(max_examples=150)
@given(cycle_calls=st.integers(5, 80), scale=st.sampled_from((10.0, 3_600.0, 40_000.0)), lives=LIVES)
@example(cycle_calls=60, scale=100_000.0, lives=[(1, [(1.0, "busy turn")] * 10), (4, [(1.0, "busy turn")] * 19)])
def test_no_cycle_holds_more_calls_than_its_cap_though_partitions_change(cycle_calls: int, scale: float, lives: Lives) -> None:
    cycle = Cycle(cycle_calls, reset_day=31)

    calls = lived(lives, 1000.0, 60.0, cycle, scale)

    begun = [cycle.bounds(at)[0] for at in calls]
    assert all(begun.count(day) <= cycle_calls for day in set(begun))
