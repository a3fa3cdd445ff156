"""Follows a topic while it is written: what became visible, and when."""

import time
from typing import Literal, NamedTuple

import anyio
from aiokafka.errors import KafkaError

from tests.support.topics import Name, name_of, reading

AGAIN_SECONDS = 0.2


class Seen(NamedTuple):
    """One activity's record."""

    name: Name
    published_at: float
    """The record's timestamp: when it was sent."""
    seen_at: float


class Tail:
    """A reader of the activities topic that never stops, whatever becomes of the brokers."""

    def __init__(self, bootstrap_servers: str, topic: str, isolation_level: Literal["read_committed", "read_uncommitted"]) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._topic = topic
        self._isolation_level = isolation_level
        self.seen: list[Seen] = []
        self._more = anyio.Event()

    async def run(self) -> None:
        """Until cancelled. Where the reader fails, a new one begins at the beginning, so that a record may be seen again."""
        while True:
            try:
                await self._follow()
            except (KafkaError, OSError, ValueError):  # no broker, or no such topic for now
                await anyio.sleep(AGAIN_SECONDS)

    async def _follow(self) -> None:
        async with reading(self._bootstrap_servers, self._topic, self._isolation_level) as reader:
            while True:
                records = await reader.more()
                self.seen += [Seen(name_of(record), record.timestamp / 1000, time.time()) for record in records]
                self._more.set()
                self._more = anyio.Event()

    async def next(self, since: float, within_seconds: float, *, published: bool = False) -> Seen:
        """The first record that became visible from then on; `published`: that was sent from then on. At once when it comes, so that a moment can be aimed at."""
        with anyio.move_on_after(within_seconds):
            while (found := self._first(since, published=published)) is None:
                await self._more.wait()
            return found
        raise AssertionError(f"nothing became visible in {self._topic} within {within_seconds} s")

    def _first(self, since: float, *, published: bool) -> Seen | None:
        at = since - 0.001 if published else 0.0  # a timestamp is a whole millisecond
        return next((one for one in self.seen if one.seen_at >= since and one.published_at >= at), None)
