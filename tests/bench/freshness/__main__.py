"""`python -m tests.bench.freshness`: play every case, exit 1 where the rule misses a goal. `--case CI-1` plays one; `--write` into docs/freshness.md."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed

from tests.bench.freshness.cases import CASES, POLICIES, THE_RULE, ZIPF, Case, arrival_seconds, decision_us, faults, played
from tests.bench.freshness.document import DOCUMENT, DRAWING, Outcomes, Speed, drawing, measured, written
from tests.bench.freshness.harness import Outcome

BUDGETS = (12.5, 25, 50, 100, 200)
"""Calls a minute for 1,000 customers: what is drawn."""

DRAWN = [Case(f"{budget:g} calls a minute", ZIPF, 1, budget, 2 * ZIPF.customers / budget, 3, 0.0) for budget in BUDGETS]

Task = tuple[Case, str]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--write", action="store_true", help="also into docs/freshness.md and docs/freshness.svg")
    either.add_argument("--case", help="only the cases whose name begins so, or `speed`")
    given = parser.parse_args()
    began = time.monotonic()
    cases = [case for case in CASES if given.case is None or case.name.startswith(given.case)]
    outcomes = _played(_tasks(cases))
    speed = _speed() if given.case in (None, "speed") else None
    missed = [fault for (case, name), outcome in outcomes.items() if name == THE_RULE for fault in faults(case, outcome)]
    missed += speed.faults() if speed else []
    print(measured(cases, outcomes, speed, time.monotonic() - began))
    if given.write:
        by_budget = _played([(case, name) for case in DRAWN for name in POLICIES])
        DRAWING.write_text(drawing(by_budget))
        DOCUMENT.write_text(written(DOCUMENT.read_text(), measured(cases, outcomes, speed, time.monotonic() - began)))
    for fault in missed:
        print(f"missed: {fault}")
    return 1 if missed else 0


def _tasks(cases: Sequence[Case]) -> list[Task]:
    """The rule with each seed, and all that it is compared with on the first."""
    rule = [(case.of_seed(seed), THE_RULE) for case in cases for seed in range(1, case.seeds + 1)]
    others = [(case, name) for case in cases if case.compared for name in POLICIES if name != THE_RULE]
    return sorted(rule + others, key=lambda task: -task[0].calls_a_minute * task[0].workload.days)  # the longest first


def _played(tasks: Sequence[Task]) -> Outcomes:
    outcomes: dict[Task, Outcome] = {}
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        running = {pool.submit(played, *task): task for task in tasks}
        for done in as_completed(running):
            case, name = running[done]
            outcome = outcomes[case, name] = done.result()
            print(f"{case.name}, seed {case.workload.seed}, {name}: {outcome}", flush=True)
    return outcomes


def _speed() -> Speed:
    return Speed(decision_us(), arrival_seconds())


if __name__ == "__main__":
    sys.exit(main())
