"""Membership of the group, and nothing but membership: which partitions are ours, and until when that is certain.

aiokafka's consumer takes part in the group; its partitions are paused and no offset is committed. The protocol is the eager one: every
rebalance revokes everything and assigns everything anew. A rebalance is told as `Rebalancing`, then `Assigned` with all that is ours from
then on; what was ours before and is so again was never lost. While a rebalance is under way the consumer sends no heartbeats and reads
nothing, so the listener's methods do nothing but take note.

Starting fails with `LogUnavailable` while no broker answers; the one who joins knows how to back off.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
from aiokafka import AIOKafkaConsumer
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.structs import TopicPartition

from poller.config import KafkaSettings
from poller.errors import LogError
from poller.kafka import clients
from poller.kafka.failures import translate, translated
from poller.kafka.permissions import explain, explained
from poller.kafka.workarounds import Answers, claim_nothing, discard_consumer, hear_answers
from poller.model import Assigned, Confirmed, MembershipEvent, Rebalancing

DOING = "being a member of the group"

POLL_MS = 1000
"""A consumer that is not asked for records leaves the group after some minutes, and shows its errors only when asked."""

EVENTS_MAX = 1000
"""Not yet taken; of more, the oldest are forgotten, for only the last assignment counts."""


class Membership(Answers, ConsumerRebalanceListener):
    """What happens to our membership, in order; told by aiokafka's tasks, taken by one iterator."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._events: deque[MembershipEvent] = deque(maxlen=EVENTS_MAX)
        self._failure: LogError | None = None
        self._something = anyio.Event()
        self._answered: float | None = None
        self._rebalancing = True
        self._members_of_it = False

    # What aiokafka tells.

    def heartbeat_answered(self, sent: float) -> None:
        self._answered = sent
        if not self._rebalancing:
            self._tell(Confirmed(sent))

    def expelled(self) -> None:
        if self._members_of_it:
            self._members_of_it = False
            claim_nothing(self._consumer)
            self._tell(Assigned(frozenset()))

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:  # the eager protocol: always all
        self._rebalancing = True
        self._tell(Rebalancing())

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._consumer.pause(*assigned)
        self._rebalancing = False
        self._members_of_it = True
        self._tell(Assigned(frozenset(tp.partition for tp in assigned)))
        if self._answered is not None:
            self._tell(Confirmed(self._answered))  # the assignment came as an answer, which is as good as a heartbeat's

    def failed(self, failure: LogError) -> None:
        self._failure = failure
        self._something.set()

    def _tell(self, event: MembershipEvent) -> None:
        if isinstance(event, Confirmed) and self._events and isinstance(self._events[-1], Confirmed):
            self._events.pop()
        self._events.append(event)
        self._something.set()

    # What the worker takes.

    def __aiter__(self) -> AsyncIterator[MembershipEvent]:
        return self

    async def __anext__(self) -> MembershipEvent:
        """Never ends; raises `LogError` once this membership has come to nothing."""
        while not self._events:
            if self._failure is not None:
                raise self._failure
            self._something = anyio.Event()
            await self._something.wait()
        return self._events.popleft()


@asynccontextmanager
async def join(settings: KafkaSettings, clock: Callable[[], float]) -> AsyncIterator[AsyncIterator[MembershipEvent]]:
    """A member from here to the end of the block, which leaves the group at once, so that another can take over."""
    with translated("joining the group"):
        consumer = clients.make_group_consumer(settings)
    membership = Membership(consumer)
    hear_answers(consumer, membership, clock)
    try:
        async with explained("joining the group", settings):
            await clients.start(consumer, settings)
            # Only now: to start with a subscription would be to wait for the first assignment, which may take a minute.
            consumer.subscribe([settings.checkpoints_topic], listener=membership)
        async with _kept(consumer, membership, settings):
            yield membership
    finally:
        await discard_consumer(consumer)


@asynccontextmanager
async def _kept(consumer: AIOKafkaConsumer, membership: Membership, settings: KafkaSettings) -> AsyncIterator[None]:
    """Keep asking for records meanwhile. The block's own error passes as it is: a task group would wrap it."""
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_ask, consumer, membership, settings)
        try:
            yield
        except Exception as error:  # noqa: BLE001  # raised again below
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _ask(consumer: AIOKafkaConsumer, membership: Membership, settings: KafkaSettings) -> None:
    try:
        while True:
            await consumer.getmany(timeout_ms=POLL_MS)
    except Exception as error:  # noqa: BLE001  # told to whoever waits for events
        failure = translate(DOING, error)
        failure.__cause__ = error
        membership.failed(await explain(DOING, settings, failure))
