"""Two engines alternate as owners, and everything fails in every way: nothing twice, nothing lost, never over budget, never without a lease."""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from poller.errors import (
    CustomerUnknown,
    Forbidden,
    Limited,
    PlanExceeded,
    Redirected,
    Rejected,
    RouteGone,
    ServerFault,
    SourceError,
    TooLarge,
    Unauthorized,
    Undecodable,
    Unreachable,
)
from poller.model import PLAIN, WatchEntry
from tests.support.group import CUSTOMERS, LOOKBACK_SECONDS, Group, Outcome

ERRORS: tuple[SourceError, ...] = (
    Unreachable("refused"),
    ServerFault("502"),
    Undecodable("no list"),
    TooLarge("9 MB"),
    Limited("slow down", wait_seconds=3),
    Limited("until", until=1_010.0, server_time=1_000.0),
    Limited("of the cycle", kind="api_calls_cycle"),
    PlanExceeded(),
    Unauthorized(),
    Forbidden(),
    RouteGone(),
    Redirected(),
    CustomerUnknown(),
    Rejected(),
)

EXAMPLES = 200

PROCESSES = st.integers(0, 1)
NUMBERS = st.integers(0, 11)
OUTCOMES: tuple[Outcome, ...] = ("stands", "stands", "stands", "fails", "stands unheard")


class Engines(RuleBasedStateMachine):
    """The rules are what may happen; the invariants are what must hold after each."""

    partitions = 1
    calls_limit = 600.0

    def __init__(self) -> None:
        super().__init__()
        self.group = self.make_group()
        for number, customer in enumerate(CUSTOMERS):
            self.group.create(customer, number * 2, late=0.0)
        for partition in range(self.partitions):
            self.group.assign(partition % 2, partition)
        for index in (0, 1):
            self.group.confirm(index)
            self.group.turn(index)

    def make_group(self) -> Group:
        return Group(self.partitions, self.calls_limit)

    @rule(seconds=st.sampled_from((0.01, 0.3, 0.3, 1.0, 2.0, 4.0, 11.0, 70.0)))
    def time_passes(self, seconds: float) -> None:
        self.group.now += seconds

    @rule(seconds=st.sampled_from((0.5, 2.0)), turns=st.integers(1, 10))
    def all_goes_well_for_a_while(self, seconds: float, turns: int) -> None:
        for _ in range(turns):
            self.group.now += seconds
            for index in (0, 1):
                if self.group.now < self.group.processes[index].lease_until:
                    self.group.confirm(index)
                self.group.turn(index)

    @rule(customer=st.sampled_from(CUSTOMERS), count=st.integers(1, 9), late=st.sampled_from((0.0, 0.0, 2.0, LOOKBACK_SECONDS - 5)))
    def activities_happen(self, customer: Any, count: int, late: float) -> None:
        self.group.create(customer, count, late)

    @rule(index=PROCESSES)
    def a_heartbeat_is_answered(self, index: int) -> None:
        self.group.confirm(index)

    @rule(index=PROCESSES, times=st.integers(1, 4))
    def calls_are_ordered(self, index: int, times: int) -> None:
        for _ in range(times):
            self.group.order(index)

    @rule(index=PROCESSES, number=NUMBERS)
    def a_call_is_answered(self, index: int, number: int) -> None:
        self.group.answer(index, number)

    @rule(index=PROCESSES, number=NUMBERS, error=st.sampled_from(ERRORS))
    def a_call_fails(self, index: int, number: int, error: SourceError) -> None:
        self.group.fail(index, number, error)

    @rule(index=PROCESSES, number=NUMBERS)
    def a_commit_begins(self, index: int, number: int) -> None:
        self.group.begin_commit(index, number % self.partitions)

    @rule(index=PROCESSES, number=NUMBERS, outcome=st.sampled_from(OUTCOMES))
    def a_commit_ends(self, index: int, number: int, outcome: Outcome) -> None:
        self.group.end_commit(index, number % self.partitions, outcome)

    @rule(index=PROCESSES, number=NUMBERS, before=st.integers(0, 3), during=st.integers(0, 3), outcome=st.sampled_from(OUTCOMES))
    def a_commit_ends_while_calls_are_under_way(self, index: int, number: int, before: int, during: int, outcome: Outcome) -> None:
        self.calls_are_ordered(index, 3)
        for _ in range(before):
            self.group.answer(index, number)
        self.group.now += 0.2
        self.group.begin_commit(index, number % self.partitions)
        self.calls_are_ordered(index, 3)
        for _ in range(during):
            self.group.answer(index, number)
        self.group.end_commit(index, number % self.partitions, outcome)
        self.calls_are_ordered(index, 3)

    @rule(index=PROCESSES, number=NUMBERS)
    def a_partition_is_opened(self, index: int, number: int) -> None:
        self.group.open(index, number % self.partitions)

    @rule(index=PROCESSES, number=NUMBERS)
    def a_partition_is_taken_over(self, index: int, number: int) -> None:
        self.group.rebalance(index)
        if self.group.assign(index, number % self.partitions):
            self.group.confirm(index)
            self.group.open(index, number % self.partitions)

    @rule(index=PROCESSES, number=NUMBERS)
    def a_partition_is_let_go(self, index: int, number: int) -> None:
        self.group.rebalance(index)
        self.group.let_go(index, number % self.partitions)

    @rule(index=PROCESSES)
    def a_rebalance_begins(self, index: int) -> None:
        self.group.rebalance(index)

    @rule(index=PROCESSES, number=NUMBERS, seconds=st.sampled_from((5.0, 11.0)))
    def a_process_stalls_and_the_other_takes_over(self, index: int, number: int, seconds: float) -> None:
        self.group.now += seconds
        if self.group.assign(1 - index, number % self.partitions):
            self.group.confirm(1 - index)
            self.group.open(1 - index, number % self.partitions)
        self.group.order(index)

    @rule(index=PROCESSES)
    def a_process_is_killed(self, index: int) -> None:
        self.group.kill(index)

    @rule(watched=st.sets(st.sampled_from(CUSTOMERS)))
    def others_are_watched(self, watched: set[Any]) -> None:
        self.group.watch(watched)

    @rule(
        customers=st.sets(st.sampled_from(CUSTOMERS), min_size=1),
        how=st.sampled_from(("as others", "paused", "until before", "until soon", "forget", "no longer", "no longer")),
    )
    def the_watch_topic_says(self, customers: set[Any], how: str) -> None:
        now_ms = round(self.group.now * 1000)
        entries = {
            "as others": PLAIN,
            "paused": WatchEntry(paused=True),
            "until before": WatchEntry(until_ms=now_ms - 10_000),
            "until soon": WatchEntry(until_ms=now_ms + 5_000),
            "forget": WatchEntry(forget=True),
        }
        for customer in sorted(customers):
            self.group.say(customer, entries.get(how))

    @precondition(lambda self: self.group.watched != set(CUSTOMERS))
    @rule()
    def all_are_watched_again(self) -> None:
        self.group.watch(set(CUSTOMERS))

    @invariant()
    def all_is_in_order(self) -> None:
        self.group.check()

    def teardown(self) -> None:
        self.group.finish()

        assert self.group.most_calls_in_a_window() <= self.calls_limit
        assert self.group.gaps == 0


class EnginesOfFourPartitions(Engines):
    """Two processes share four partitions."""

    partitions = 4


class EnginesOfFewCalls(Engines):
    """Calls are always wanted, so that the budget decides."""

    calls_limit = 30.0


@pytest.mark.no_cover  # counting branches takes three times as long as the runs, and the unit tests reach them all
@pytest.mark.parametrize("machine", [Engines, EnginesOfFourPartitions, EnginesOfFewCalls])
def test_whatever_fails_nothing_is_published_twice_or_lost_and_no_call_is_made_beyond_the_budget_or_the_lease(
    machine: type[Engines],
) -> None:
    run_state_machine_as_test(machine, settings=settings(max_examples=EXAMPLES, stateful_step_count=60))
