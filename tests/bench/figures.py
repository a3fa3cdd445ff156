"""A figure: what was measured, how often, and what it should be; and the table that shows it."""

import os
import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median

import msgspec

from poller.demo.broker import KAFKA_VERSION

LIBRARIES = ("aiokafka", "cramjam", "msgspec", "httpx", "anyio", "uvloop")
HEADINGS = ("what", "median", "lowest to highest", "runs", "goal", "")


class Figure(msgspec.Struct, frozen=True):
    """One thing that was measured several times."""

    what: str
    unit: str
    runs: Sequence[float]
    at_most: float | None = None
    at_least: float | None = None
    """The goal, which the median must meet; neither: it is only told."""

    @property
    def median(self) -> float:
        return median(self.runs)

    @property
    def met(self) -> bool:
        high = self.at_most is None or self.median <= self.at_most
        return high and (self.at_least is None or self.median >= self.at_least)

    @property
    def goal(self) -> str:
        if self.at_most is not None:
            return f"≤ {shown(self.at_most)}"
        return "" if self.at_least is None else f"≥ {shown(self.at_least)}"

    def row(self) -> tuple[str, ...]:
        verdict = "" if not self.goal else "met" if self.met else "**missed**"
        extent = f"{shown(min(self.runs))} to {shown(max(self.runs))}"
        return (self.what, f"{shown(self.median)} {self.unit}".rstrip(), extent, str(len(self.runs)), self.goal, verdict)


def shown(value: float) -> str:
    """Three digits that count."""
    if abs(value) >= 100:
        return f"{round(value, 3 - len(str(int(abs(value))))):,.0f}"
    return f"{value:.3g}"


def table(figures: Iterable[Figure]) -> str:
    """As Markdown."""
    rows = [HEADINGS, tuple("---" for _ in HEADINGS), *(figure.row() for figure in figures)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in rows)


def machine() -> str:
    """What everything was measured on."""
    kafka = f"Apache Kafka {KAFKA_VERSION}"
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return f"{_processor()}, {os.cpu_count()} cores; {platform.system()}, Python {platform.python_version()}, {kafka}; {libraries}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
