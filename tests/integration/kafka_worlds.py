"""What a contract test needs of a log's surroundings, twice: on the in-memory brokers, and on a real Kafka."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol, TypeVar
from uuid import uuid4

import anyio
import msgspec
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.protocol.group import HeartbeatRequest
from aiokafka.structs import TopicPartition

from poller.config import KafkaSettings
from poller.contracts import Log, Writer
from poller.demo.broker import Broker
from poller.errors import LogUnavailable
from poller.kafka.log import KafkaLog, KafkaWriter
from poller.kafka.memory import Hold, MemoryKafka, MemoryLog, MemoryWriter
from poller.kafka.record import Limits, Topic
from poller.model import (
    Activity,
    ActivityId,
    Assigned,
    Batch,
    Checkpoint,
    Confirmed,
    CustomerId,
    DeadLetter,
    Ledger,
    MembershipEvent,
    Ownership,
)
from tests.support.topics import administering, forget_members, reading, writing
from tests.support.waiting import until

URL = "https://api.example.com"
APPLICATION = "poller"
SESSION_SECONDS = 3.0
SomeLog = TypeVar("SomeLog", bound=Log)

SETTLED_LOOKS_MAX = 20
SETTLED_LOOK_SECONDS = 0.025
"""A transaction that readers still wait for after so many looks is one that was left open."""


class Seen(msgspec.Struct, frozen=True):
    """A record as a read_committed reader sees it."""

    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int | None = None


class World(Protocol):
    """A cluster of its own, and what a test does to it."""

    def log(
        self, *, application: str = APPLICATION, url: str = URL, partitions: int = 1, partition_by: Literal["key", "customer"] = "key"
    ) -> Log: ...
    def application_id(self, application: str = APPLICATION) -> str: ...
    async def committed(self, topic: Topic) -> list[Seen]: ...
    async def put(self, key: bytes, value: bytes | None) -> int:
        """Into the checkpoint topic's first partition, by somebody else's hand; the record's offset."""

    def fail_next(self, writer: Any, when: Literal["before", "after"]) -> None:
        """The next commit does not happen; or it does, and its answer is lost."""

    def fail_opening(self, log: Any, when: Literal["before", "after"]) -> None:
        """The next opening fails before it has fenced anybody, or after."""

    def hold(self, writer: Any) -> Hold:
        """The next append, with everything sent, waits before its commit."""

    def silence(self, log: Any, events: Any) -> Callable[[], None]:
        """Heartbeats are held back until what is returned is called."""

    async def expel(self) -> None:
        """All members, as if their sessions were over."""

    async def add_partitions(self, partitions: int) -> None: ...
    async def limit(self, limits: Limits) -> None:
        """Of topics that are not there yet."""

    async def refuse(self) -> None:
        """The topics are made such that something would be lost."""

    async def allow(self) -> None: ...
    async def delete_checkpoints(self) -> None: ...
    async def break_down(self) -> None:
        """No broker answers, until mended."""

    async def mend(self) -> None: ...


class MemoryWorld:
    def __init__(self) -> None:
        self.kafka = MemoryKafka(session_seconds=SESSION_SECONDS, commit_seconds=0.01)

    def application_id(self, application: str = APPLICATION) -> str:
        return application

    def log(
        self, *, application: str = APPLICATION, url: str = URL, partitions: int = 1, partition_by: Literal["key", "customer"] = "key"
    ) -> Log:
        assert partition_by in ("key", "customer")
        if self.kafka.partitions < partitions:
            self.kafka.add_partitions(partitions)
        return MemoryLog(self.kafka, anyio.current_time, application_id=application, source_url=url)

    async def committed(self, topic: Topic) -> list[Seen]:
        return [Seen(one.key, one.value, one.headers, one.partition) for one in self.kafka.read_committed(topic)]

    async def put(self, key: bytes, value: bytes | None) -> int:
        return self.kafka.put(0, key, value)

    def fail_next(self, writer: Any, when: Literal["before", "after"]) -> None:
        assert isinstance(writer, MemoryWriter)
        self.kafka.fates.append("fails before" if when == "before" else "fails after")

    def fail_opening(self, log: Any, when: Literal["before", "after"]) -> None:
        self.kafka.openings.append("fails before" if when == "before" else "fails after")

    def hold(self, writer: Any) -> Hold:
        assert isinstance(writer, MemoryWriter)
        self.kafka.hold = hold = Hold()
        return hold

    def silence(self, log: Any, events: Any) -> Callable[[], None]:
        assert isinstance(log, MemoryLog)
        log.stall()
        return lambda: log.stall(False)

    async def expel(self) -> None:
        for member in list(self.kafka.group.members):
            self.kafka.expel(member)

    async def add_partitions(self, partitions: int) -> None:
        self.kafka.add_partitions(partitions)

    async def limit(self, limits: Limits) -> None:
        self.kafka.limits = limits

    async def refuse(self) -> None:
        self.kafka.refusing = "cleanup.policy is 'delete'"

    async def allow(self) -> None:
        self.kafka.refusing = None

    async def delete_checkpoints(self) -> None:
        self.kafka.delete_checkpoints()

    async def break_down(self) -> None:
        self.kafka.break_down()

    async def mend(self) -> None:
        self.kafka.mend()


class KafkaWorld:
    """Topics and groups of their own on a shared broker."""

    def __init__(self, bootstrap_servers: str, own: Broker | None = None) -> None:
        """`own`: the broker, if nobody else uses it."""
        self.bootstrap_servers = bootstrap_servers
        self._own = own
        self.name = f"contract-{uuid4().hex[:8]}"

    def application_id(self, application: str = APPLICATION) -> str:
        return f"{self.name}-{application}"

    def settings(self, **others: Any) -> KafkaSettings:
        given: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap_servers,
            "application_id": self.application_id(),
            "activities_topic": self.name,
            "session_seconds": SESSION_SECONDS,
        }
        return KafkaSettings(**{**given, **others})

    def log(
        self, *, application: str = APPLICATION, url: str = URL, partitions: int = 1, partition_by: Literal["key", "customer"] = "key"
    ) -> KafkaLog:
        settings = self.settings(
            application_id=self.application_id(application), checkpoint_partitions=partitions, partition_by=partition_by
        )
        return KafkaLog(settings, url, anyio.current_time)

    async def committed(self, topic: Topic) -> list[Seen]:
        """As soon as no transaction is open, or as far as the first one that was left so: a commit returns before readers see it."""
        settings = self.settings()
        name = {
            "activities": settings.activities_topic,
            "checkpoints": settings.checkpoints_topic,
            "dead_letters": settings.dead_letters_topic,
        }[topic]
        servers = self.bootstrap_servers
        async with reading(servers, name) as reader, reading(servers, name, "read_uncommitted") as sent:
            for _ in range(SETTLED_LOOKS_MAX):
                if await reader.ends() == await sent.ends():
                    break
                await anyio.sleep(SETTLED_LOOK_SECONDS)
            return [Seen(one.key or b"", one.value or b"", tuple(one.headers), one.partition) for one in await reader.read()]

    async def put(self, key: bytes, value: bytes | None) -> int:
        async with writing(self.bootstrap_servers) as producer:
            put = await producer.send_and_wait(self.settings().checkpoints_topic, value, key=key, partition=0)
            return int(put.offset)

    def fail_next(self, writer: Any, when: Literal["before", "after"]) -> None:
        assert isinstance(writer, KafkaWriter)
        commit = writer._producer.commit_transaction

        async def failing() -> None:
            if when == "after":
                await commit()
            raise ConnectionResetError("the connection broke")

        writer._producer.commit_transaction = failing  # type: ignore[method-assign]

    def fail_opening(self, log: Any, when: Literal["before", "after"]) -> None:
        assert isinstance(log, KafkaLog)
        step = "_verify" if when == "before" else "_restore"

        async def failing(*_: Any) -> None:
            delattr(log, step)
            raise ConnectionResetError("the connection broke")

        setattr(log, step, failing)

    def hold(self, writer: Any) -> Hold:
        assert isinstance(writer, KafkaWriter)
        hold, commit = Hold(), writer._producer.commit_transaction

        async def held() -> None:
            hold.reached.set()
            await hold.over.wait()
            await commit()

        writer._producer.commit_transaction = held  # type: ignore[method-assign]
        return hold

    def silence(self, log: Any, events: Any) -> Callable[[], None]:
        client = events._consumer._client
        send, let_go = client.send, anyio.Event()

        async def held(node_id: Any, request: Any, **options: Any) -> Any:
            if isinstance(request, HeartbeatRequest):
                await let_go.wait()
            return await send(node_id, request, **options)

        client.send = held
        return let_go.set

    async def expel(self) -> None:
        await forget_members(self.bootstrap_servers, self.application_id())

    async def limit(self, limits: Limits) -> None:
        settings = self.settings()
        await self.create(settings.activities_topic, {"max.message.bytes": str(limits.activities_bytes_max)})
        await self.create(settings.dead_letters_topic, {"max.message.bytes": str(limits.dead_letters_bytes_max)})

    async def refuse(self) -> None:
        await self._clean_up("delete")

    async def allow(self) -> None:
        await self._clean_up("compact")

    async def _clean_up(self, policy: str) -> None:
        await self.alter(self.settings().checkpoints_topic, "cleanup.policy", policy)

    async def alter(self, topic: str, name: str, value: str) -> None:
        """One setting of a topic, behind everybody's back; on return the broker goes by it."""
        async with self.admin() as admin:
            await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {name: value})])
        await self._in_force(topic, {name: value})

    async def _in_force(self, topic: str, configs: Mapping[str, str]) -> None:
        async def known() -> bool:
            return configs.items() <= (await self.configs(topic)).items()

        await until(known, within_seconds=5)

    async def delete_checkpoints(self) -> None:
        await self.delete(self.settings().checkpoints_topic)

    async def delete(self, topic: str) -> None:
        async with self.admin() as admin:
            await admin.delete_topics([topic])

    async def break_down(self) -> None:
        assert self._own is not None
        await self._own.kill()

    async def mend(self) -> None:
        assert self._own is not None
        await self._own.start()

    async def add_partitions(self, partitions: int) -> None:
        async with self.admin() as admin:
            await admin.create_partitions({self.settings().checkpoints_topic: NewPartitions(partitions)})

    def admin(self) -> AbstractAsyncContextManager[AIOKafkaAdminClient]:
        return administering(self.bootstrap_servers)

    async def create(self, topic: str, configs: Mapping[str, str], partitions: int = 1) -> None:
        """On return the broker goes by these settings."""
        async with self.admin() as admin:
            response = await admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=dict(configs))])
            assert [code for _, code, *_ in response.topic_errors] == [0]  # type: ignore[attr-defined]
        await self._in_force(topic, configs)

    async def configs(self, topic: str) -> dict[str, str]:
        async with self.admin() as admin:
            (response,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
            return {entry[0]: entry[1] for entry in response.resources[0][4]}  # type: ignore[attr-defined]

    async def partitions(self, topic: str) -> int:
        async with self.admin() as admin:
            (described,) = await admin.describe_topics([topic])
            return len(described["partitions"])

    def tp(self, partition: int = 0) -> TopicPartition:
        return TopicPartition(self.settings().checkpoints_topic, partition)


def ownership(world: World, *, application: str = "poller", url: str = URL, partitions: int = 1, level: float = 0.1 + 0.2) -> Ownership:
    return Ownership(
        application_id=world.application_id(application),
        url=url,
        endpoint="activities",
        partitions=partitions,
        watched_hash="00ff",
        owner="pod-1",
        ledger=Ledger(level=level, cycle="2024-05-01", cycle_spent=7),
    )


def activity(id: str = "a1", raw: bytes = b"{}", type: str = "customer.created") -> Activity:
    return Activity(id=ActivityId(id), type=type, created_at="2024-05-01T12:00:00.000Z", created_at_ms=1714564800000, raw=raw)


def batch(
    customer: str = "cust_1", *records: Activity, partition: int = 0, cursor_ms: int = 1000, letters: tuple[DeadLetter, ...] = ()
) -> Batch:
    checkpoint = Checkpoint(cursor_ms=cursor_ms, recent={one.id: one.created_at_ms for one in records}, last_read=1714564800.123456)
    return Batch(
        customer=CustomerId(customer), partition=partition, base=None, checkpoint=checkpoint, records=records, dead_letters=letters
    )


async def prepared(log: SomeLog) -> SomeLog:
    """The log, with its topics there."""
    await log.prepare()
    return log


async def published_ids(world: World) -> list[bytes]:
    """Of the activities, in the order of their topic."""
    return [dict(one.headers)["ce_id"] for one in await world.committed("activities")]


class Watcher:
    """Takes a member's events, and knows what is its own by them."""

    def __init__(self) -> None:
        self.events: list[MembershipEvent] = []
        self.raw: Any = None

    async def watch(self, log: Log, *, leave: anyio.Event, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        async with log.join() as events, anyio.create_task_group() as tasks:
            self.raw = events
            tasks.start_soon(self._take, events)
            task_status.started()
            await leave.wait()
            tasks.cancel_scope.cancel()

    async def _take(self, events: AsyncIterator[MembershipEvent]) -> None:
        async for event in events:
            self.events.append(event)

    @property
    def owned(self) -> set[int] | None:
        assignments = [event.partitions for event in self.events if isinstance(event, Assigned)]
        return set(assignments[-1]) if assignments else None

    @property
    def told(self) -> str:
        """The events in order, by their first letters."""
        return "".join(type(event).__name__[0] for event in self.events)

    @property
    def confirmed_at(self) -> float:
        return max((event.at for event in self.events if isinstance(event, Confirmed)), default=-1.0)


async def in_the_end(attempt: Callable[[], Awaitable[Any]], *, within_seconds: float) -> Any:
    """As the worker does: try again while the log is unavailable."""
    with anyio.fail_after(within_seconds):
        while True:
            try:
                return await attempt()
            except LogUnavailable:
                await anyio.sleep(0.2)


async def appended(log: Log, partition: int, *appends: Any) -> Writer:
    """Open the partition, append each, and leave it."""
    async with log.open(partition) as writer:
        for batches, ownership in appends:
            await writer.append(batches, ownership)
    return writer
