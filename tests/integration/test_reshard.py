"""Resharding on a real Kafka: what moves, who may own what meanwhile, whatever ends it on the way; and a fleet that runs while it happens."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiokafka.structs import TopicPartition
from msgspec.structs import replace

from poller.cli import OK, UNUSABLE
from poller.config import KafkaSettings
from poller.core.ownership import partition_of
from poller.core.reshard import OWNER, Moved, Preparing, divided
from poller.errors import CheckpointsMoved, Fenced, LogError, LogRefused, LogUnavailable
from poller.kafka import reshard
from poller.kafka.log import KafkaLog
from poller.kafka.record import OWNERSHIP_KEY, Limits, decode_said, encode_checkpoint, encode_said
from poller.kafka.reshard import Change, Outcome, Partition, Resharding, Writer
from poller.kafka.reshard import writing as writing_as
from poller.model import Assigned, Batch, Checkpoint, Confirmed, CustomerId, Feed, Learned, Ledger, Ownership
from tests.integration.kafka_worlds import (
    SESSION_SECONDS,
    SETTLED_LOOK_SECONDS,
    SETTLED_LOOKS_MAX,
    URL,
    KafkaWorld,
    Watcher,
    activity,
    appended,
    batch,
    ownership,
    prepared,
)
from tests.support.processes import Deployment, busy, inherited, one_error, served
from tests.support.topics import all_published, reading, within_budget, writing
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

CUSTOMERS = [CustomerId(f"cust_{number}") for number in range(40)] + [CustomerId("ü/c")]
CALLS_PER_MINUTE = 600

Contents = list[dict[bytes, bytes]]
"""Of each partition: the last value of each key."""


class Divided:
    """A deployment whose checkpoints stand in so many partitions."""

    def __init__(self, kafka: str, partitions: int) -> None:
        self.world = KafkaWorld(kafka)
        self.partitions = partitions
        self.settings = self.world.settings(
            checkpoint_partitions=partitions, activities_partitions=1, session_seconds=0.2
        )  # nobody is a member
        self.origin = self.settings.checkpoints_topic
        self.to = f"{self.origin}.new"

    async def begun(self) -> "Divided":
        """Each customer was read, and each partition is owned."""
        await prepared(KafkaLog(self.settings, URL, anyio.current_time))
        tps = [TopicPartition(self.origin, partition) for partition in range(self.partitions)]
        values = self.expected(self.partitions)
        changes = [(tp, key, value) for tp, of_it in zip(tps, values, strict=True) for key, value in of_it.items()]
        async with writing_as(self.settings, 0, Limits()) as writer:
            await writer.commit([*changes, *((tp, OWNERSHIP_KEY, encode_said(self.owned(tp.partition))) for tp in tps)])
        return self

    def read(self, customer: str, partition: int) -> Batch:
        return batch(customer, activity(f"a of {customer}"), partition=partition, cursor_ms=1000 + len(customer))

    def owned(self, partition: int) -> Ownership:
        plain = ownership(self.world, partitions=self.partitions, level=1.5)
        return replace(plain, owner=f"pod-{partition}", learned=Learned(price=2.0), feed=Feed(read_to_ms=5) if partition == 0 else None)

    def moving(self, partitions: int, kind: type[Resharding] = Resharding, **others: Any) -> Resharding:
        return kind(self.settings, others.pop("to", self.to), partitions, **others)

    def log(self, partitions: int) -> KafkaLog:
        """Of a poller with the new settings."""
        settings = self.world.settings(checkpoints_topic=self.to, checkpoint_partitions=partitions)
        return KafkaLog(settings, URL, anyio.current_time)

    async def contents(self, topic: str, partitions: int, *, settled: bool = True) -> Contents:
        """As readers see it, without what `Partition` makes of it, once no transaction is open; not `settled`: one was left so."""
        found: Contents = [{} for _ in range(partitions)]
        servers = self.world.bootstrap_servers
        async with reading(servers, topic) as reader, reading(servers, topic, "read_uncommitted") as sent:
            for _ in range(SETTLED_LOOKS_MAX if settled else 0):
                if await reader.ends() == await sent.ends():
                    break
                await anyio.sleep(SETTLED_LOOK_SECONDS)
            for record in await reader.read():
                assert record.key is not None
                found[record.partition][record.key] = record.value  # type: ignore[assignment]
        return [{key: value for key, value in one.items() if value is not None} for one in found]

    async def said(self, topic: str, partitions: int, *, settled: bool = True) -> list[Any]:
        found = await self.contents(topic, partitions, settled=settled)
        return [OWNERSHIP_KEY in one and decode_said(one[OWNERSHIP_KEY]) for one in found]

    def expected(self, partitions: int) -> Contents:
        values: Contents = [{} for _ in range(partitions)]
        for customer in CUSTOMERS:
            checkpoint = self.read(customer, 0).checkpoint
            assert checkpoint is not None
            values[partition_of(customer, partitions)][customer.encode()] = encode_checkpoint(checkpoint)
        return values


def checkpoints_in(contents: Contents) -> Contents:
    return [{key: value for key, value in one.items() if key != OWNERSHIP_KEY} for one in contents]


# ------------------------------------------------------------------------------------------------------------------ what moves


@pytest.mark.parametrize(("old", "new"), [(1, 4), (4, 2)])
async def test_each_checkpoint_is_in_its_new_partition_byte_for_byte_and_the_old_ones_are_marked(kafka: str, old: int, new: int) -> None:
    divided_so = await Divided(kafka, old).begun()
    owned = [divided_so.owned(partition) for partition in range(old)]
    before = await divided_so.contents(divided_so.origin, old)

    outcome = await divided_so.moving(new).run()

    found = await divided_so.contents(divided_so.to, new)
    assert checkpoints_in(found) == divided_so.expected(new)
    begin = divided(owned, [len(one) - 1 for one in before], new)
    assert await divided_so.said(divided_so.to, new) == begin
    assert await divided_so.said(divided_so.origin, old) == [Moved(divided_so.to, new, one) for one in owned]
    assert checkpoints_in(await divided_so.contents(divided_so.origin, old)) == checkpoints_in(before)
    each = tuple(map(len, divided_so.expected(new)))
    assert outcome == Outcome("moved", divided_so.origin, old, divided_so.to, new, len(CUSTOMERS), each, old, len(CUSTOMERS))
    settings = (await divided_so.world.configs(divided_so.origin), await divided_so.world.configs(divided_so.to))
    assert settings[0] == settings[1]


async def test_pollers_go_on_from_the_new_topic_and_never_again_from_the_old_one(kafka: str) -> None:
    moved = await Divided(kafka, 1).begun()
    old = await prepared(moved.world.log())
    async with old.open(0) as owner:
        await moved.moving(2).run()
        with pytest.raises(Fenced):
            await owner.append([batch("cust_1", activity("late"))], moved.owned(0))
    named = f"POLLER_KAFKA_CHECKPOINTS_TOPIC={moved.to} and POLLER_KAFKA_CHECKPOINT_PARTITIONS=2"
    with pytest.raises(CheckpointsMoved, match=named):
        await appended(old, 0)
    with pytest.raises(CheckpointsMoved, match=named):
        await moved.world.log().prepare()

    new = await prepared(moved.log(2))
    restored = [(await opened(new, partition)) for partition in range(2)]
    again = await moved.moving(2).run()

    assert {customer for one in restored for customer in one} == set(CUSTOMERS)
    assert (again.state, again.written, again.stopped) == ("was moved already", 0, 0)


async def opened(log: KafkaLog, partition: int) -> Mapping[CustomerId, Checkpoint]:
    """What is restored, by whoever then owns it."""
    async with log.open(partition) as writer:
        restored = dict(writer.restored.checkpoints)
        assert writer.restored.ownership is not None
        await writer.append((), replace(writer.restored.ownership, owner="a new pod"))
    return restored


async def test_nobody_may_own_the_new_topic_before_the_last_call_of_an_old_member_is_over(kafka: str) -> None:
    divided_so = await Divided(kafka, 1).begun()
    divided_so.settings = replace(divided_so.settings, session_seconds=SESSION_SECONDS)
    handed_over_at: list[float] = []

    class Timed(Resharding):
        async def _hand_over(self, writer: Writer) -> None:
            handed_over_at.append(anyio.current_time())
            await super()._hand_over(writer)

    member, leave = Watcher(), anyio.Event()
    async with one_error(), anyio.create_task_group() as tasks:
        await tasks.start(partial(member.watch, divided_so.world.log(), leave=leave))
        await until(lambda: member.owned == {0} and member.confirmed_at > 0, within_seconds=10)
        outcome = await divided_so.moving(2, Timed).run()
        leave.set()

    expelled = member.events.index(Assigned(frozenset()))
    confirmed_at = max(event.at for event in member.events[:expelled] if isinstance(event, Confirmed))
    assert outcome.stopped == 1
    assert handed_over_at[0] - confirmed_at >= SESSION_SECONDS / 2


# ------------------------------------------------------------------------------------------------------- what ends it on the way


class Killed(Exception):
    """In the midst of it."""


async def killed() -> None:
    raise Killed


@asynccontextmanager
async def killed_at(number: int, when: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Whoever resharded has gone before, amidst (all is sent), or after its commit of this number; if there is one."""
    commit, commits = Writer.commit, [0]

    async def committed(self: Writer, changes: Sequence[Change]) -> None:
        commits[0] += 1
        if commits[0] == number and when == "before":
            raise Killed
        if commits[0] == number and when == "amidst":
            self._producer.commit_transaction = killed  # type: ignore[method-assign]
        await commit(self, changes)
        if commits[0] == number:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Writer, "commit", committed)
        with suppress(LogUnavailable):
            yield


async def may_be_owned(divided_so: Divided, new: int, *, settled: bool = True) -> tuple[bool, bool]:
    """Whether any old partition may be owned, and any new one."""
    old = await divided_so.said(divided_so.origin, divided_so.partitions, settled=settled)
    found = await divided_so.said(divided_so.to, new, settled=settled)
    return any(isinstance(said, Ownership) for said in old), any(isinstance(said, Ownership) for said in found)


async def topics(divided_so: Divided) -> list[str]:
    async with divided_so.world.admin() as admin:
        return list(await admin.list_topics())


async def test_wherever_it_is_killed_to_do_the_same_again_ends_in_the_same(kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Amidst each commit, and after it."""
    divided_so = await Divided(kafka, 2).begun()
    monkeypatch.setattr(reshard, "TRANSACTION_RECORDS_MAX", 25)
    states = []
    for when in ("amidst", "after") * 6:
        async with killed_at(1, when, monkeypatch):
            await divided_so.moving(3).run()
        states.append(await may_be_owned(divided_so, 3, settled=when == "after"))
    outcome = await divided_so.moving(3).run()

    # Marks of the new, two of the old, two parts of the checkpoints, and the handing over.
    assert states == [(True, False)] * 5 + [(False, False)] * 6 + [(False, True)]
    assert outcome.state == "was moved already"
    assert checkpoints_in(await divided_so.contents(divided_so.to, 3)) == divided_so.expected(3)
    begin = divided([divided_so.owned(0), divided_so.owned(1)], list(map(len, divided_so.expected(2))), 3)
    assert await divided_so.said(divided_so.to, 3) == begin


async def test_nobody_may_own_what_is_not_yet_whole(kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    divided_so = await Divided(kafka, 1).begun()
    async with killed_at(3, "before", monkeypatch):
        await divided_so.moving(2).run()
    new = await prepared(divided_so.log(2))

    for partition in range(2):
        with pytest.raises(LogRefused, match="nobody may own it before all of topic") as refused:
            await appended(new, partition)
        assert not isinstance(refused.value, CheckpointsMoved), "it is to be tried again"


async def test_an_owner_that_comes_back_before_its_mark_is_fenced_again(kafka: str) -> None:
    divided_so = await Divided(kafka, 1).begun()
    old = await prepared(divided_so.world.log())
    late = batch("late", activity("late"))

    class Slow(Resharding):
        async def _replace(self, partition: Partition, said: Any, writer: Writer) -> None:
            if not came_back:
                came_back.append(True)
                await appended(old, 0, ([late], divided_so.owned(0)))
            await super()._replace(partition, said, writer)

    came_back: list[bool] = []
    outcome = await divided_so.moving(2, Slow).run()

    values = [one[b"late"] for one in await divided_so.contents(divided_so.to, 2) if b"late" in one]
    assert late.checkpoint is not None
    assert (outcome.customers, values) == (len(CUSTOMERS) + 1, [encode_checkpoint(late.checkpoint)])


async def test_what_an_owner_commits_in_its_last_moment_moves_too(kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything was read, and it is not yet fenced."""
    divided_so = await Divided(kafka, 1).begun()
    old = await prepared(divided_so.world.log())
    late, fence = batch("late", activity("late")), reshard.writing
    spent = replace(divided_so.owned(0), ledger=Ledger(level=-3.0, cycle="2024-05-01", cycle_spent=10))

    async with old.open(0) as owner:

        @asynccontextmanager
        async def fencing(settings: KafkaSettings, as_: Any, limits: Limits) -> AsyncIterator[Writer]:
            if as_ == 0:
                await owner.append([late], spent)
            async with fence(settings, as_, limits) as writer:
                yield writer

        monkeypatch.setattr(reshard, "writing", fencing)
        outcome = await divided_so.moving(2).run()

    assert outcome.customers == len(CUSTOMERS) + 1
    assert await divided_so.said(divided_so.origin, 1) == [Moved(divided_so.to, 2, spent)]
    assert sum(b"late" in one for one in await divided_so.contents(divided_so.to, 2)) == 1


async def test_of_two_at_once_one_ends_it_and_the_other_writes_nothing_more(kafka: str) -> None:
    divided_so = await Divided(kafka, 1).begun()

    class Overtaken(Resharding):
        async def _stop_owners(self) -> float:
            await divided_so.moving(2).run()
            await opened(await prepared(divided_so.log(2)), 0)
            return await super()._stop_owners()

    with pytest.raises(LogUnavailable, match="another `poller reshard` is at it"):
        await divided_so.moving(2, Overtaken).run()

    assert [said.owner for said in await divided_so.said(divided_so.to, 2)] == ["a new pod", OWNER]


async def test_what_somebody_else_writes_meanwhile_is_noticed_and_put_right_by_the_next(
    kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    divided_so = await Divided(kafka, 1).begun()
    monkeypatch.setattr(reshard, "SEEN_SECONDS_MAX", 0.3)

    class Disturbed(Resharding):
        async def _seen(self, partition: Partition, as_wanted: Any) -> None:
            if partition.tp == TopicPartition(divided_so.to, 0):
                async with writing(kafka) as producer:
                    await producer.send_and_wait(divided_so.to, b"{}", key=b"a stranger", partition=0)
            await super()._seen(partition, as_wanted)

    with pytest.raises(LogRefused, match="somebody else writes to it"):
        await divided_so.moving(2, Disturbed).run()
    assert await may_be_owned(divided_so, 2) == (False, False)
    await divided_so.moving(2).run()

    assert checkpoints_in(await divided_so.contents(divided_so.to, 2)) == divided_so.expected(2)


# ------------------------------------------------------------------------------------------------------------- taking it back


async def test_it_is_taken_back_to_the_byte_until_a_poller_has_owned_the_new_topic(kafka: str) -> None:
    divided_so = await Divided(kafka, 2).begun()
    before = await divided_so.contents(divided_so.origin, 2)
    await divided_so.moving(3).run()

    looked = await divided_so.moving(3).look(undo=True)
    undone = await divided_so.moving(3).undo()

    assert (looked.state, undone.state) == ("would be undone", "undone")
    assert await divided_so.contents(divided_so.origin, 2) == before
    assert await divided_so.said(divided_so.to, 3) == [Preparing(divided_so.origin, 3)] * 3
    with pytest.raises(LogRefused, match="there is nothing to take back"):
        await divided_so.moving(3).undo()

    old = await prepared(divided_so.world.log(partitions=2))
    late = batch("late", activity("late"), partition=partition_of(CustomerId("late"), 2))
    await appended(old, late.partition, ([late], divided_so.owned(late.partition)))
    assert (await divided_so.moving(3).run()).written == 1
    await opened(await prepared(divided_so.log(3)), 2)
    with pytest.raises(LogRefused, match="is owned by a new pod since"):
        await divided_so.moving(3).undo()


async def test_wherever_taking_it_back_is_killed_nobody_owns_both_and_it_goes_on_either_way(
    kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    divided_so = await Divided(kafka, 2).begun()
    before = await divided_so.contents(divided_so.origin, 2)
    await divided_so.moving(3).run()
    states = []
    for when in ("after", "after", "after", "amidst", "after"):
        async with killed_at(1, when, monkeypatch):
            await divided_so.moving(3).undo()
        states.append(await may_be_owned(divided_so, 3, settled=when == "after"))
    await divided_so.moving(3).undo()

    assert states == [(False, True)] * 2 + [(False, False)] * 2 + [(True, False)]
    assert await divided_so.contents(divided_so.origin, 2) == before


async def test_half_taken_back_it_may_be_gone_on_with_and_what_was_owned_meanwhile_stays(
    kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    divided_so = await Divided(kafka, 1).begun()
    await divided_so.moving(2).run()
    async with killed_at(1, "after", monkeypatch):
        await divided_so.moving(2).undo()
    log = await prepared(divided_so.log(2))
    async with log.open(1) as writer:
        await writer.append([batch("newer", activity("newer"), partition=1)], replace(divided_so.owned(1), owner="a new pod", partitions=2))

    outcome = await divided_so.moving(2).run()

    assert (outcome.state, outcome.written) == ("moved", 0)
    assert [said.owner for said in await divided_so.said(divided_so.to, 2)] == [OWNER, "a new pod"]
    assert b"newer" in (await divided_so.contents(divided_so.to, 2))[1]


# ------------------------------------------------------------------------------------------------------------------- refusals


async def test_what_cannot_be_done_is_refused_before_anything_is_changed(kafka: str) -> None:
    divided_so = await Divided(kafka, 2).begun()
    async with writing(kafka) as producer:
        await divided_so.world.create(f"{divided_so.origin}.taken", {"cleanup.policy": "compact"}, partitions=3)
        await producer.send_and_wait(f"{divided_so.origin}.taken", b"{}", key=b"cust_1")
    before = await divided_so.contents(divided_so.origin, 2)

    async def refused(partitions: int, **others: Any) -> str:
        with pytest.raises(LogError) as error:
            await divided_so.moving(partitions, **others).run()
        return str(error.value)

    assert "has 2 partitions as it is" in await refused(2)
    assert "holds records that are not of this move" in await refused(3, to=f"{divided_so.origin}.taken")
    assert "has 3 partitions, not 4" in await refused(4, to=f"{divided_so.origin}.taken")
    assert "is the topic that is left" in await refused(3, to=divided_so.origin)
    assert "there is no topic" in await refused(3, kind=Nowhere)
    assert (await divided_so.moving(3).look()).state == "would be moved"
    assert await divided_so.contents(divided_so.origin, 2) == before
    assert divided_so.to not in await topics(divided_so)


class Nowhere(Resharding):
    """From a topic that is missing."""

    def __init__(self, settings: Any, *others: Any) -> None:
        super().__init__(replace(settings, checkpoints_topic="nowhere"), *others)


async def test_a_customer_with_two_checkpoints_is_named(kafka: str) -> None:
    divided_so = await Divided(kafka, 2).begun()
    async with writing(kafka) as producer:
        for partition in range(2):
            await producer.send_and_wait(divided_so.origin, b"{}", key=b"twice", partition=partition)

    with pytest.raises(LogRefused, match="holds 'twice' in two partitions"):
        await divided_so.moving(3).run()


# -------------------------------------------------------------------------------------------------------------- a running fleet


class Operator:
    """Who runs `poller reshard` with the settings of a deployment."""

    def __init__(self, pollers: Deployment) -> None:
        names = ("kafka_bootstrap_servers", "kafka_application_id", "kafka_activities_topic", "kafka_session_seconds")
        self._environment = {**inherited(), **{f"POLLER_{name.upper()}": str(pollers.settings[name]) for name in names}}

    def begins(self, *arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "poller", "reshard", *arguments]
        return subprocess.Popen(command, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    async def does(self, *arguments: str) -> str:
        """What stands on standard output."""
        process = self.begins(*arguments)
        out, err = await anyio.to_thread.run_sync(process.communicate)
        assert process.returncode == OK, err
        return out


async def test_a_running_fleet_is_told_to_stop_and_a_new_one_goes_on_without_loss_repetition_or_a_call_too_many(
    kafka: str, tmp_path: Path
) -> None:
    async with (
        one_error(),
        served(busy(late_seconds_max=1.0)) as api,
        Deployment(kafka, api.url, api.simulator.customers, tmp_path, calls_per_minute=CALLS_PER_MINUTE) as pollers,
    ):
        operator = Operator(pollers)
        owner, standby = pollers.start(), pollers.start()
        await until(lambda: owner.count("published") + standby.count("published") > 5, within_seconds=20)
        origin, to = f"{pollers.name}.checkpoints", f"{pollers.name}.checkpoints.4"

        first = operator.begins("--partitions", "4")
        await until(lambda: is_left(kafka, origin), within_seconds=15)
        first.kill()  # most likely while it waits for the last call to be over
        first.communicate()

        for replica in (owner, standby):
            assert await replica.ended(within_seconds=30) == UNUSABLE
            assert f"POLLER_KAFKA_CHECKPOINTS_TOPIC={to} and POLLER_KAFKA_CHECKPOINT_PARTITIONS=4" in replica.output()
        moved = json.loads(await operator.does("--partitions", "4", "--json"))
        settings = {"kafka_checkpoints_topic": to, "kafka_checkpoint_partitions": 4}
        assert moved["settings"] == {f"POLLER_{name.upper()}": str(value) for name, value in settings.items()}
        late, *new = pollers.start(), pollers.start(**settings), pollers.start(**settings)
        for replica in new:
            await replica.active()
        assert await late.ended() == UNUSABLE
        assert (late.count("assigned"), sum(replica.count("partition_failed") for replica in new)) == (0, 0), (
            "who starts too late is in nobody's way"
        )

        async with reading(kafka, pollers.name) as reader:
            await all_published(reader, api.simulator, within_seconds=20)
        assert within_budget(api.simulator, CALLS_PER_MINUTE, partitions=4)


async def is_left(kafka: str, topic: str) -> bool:
    async with reading(kafka, topic) as reader:
        records = await reader.read()
    return any(record.key == OWNERSHIP_KEY and isinstance(decode_said(record.value or b""), Moved) for record in records)
