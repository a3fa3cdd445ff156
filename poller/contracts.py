"""What the worker needs: where activities come from, and where they go. The edges fulfil it, and so do their doubles in tests."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from poller.model import (
    Batch,
    Changes,
    CustomerId,
    FeedCall,
    Fetch,
    ListCall,
    ListPage,
    MembershipEvent,
    Ownership,
    Page,
    Response,
    Restored,
)


class Source(Protocol):
    """Where activities come from."""

    async def fetch(self, fetch: Fetch) -> Response:
        """Make one call. Raises `SourceError`, and nothing else; bounded in time and in bytes."""

    def decode(self, response: Response) -> Page:
        """Raises `Undecodable`, and nothing else."""

    async def fetch_changes(self, call: FeedCall) -> Response:
        """One call of the change feed, like `fetch`."""

    def decode_changes(self, response: Response) -> Changes:
        """Raises `Undecodable`, and nothing else."""

    async def fetch_list(self, call: ListCall) -> Response:
        """One call of the list of customers, like `fetch`."""

    def decode_list(self, response: Response) -> ListPage:
        """Raises `Undecodable`, and nothing else."""


class Writer(Protocol):
    """One owned partition of the checkpoint topic: any earlier owner is fenced."""

    @property
    def restored(self) -> Restored:
        """What the partition held when it was opened: all that was ever committed to it."""

    def let_go(self) -> None:
        """What was restored is not asked for again, and need not be kept: it may be large."""

    async def append(self, batches: Sequence[Batch], ownership: Ownership) -> None:
        """Commit records, dead letters, checkpoints and the ownership record in one transaction.

        Raises `LogError`, and nothing else; then it is not known whether it was committed, and this writer is of no more use.
        """


class Log(Protocol):
    """Where activities and checkpoints go."""

    async def prepare(self) -> int:
        """Create or verify the topics; the number of partitions of the checkpoint topic. Raises `LogError`; may be called again."""

    def join(self) -> AbstractAsyncContextManager[AsyncIterator[MembershipEvent]]:
        """Be a member of the group until the block is left, which never raises and is bounded in time.

        The iterator never ends. Trouble shows as `Assigned(frozenset())`, as `Confirmed` that does not come, or as `LogError`.
        """

    def owners(self, partitions: Collection[int]) -> AbstractAsyncContextManager[AsyncIterator[tuple[int, Ownership]]]:
        """What the owners of these partitions commit about themselves, from now on, until the block is left, which never raises; of the only
        partition that there is also what was said last.

        The iterator never ends. Raises `LogError`, as the iterator does.
        """

    async def published(self, customers: Collection[CustomerId], since_ms: int) -> Mapping[CustomerId, Collection[str]]:
        """By customer the ids of its activities that stand in the activities topic, published since that instant or earlier: all that was ever
        appended of them, as far as the topic's retention reaches. Bounded: of whom there is too much nothing is said. Raises `LogError`.
        """

    def open(self, partition: int) -> AbstractAsyncContextManager[Writer]:
        """Fence the partition's earlier owner and restore. Raises `LogError`; leaving the block never raises and is bounded in time."""
