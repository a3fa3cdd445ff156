from collections import Counter
from typing import Any

import anyio
import pytest

from poller.errors import LogRefused, LogUnavailable
from poller.kafka.memory import Faults, Group, Member, MemoryKafka, MemoryLog, share
from poller.model import (
    Activity,
    ActivityId,
    Assigned,
    Batch,
    Checkpoint,
    Confirmed,
    CustomerId,
    Ledger,
    MembershipEvent,
    Ownership,
    Rebalancing,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(virtual_time: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return virtual_time


OWNERSHIP = Ownership(
    application_id="voucherify-activity-poller",
    url="https://api.voucherify.io",
    endpoint="activities",
    partitions=1,
    watched_hash="",
    owner="",
    ledger=Ledger(level=0.0),
)


def batch(id: str) -> Batch:
    activity = Activity(ActivityId(id), "customer.created", "2024-05-01T12:00:00Z", 1714564800000, b"{}")
    return Batch(customer=CustomerId("cust_1"), partition=0, base=None, checkpoint=Checkpoint(1, {id: 1}), records=(activity,))


# ----------------------------------------------------------------------------------------------------------------- group


@pytest.mark.parametrize(
    ("partitions", "owned", "shares"),
    [
        (4, [], []),
        (4, [set()], [{0, 1, 2, 3}]),
        (4, [{0, 1, 2, 3}, set()], [{0, 1}, {2, 3}]),
        (4, [set(), {2, 3}], [{0, 1}, {2, 3}]),
        (1, [set(), {0}], [set(), {0}]),
        (3, [{0, 1}, set(), {2}], [{0}, {1}, {2}]),
        (4, [{0, 1}, {2, 3}, set()], [{0}, {2, 3}, {1}]),
    ],
)
def test_partitions_are_shared_evenly_and_stay_where_they_are_if_they_can(
    partitions: int, owned: list[set[int]], shares: list[set[int]]
) -> None:
    assert share(partitions, [frozenset(one) for one in owned]) == shares


def member() -> Member:
    return Member(lambda: 0.0)


def taken(one: Member) -> list[MembershipEvent]:
    events: list[MembershipEvent] = [event for event in one.events if not isinstance(event, Confirmed)]
    one.events.clear()
    return events


def test_members_learn_of_a_rebalance_at_their_next_heartbeat_and_it_ends_when_all_have_joined() -> None:
    group, first, second = Group(partitions=2, session_seconds=10), member(), member()
    group.join(first, 0)
    assert taken(first) == [Rebalancing(), Assigned(frozenset({0, 1}))]

    group.join(second, 1)
    assert (taken(first), taken(second)) == ([], [Rebalancing()])

    group.heartbeat(first, 2)
    assert (taken(first), taken(second)) == ([Rebalancing(), Assigned(frozenset({0}))], [Assigned(frozenset({1}))])


def test_a_silent_member_keeps_its_partitions_until_its_session_is_over() -> None:
    group, silent, other = Group(partitions=1, session_seconds=10), member(), member()
    group.join(silent, 0)
    group.join(other, 1)
    group.heartbeat(other, 10)
    assert taken(other) == [Rebalancing()]

    group.heartbeat(other, 10.1)
    assert taken(other) == [Assigned(frozenset({0}))]

    taken(silent)
    group.heartbeat(silent, 11)
    group.heartbeat(other, 12)
    assert taken(silent) == [Assigned(frozenset()), Rebalancing(), Assigned(frozenset())]


def test_no_heartbeat_is_confirmed_while_a_rebalance_is_under_way() -> None:
    group, first, second = Group(partitions=1, session_seconds=10), member(), member()
    group.join(first, 0)
    group.join(second, 0)
    second.events.clear()
    group.heartbeat(second, 1)

    assert list(second.events) == []


# --------------------------------------------------------------------------------------------------------------- process


async def test_a_killed_process_is_a_member_until_its_session_is_over_and_commits_nothing() -> None:
    kafka = MemoryKafka(session_seconds=10)
    dying, standing_by = MemoryLog(kafka, anyio.current_time), MemoryLog(kafka, anyio.current_time)
    async with dying.join(), dying.open(0) as writer:
        dying.kill()
        with pytest.raises(LogUnavailable):
            await writer.append([batch("a1")], OWNERSHIP)
    started = anyio.current_time()
    async with standing_by.join() as events:
        async for event in events:
            if event == Assigned(frozenset({0})):
                break

    assert 9 <= anyio.current_time() - started <= 12
    assert kafka.read_committed("activities") == []


async def test_a_process_that_leaves_is_followed_at_once() -> None:
    kafka = MemoryKafka(session_seconds=10)
    leaving, standing_by = MemoryLog(kafka, anyio.current_time), MemoryLog(kafka, anyio.current_time)
    async with leaving.join():
        pass
    started = anyio.current_time()
    async with standing_by.join() as events:
        assert [await anext(events) for _ in range(2)] == [Rebalancing(), Assigned(frozenset({0}))]

    assert anyio.current_time() == started


async def test_each_append_is_whole_or_not_at_all_whatever_fails() -> None:
    kafka = MemoryKafka(commit_seconds=0.02, faults=Faults(before_commit=0.2, after_commit=0.2, open=0.2), seed=3)
    log = MemoryLog(kafka, anyio.current_time)
    for number in range(200):
        held = batch(f"a{number}")
        while True:
            try:
                async with log.open(0) as writer:
                    if writer.restored.checkpoints.get(held.customer) != held.checkpoint:
                        await writer.append([held], OWNERSHIP)
                    break
            except LogUnavailable:
                continue
    counts = Counter(dict(record.headers)["ce_id"] for record in kafka.read_committed("activities"))

    assert len(counts) == 200
    assert set(counts.values()) == {1}


async def test_a_refusal_can_be_played() -> None:
    kafka = MemoryKafka()
    kafka.refusing = "no permission"

    with pytest.raises(LogRefused, match="no permission"):
        await MemoryLog(kafka, anyio.current_time).prepare()


async def test_an_outage_ends_by_itself_and_sessions_outlast_it() -> None:
    kafka = MemoryKafka(session_seconds=10)
    log = MemoryLog(kafka, anyio.current_time)
    async with log.join() as events:
        assert [await anext(events) for _ in range(3)] == [Rebalancing(), Assigned(frozenset({0})), Confirmed(0.0)]
        await anext(events)
        kafka.break_down(seconds=60)
        broken_at = anyio.current_time()
        with pytest.raises(LogUnavailable):
            await log.prepare()
        event = await anext(events)

        assert isinstance(event, Confirmed)
        assert 60 <= event.at - broken_at <= 61


async def test_what_was_committed_is_told_with_its_instant() -> None:
    kafka = MemoryKafka(commit_seconds=0.5)
    async with MemoryLog(kafka, anyio.current_time).open(0) as writer:
        opened_at = anyio.current_time()
        await writer.append([batch("a1")], OWNERSHIP)

    assert [at - opened_at for at, _ in kafka.read_timed("activities")] == [0.25]
    assert kafka.read_committed("checkpoints", start=1) == kafka.read_committed("checkpoints")[1:]
