"""The budget: the calls that we allow ourselves, in two windows, across restarts and replicas.

*The rate* is a token bucket. A bucket that holds at most C and refills at r grants in a half-open window of length W at most C + r·W
calls, rounded up to the next whole call exclusive; so with r = (limit + 1 − C) / (W + j) no window holds more than the limit, even if
calls arrive up to j seconds later than they left.

*The cycle* is a ledger of the calls spent in the billing month. Its cap, less a reserve, is paced evenly over the time that is left: it
lowers the bucket's refill, and when nothing is left no call is made until the next cycle.

*Durable.* Each commit carries the ledger as it would be if every call that may start before the next commit had started: the *grant*.
A call may start only within the grant of a commit that is known to stand. So whoever restores a ledger, after whatever end of its
predecessor, starts from no more than was really left. The bucket is not refilled for the time in between, so no clock is compared with
another process's: the price is less than a second's calls after a kill, and none after a drain.
"""

import calendar
import math
from datetime import UTC, date, datetime, timedelta, tzinfo

import msgspec

from poller.errors import SettingsError
from poller.model import Hindrance, Ledger

ARRIVAL_SECONDS = 1.0
"""How much later than another a call may arrive at the server that counts it."""

CAPACITY_SECONDS = 0.5
"""The bucket holds the calls of this long: what accrues while a commit is under way is not lost."""

GRANT_SECONDS = 1.0
"""A commit grants the calls of this long ahead."""

LEVEL_ROUNDING = 1e-3
"""Of a call: an instant has a quarter of a microsecond's resolution, so a bucket may be this far from what was waited for. It is repaid."""

RESERVE = 0.01
"""The part of a cycle kept for what is not paced: `check`, tokens, calls of a process that was killed."""


class Cycle(msgspec.Struct, frozen=True):
    """The billing month: its cap, and when it begins."""

    calls: int
    reset_day: int
    """1 to 31; in a shorter month its last day."""
    zone: tzinfo = UTC

    def bounds(self, now: float) -> tuple[str, float, float]:
        """The cycle that holds `now`: the day of its beginning (`YYYY-MM-DD`), its beginning and its end, Unix time in seconds."""
        today = datetime.fromtimestamp(now, self.zone).date()
        begin = self._reset_in(today.year, today.month)
        if begin > today:
            begin = self._reset_in(*_month_before(today))
        return begin.isoformat(), self._midnight(begin), self._midnight(self._reset_in(*_month_after(begin)))

    def _reset_in(self, year: int, month: int) -> date:
        return date(year, month, min(self.reset_day, calendar.monthrange(year, month)[1]))

    def _midnight(self, day: date) -> float:
        return datetime(day.year, day.month, day.day, tzinfo=self.zone).timestamp()


def _month_before(day: date) -> tuple[int, int]:
    before = day.replace(day=1) - timedelta(days=1)
    return before.year, before.month


def _month_after(day: date) -> tuple[int, int]:
    after = day.replace(day=28) + timedelta(days=4)
    return after.year, after.month


class Terms(msgspec.Struct, frozen=True):
    """What one partition may spend."""

    capacity: float
    calls_per_second: float
    cycle: Cycle | None = None

    @classmethod
    def of(cls, limit: float, window_seconds: float, cycle: Cycle | None, partitions: int) -> "Terms":
        """One partition's part of a limit of so many calls in a window. Raises `SettingsError` where there are not enough calls to divide."""
        capacity = max(1, math.ceil(limit / window_seconds * CAPACITY_SECONDS / partitions))
        calls_per_second = (limit + 1 - (capacity + LEVEL_ROUNDING) * partitions) / (window_seconds + ARRIVAL_SECONDS)
        if calls_per_second <= 0:
            fault = f"POLLER_CALLS_PER_MINUTE or POLLER_CALLS_PER_HOUR: {limit:g} calls in {window_seconds:g} s cannot be divided over {partitions} partitions"
            raise SettingsError([f"{fault}: allow more, count them by the hour, or use a checkpoint topic with fewer partitions"])
        part = None if cycle is None else msgspec.structs.replace(cycle, calls=cycle.calls // partitions)
        return cls(capacity=capacity, calls_per_second=calls_per_second / partitions, cycle=part)


class CycleStands(msgspec.Struct, frozen=True, kw_only=True):
    """How the billing cycle stands, for what is owned here."""

    begun: str
    """The day, `YYYY-MM-DD`."""
    ends: float
    """Unix time in seconds."""
    calls: int
    """What may be spent in it, the reserve included."""
    spent: int
    left: int
    """What will be spent until its end: the reserve is not included."""
    calls_per_minute: float
    """The pace that it comes to."""

    def joined(self, other: "CycleStands") -> "CycleStands":
        """Of two partitions together."""
        return msgspec.structs.replace(
            self,
            calls=self.calls + other.calls,
            spent=self.spent + other.spent,
            left=self.left + other.left,
            calls_per_minute=self.calls_per_minute + other.calls_per_minute,
        )


class Budget(msgspec.Struct, frozen=True):
    """One partition's budget at an instant. Replaced, never edited."""

    terms: Terms
    level: float
    """Calls in the bucket."""
    at: float
    """When it held them."""
    allowance: int = 0
    """Calls that may start under the last commit that is known to stand."""
    pending: int | None = None
    """What will be left of the grant of a commit that is under way, if it stands."""
    cycle: str | None = None
    cycle_spent: int = 0

    @classmethod
    def restore(cls, terms: Terms, ledger: Ledger | None, now: float) -> "Budget":
        """Go on from a durable ledger; without one the bucket starts empty."""
        if ledger is None:
            ledger = Ledger(level=0.0)
        budget = cls(terms=terms, level=min(ledger.level, terms.capacity), at=now, cycle=ledger.cycle, cycle_spent=ledger.cycle_spent)
        return budget.refill(now)

    def refill(self, now: float) -> "Budget":
        """The budget as it is now: the bucket refilled, the ledger of a new cycle begun. Time that runs backwards changes nothing."""
        if now < self.at:
            return self
        budget = self._turn(now)
        level = min(self.terms.capacity, self.level + budget.calls_per_second(now) * (now - self.at))
        return msgspec.structs.replace(budget, level=level, at=now)

    def under(self, terms: Terms) -> "Budget":
        """The same under other terms from now on; expects a refilled budget."""
        return msgspec.structs.replace(self, terms=terms)

    def calls_per_second(self, now: float) -> float:
        """The refill: the rate's, or what the cycle leaves if that is less."""
        if self.terms.cycle is None:
            return self.terms.calls_per_second
        _, _, end = self.terms.cycle.bounds(now)
        return min(self.terms.calls_per_second, max(0, self.paced_left()) / max(end - now, 1.0))

    def cycle_stands(self, now: float) -> CycleStands | None:
        """`None`: no cycle is configured."""
        if self.terms.cycle is None:
            return None
        budget = self.refill(now)
        begun, _, ends = self.terms.cycle.bounds(now)
        return CycleStands(
            begun=budget.cycle or begun,
            ends=ends,
            calls=self.terms.cycle.calls,
            spent=budget.cycle_spent,
            left=max(0, budget.paced_left()),
            calls_per_minute=60 * budget.calls_per_second(now),
        )

    def cycle_left(self) -> int:
        """What will be spent until the end of the cycle; 0 where none is configured."""
        return 0 if self.terms.cycle is None else max(0, self.paced_left())

    def paced_left(self) -> int:
        """Calls left in the cycle, the reserve not included. Only where a cycle is configured."""
        assert self.terms.cycle is not None
        reserve = math.ceil(self.terms.cycle.calls * RESERVE)
        return self.terms.cycle.calls - reserve - self.cycle_spent

    def ahead(self, now: float) -> float:
        """Calls that accrue while a grant lasts."""
        return self.calls_per_second(now) * GRANT_SECONDS

    def available_at(self, now: float) -> float:
        """When the next call may start; `inf`: not before a commit grants it. Expects a refilled budget."""
        return self._level_reaches(1.0, now) if self.allowance >= 1 else math.inf

    def hindrance(self, now: float) -> Hindrance:
        """What a call waits for that may not start yet. Expects a refilled budget."""
        if self.terms.cycle is not None and self.paced_left() <= 0:
            return "cycle"
        if self.level >= 1 - LEVEL_ROUNDING:
            return "commits"  # for their grant
        return "cycle" if self.calls_per_second(now) < self.terms.calls_per_second else "budget"

    def grant_due_at(self, now: float) -> float:
        """When a commit is worth making for the sake of its grant alone; `inf`: calls are still granted."""
        if self.allowance >= 1 or self.pending is not None:
            return math.inf
        if self.terms.cycle is not None and self.paced_left() <= 0:
            return self.terms.cycle.bounds(now)[2]  # however full the bucket is
        return self._level_reaches(1.0 - self.ahead(now), now)

    def spend(self, now: float) -> "Budget":
        """A call starts."""
        budget = self.refill(now)
        assert budget.level >= 1 - LEVEL_ROUNDING and budget.allowance >= 1, "a call that the budget does not allow"
        pending = None if budget.pending is None else budget.pending - 1
        return msgspec.structs.replace(
            budget, level=budget.level - 1, allowance=budget.allowance - 1, pending=pending, cycle_spent=budget.cycle_spent + self._counts()
        )

    def prepare(self, now: float, last: bool) -> tuple["Budget", Ledger, int]:
        """A commit begins: the ledger that it carries, and its grant; the last one before a drain grants nothing."""
        budget = self.refill(now)
        grant = 0 if last else max(0, math.floor(budget.level + budget.ahead(now) + LEVEL_ROUNDING))
        if budget.terms.cycle is not None:
            grant = min(grant, max(0, budget.paced_left()))
        ledger = Ledger(level=budget.level - grant, cycle=budget.cycle, cycle_spent=budget.cycle_spent + grant * self._counts())
        return msgspec.structs.replace(budget, allowance=min(budget.allowance, grant), pending=grant), ledger, grant

    def committed(self) -> "Budget":
        """The commit stands: what is left of its grant may be spent."""
        assert self.pending is not None
        return msgspec.structs.replace(self, allowance=self.pending, pending=None)

    def _counts(self) -> int:
        return 0 if self.terms.cycle is None else 1

    def _level_reaches(self, level: float, now: float) -> float:
        if self.level >= level - LEVEL_ROUNDING:
            return now
        rate = self.calls_per_second(now)
        if rate > 0:
            return now + (level - self.level) / rate
        assert self.terms.cycle is not None
        return self.terms.cycle.bounds(now)[2]

    def _turn(self, now: float) -> "Budget":
        """Begin the ledger of a new cycle. A clock that was set back does not bring an old one back.

        What a commit of the old cycle granted is void: its calls are not in the new ledger, and whoever restores that one would not know of them.
        """
        if self.terms.cycle is None:
            return self
        begun, _, _ = self.terms.cycle.bounds(now)
        if self.cycle is not None and begun <= self.cycle:
            return self
        pending = None if self.pending is None else 0
        return msgspec.structs.replace(self, allowance=0, pending=pending, cycle=begun, cycle_spent=0)
