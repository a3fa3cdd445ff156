"""What a call that has landed means: which of its page is published, and how the customer's checkpoint moves. Pure.

An entry of the watched set may say that nothing is wanted from some instant on. What was created then is withheld: neither published nor
remembered. So the cursor does not pass that instant while the entry stands, and if it is to be published after all, it is read again.
"""

import math

import msgspec
from msgspec.structs import replace

from poller.core import cursor, dedupe, lifecycle, replay, walk
from poller.core.cursor import ServerClock
from poller.core.policy import Policy
from poller.model import Batch, Checkpoint, Fetch, Life, Page, Walk, WatchEntry


class Landing(msgspec.Struct, frozen=True, gc=False):
    """A call that has landed, and what its page is judged by."""

    fetch: Fetch
    going: Walk
    """Its walk, which knows the server's time at its first request, as far as that was told."""
    entry: WatchEntry
    """How the customer is watched now."""
    clock: ServerClock
    policy: Policy

    @property
    def server_ms(self) -> int | None:
        """The server's time at the read's first request, rather too early than too late."""
        return cursor.server_time_ms(self.going, self.clock)

    def baseline(self) -> Checkpoint | None:
        """What the walk stands on. The first read of a customer that starts now must have begun early enough by the server's own time;
        `None`: it did not, and is worth nothing but the time that it told. Where nothing tells the time, our own clock must do.
        """
        fetch, server_ms = self.fetch, self.server_ms
        if fetch.base is not None or self.policy.start_of(fetch.entry) != "now":
            return fetch.start
        began_ms = math.floor(self.going.sent * 1000) if server_ms is None else server_ms
        if began_ms - self.policy.lookback_ms < fetch.start.cursor_ms:
            return None
        return replace(fetch.start, baseline_ms=cursor.latest_server_time_ms(self.going, self.clock))

    def sift(self, page: Page, start: Checkpoint) -> dedupe.Sifted:
        """What of the page is new. All that the first page shows to a customer that starts now had happened before, where a date tells when that was."""
        first_shown = self.fetch.base is None and start.baseline_ms is not None and self.going.server_time is not None
        remember_until_ms = dedupe.EVERY_INSTANT_MS if first_shown else start.baseline_ms
        newest_ms = max((entry.created_at_ms for entry in page.entries if entry.created_at_ms is not None), default=0)
        shown_ms = math.ceil(self.clock.latest(self.fetch.at) * 1000)
        entries = page.entries
        if self.entry.until_ms is not None:
            # What is only to be remembered is not withheld: it happened before the customer's start, whatever becomes of the entry.
            entries = dedupe.wanted(entries, start.recent, max(self.entry.until_ms, (remember_until_ms or 0) + 1), shown_ms)
        undated_ms = max(newest_ms, shown_ms) + self.policy.lookback_ms
        return dedupe.sift(entries, start.cursor_ms, start.recent, remember_until_ms, undated_ms)

    def outcome(self, start: Checkpoint, outcome: Walk | walk.End) -> Walk | walk.End:
        """A walk that has come to the instant from which nothing is wanted is over; but a first read is to remember all that there is."""
        if self.entry.until_ms is None or start.baseline_ms is not None:
            return outcome
        return walk.until(outcome, self.entry.until_ms)

    def batch(self, start: Checkpoint, sifted: dedupe.Sifted, outcome: Walk | walk.End) -> Batch:
        """What is to be committed, but for what was learned."""
        fetch, ended = self.fetch, isinstance(outcome, walk.End)
        shown_to_ms = outcome.shown_to_ms if isinstance(outcome, walk.End) else outcome.low_ms
        if self.entry.until_ms is not None:
            shown_to_ms = self.entry.until_ms if shown_to_ms is None else min(shown_to_ms, self.entry.until_ms)
        cursor_ms = cursor.advance(start.cursor_ms, shown_to_ms, self.server_ms, self.policy.lookback_ms)
        kept = replay.remembered(start, sifted.recent, cursor_ms, shown_to_ms, ended=ended)
        cursor_ms = kept.cursor_ms
        published = replay.sort(sifted, start.replay, fetch.published)
        stepped_ms = start.stepped_ms if outcome.stepped_ms is None else outcome.stepped_ms
        return Batch(
            customer=fetch.customer,
            partition=fetch.partition,
            base=fetch.base,
            checkpoint=Checkpoint(
                cursor_ms=cursor_ms,
                recent=kept.recent,
                last_read=fetch.walk.sent if ended else start.last_read,
                baseline_ms=None if ended else start.baseline_ms,
                stepped_ms=None if stepped_ms is None or stepped_ms < cursor_ms else stepped_ms,
                rates=start.rates,
                replay=kept.replay,
                replayed=start.replayed,
                life=self._life(start, sifted, published, cursor_ms, ended=ended),
            ),
            records=published.records,
            dead_letters=published.dead_letters,
            walk=replace(outcome, gap=False) if isinstance(outcome, Walk) else None,  # counted with this batch, and once
            known=published.known,
            gap=outcome.gap,
            followable=not isinstance(outcome, walk.End) or outcome.followable,
            dropped=kept.dropped,
            headers=self.entry.headers,
            again=published.again,
        )

    def _life(self, start: Checkpoint, sifted: dedupe.Sifted, published: replay.Sorted, cursor_ms: int, *, ended: bool) -> Life:
        """What a replay shows again has happened long ago; what is new on its pages counts, but the read itself does not."""
        if start.replay is None:
            complete = self.fetch.walk.sent if ended else None
            return lifecycle.lived(start.life, sifted.records, sifted.recent, (complete, cursor_ms), self.policy.lookback_ms)
        new = [record for record in published.records if record.id not in published.again]
        recent: dict[str, int] = {record.id: record.created_at_ms for record in new}
        return lifecycle.lived(start.life, new, recent, (None, cursor_ms), self.policy.lookback_ms)
