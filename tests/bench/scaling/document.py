"""`docs/scaling.md` and its drawing, from what was measured."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.bench.figures import machine, shown
from tests.bench.freshness.plot import Line, Panel, svg
from tests.bench.scaling.replica import CALLS_PER_MINUTE, Replica
from tests.support.document import table

DOCS = Path(__file__).parents[3] / "docs"
DOCUMENT, DRAWING = DOCS / "scaling.md", DOCS / "scaling.svg"

GOALS_HOLD_UP_TO = 100_000
"""Customers; beyond it has to work, and no more is asked than that the loop turns."""


class Goal(NamedTuple):
    what: str
    unit: str
    at_most: float
    customers_max: int


class Measured(NamedTuple):
    """All of one number of customers."""

    replica: Replica
    decision_us: float

    def against_goals(self) -> list[tuple[Goal, float]]:
        replica = self.replica
        return list(
            zip(
                GOALS,
                (
                    replica.memory_most_mb,
                    replica.first_call_seconds,
                    replica.added_seconds,
                    replica.announced_seconds,
                    replica.pause_seconds,
                ),
                strict=True,
            )
        )


GOALS = (
    Goal("memory, the most that it ever was", "MB", 200.0, GOALS_HOLD_UP_TO),
    Goal("from the start to the first call", "s", 10.0, GOALS_HOLD_UP_TO),
    Goal("until a customer that the file names anew is asked for", "s", 2.0, GOALS_HOLD_UP_TO),
    Goal("until a customer that the watch topic names anew is asked for", "s", 2.0, GOALS_HOLD_UP_TO),
    Goal("the longest time that the loop did nothing else", "s", 1.0, 1_000_000),
)


def faults(measured: Sequence[Measured]) -> list[str]:
    """What was missed."""
    return [
        f"{one.replica.customers:,} customers: {goal.what}: {shown(value)} {goal.unit} > {shown(goal.at_most)}"
        for one in measured
        for goal, value in one.against_goals()
        if one.replica.customers <= goal.customers_max and value > goal.at_most
    ]


def drawing(measured: Sequence[Measured]) -> str:
    def panel(title: str, values: Sequence[float]) -> Panel:
        points = [(float(one.replica.customers), value) for one, value in zip(measured, values, strict=True)]
        return Panel(title, [Line("one replica", points)])

    replicas = [one.replica for one in measured]
    panels = [
        panel("memory of the process, MB, the most that it ever was", [replica.memory_most_mb for replica in replicas]),
        panel("seconds from the start to the first call", [replica.first_call_seconds for replica in replicas]),
        panel("microseconds of CPU to decide on a call and take in what it brings", [one.decision_us for one in measured]),
        panel("seconds until a customer that the file names anew is asked for", [replica.added_seconds for replica in replicas]),
    ]
    return svg("One replica, by the number of customers that it watches", "watched customers", panels)


def document(measured: Sequence[Measured], took_seconds: float) -> str:
    return f"""# Scaling

<!-- Written by `make bench-scaling`, all of it: change tests/bench/scaling instead. -->

How one replica fares with very many customers: what it takes in memory, and how long until it reads. Calls are what is scarce, so it is rarely
the process that is too small: at {CALLS_PER_MINUTE:,} calls a minute, a million customers are each read once in eight hours. A million is also the most that
one replica may be told to watch by a file.

![Memory, time to the first call, CPU of a decision, and time to take up one more customer, from a thousand to a million customers](scaling.svg)

{_table(measured)}

Measured once in {took_seconds / 60:.0f} minutes on: {machine()}. The broker, the API's stand-in and the bench share these cores with what is
measured, so that times are rather too long.

## What is measured
One `poller run` with {CALLS_PER_MINUTE:,} calls a minute, else with the default settings, on a real Kafka whose checkpoint topic holds a checkpoint of
each customer, in the order of their last reads; the customers are named by a file. All have been quiet lately, as nearly all are at any moment.

| figure | how |
| --- | --- |
| memory | what is resident (`VmRSS`) when three hundred calls have been made and two customers added, and the most that ever was (`VmHWM`). An idle customer costs {_each(measured)} of it |
| first call | from the start of the process to the first request at the API: Python, the settings and the list, the topics' verification, joining the group, the restore |
| restore | of that, from being assigned the partition on; and its CPU |
| pause | the longest that `/livez`, asked fifty times a second, waited for its answer: the loop did nothing else meanwhile. A heartbeat that waits for longer than a session costs the replica its partition |
| named by file | from the file with one more customer to the request for that customer; the file is looked at once a second |
| named by topic | the same of one that is written to the watch topic, as `poller watch add` does |
| decision | CPU of the core alone: to choose whom to call, to take in a page that shows nothing, to build the checkpoint, and to schedule the customer again |

The goals: {_goals()}.

## What makes it so
- A checkpoint is understood as it is read. Kept as bytes until the end of the topic, it takes 400 bytes more for as long, as much as what it says.
- A restored partition comes in by ten thousand customers, and the loop turns in between: taken in at once, a million of them held it for longer than a
  session lasts, so that the replica lost its partition over and over again and never made a call.
- They come in the order of their last calls, so that nobody has to sort them when the first call is due.
- An idle customer refers to what others have too: one empty set of recent ids, one id, one way to be watched. What is kept of each is not traced by the
  garbage collector, whose full rounds would hold the loop as well.
- Nothing goes through all customers for a call, nor, on the loop, for a change of the watched set that names a few; a file that has changed is read and
  compared beside it.
- Large blocks of memory are given back at once (`poller/allocator.py`): of its own accord the C library keeps them, some 10 MB with a hundred thousand customers.
"""


def _each(measured: Sequence[Measured]) -> str:
    """From the smallest to the largest."""
    first, last = measured[0].replica, measured[-1].replica
    return f"{shown((last.memory_mb - first.memory_mb) * 1.048576e3 / (last.customers - first.customers))} kB"


def _goals() -> str:
    said = [f"{goal.what}, ≤ {shown(goal.at_most)} {goal.unit} up to {goal.customers_max:,} customers" for goal in GOALS]
    return "; ".join(said)


def _table(measured: Sequence[Measured]) -> str:
    headings = (
        "customers",
        "memory",
        "at most",
        "first call",
        "restore",
        "CPU of it",
        "longest pause",
        "named by file",
        "named by topic",
        "decision",
    )
    return table(headings, [_row(one) for one in measured])


def _row(one: Measured) -> Sequence[str]:
    replica = one.replica
    seconds = (
        replica.first_call_seconds,
        replica.restored_seconds,
        replica.restored_cpu_seconds,
        replica.pause_seconds,
        replica.added_seconds,
        replica.announced_seconds,
    )
    return (
        f"{replica.customers:,}",
        f"{shown(replica.memory_mb)} MB",
        f"{shown(replica.memory_most_mb)} MB",
        *(f"{shown(value)} s" for value in seconds),
        f"{shown(one.decision_us)} µs",
    )
