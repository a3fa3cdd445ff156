"""The tables of `docs/freshness.md`, and its drawing, from what was measured."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.bench.figures import machine
from tests.bench.freshness.cases import (
    ARRIVAL_SECONDS_AT_MOST,
    DECISION_US_AT_MOST,
    POLICIES,
    SPEED_CUSTOMERS,
    THE_RULE,
    Case,
    faults,
)
from tests.bench.freshness.divided import OFF_AT_MOST, SPLIT, WORKLOAD, Cost
from tests.bench.freshness.harness import Outcome
from tests.bench.freshness.month import MONTH, Spent
from tests.bench.freshness.plot import Line, Panel, svg
from tests.bench.freshness.program import SCENE, USED_AT_LEAST, Measure

DOCS = Path(__file__).parents[3] / "docs"
DOCUMENT, DRAWING = DOCS / "freshness.md", DOCS / "freshness.svg"
BEGIN, END = "<!-- measured by `make bench-freshness`: from here -->", "<!-- to here -->"

Outcomes = Mapping[tuple[Case, str], Outcome]
"""By case (of one seed) and policy."""


class Speed(NamedTuple):
    decision_us: float
    arrival_seconds: float

    def faults(self) -> list[str]:
        slow = [f"a decision takes {self.decision_us:.1f} µs > {DECISION_US_AT_MOST:g}"] if self.decision_us > DECISION_US_AT_MOST else []
        late = self.arrival_seconds > ARRIVAL_SECONDS_AT_MOST
        return slow + ([f"an arrival takes {self.arrival_seconds:.2f} s > {ARRIVAL_SECONDS_AT_MOST:g}"] if late else [])


class Measured(NamedTuple):
    """All of it; `None`: that was not asked for."""

    outcomes: Outcomes
    program: Measure | None = None
    month: Spent | None = None
    divided: Cost | None = None
    speed: Speed | None = None

    def faults(self) -> list[str]:
        """What was missed."""
        missed = [fault for (case, name), outcome in self.outcomes.items() if name == THE_RULE for fault in faults(case, outcome)]
        missed += self.program.faults(SCENE) if self.program else []
        missed += self.month.faults(MONTH) if self.month else []
        missed += self.divided.faults() if self.divided else []
        return missed + (self.speed.faults() if self.speed else [])


def written(page: str, measured: str) -> str:
    """The page, with what was measured between its markers."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n{measured}{END}{rest.split(END)[1]}"


def measured(cases: Sequence[Case], whole: Measured, took_seconds: float) -> str:
    lines = [f"Measured in {took_seconds / 60:.0f} minutes on: {machine()}."]
    if cases:
        lines += ["", *_goals(cases, whole.outcomes), "", *_compared(cases, whole.outcomes)]
    for tabled in (
        whole.program and _program(whole.program),
        whole.month and _month(whole.month),
        whole.divided and _divided(whole.divided),
        whole.speed and _speed(whole.speed),
    ):
        lines += ["", *tabled] if tabled else []
    return "\n".join(lines) + "\n"


def drawing(outcomes: Outcomes) -> str:
    """Over the budget, of one workload."""
    by_budget = sorted(outcomes.items(), key=lambda item: item[0][0].calls_a_minute)
    titles = ("mean delay, minutes", "95th percentile of the delay, minutes", "longest staleness, minutes")

    def panel(figure: int) -> Panel:
        lines = [Line(name, [(case.calls_a_minute, out[figure]) for (case, of), out in by_budget if of == name]) for name in POLICIES]
        return Panel(titles[figure], lines)

    return svg("Delay and staleness by budget", "calls a minute, for 1,000 customers", [panel(figure) for figure in range(3)])


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (headings, ["---"] * len(headings), *rows)]


def _goals(cases: Sequence[Case], outcomes: Outcomes) -> list[str]:
    rows = []
    for case in cases:
        of_rule = [outcomes[case.of_seed(seed), THE_RULE] for seed in range(1, case.seeds + 1)]
        missed = any(faults(case.of_seed(seed), out) for seed, out in enumerate(of_rule, start=1))
        means, p95s = [out.mean for out in of_rule], [out.p95 for out in of_rule]
        uniform = case.workload.customers / (2 * case.calls_a_minute)
        rows.append(
            [
                case.name,
                f"{case.workload.customers:,}",
                f"{case.calls_a_minute:.4g}" + (f" of {case.budget_a_minute:g}" if case.budget_a_minute else ""),
                str(case.seeds),
                _extent(means),
                f"≤ {case.mean_at_most:.2f}",
                f"{max(means) / uniform:.3f}",
                _extent(p95s),
                f"≤ {case.p95_at_most:g}" if math.isfinite(case.p95_at_most) else "",
                f"{max(out.staleness for out in of_rule):.2f}",
                f"≤ {case.staleness + 1 / case.calls_a_minute:.6g}",
                "**missed**" if missed else "met",
            ]
        )
    head = [
        "case",
        "customers",
        "calls a minute",
        "seeds",
        "mean delay, min",
        "goal",
        "of N/(2B)",
        "p95, min",
        "goal",
        "staleness, min",
        "goal",
        "",
    ]
    return table(head, rows)


def _compared(cases: Sequence[Case], outcomes: Outcomes) -> list[str]:
    chosen = [case for case in cases if case.compared]
    rows = [[name, *(_both(outcomes[case, name]) for case in chosen)] for name in POLICIES] if chosen else []
    return [
        "Mean delay and 95th percentile in minutes, with the first seed of each case:",
        "",
        *table(["", *(case.name for case in chosen)], rows),
    ]


def _program(program: Measure) -> list[str]:
    longest = SCENE.staleness + 1 / SCENE.paced
    rows = [
        ["mean delay, until the commit", f"{program.mean:.2f} min", f"{program.harness.mean:.2f} min ± {SCENE.off_at_most:.0%}"],
        ["95th percentile", f"{program.p95:.1f} min", f"{program.harness.p95:.1f} min"],
        ["staleness", f"{program.staleness:.2f} min", f"≤ {longest:.2f} min, and a second"],
        ["calls made, of those that the budget allows", f"{program.used:.1%}", f"≥ {USED_AT_LEAST:.0%}"],
        ["calls in any minute", str(program.calls_in_window_max), f"≤ {SCENE.calls_a_minute}"],
        ["activities lost, twice or invented", str(program.unsettled), "0"],
    ]
    workload = SCENE.workload
    what = f"The whole program, {workload.customers} customers, {SCENE.calls_a_minute} calls a minute, {workload.days} days"
    return table([what, "", "harness, or goal"], rows)


def _month(month: Spent) -> list[str]:
    rows = [
        ["calls", f"{month.calls:,}", f"≥ {USED_AT_LEAST:.0%}, ≤ {MONTH.calls_a_cycle:,}"],
        ["calls in any minute", str(month.calls_in_window_max), f"≤ {MONTH.calls_a_minute}"],
        ["lives of the program", str(month.lives), ""],
        ["mean delay", f"{month.mean:.0f} min", ""],
        ["the rule in the harness, never disturbed", f"{month.harness.mean:.0f} min", ""],
        ["everybody at one interval, with as many calls", f"{month.fixed.mean:.0f} min", "more"],
        ["activities lost, twice or invented", str(month.unsettled), "0"],
    ]
    what = f"A month of the Business plan, {MONTH.workload.customers:,} customers, {MONTH.calls_a_cycle:,} calls"
    return table([what, "", "goal"], rows)


def _divided(cost: Cost) -> list[str]:
    rows = [
        ["one schedule for all", _both(cost.alone), f"{cost.alone.staleness:.2f}", ""],
        ["four partitions that share", _both(cost.shared), f"{cost.shared.staleness:.2f}", f"{cost.off:+.1%}, ≤ {OFF_AT_MOST:+.0%}"],
        [
            "four partitions with equal parts",
            _both(cost.equal),
            f"{cost.equal.staleness:.2f}",
            f"{cost.equal.mean / cost.alone.mean - 1:+.1%}",
        ],
    ]
    parts = " : ".join(f"{part:.1%}" for part in cost.parts)
    what = f"{WORKLOAD.customers:,} customers, split {' : '.join(f'{part:.0%}' for part in SPLIT)}; calls in the end {parts}"
    return table([what, "mean delay, p95, min", "staleness, min", "off"], rows)


def _speed(speed: Speed) -> list[str]:
    rows = [
        ["a decision and the read that follows", f"{speed.decision_us:.1f} µs", f"≤ {DECISION_US_AT_MOST:g} µs"],
        ["their arrival, until the first is taken", f"{speed.arrival_seconds:.2f} s", f"≤ {ARRIVAL_SECONDS_AT_MOST:g} s"],
    ]
    return table([f"CPU time with {SPEED_CUSTOMERS:,} customers", "", "goal"], rows)


def _both(outcome: Outcome) -> str:
    return f"{outcome.mean:.2f}, {outcome.p95:.1f}"


def _extent(values: Sequence[float]) -> str:
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"
