"""Hints: signs that a customer has something new. They may be lost, late, repeated or wrong; the truth is in what is read, alone.

A hint makes its customer due before those who are only expected to have something, and costs a call of a *credit*. Each call that is made for
whatever reason adds a little to it, and each hinted read that finds what was announced adds more than it took. So hints that are right every
second time are all followed, up to what the credit holds; and hints that are all wrong take `SHARE` of the calls. With f ∝ √λ the mean
delay goes with 1/B, so that share is what they cost in delay.

The API may show an activity some seconds after the hint came: a read that did not find it is made once more, after a moment.
"""

import msgspec

from poller.core.owned import Owned
from poller.model import Batch, Checkpoint, CustomerId

SHARE = 0.02
"""Of all calls, what hints may take whatever they are worth: to find out."""

USEFUL_CALLS = 3.0
"""What a read earns that found what was announced."""

CREDIT_START, CREDIT_MAX = 10.0, 100.0
"""In calls. What hints beyond it announce is found in its turn."""

AROUND_MS = 60_000
"""A read was useful that found something that happened at most so long before what the hint announced: anything older it would have found anyway."""

SAME_MS = 20_000
"""What happened at most so long before is taken for what was announced: a customer's `updated_at` was seen to move up to 19 s after what it did."""

ANNOUNCED_AFTER_MS = 22_000
"""What happened up to so long after what a hint tells was announced by it: the change feed tells the earliest that it may have been."""

SPANS_MAX = 8
"""Of one customer, until it is read: of more the oldest are forgotten."""

SAME_UNDER_WAY_MS = 2_000
"""The same where the call had been made by then: what it shows may be what happened shortly before."""

SHOWN_LATE_MS = 10_000
"""The API shows most activities so soon after their created_at: a read as long after it has seen them."""

AGAIN_SECONDS = 8.0
"""How long after a read that did not find it the next is made."""

LOOKS_MAX = 2
"""Reads for one hint."""

PENDING_SECONDS = 120.0
"""A hint that brought no read for so long is forgotten: its customer was out of reach."""

PENDING_MAX = 10_000
"""Hints that wait for their read; of more the oldest are forgotten."""


class Pending(msgspec.Struct, gc=False):
    """A customer that was hinted at, until it is read."""

    at_ms: int | None
    """When what is announced happened: the last of it; `None`: whenever it was, it can be seen by now."""
    until: float
    looks: int
    """Reads that it has been given, the one to come included; 0: one was under way already."""
    under_way: bool
    """That read may have been too early to see the last of it."""


class Hints:
    """What is made of all hints of this process."""

    def __init__(self, lookback_ms: int) -> None:
        self._lookback_ms = lookback_ms
        self._pending: dict[CustomerId, Pending] = {}
        self._credit = CREDIT_START
        self._calls = 0
        self.used = 0
        """Reads that were hinted."""
        self.useful = 0
        """Those that found what was announced."""
        self.refused = 0
        """Hints that the credit did not suffice for."""
        self._spans: dict[CustomerId, tuple[int, ...]] = {}
        """When what was announced happened, of customers that were not read since."""
        self.announced = 0
        """New activities that a hint had announced, whether it was followed or not: of all that are published, their share is the hints' recall."""

    def __repr__(self) -> str:
        return f"<Hints {self.used} used, {self.useful} useful, {self.refused} refused, credit {self._credit:.1f}, {len(self._pending)} pending>"

    def hinted(self, owned: Owned, customer_id: CustomerId, now: float, at_ms: int | None, calls: int) -> None:
        """A watched customer of an owned partition did something, as we are told, at that instant of the server's (`None`: some time ago);
        `calls` were made so far. Nothing happens where it is known already, or will be soon.
        """
        customer = owned.customers[customer_id]
        happened_ms = None if at_ms is None else min(at_ms, round(now * 1000))
        if happened_ms is not None:
            if is_known(customer.checkpoint, happened_ms, self._lookback_ms):
                return
            self._announce(customer_id, happened_ms)
        away = not customer.scheduled or customer.walk is not None
        pending = self._pending.get(customer_id)
        if pending is not None and now < pending.until:
            pending.at_ms = max((at for at in (pending.at_ms, happened_ms) if at is not None), default=None)
            if away:
                pending.looks, pending.under_way = min(pending.looks, LOOKS_MAX - 1), True
        elif away or self._spend(calls):
            self._put(customer_id, Pending(happened_ms, now + PENDING_SECONDS, 0 if away else 1, away))
            if not away:
                owned.schedule.hint(customer_id, now)
        else:
            self.refused += 1

    def prompted(self, customer_id: CustomerId) -> bool:
        """Whether its read was made because of a hint."""
        pending = self._pending.get(customer_id)
        return pending is not None and pending.looks > 0

    def looked(self, batch: Batch, now: float, calls: int) -> float | None:
        """A read, or a page of one, is committed. Not before when the customer is to be read once more; `None`: it is due by its rates."""
        self._recall(batch)
        pending = self._pending.get(batch.customer)
        if pending is None:
            return None
        # A hint that does not say when earns nothing: a busy customer has something new whenever it is read.
        useful, ended = pending.at_ms is not None and _found(batch, pending.at_ms, AROUND_MS), batch.walk is None
        if useful or ended:
            del self._pending[batch.customer]
        if useful and pending.looks:
            self.useful += 1
            self._credit = min(self._credit + USEFUL_CALLS, CREDIT_MAX)
        if pending.at_ms is None or pending.looks >= LOOKS_MAX or not ended:
            return None
        if _found(batch, pending.at_ms, SAME_UNDER_WAY_MS if pending.under_way else SAME_MS) or not self._spend(calls):
            return None
        self._put(batch.customer, Pending(pending.at_ms, now + PENDING_SECONDS, pending.looks + 1, False))
        return now + AGAIN_SECONDS

    def _announce(self, customer_id: CustomerId, at_ms: int) -> None:
        spans = self._spans.pop(customer_id, ())
        self._spans[customer_id] = (*spans, at_ms)[-SPANS_MAX:]
        if len(self._spans) > PENDING_MAX:
            del self._spans[next(iter(self._spans))]

    def _recall(self, batch: Batch) -> None:
        spans = self._spans.get(batch.customer, ())
        told = (any(at_ms - SAME_MS <= one.created_at_ms <= at_ms + ANNOUNCED_AFTER_MS for at_ms in spans) for one in batch.new)
        self.announced += sum(told) if spans else 0
        if batch.walk is None:
            self._spans.pop(batch.customer, None)

    def _put(self, customer_id: CustomerId, pending: Pending) -> None:
        self._pending.pop(customer_id, None)
        self._pending[customer_id] = pending
        if len(self._pending) > PENDING_MAX:
            del self._pending[next(iter(self._pending))]

    def _spend(self, calls: int) -> bool:
        """Whether the credit holds another call, which is taken."""
        self._credit = min(self._credit + (calls - self._calls) * SHARE, CREDIT_MAX)
        self._calls = calls
        spends = self._credit >= 1
        self._credit -= spends
        self.used += spends
        return spends


def _found(batch: Batch, at_ms: int, before_ms: int) -> bool:
    """Whether it holds something that happened at that instant, or so long before, or later."""
    return any(record.created_at_ms >= at_ms - before_ms for record in batch.new)


def is_known(checkpoint: Checkpoint | None, at_ms: int, lookback_ms: int) -> bool:
    """Whether what happened then has been read, as far as can be told: by the server's own time, so that our clock does not matter."""
    if checkpoint is None or checkpoint.last_read is None:
        return False
    last_ms = -1 if checkpoint.rates is None else round(checkpoint.rates.last * 1000)
    return last_ms >= at_ms or checkpoint.cursor_ms + lookback_ms >= at_ms + SHOWN_LATE_MS
