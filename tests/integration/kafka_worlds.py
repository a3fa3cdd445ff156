"""What a contract test needs of a log's surroundings, twice: on the in-memory brokers, and on a real Kafka."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal, Protocol
from uuid import uuid4

import anyio
import msgspec
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.protocol.group import HeartbeatRequest
from aiokafka.structs import TopicPartition

from poller.config import KafkaSettings
from poller.errors import LogUnavailable
from poller.kafka.log import KafkaLog, KafkaWriter
from poller.kafka.memory import MemoryKafka, MemoryLog, MemoryWriter
from poller.kafka.record import Topic
from poller.model import Assigned, Confirmed, MembershipEvent
from poller.worker import Log, Writer

URL = "https://api.example.com"
APPLICATION = "poller"
SESSION_SECONDS = 3.0
QUIET_SECONDS = 0.4
"""A reader that has heard nothing for so long has read all."""


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
    async def committed(self, topic: Topic) -> list[Seen]: ...
    def fail_next(self, writer: Any, when: Literal["before", "after"]) -> None: ...
    def silence(self, log: Any, events: Any) -> Callable[[], None]: ...
    async def add_partitions(self, partitions: int) -> None: ...
    def application_id(self, application: str = APPLICATION) -> str: ...


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

    def fail_next(self, writer: Any, when: Literal["before", "after"]) -> None:
        assert isinstance(writer, MemoryWriter)
        self.kafka.fates.append("fails before" if when == "before" else "fails after")

    def silence(self, log: Any, events: Any) -> Callable[[], None]:
        assert isinstance(log, MemoryLog)
        log.stall()
        return lambda: log.stall(False)

    async def add_partitions(self, partitions: int) -> None:
        self.kafka.add_partitions(partitions)


class KafkaWorld:
    """Topics and groups of their own on a shared broker."""

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers
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
    ) -> Log:
        settings = self.settings(
            application_id=self.application_id(application), checkpoint_partitions=partitions, partition_by=partition_by
        )
        return KafkaLog(settings, url, anyio.current_time)

    async def committed(self, topic: Topic) -> list[Seen]:
        """As a consumer's reader would: until nothing more comes."""
        settings = self.settings()
        name = {
            "activities": settings.activities_topic,
            "checkpoints": settings.checkpoints_topic,
            "dead_letters": settings.dead_letters_topic,
        }[topic]
        reader = AIOKafkaConsumer(
            name,
            bootstrap_servers=self.bootstrap_servers,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        await reader.start()
        try:
            return await self._read(reader)
        finally:
            await reader.stop()

    async def _read(self, reader: AIOKafkaConsumer) -> list[Seen]:
        seen: list[Seen] = []
        heard_at = time.monotonic()
        while time.monotonic() - heard_at < QUIET_SECONDS:
            for records in (await reader.getmany(timeout_ms=100)).values():
                seen += [Seen(one.key or b"", one.value or b"", tuple(one.headers), one.partition) for one in records]
                heard_at = time.monotonic()
        return seen

    def fail_next(self, writer: Any, when: Literal["before", "after"]) -> None:
        """The commit is not sent; or it is, and its answer is lost."""
        assert isinstance(writer, KafkaWriter)
        commit = writer._producer.commit_transaction

        async def failing() -> None:
            if when == "after":
                await commit()
            raise ConnectionResetError("the connection broke")

        writer._producer.commit_transaction = failing  # type: ignore[method-assign]

    def silence(self, log: Any, events: Any) -> Callable[[], None]:
        """Heartbeats are held back until what is returned is called."""
        client = events._consumer._client
        send, let_go = client.send, anyio.Event()

        async def held(node_id: Any, request: Any, **options: Any) -> Any:
            if isinstance(request, HeartbeatRequest):
                await let_go.wait()
            return await send(node_id, request, **options)

        client.send = held
        return let_go.set

    async def add_partitions(self, partitions: int) -> None:
        async with self.admin() as admin:
            await admin.create_partitions({self.settings().checkpoints_topic: NewPartitions(partitions)})

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap_servers)
        await admin.start()
        try:
            yield admin
        finally:
            await admin.close()

    async def create(self, topic: str, configs: Mapping[str, str], partitions: int = 1) -> None:
        async with self.admin() as admin:
            response = await admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=dict(configs))])
            assert [code for _, code, *_ in response.topic_errors] == [0]  # type: ignore[attr-defined]

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
