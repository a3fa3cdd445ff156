"""The table of faults, as text and as part of docs/reliability.md."""

import math
import os
import platform
from collections.abc import Sequence

from poller.demo.broker import KAFKA_VERSION
from tests.fault.harness import Row
from tests.support import document

HEADINGS = ("fault", "times injected", "activities", "lost", "twice", "recovery p50", "max")


def cells(row: Row) -> tuple[str, ...]:
    return (
        row.fault,
        str(row.injected),
        f"{row.activities:,}",
        str(row.lost),
        str(row.twice),
        seconds(row.recovery_p50_seconds),
        seconds(row.recovery_seconds_max),
    )


def seconds(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1f} s"


def table(rows: Sequence[Row]) -> str:
    return document.table(HEADINGS, list(map(cells, rows)))


def notes(rows: Sequence[Row]) -> str:
    """What was hit, where that was counted."""
    return "".join(f"\n{row.fault}: {row.notes}.\n" for row in rows if row.notes)


def moves(rows: Sequence[Row]) -> str:
    """How far the metrics have moved that must."""
    return document.table(("fault", "what moved meanwhile"), [(row.fault, ", ".join(map(str, row.moved))) for row in rows])


def run_on(seed: int, took_seconds: float) -> str:
    """What it was run on."""
    return (
        f"Seed {seed}, {took_seconds / 60:.0f} minutes; Apache Kafka {KAFKA_VERSION}, Python {platform.python_version()}, "
        f"{platform.system()} on {platform.machine()}, {os.cpu_count()} cores shared by brokers, pollers, API and judge."
    )


def write(rows: Sequence[Row], seed: int, took_seconds: float) -> None:
    """Put the table in its place."""
    document.put("faults", f"{table(rows)}\n{notes(rows)}\n{moves(rows)}\n\n{run_on(seed, took_seconds)}")
