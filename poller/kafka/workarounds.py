"""Everything that reaches into aiokafka's private parts, each with its reason; tried on the aiokafka that is installed, by tests.

Written for aiokafka 0.14, which `pyproject.toml` pins. Where a newer one no longer needs a thing, take it out here.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from itertools import chain
from typing import Any, NamedTuple, Protocol

import aiokafka.admin.client
import aiokafka.client
import anyio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError, UnknownTopicOrPartitionError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.group import HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String

# ruff: noqa: SLF001  # private parts are what this file is about

STOP_SECONDS_MAX = 2.0
"""For a client's own way to stop, which has no limit of its own …"""
CLOSE_SECONDS_MAX = 1.0
"""… and for the connections that it leaves behind."""

NO_ERROR, ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID = 0, 22, 25, 82
EXPELLED = (ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID)


# -------------------------------------------------------------------------------------------------- emptied abort markers
# Compaction may empty the control batch that ended an aborted transaction. aiokafka's read_committed consumer then raises for ever, so
# that a partition could not be restored again. Java's consumer had the same fault (KAFKA-7467) and treats such a batch as no abort marker;
# so do we: the records that the marker ended were removed before it.


def emptied_marker_raises() -> bool:
    """Whether the aiokafka that is installed has the fault."""
    try:
        PartitionRecords._contains_abort_marker(None, iter(()))  # type: ignore[arg-type]  # it makes no use of itself
    except KafkaError:
        return True
    return False


def tolerate_emptied_markers() -> None:
    """May be called again."""
    if not emptied_marker_raises():
        return
    original = PartitionRecords._contains_abort_marker

    def contains_abort_marker(self: PartitionRecords, batch: Any) -> bool:
        try:
            return bool(original(self, batch))
        except KafkaError as error:
            if type(error) is not KafkaError:
                raise  # a corrupt record is a kind of KafkaError too
            return False

    PartitionRecords._contains_abort_marker = contains_abort_marker  # type: ignore[method-assign]


# --------------------------------------------------------------------------------------------------------- topics, unasked for
# A client that asks for a topic's metadata lets the broker create it, unless it says not to, which aiokafka cannot be told. A checkpoint topic
# that was deleted would be back at once, empty, with the broker's settings, under a producer that commits to it as if nothing had happened.


class AskingOnly(MetadataRequest):
    """Creates nothing."""

    def __init__(self, topics: list[str] | None = None) -> None:
        super().__init__(topics, allow_auto_topic_creation=False)


def ask_without_creating() -> None:
    """For every client of this process. May be called again."""
    aiokafka.client.MetadataRequest = AskingOnly  # type: ignore[attr-defined,assignment]
    aiokafka.admin.client.MetadataRequest = AskingOnly  # type: ignore[attr-defined,assignment]


async def partitions_of(consumer: AIOKafkaConsumer, topic: str) -> int:
    """How many partitions a topic has that the consumer is not assigned to yet; 0: there is none, or it may not be seen."""
    cluster = await consumer._client.fetch_all_metadata()
    return len(cluster.partitions_for_topic(topic) or ())


# ------------------------------------------------------------------------------------------------------- sticky assignment
# The assignor keeps in its class what was assigned to it, claims it at the next rebalance, and does not say of which generation the claim is.
# So each consumer has a class of its own, and one that was expelled claims nothing: its partitions are somebody else's by then.


def own_assignor() -> type[StickyPartitionAssignor]:
    """For one consumer, which must be given exactly one."""
    return type("OwnStickyPartitionAssignor", (StickyPartitionAssignor,), {"member_assignment": None})


def claim_nothing(consumer: AIOKafkaConsumer) -> None:
    for assignor in consumer._partition_assignment_strategy:
        assignor.member_assignment = None


# ------------------------------------------------------------------------------------------------------ answered heartbeats
# aiokafka sends heartbeats from a task of its own and tells nobody of their answers; yet a call may be made only while one has been
# answered lately. All requests of a consumer pass through its client's `send`, which is the one place to hear of them.


class Answers:
    """What the group's coordinator answers, as heard by whoever overrides these."""

    def heartbeat_answered(self, sent: float) -> None:
        """We are a member of the current generation; also told of the answer that carries the assignment."""

    def expelled(self) -> None:
        """The coordinator does not know us (any more)."""


def hear_answers(consumer: AIOKafkaConsumer, answers: Answers, clock: Callable[[], float]) -> None:
    """Call before `consumer.start()`."""
    client = consumer._client
    send: Callable[..., Awaitable[Any]] = client.send

    async def heard(node_id: Any, request: Any, **options: Any) -> Any:
        sent = clock()
        answer = await send(node_id, request, **options)
        if isinstance(request, HeartbeatRequest | JoinGroupRequest | SyncGroupRequest):
            if answer.error_code in EXPELLED:
                answers.expelled()
            elif answer.error_code == NO_ERROR and not isinstance(request, JoinGroupRequest):
                answers.heartbeat_answered(sent)
        return answer

    client.send = heard  # type: ignore[method-assign]


# -------------------------------------------------------------------------------------------------------- what is permitted
# Which operations this user may do on a topic is told since version 8 of the metadata, of which aiokafka speaks five.


class MetadataResponse8(Response):
    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", Array(("node_id", Int32), ("host", String("utf-8")), ("port", Int32), ("rack", String("utf-8")))),
        ("cluster_id", String("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", String("utf-8")),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        ("cluster_authorized_operations", Int32),
    )


class MetadataRequest8(RequestStruct):
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = MetadataResponse8
    SCHEMA = Schema(
        ("topics", Array(String("utf-8"))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class AuthorizedOperationsRequest(Request[MetadataRequest8]):
    """Of these topics; none is created by asking."""

    API_KEY = 3

    def __init__(self, topics: Sequence[str]) -> None:
        self._topics = list(topics)

    def build(self, request_struct_class: type[MetadataRequest8]) -> MetadataRequest8:
        return request_struct_class(self._topics, False, False, True)


UNTOLD = -(2**31)
"""In place of the operations."""


class TopicOperations(NamedTuple):
    """What this user may do on a topic."""

    missing: bool
    partitions: int
    bits: int
    """Bit n: the operation that is n in Kafka's `AclOperation`."""

    def allows(self, bit: int) -> bool:
        """Where the brokers do not tell, as of a topic that is missing, nothing is taken as denied."""
        return self.missing or self.bits == UNTOLD or bool(self.bits & (1 << bit))


async def authorized_topic_operations(admin: AIOKafkaAdminClient, topics: Sequence[str]) -> dict[str, TopicOperations]:
    """Of each of these topics. Raises what aiokafka raises, and any topic's error but that it is missing or may not be described."""
    response: Any = await admin._send_request(AuthorizedOperationsRequest(topics))
    found = {}
    for code, topic, _, partitions, bits in response.topics:
        error = for_code(code)
        if code and error not in (TopicAuthorizationFailedError, UnknownTopicOrPartitionError) and not error.retriable:
            raise error(topic)
        found[topic] = TopicOperations(
            error is UnknownTopicOrPartitionError, len(partitions), 0 if error is TopicAuthorizationFailedError else bits
        )
    return found


async def heartbeat_of_nobody(admin: AIOKafkaAdminClient, group: str) -> int:
    """The error code of a heartbeat that no member sends: any broker authorizes it before it looks for the group, which it then does not change."""
    response: Any = await admin._send_request(HeartbeatRequest(group, -1, ""))
    return int(response.error_code)


async def expel_members(admin: AIOKafkaAdminClient, group: str) -> int:
    """Put an end to the sessions of all members: each learns it with its next heartbeat. How many there were. Raises what aiokafka raises."""
    coordinator = await admin.find_coordinator(group)
    responses: list[Any] = await admin.describe_consumer_groups([group], coordinator)
    members = []
    for error, _, _, _, _, described, *_ in [one for response in responses for one in response.groups]:
        if error != NO_ERROR:
            raise for_code(error)(group)
        members += [member[0] for member in described]
    for member in members:
        response: Any = await admin._send_request(LeaveGroupRequest(group, member), coordinator)
        if response.error_code not in (NO_ERROR, UNKNOWN_MEMBER_ID):  # one that has left by itself is as good
            raise for_code(response.error_code)(group)
    return len(members)


# ------------------------------------------------------------------------------------------------------ sends of a transaction
# That a topic is denied to the transaction is told to the transaction alone. aiokafka then sends everything all the same, and the brokers refuse
# what was denied, or just as well the rest: "invalid transaction state", of which nobody can tell what is missing. The transaction knows first.


async def wait_for_sends(producer: AIOKafkaProducer, sends: "Sequence[asyncio.Future[Any]]") -> None:
    """Until all are done or one has failed. Raises that one's error, or the transaction's."""
    waiting = asyncio.ensure_future(asyncio.wait(sends, return_when=asyncio.FIRST_EXCEPTION))
    transaction = producer._txn_manager.wait_for_transaction_end()
    try:
        await asyncio.wait((waiting, transaction), return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
    for future in sends:
        if future.done():
            future.result()
    if transaction.done():
        transaction.result()


# --------------------------------------------------------------------------------------------------------------- starting
# Cancelled while it starts, a client forgets the connection that it bootstraps over, which is then closed, with a warning, whenever it is
# collected. Starting takes some milliseconds, so it is allowed to come to its end.


class Client(Protocol):
    """What all of aiokafka's clients have in common."""

    async def start(self) -> None: ...


async def start_client(client: Client) -> None:
    """`client.start()`, which a cancellation does not end before `CLOSE_SECONDS_MAX`."""
    task = asyncio.ensure_future(client.start())
    try:
        await asyncio.wait([task])
    finally:
        if not task.done():
            with anyio.CancelScope(shield=True):
                await asyncio.wait([task], timeout=CLOSE_SECONDS_MAX)
                task.cancel()
                await asyncio.wait([task], timeout=CLOSE_SECONDS_MAX)
        _retrieve(task)
    task.result()


# ------------------------------------------------------------------------------------------------------------- discarding
# Neither client can be relied on to stop: a producer flushes what the brokers will not take, its sender awaits requests that are retried
# for ever, and a consumer waits for the join that it is in. So: end their tasks, let them stop, end what they started while stopping.


async def discard_producer(producer: AIOKafkaProducer) -> None:
    """End it, whatever state it is in. Never raises; takes at most some seconds, cancelled or not. Nothing of a transaction under way is committed."""
    parts = (producer, producer._sender, producer._message_accumulator, producer.client)
    with anyio.CancelScope(shield=True):
        await _end_tasks(parts)
        await _within(STOP_SECONDS_MAX, producer.stop())
        await _end_tasks(parts)
        await _within(CLOSE_SECONDS_MAX, producer.client.close())
    if producer._txn_manager is not None:
        _retrieve(producer._txn_manager._transaction_waiter)
    accumulator = producer._message_accumulator
    for batch in (*accumulator._pending_batches, *chain.from_iterable(accumulator._batches.values())):
        _retrieve(batch._drain_waiter)


async def discard_consumer(consumer: AIOKafkaConsumer) -> None:
    """Leave the group, if it is a member of one, and end it. Never raises; takes at most some seconds, cancelled or not."""
    with anyio.CancelScope(shield=True):
        if not await _within(STOP_SECONDS_MAX, consumer.stop()):
            await _within(CLOSE_SECONDS_MAX, _leave(consumer))
        await _end_tasks((consumer, consumer._coordinator, consumer._fetcher, consumer._client))
        await _within(CLOSE_SECONDS_MAX, consumer._client.close())


async def _leave(consumer: AIOKafkaConsumer) -> None:
    """Say goodbye over another connection than the coordinator's, where a join under way is in front of everything else."""
    coordinator = consumer._coordinator
    if coordinator is not None and coordinator.coordinator_id is not None and coordinator.member_id:
        await consumer._client.send(coordinator.coordinator_id, LeaveGroupRequest(coordinator.group_id, coordinator.member_id))


async def _within(seconds: float, stopping: Coroutine[Any, Any, object]) -> bool:
    """Whether it came to its end in time. A task of its own, so that neither its failure nor a cancellation that it picks up from a task that it awaits becomes ours."""
    task = asyncio.ensure_future(stopping)
    done, _ = await asyncio.wait([task], timeout=seconds)
    if not done:
        task.cancel()
        await asyncio.wait([task], timeout=CLOSE_SECONDS_MAX)
    _retrieve(task)
    return bool(done)


async def _end_tasks(parts: tuple[object, ...]) -> None:
    """Cancel every task that runs a method of one of these objects: aiokafka keeps no list of them."""
    tasks = [task for task in asyncio.all_tasks() if any(part is _owner(task) for part in parts if part is not None)]
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=CLOSE_SECONDS_MAX)
    for task in tasks:
        _retrieve(task)


def _owner(task: "asyncio.Task[Any]") -> object:
    frame = getattr(task.get_coro(), "cr_frame", None)
    return None if frame is None else frame.f_locals.get("self")


def _retrieve(future: "asyncio.Future[Any] | None") -> None:
    """Take note of a failure that nobody awaits, which asyncio would log when the future is collected."""
    if future is not None and future.done() and not future.cancelled():
        future.exception()


def retrieving(future: "asyncio.Future[Any]") -> "asyncio.Future[Any]":
    """The future, whose failure is taken note of even if the one who waits for it has been cancelled."""
    future.add_done_callback(_retrieve)
    return future
