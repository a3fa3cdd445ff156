"""What the owners of partitions commit about themselves: heard as it is written, from now on, so that they divide the budget (core/shares.py), and so that
each replica can say who owns what.

Whoever was not heard in time is heard with its next commit, so nothing is read from before, and nothing kept. But the owner of an only partition may commit
nothing for weeks, where the cycle is used up: of that one the end of the partition is read too.

An owner commits up to five times a second, all of its checkpoints among them, and hardly any of it matters: so what has gathered is taken once a second.
"""

from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from poller.config import KafkaSettings
from poller.kafka import clients
from poller.kafka.permissions import explained
from poller.kafka.record import OWNERSHIP_KEY, decode_ownership
from poller.model import Ownership

WAIT_MS = 1000
FETCH_WAIT_MS = 1000
"""How long a broker may wait for something to say."""

REST_SECONDS = 1.0
"""From one taking to the next, where it has taken all that there is."""

RECORDS_AT_ONCE_MAX = 500
"""Between two turns of the loop. Most are checkpoints, which are passed over."""

LAST_RECORDS = 500
"""So far before the end the last ownership record is looked for: each transaction ends with one, so only what was aborted may stand behind it."""

DOING = "hearing what other owners need"


@asynccontextmanager
async def owners(
    settings: KafkaSettings, partitions: Collection[int], *, last: bool
) -> AsyncIterator[AsyncIterator[tuple[int, Ownership]]]:
    """`last`: what was said last is heard too. Raises `LogError`, as its iterator does, which never ends; leaving the block never raises and is bounded
    in time.
    """
    async with AsyncExitStack() as stack:
        async with explained(DOING, settings):
            reader = await stack.enter_async_context(clients.reader(settings, fetch_wait_ms=FETCH_WAIT_MS))
            checkpoints = [TopicPartition(settings.checkpoints_topic, partition) for partition in sorted(partitions)]
            reader.assign(checkpoints)
            await reader.seek_to_end(*checkpoints)
            for tp in checkpoints if last else ():
                reader.seek(tp, max(0, await reader.position(tp) - LAST_RECORDS))
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
        await anyio.sleep(REST_SECONDS if sum(map(len, found.values())) < RECORDS_AT_ONCE_MAX else 0)


def understood(value: bytes) -> Ownership | None:
    """`None`: written by another version, which divides in its own manner."""
    try:
        return decode_ownership(value)
    except (ValueError, TypeError, RecursionError):
        return None
