"""What the owners of all partitions commit about themselves: heard as it is written, from now on, so that they divide the budget (core/shares.py).

Whoever was not heard in time is heard with its next commit, so nothing is read from before, and nothing kept.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition
from anyio.lowlevel import checkpoint

from poller.config import KafkaSettings
from poller.kafka import clients
from poller.kafka.permissions import explained
from poller.kafka.record import OWNERSHIP_KEY, decode_ownership
from poller.model import Ownership

WAIT_MS = 1000
RECORDS_AT_ONCE_MAX = 500
"""Between two turns of the loop. Most are checkpoints, which are passed over."""


DOING = "hearing what other owners need"


@asynccontextmanager
async def owners(settings: KafkaSettings, partitions: int) -> AsyncIterator[AsyncIterator[tuple[int, Ownership]]]:
    """Raises `LogError`, as its iterator does, which never ends; leaving the block never raises and is bounded in time."""
    async with AsyncExitStack() as stack:
        async with explained(DOING, settings):
            reader = await stack.enter_async_context(clients.reader(settings))
            checkpoints = [TopicPartition(settings.checkpoints_topic, partition) for partition in range(partitions)]
            reader.assign(checkpoints)
            await reader.seek_to_end(*checkpoints)
        yield _said(reader, settings)


async def _said(reader: AIOKafkaConsumer, settings: KafkaSettings) -> AsyncIterator[tuple[int, Ownership]]:
    while True:
        async with explained(DOING, settings):
            found = await reader.getmany(timeout_ms=WAIT_MS, max_records=RECORDS_AT_ONCE_MAX)
        for tp, records in found.items():
            last = next((record.value for record in reversed(records) if record.key == OWNERSHIP_KEY), None)
            ownership = None if last is None else understood(last)
            if ownership is not None:
                yield tp.partition, ownership
        await checkpoint()


def understood(value: bytes) -> Ownership | None:
    """`None`: written by another version, which divides in its own manner."""
    try:
        return decode_ownership(value)
    except (ValueError, TypeError, RecursionError):
        return None
