"""The budget, whatever happens to its owners: no window and no cycle holds more calls than allowed, and hardly fewer when all are wanted."""

import math
from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poller.core.budget import ARRIVAL_SECONDS, LEVEL_ROUNDING, Budget, Cycle, Terms
from poller.model import Ledger

EPOCH = 1_800_000_000.0

Event = Literal["turn", "busy turn", "spend", "prepare", "stands", "fails", "stands unheard", "killed", "drained"]
EVENTS: tuple[Event, ...] = (
    *("turn", "turn", "busy turn", "busy turn", "spend", "prepare", "stands"),
    *("fails", "stands unheard", "killed", "killed", "drained"),
)
WAITS = (0.0, 0.0, 0.0, 0.001, 0.1, 0.1, 0.5, 0.5, 1.0, 1.0, 3.0, 30.0)
"""How long until the next event, in calls of the rate."""


@dataclass
class Owner:
    """Whoever owns one partition: what is durable outlives it."""

    terms: Terms
    now: float
    durable: Ledger | None = None
    under_way: Ledger | None = None
    calls: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.restore()

    def restore(self) -> None:
        self.under_way = None
        self.budget = Budget.restore(self.terms, self.durable, self.now)

    def happen(self, event: Event) -> None:
        match event:
            case "turn":
                self.spend_all()
                self.grant()
                self.spend_all()
            case "busy turn" if self.under_way is None:
                self.happen("prepare")
                self.spend_all()
                self.happen("stands")
                self.spend_all()
            case "spend":
                self.spend_all()
            case "prepare" if self.under_way is None:
                self.budget, self.under_way, _ = self.budget.prepare(self.now, last=False)
            case "stands" if self.under_way is not None:
                self.durable, self.under_way = self.under_way, None
                self.budget = self.budget.committed()
            case "fails" if self.under_way is not None:
                self.restore()
            case "stands unheard" if self.under_way is not None:
                self.durable = self.under_way
                self.restore()
            case "killed":
                self.restore()
            case "drained":
                self.budget, self.durable, _ = self.budget.prepare(self.now, last=True)
                self.spend_all()
                self.restore()
            case _:
                pass

    def spend_all(self) -> None:
        self.budget = self.budget.refill(self.now)
        while self.budget.available_at(self.now) <= self.now:
            self.budget = self.budget.spend(self.now)
            self.calls.append(self.now)

    def grant(self) -> None:
        """A commit that stands at once."""
        self.happen("prepare")
        self.happen("stands")


def most_in_a_window(calls: list[float], window_seconds: float) -> int:
    """The most calls that can arrive in any half-open window of this length, where some take longer to arrive than others."""
    ordered = sorted(calls)
    return max((bisect_left(ordered, at + window_seconds + ARRIVAL_SECONDS) - i for i, at in enumerate(ordered)), default=0)


LIMITS = [(10.0, 60.0), (60.0, 60.0), (100.0, 3600.0), (2000.0, 60.0)]
SMALL_LIMITS = [(1.0, 60.0), (1.0, 3600.0), (10.0, 60.0), (30.0, 5.0), (30.0, 5.0), (40.0, 4.0)]
"""So few calls that a hundred events fill several windows; where the window is short the bucket is large."""


@settings(max_examples=200)
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


@settings(max_examples=200)
@given(
    cycle_calls=st.integers(1, 60),
    limit=st.sampled_from(LIMITS),
    steps=st.lists(st.tuples(st.sampled_from((0.0, 0.5, 3_600.0, 86_400.0, 864_000.0)), st.sampled_from(EVENTS)), min_size=60, max_size=150),
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


def spend_as_allowed(owner: Owner, until: float, commit_seconds: float) -> None:
    """Calls are always wanted, and commits take `commit_seconds`."""
    commit_at, stands_at = owner.now, math.inf
    while owner.now < until:
        owner.spend_all()
        if stands_at <= owner.now:
            owner.happen("stands")
            commit_at, stands_at = owner.now, math.inf
        elif owner.under_way is None and max(commit_at, owner.budget.grant_due_at(owner.now)) <= owner.now:
            owner.happen("prepare")
            stands_at = owner.now + commit_seconds
        else:
            owner.now = min(
                at for at in (owner.budget.available_at(owner.now), owner.budget.grant_due_at(owner.now), stands_at, until) if at > owner.now
            )


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
