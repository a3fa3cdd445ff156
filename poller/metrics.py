"""What is counted since the process began: counters and histograms by metric and label values, under the names of one table.

Each label's values are named in the table, so that every series is there from the beginning, at zero, and their number is bounded whatever
happens. Plain numbers, changed on the loop only; `poller/admin/exposition.py` shows them.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Literal, NamedTuple

Kind = Literal["counter", "histogram", "gauge"]


class Metric(NamedTuple):
    """One line of the table."""

    kind: Kind
    help: str
    labels: Mapping[str, tuple[str, ...]] = {}
    """Each label's values, all of them."""
    bounds: tuple[float, ...] = ()
    """Of a histogram's buckets; one above all is added."""

    @property
    def label_values(self) -> Iterator[tuple[str, ...]]:
        """Every combination of label values, in the order of `labels`."""
        return product(*self.labels.values())

    @property
    def series(self) -> int:
        """How many time series it makes at most."""
        each = len(self.bounds) + 3 if self.kind == "histogram" else 1
        return each * len(list(self.label_values))


@dataclass(slots=True)
class Histogram:
    """How often a value lay up to each bound; the last count is of those above all bounds."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def observe_all(self, values: Sequence[float]) -> None:
        """The same for many, at less each."""
        ordered, below = sorted(values), 0
        for index, bound in enumerate(self.bounds):
            up_to = bisect_right(ordered, bound, below)
            self.counts[index] += up_to - below
            below = up_to
        self.counts[-1] += len(ordered) - below
        self.total += sum(ordered)

    @property
    def count(self) -> int:
        return sum(self.counts)


class Metrics:
    """The counters and histograms of a table. Gauges are not kept: they are measured when somebody asks."""

    def __init__(self, table: Mapping[str, Metric]) -> None:
        self._counters = {name: dict.fromkeys(metric.label_values, 0.0) for name, metric in table.items() if metric.kind == "counter"}
        self._histograms = {
            name: {values: Histogram(metric.bounds) for values in metric.label_values}
            for name, metric in table.items()
            if metric.kind == "histogram"
        }

    def count(self, name: str, *values: str, by: float = 1) -> None:
        """`values`: of the metric's labels, in their order. Raises `KeyError` for what the table does not name."""
        self._counters[name][values] += by

    def stands_at(self, name: str, *values: str, total: float) -> None:
        """A counter that is kept elsewhere has come to this; it never goes back."""
        assert total >= self._counters[name][values]
        self._counters[name][values] = total

    def observe(self, name: str, value: float, *values: str) -> None:
        self._histograms[name][values].observe(value)

    def observe_all(self, name: str, observed: Sequence[float], *values: str) -> None:
        self._histograms[name][values].observe_all(observed)

    def counted(self, name: str, *values: str) -> float:
        """One series of a counter; with fewer values than it has labels, the sum of all that begin so."""
        series = self._counters[name]
        return series[values] if values in series else sum(count for key, count in series.items() if key[: len(values)] == values)

    def counters(self) -> dict[tuple[str, ...], float]:
        """Every counter's series, by its name and label values."""
        return {(name, *values): count for name, series in self._counters.items() for values, count in series.items()}

    def histogram(self, name: str, *values: str) -> Histogram:
        return self._histograms[name][values]
