"""The last hour in some hundred stretches, for the page to draw. Pure: told the time, and handed what was counted so far.

A young process has short stretches, so that there is something to see at once; each time that there are too many, two become one, until a stretch
is as long as the last hour allows. Of a stretch is kept by how much each count grew, so stretches can be added up.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

STRETCH_SECONDS_MIN = 3.75
STRETCH_SECONDS_MAX = 30.0
"""The shortest, doubled three times."""
HOUR_SECONDS = 3600.0
STRETCHES_MAX = 120
assert STRETCHES_MAX * STRETCH_SECONDS_MAX >= HOUR_SECONDS


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted: since the process began, or within a stretch."""

    calls: int = 0
    by_type: Mapping[str, int] = {}
    """Activities published."""
    freshness: tuple[int, ...] = ()
    """A histogram's counts; none: as many zeros."""

    @property
    def published(self) -> int:
        return sum(self.by_type.values())

    def since(self, before: "Counted") -> "Counted":
        """By how much it grew."""
        grown = {type: count - before.by_type.get(type, 0) for type, count in self.by_type.items()}
        return Counted(
            calls=self.calls - before.calls,
            by_type={type: count for type, count in grown.items() if count},
            freshness=tuple(now - then for now, then in zip(self.freshness, before.freshness, strict=True))
            if before.freshness
            else self.freshness,
        )

    def joined(self, other: "Counted") -> "Counted":
        longer, shorter = sorted((self.freshness, other.freshness), key=len, reverse=True)
        return Counted(
            calls=self.calls + other.calls,
            by_type=Counter(self.by_type) + Counter(other.by_type),
            freshness=tuple(one + another for one, another in zip(longer, shorter or (0,) * len(longer), strict=True)),
        )


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """What came between two instants, Unix time in seconds."""

    begun: float
    ended: float
    counted: Counted
    staleness_max_seconds: float | None
    """The most that was seen in it; `None`: nothing was owned, or nobody was read yet."""

    def joined(self, later: "Stretch") -> "Stretch":
        seen = [each for each in (self.staleness_max_seconds, later.staleness_max_seconds) if each is not None]
        return Stretch(
            begun=self.begun,
            ended=later.ended,
            counted=self.counted.joined(later.counted),
            staleness_max_seconds=max(seen, default=None),
        )


class History(msgspec.Struct, frozen=True, kw_only=True):
    """Replaced, never edited."""

    begun: float
    """Of the stretch under way."""
    base: Counted = Counted()
    """What had been counted then."""
    staleness_max_seconds: float | None = None
    """Seen since then."""
    stretches: tuple[Stretch, ...] = ()
    """The oldest first."""
    stretch_seconds: float = STRETCH_SECONDS_MIN

    def sampled(self, counted: Counted, staleness_seconds: float | None, now: float) -> "History":
        """So it stands now. The stretch under way ends when it is long enough."""
        current = self._current(counted, staleness_seconds, now)
        if now < self.begun + self.stretch_seconds:
            return msgspec.structs.replace(self, staleness_max_seconds=current.staleness_max_seconds)
        kept = tuple(each for each in (*self.stretches, current) if each.ended > now - HOUR_SECONDS)
        seconds = self.stretch_seconds
        if len(kept) > STRETCHES_MAX and seconds < STRETCH_SECONDS_MAX:
            kept, seconds = _halved(kept), 2 * seconds
        return History(begun=now, base=counted, stretches=kept[-STRETCHES_MAX:], stretch_seconds=seconds)

    def until(self, counted: Counted, staleness_seconds: float | None, now: float) -> tuple[Stretch, ...]:
        """All stretches, with the one under way."""
        return (*self.stretches, self._current(counted, staleness_seconds, now))

    def _current(self, counted: Counted, staleness_seconds: float | None, now: float) -> Stretch:
        seen = [each for each in (self.staleness_max_seconds, staleness_seconds) if each is not None]
        return Stretch(begun=self.begun, ended=now, counted=counted.since(self.base), staleness_max_seconds=max(seen, default=None))


def _halved(stretches: Sequence[Stretch]) -> tuple[Stretch, ...]:
    """Two by two; an odd one stays at the old end."""
    odd = len(stretches) % 2
    pairs = zip(stretches[odd::2], stretches[odd + 1 :: 2], strict=True)
    return (*stretches[:odd], *(first.joined(second) for first, second in pairs))


def quantile(bounds: Sequence[float], counts: Sequence[int], share: float) -> float | None:
    """Below which that share of the values lies, evenly spread between two bounds, as Prometheus's `histogram_quantile` takes them to be.

    Of values above all bounds: the last bound. `None` without values.
    """
    total = sum(counts)
    if not total:
        return None
    ends = [sum(counts[: index + 1]) for index in range(len(counts))]
    wanted = share * total
    index = bisect_left(ends, wanted)
    if index >= len(bounds):
        return bounds[-1]
    lower, below = (bounds[index - 1], ends[index - 1]) if index else (0.0, 0)
    return lower + (bounds[index] - lower) * (wanted - below) / counts[index] if counts[index] else lower
