"""That the aiokafka that is installed still has the private parts that we reach into, and needs what we do to them."""

import asyncio
from collections.abc import Callable
from typing import Any

import aiokafka.admin.client
import aiokafka.client
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.protocol.group import HeartbeatRequest, JoinGroupRequest, SyncGroupRequest
from aiokafka.protocol.metadata import MetadataRequest, MetadataRequest_v5
from aiokafka.structs import TopicPartition

from poller.kafka.workarounds import (
    Answers,
    AskingOnly,
    ask_without_creating,
    claim_nothing,
    discard_consumer,
    discard_producer,
    emptied_marker_raises,
    hear_answers,
    own_assignor,
    start_client,
    tolerate_emptied_markers,
)

pytestmark = pytest.mark.anyio

NOWHERE = "127.0.0.1:1"


def test_aiokafka_would_let_brokers_create_what_it_asks_for_and_does_not_once_it_is_told() -> None:
    ask_without_creating()

    assert MetadataRequest(["t"]).build(MetadataRequest_v5).to_object()["allow_auto_topic_creation"] is True
    assert AskingOnly(["t"]).build(MetadataRequest_v5).to_object()["allow_auto_topic_creation"] is False
    assert (vars(aiokafka.client)["MetadataRequest"], vars(aiokafka.admin.client)["MetadataRequest"]) == (AskingOnly, AskingOnly)


class EmptiedMarker:
    """A control batch as compaction leaves it."""

    producer_id, base_offset, next_offset = 7, 10, 11
    is_control_batch = is_transactional = True

    def __next__(self) -> Any:
        raise StopIteration

    def validate_crc(self) -> bool:
        return True


class CorruptMarker(EmptiedMarker):
    def __next__(self) -> Any:
        raise CorruptRecordException


class Batches:
    def __init__(self, *batches: EmptiedMarker) -> None:
        self.batches = list(batches)

    def has_next(self) -> bool:
        return bool(self.batches)

    def next_batch(self) -> EmptiedMarker:
        return self.batches.pop(0)


def read(*batches: EmptiedMarker) -> PartitionRecords:
    records: Any = Batches(*batches)
    return PartitionRecords(TopicPartition("t", 0), records, [], 10, None, None, True, READ_COMMITTED)


def test_an_emptied_abort_marker_is_passed_over() -> None:
    tolerate_emptied_markers()
    tolerate_emptied_markers()
    records = read(EmptiedMarker())

    assert list(records) == []
    assert records.next_fetch_offset == 11
    assert not emptied_marker_raises()


def test_a_corrupt_marker_is_not() -> None:
    tolerate_emptied_markers()

    with pytest.raises(CorruptRecordException):
        list(read(CorruptMarker()))


class Heard(Answers):
    def __init__(self) -> None:
        self.told: list[float | str] = []

    def heartbeat_answered(self, sent: float) -> None:
        self.told.append(sent)

    def expelled(self) -> None:
        self.told.append("expelled")


class Answer:
    def __init__(self, error_code: int) -> None:
        self.error_code = error_code


HEARTBEAT: Callable[[], Any] = lambda: HeartbeatRequest("group", 1, "member")  # noqa: E731  # three of a kind
JOIN: Callable[[], Any] = lambda: JoinGroupRequest("group", 1, 1, "member", "", "consumer", [])  # noqa: E731  # as above
SYNC: Callable[[], Any] = lambda: SyncGroupRequest("group", 1, "member", "", [])  # noqa: E731  # as above


@pytest.mark.parametrize(
    ("request_", "error_code", "told"),
    [
        (HEARTBEAT, 0, [5.0]),
        (SYNC, 0, [5.0]),
        (JOIN, 0, []),
        (HEARTBEAT, 27, []),  # rebalance in progress
        (HEARTBEAT, 16, []),  # not the coordinator
        (HEARTBEAT, 22, ["expelled"]),  # illegal generation
        (HEARTBEAT, 25, ["expelled"]),  # unknown member
        (JOIN, 25, ["expelled"]),
        (JOIN, 79, []),  # member id required: a first join
        (SYNC, 27, []),
    ],
)
async def test_answers_of_the_coordinator_are_heard(request_: Callable[[], Any], error_code: int, told: list[Any]) -> None:
    consumer, heard = AIOKafkaConsumer(bootstrap_servers=NOWHERE, group_id="group"), Heard()

    async def send(node_id: int, request: Any, **options: Any) -> Any:
        return Answer(error_code)

    consumer._client.send = send  # type: ignore[method-assign]
    hear_answers(consumer, heard, lambda: 5.0)
    answer: Any = await consumer._client.send(1, request_())
    await consumer.stop()

    assert answer.error_code == error_code
    assert heard.told == told


async def test_a_producer_that_never_started_is_discarded_without_a_trace() -> None:
    before = asyncio.all_tasks()
    producer = AIOKafkaProducer(bootstrap_servers=NOWHERE, transactional_id="x")
    await discard_producer(producer)

    assert asyncio.all_tasks() == before
    assert producer._closed


async def test_a_consumer_that_never_started_is_discarded_without_a_trace() -> None:
    before = asyncio.all_tasks()
    consumer = AIOKafkaConsumer(bootstrap_servers=NOWHERE, group_id="x")
    await discard_consumer(consumer)

    assert asyncio.all_tasks() == before
    assert consumer._closed


async def test_the_error_of_a_start_is_ones_own() -> None:
    class Failing:
        async def start(self) -> None:
            raise AssertionError("no broker")

    with pytest.raises(AssertionError, match="no broker"):
        await start_client(Failing())


async def test_each_consumer_remembers_its_own_assignment_and_forgets_it_when_told() -> None:
    mine, other = own_assignor(), own_assignor()
    consumer = AIOKafkaConsumer(bootstrap_servers=NOWHERE, group_id="x", partition_assignment_strategy=(mine,))
    mine.member_assignment = [TopicPartition("t", 0)]
    assert (mine.name, other.member_assignment) == ("sticky", None)

    claim_nothing(consumer)
    await consumer.stop()

    assert mine.member_assignment is None
