"""Customers are rewound while everything fails in every way: each activity is new once, and again once in each replay that began after it was published."""

from typing import Any

import pytest
from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from poller.model import PLAIN, WatchEntry
from tests.property.test_engine import Engines
from tests.support.group import CUSTOMERS
from tests.support.rewinding import RewindingGroup

EXAMPLES = 100


class Rewinding(Engines):
    """What may happen to engines, and rewinds; the judge is `RewindingGroup`."""

    group: RewindingGroup

    def make_group(self) -> RewindingGroup:
        return RewindingGroup(self.partitions, self.calls_limit)

    @rule(
        customers=st.sets(st.sampled_from(CUSTOMERS), min_size=1, max_size=3),
        seconds=st.sampled_from((0.0, 1.0, 30.0, 200.0, 1e5)),
        missing_only=st.booleans(),
        delete=st.integers(0, 5),
    )
    def customers_are_rewound(self, customers: set[Any], seconds: float, missing_only: bool, delete: int) -> None:
        for customer in sorted(customers):
            self.group.rewind(customer, seconds, missing_only=missing_only, delete=delete)

    @rule(
        customers=st.sets(st.sampled_from(CUSTOMERS), min_size=1),
        how=st.sampled_from(("as before", "paused", "until before", "until soon")),
    )
    def the_watch_topic_says(self, customers: set[Any], how: str) -> None:
        """Nobody is forgotten: then all begins anew."""
        now_ms = round(self.group.now * 1000)
        until_ms = {"until before": now_ms - 10_000, "until soon": now_ms + 5_000}
        for customer in sorted(customers):
            rewind = self.group.said.get(customer, PLAIN).replay
            self.group.say(customer, WatchEntry(paused=how == "paused", until_ms=until_ms.get(how), replay=rewind))

    @rule(customers=st.sets(st.sampled_from(CUSTOMERS), min_size=1))
    def the_watch_topic_names_them_no_longer(self, customers: set[Any]) -> None:
        for customer in sorted(customers):
            self.group.say(customer, None)

    @rule()
    def a_look_up_is_answered(self) -> None:
        self.group.answer_lookup()

    def teardown(self) -> None:
        super().teardown()
        event(f"replays done: {min(self.group.done, 5)}")
        event(f"again: {min(10, sum(sum(one.again.values()) for one in self.group.expected.values()) // 5)}")


class RewindingFourPartitions(Rewinding):
    partitions = 4


@pytest.mark.no_cover  # as in test_engine.py
@pytest.mark.parametrize("machine", [Rewinding, RewindingFourPartitions])
def test_whatever_fails_each_activity_is_new_once_and_again_once_in_each_replay(machine: type[Rewinding]) -> None:
    run_state_machine_as_test(machine, settings=settings(max_examples=EXAMPLES, stateful_step_count=60))
