"""The loop, and the contracts of what it needs. On anyio only, so that it runs on trio in virtual time and on asyncio in production.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from poller.model import Batch, Fetch, MembershipEvent, Ownership, Page, Response, Restored

Clock = Callable[[], float]
"""Seconds since the Unix epoch as this process counts them: the wall clock when it started, and the monotonic clock from there on."""


class Source(Protocol):
    """Where activities come from."""

    async def fetch(self, fetch: Fetch) -> Response:
        """Make one call. Raises `SourceError`, and nothing else; bounded in time and in bytes."""

    def decode(self, response: Response) -> Page:
        """Raises `Undecodable`, and nothing else."""


class Writer(Protocol):
    """One owned partition of the checkpoint topic: any earlier owner is fenced."""

    restored: Restored
    """What the partition held when it was opened: all that was ever committed to it."""

    async def append(self, batches: Sequence[Batch], ownership: Ownership) -> None:
        """Commit records, dead letters, checkpoints and the ownership record in one transaction.

        Raises `LogError`, and nothing else; then it is not known whether it was committed, and this writer is of no more use.
        """


class Log(Protocol):
    """Where activities and checkpoints go."""

    async def prepare(self) -> int:
        """Create or verify the topics; the number of partitions of the checkpoint topic. Raises `LogError`; may be called again."""

    def join(self) -> AbstractAsyncContextManager[AsyncIterator[MembershipEvent]]:
        """Be a member of the group until the block is left. The iterator ends never; trouble shows as `Assigned(frozenset())`, `Confirmed` not coming, or `LogError` raised."""

    def open(self, partition: int) -> AbstractAsyncContextManager[Writer]:
        """Fence the partition's earlier owner and restore. Raises `LogError`; leaving the block never raises and is bounded in time."""
