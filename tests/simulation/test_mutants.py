"""The judges can see: with any one safeguard taken away, a judge objects."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from poller.core import dedupe
from poller.core.budget import Budget, Terms
from poller.core.engine import Engine
from poller.core.freshness import Freshness, Place
from poller.core.policy import Policy
from poller.errors import LogUnavailable, SourceError
from poller.kafka.memory import MemoryLog, MemoryWriter
from poller.kafka.record import Destination, records_of
from poller.model import Batch, Fetch, Ledger, Ownership
from tests.support import judges
from tests.support.world import Objection, Plan, World, run, run_in

PLAN = Plan(seed=11, hours=1.0, kills=8, commit_failures=0.1)
FAILING_PLAN = Plan(seed=11, hours=1.0, kills=0, rebalances=0, outages=0, commit_failures=0)
CALM_PLAN = Plan(seed=13, hours=0.5, kills=0, rebalances=0, outages=0, call_failures=0, commit_failures=0)


@contextmanager
def swapped(owner: Any, name: str, mutant: Any) -> Iterator[None]:
    whole = owner.__dict__[name]
    setattr(owner, name, mutant)
    try:
        yield
    finally:
        setattr(owner, name, whole)


class NoLookback(World):
    def policy(self) -> Policy:
        return msgspec.structs.replace(super().policy(), lookback_ms=0)


def test_without_a_lookback_something_is_lost() -> None:
    world = run_in(NoLookback, PLAN)

    with pytest.raises(Objection, match="lost [1-9]"):
        world.judge_safety()


def test_without_recent_ids_something_is_published_twice() -> None:
    with swapped(dedupe, "forget", lambda recent, cursor_ms: ({}, cursor_ms, 0)):
        world = run(PLAN)

    with pytest.raises(Objection, match="twice [1-9]"):
        world.judge_safety()


def test_a_checkpoint_that_moves_though_nothing_was_committed_loses_something() -> None:
    append = MemoryWriter.append

    async def believing(writer: MemoryWriter, batches: Sequence[Batch], ownership: Ownership) -> None:
        try:
            await append(writer, batches, ownership)
        except LogUnavailable:
            writer._usable = True

    with swapped(MemoryWriter, "append", believing):
        world = run(PLAN)

    with pytest.raises(Objection, match="lost [1-9]"):
        world.judge_safety()


@contextmanager
def in_two_transactions() -> Iterator[None]:
    """The checkpoints first, and then all of it."""
    commit = MemoryLog.commit

    async def in_two(log: MemoryLog, partition: int, epoch: int, batches: Sequence[Batch], ownership: Ownership) -> None:
        records = records_of(batches, ownership, Destination(partition=partition, source_url=log._source_url, limits=log.kafka.limits))
        log.kafka.commit(partition, epoch, [record for record in records if record.topic == "checkpoints"])
        await commit(log, partition, epoch, batches, ownership)

    with swapped(MemoryLog, "commit", in_two):
        yield


def test_records_and_checkpoint_in_two_transactions_lose_something() -> None:
    with in_two_transactions():
        world = run(PLAN)

    with pytest.raises(Objection, match="lost [1-9]"):
        world.judge_safety()


def forgetful(engine: Engine, fetch: Fetch, _error: SourceError, _now: float) -> None:
    engine._landed(fetch)


def test_a_failed_call_that_forgets_its_customer_loses_something() -> None:
    with swapped(Engine, "fetch_failed", forgetful):
        world = run(FAILING_PLAN)

    with pytest.raises(Objection):
        world.judge_safety()


CYCLE_PLAN = Plan(seed=12, hours=1.4, kills=12, outages=0, customers=4, calls_per_cycle=120, cycle_hours=2)


def test_restarts_do_not_spend_a_cycle_twice() -> None:
    world = run(CYCLE_PLAN)

    world.judge_budget()
    assert len(world.simulator.calls) > 0.8 * 120


def test_a_budget_that_is_forgotten_at_a_restart_is_overspent() -> None:
    restore: Callable[[Terms, Ledger | None, float], Budget] = Budget.restore

    def anew(_cls: type[Budget], terms: Terms, _ledger: Ledger | None, now: float) -> Budget:
        return restore(terms, Ledger(level=terms.capacity), now)

    with swapped(Budget, "restore", classmethod(anew)):
        world = run(CYCLE_PLAN)

    with pytest.raises(Objection, match="calls in a cycle of 120"):
        world.judge_budget()


def test_the_same_plans_without_a_mutant_satisfy_every_judge() -> None:
    """Or an objection to a mutant would say nothing."""
    for plan in (PLAN, FAILING_PLAN, CYCLE_PLAN, CALM_PLAN):
        run(plan).judge()


def test_a_checkpoint_in_another_transaction_than_its_records_is_seen_to_be_ahead_of_them() -> None:
    with in_two_transactions():
        world = run(PLAN)

    with pytest.raises(Objection, match="covers"):
        judges.judge_state(world)


def test_whoever_was_read_last_being_read_next_is_not_fresh() -> None:
    def last_first(places: Freshness, _now: float) -> Place:
        return next(place for place in reversed(places._places.values()) if place.entry)

    with swapped(Freshness, "_overdue", last_first):
        world = run(CALM_PLAN)

    with pytest.raises(Objection, match="delay"):
        world.judge_freshness()


def test_a_failed_call_that_forgets_its_customer_leaves_it_unread() -> None:
    with swapped(Engine, "fetch_failed", forgetful):
        world = run(FAILING_PLAN)

    with pytest.raises(Objection, match="no longer read"):
        world.judge_liveness()
