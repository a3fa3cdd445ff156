"""`python -m tests.bench.freshness`: play every case, exit 1 where the rule misses a goal. `--case CI-1` plays one; `--write` into docs/freshness.md.

Beside the cases there are `program`, `month`, `divided` and `speed`.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from typing import TypeVar

from tests.bench.freshness.cases import CASES, POLICIES, THE_RULE, ZIPF, Case, arrival_seconds, decision_us, played
from tests.bench.freshness.divided import measured_division
from tests.bench.freshness.document import DOCUMENT, DRAWING, Measured, Outcomes, Speed, drawing, measured, written
from tests.bench.freshness.harness import Outcome
from tests.bench.freshness.month import measured_month
from tests.bench.freshness.program import measured_program

BUDGETS = (12.5, 25, 50, 100, 200)
"""Calls a minute for 1,000 customers: what is drawn."""

DRAWN = [Case(f"{budget:g} calls a minute", ZIPF, 1, budget, 2 * ZIPF.customers / budget, 3, 0.0) for budget in BUDGETS]

Task = tuple[Case, str]
Result = TypeVar("Result")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--write", action="store_true", help="also into docs/freshness.md and docs/freshness.svg")
    either.add_argument("--case", help="only the cases whose name begins so, or `speed`")
    given = parser.parse_args()
    began = time.monotonic()
    cases = [case for case in CASES if given.case is None or case.name.startswith(given.case)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        program = pool.submit(_told, measured_program) if given.case in (None, "program") else None
        month = pool.submit(_told, measured_month) if given.case in (None, "month") else None
        divided = pool.submit(_told, measured_division) if given.case in (None, "divided") else None
        outcomes = _played(pool, _tasks(cases))
        by_budget = _played(pool, [(case, name) for case in DRAWN for name in POLICIES]) if given.write else {}
        whole = Measured(
            outcomes,
            None if program is None else program.result(),
            None if month is None else month.result(),
            None if divided is None else divided.result(),
        )
    if given.case in (None, "speed"):
        whole = whole._replace(speed=Speed(decision_us(), arrival_seconds()))  # nothing else runs
    text = measured(cases, whole, time.monotonic() - began)
    print(text)
    if given.write:
        DRAWING.write_text(drawing(by_budget))
        DOCUMENT.write_text(written(DOCUMENT.read_text(), text))
    missed = whole.faults()
    for fault in missed:
        print(f"missed: {fault}")
    return 1 if missed else 0


def _told(measure: Callable[[], Result]) -> Result:
    result = measure()
    print(result, flush=True)
    return result


def _tasks(cases: Sequence[Case]) -> list[Task]:
    """The rule with each seed, and all that it is compared with on the first."""
    rule = [(case.of_seed(seed), THE_RULE) for case in cases for seed in range(1, case.seeds + 1)]
    others = [(case, name) for case in cases if case.compared for name in POLICIES if name != THE_RULE]
    return sorted(rule + others, key=lambda task: -task[0].calls_a_minute * task[0].workload.days)  # the longest first


def _played(pool: Executor, tasks: Sequence[Task]) -> Outcomes:
    outcomes: dict[Task, Outcome] = {}
    running = {pool.submit(played, *task): task for task in tasks}
    for done in as_completed(running):
        case, name = running[done]
        outcome = outcomes[case, name] = done.result()
        print(f"{case.name}, seed {case.workload.seed}, {name}: {outcome}", flush=True)
    return outcomes


if __name__ == "__main__":
    sys.exit(main())
