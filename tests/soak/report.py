"""The figures of a soak, as text and as part of docs/reliability.md, and its plot beside it."""

import os
import platform
from collections.abc import Sequence

from poller.demo.broker import KAFKA_VERSION
from tests.soak.mischief import API, BROKER, PROCESSES
from tests.soak.sampling import Sample
from tests.soak.soak import BOUNDS, CALLS_PER_MINUTE, Outcome
from tests.support.document import DOCUMENT, put, table
from tests.support.drawing import Line, Marks, Panel, svg

PLOT = DOCUMENT.with_name("soak.svg")
ALT = "Memory, open files, threads and tasks of one replica over the minutes of the soak, with marks where faults began: all of them level off."


def document(outcome: Outcome) -> str:
    """What stands between the markers."""
    return "\n\n".join(
        (
            f"![{ALT}]({PLOT.name})",
            table(("minutes", "customers", "calls", "most in a minute", "activities", "lost", "twice"), [totals(outcome)]),
            table(("the survivor holds", *MOMENTS), list(holdings(outcome))),
            table(("fault", "times injected"), [(name, str(outcome.injected.get(name, 0))) for name in (*PROCESSES, *BROKER, *API)]),
            run_on(outcome),
        )
    )


MOMENTS = ("at rest, before", "first third", "middle third", "last third", "most", "at rest, after")


def totals(outcome: Outcome) -> tuple[str, ...]:
    most = f"{outcome.calls_in_minute_max:,} of {CALLS_PER_MINUTE:,.0f}"
    whole = (f"{outcome.customers:,}", f"{outcome.calls:,}", most, f"{outcome.activities:,}", str(outcome.lost), str(outcome.twice))
    return (f"{outcome.minutes:g}", *whole)


def holdings(outcome: Outcome) -> list[tuple[str, ...]]:
    """A line for each of what is measured: at rest, and its medians by thirds."""
    lines = []
    for name, bound in BOUNDS.items():
        levels = outcome.levels(name)
        rest = [getattr(sample, name) for sample in (outcome.before, outcome.after)]
        values = (rest[0], levels.first, levels.middle, levels.last, levels.peak, rest[1])
        lines.append((bound.name, *(f"{value:.0f} {bound.unit}".strip() for value in values)))
    return lines


def run_on(outcome: Outcome) -> str:
    answers = ", ".join(f"{count:,} {status or 'without'}" for status, count in outcome.statuses.items())
    return (
        f"Seed {outcome.seed}, {sum(outcome.injected.values())} faults, {outcome.rebalances} rebalances that the survivor went through; answers by status: "
        f"{answers}. Apache Kafka {KAFKA_VERSION}, Python {platform.python_version()}, {platform.system()} on {platform.machine()}, "
        f"{os.cpu_count()} cores shared by broker, pollers, API, judge, and whatever else the machine had to do."
    )


def plot(outcome: Outcome) -> str:
    panels = (
        Panel("Memory, MB", [line("memory", outcome.samples, "rss_mb")]),
        Panel("Open files and threads", [line("open files", outcome.samples, "files"), line("threads", outcome.samples, "threads")]),
        Panel("Tasks", [line("tasks", outcome.samples, "tasks")]),
    )
    streams = sorted({stream for _, stream in outcome.began})
    marks = [Marks(stream, [at / 60 for at, of in outcome.began if of == stream]) for stream in streams]
    return svg(ALT, "minutes; each mark is a fault that begins", outcome.minutes, panels, marks)


def line(name: str, samples: Sequence[Sample], field: str) -> Line:
    return Line(name, [(sample.minutes, value) for sample in samples if (value := getattr(sample, field)) is not None])


def write(outcome: Outcome) -> None:
    """Put the figures and the plot in their places."""
    put("soak", document(outcome))
    PLOT.write_text(plot(outcome))
