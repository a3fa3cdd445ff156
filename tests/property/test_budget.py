"""The budget, whatever happens to its owners: no window and no cycle holds more calls than allowed, and hardly fewer when all are wanted."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poller.core.budget import LEVEL_ROUNDING, Cycle, Terms
from tests.support.spender import EPOCH, Event, Owner, most_in_a_window, spend_as_allowed

EVENTS: tuple[Event, ...] = (
    *("turn", "turn", "busy turn", "busy turn", "spend", "prepare", "stands"),
    *("fails", "stands unheard", "killed", "killed", "drained"),
)

WAITS = (0.0, 0.0, 0.0, 0.001, 0.1, 0.1, 0.5, 0.5, 1.0, 1.0, 3.0, 30.0)
"""How long until the next event, in calls of the rate."""

LIMITS = [(10.0, 60.0), (60.0, 60.0), (100.0, 3600.0), (2000.0, 60.0)]
SMALL_LIMITS = [(1.0, 60.0), (1.0, 3600.0), (10.0, 60.0), (30.0, 5.0), (30.0, 5.0), (40.0, 4.0)]
"""So few calls that a hundred events fill several windows; where the window is short the bucket is large."""


@settings(max_examples=150)
@given(
    limit=st.sampled_from(SMALL_LIMITS),
    partitions=st.sampled_from((1, 1, 4)),
    steps=st.lists(st.tuples(st.integers(0, 3), st.sampled_from(WAITS), st.sampled_from(EVENTS)), min_size=100, max_size=200),
)
def test_no_window_holds_more_calls_than_the_limit_whatever_happens_to_its_owners(
    limit: tuple[float, float], partitions: int, steps: list[tuple[int, float, Event]]
) -> None:
    calls_limit, window_seconds = limit
    if calls_limit + 1 <= partitions:
        return
    scale = window_seconds / calls_limit
    owners = [Owner(Terms.of(calls_limit, window_seconds, None, partitions), EPOCH) for _ in range(partitions)]
    for owner in owners:
        owner.grant()
    for number, wait, event in steps:
        for owner in owners:
            owner.now += wait * scale
        owners[number % partitions].happen(event)

    calls = [at for owner in owners for at in owner.calls]
    assert most_in_a_window(calls, window_seconds) <= calls_limit


@settings(max_examples=150)
@given(
    cycle_calls=st.integers(1, 60),
    limit=st.sampled_from(LIMITS),
    steps=st.lists(
        st.tuples(st.sampled_from((0.0, 0.5, 3_600.0, 86_400.0, 864_000.0)), st.sampled_from(EVENTS)), min_size=60, max_size=150
    ),
)
def test_no_cycle_holds_more_calls_than_its_cap_whatever_happens_to_its_owners(
    cycle_calls: int, limit: tuple[float, float], steps: list[tuple[float, Event]]
) -> None:
    cycle = Cycle(cycle_calls, reset_day=31)
    owner = Owner(Terms.of(*limit, cycle, 1), EPOCH)
    owner.grant()
    for wait, event in steps:
        owner.now += wait
        owner.happen(event)

    begun = [cycle.bounds(at)[0] for at in owner.calls]
    assert all(begun.count(day) <= cycle_calls for day in set(begun))


@settings(max_examples=100)
@given(
    limit=st.sampled_from(LIMITS),
    steps=st.lists(st.tuples(st.sampled_from((-20.0, -1.0, 0.0, 0.1, 1.0, 1.0, 20.0)), st.sampled_from(EVENTS)), min_size=60, max_size=100),
)
def test_a_clock_that_is_set_back_gives_no_call_twice(limit: tuple[float, float], steps: list[tuple[float, Event]]) -> None:
    owner = Owner(Terms.of(*limit, None, 1), EPOCH)
    owner.grant()
    farthest = EPOCH
    for wait, event in steps:
        owner.now += wait * limit[1] / limit[0]
        farthest = max(farthest, owner.now)
        if event not in ("fails", "stands unheard", "killed", "drained"):
            owner.happen(event)

    assert len(owner.calls) <= owner.terms.capacity + (farthest - EPOCH) * owner.terms.calls_per_second + LEVEL_ROUNDING


@pytest.mark.parametrize("partitions", [1, 4])
@pytest.mark.parametrize(("calls_limit", "window_seconds"), [*LIMITS, *SMALL_LIMITS[2:]])
def test_no_window_holds_more_calls_than_the_limit_where_all_are_wanted_after_a_rest(
    calls_limit: float, window_seconds: float, partitions: int
) -> None:
    terms = Terms.of(calls_limit, window_seconds, None, partitions)
    owners = [Owner(terms, EPOCH) for _ in range(partitions)]
    for owner in owners:
        owner.now += window_seconds
        spend_as_allowed(owner, owner.now + 4 * window_seconds, 0.02)

    assert most_in_a_window([at for owner in owners for at in owner.calls], window_seconds) <= calls_limit


@pytest.mark.parametrize("commit_seconds", [0.02, 0.2])
@pytest.mark.parametrize(("calls_limit", "window_seconds"), LIMITS)
def test_nearly_every_call_that_the_rate_allows_can_be_made(calls_limit: float, window_seconds: float, commit_seconds: float) -> None:
    owner = Owner(Terms.of(calls_limit, window_seconds, None, 1), EPOCH)
    windows = 20
    spend_as_allowed(owner, EPOCH + windows * window_seconds, commit_seconds)

    assert len(owner.calls) > 0.95 * windows * calls_limit
    assert most_in_a_window(owner.calls, window_seconds) <= calls_limit


@pytest.mark.parametrize("cycle_calls", [100, 2_000])
def test_nearly_every_call_that_the_cycle_allows_is_made_evenly(cycle_calls: int) -> None:
    cycle = Cycle(cycle_calls, reset_day=1)
    begin = cycle.bounds(EPOCH)[2]
    end = cycle.bounds(begin)[2]
    owner = Owner(Terms.of(60, 60, cycle, 1), begin)
    spend_as_allowed(owner, end - 1, 0.2)

    assert 0.95 * cycle_calls < len(owner.calls) <= cycle_calls
    gaps = [later - earlier for earlier, later in pairwise(owner.calls)]
    assert max(gaps[: len(gaps) // 2]) < 1.1 * min(gaps[: len(gaps) // 2])
