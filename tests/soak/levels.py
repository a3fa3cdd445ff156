"""Whether a series has levelled off: it may swing, and it may rise once and stay there, but it must not go on rising.

    first third | 1 | 2 | 3 | 4 | 5 | 6      the rest in six parts, each with its median

What it rose from part 1 to part 6, less the largest step between two neighbours, is what is judged. A leak rises from part to part: of five steps the largest
is one. What swings is at the end where it was. What rose once, as memory does that is not given back, rose in that one step.
"""

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

import msgspec

PARTS = 6
SAMPLES_MIN = 36
"""Fewer say nothing: four in each part."""


class Bound(msgspec.Struct, frozen=True):
    """What still counts as level, and how high it may ever go."""

    name: str
    unit: str
    share: float
    """So much of the middle third's median may it rise …"""
    amount: float
    """… or so much, if that is more."""
    peak_share: float
    """The highest value, as a multiple of the middle third's median."""

    def allowed(self, middle: float) -> float:
        return max(self.share * middle, self.amount)


class Levels(msgspec.Struct, frozen=True):
    """What a series came to."""

    first: float
    """Medians of the thirds."""
    middle: float
    last: float
    peak: float
    rise: float
    """After the first third, without the largest step."""

    @classmethod
    def of(cls, series: Sequence[float]) -> "Levels":
        """At equal distances in time, from begin to end; at least `SAMPLES_MIN`."""
        assert len(series) >= SAMPLES_MIN, f"{len(series)} samples say nothing"
        first, middle, last = map(median, parts(series, 3))
        medians = [median(part) for part in parts(series[len(series) // 3 :], PARTS)]
        largest = max(after - before for before, after in pairwise(medians))
        return cls(first, middle, last, max(series), medians[-1] - medians[0] - max(0.0, largest))


def parts(series: Sequence[float], count: int) -> list[Sequence[float]]:
    """As equal as can be."""
    ends = [len(series) * number // count for number in range(count + 1)]
    return [series[begin:end] for begin, end in pairwise(ends)]


def faults_of(series: Sequence[float], bound: Bound) -> list[str]:
    """What speaks against its having levelled off, in words; nothing: it has."""
    if len(series) < SAMPLES_MIN:
        return [f"{bound.name}: {len(series)} samples are too few to judge"]
    levels = Levels.of(series)
    allowed = bound.allowed(levels.middle)
    by_thirds = f"its thirds are {levels.first:.1f}, {levels.middle:.1f} and {levels.last:.1f}{bound.unit and f' {bound.unit}'}"
    found = []
    if levels.rise > allowed:
        found.append(
            f"{bound.name}: goes on rising, by {levels.rise:.1f} without its largest step where {allowed:.1f} are allowed; {by_thirds}"
        )
    if levels.peak > bound.peak_share * levels.middle + bound.amount:
        found.append(f"{bound.name}: rose to {levels.peak:.1f}; {by_thirds}")
    return found
