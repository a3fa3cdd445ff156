"""`make readings`: every reading of the API, in every history: what came of each kind; exit 1 if one run breaks a claim of `tests/support/judge.py`.

The product of all that the API may mean and all histories is run in full. What else may be — when it starts, whose clock is wrong, when it
is killed and restarted — is drawn anew for each run.
"""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice, product
from random import Random
from typing import Any, NamedTuple

from tests.support.document import put
from tests.support.judge import SCENARIOS, Case, Start, run
from tests.support.readings import CLOCKS, PAGES, UNKNOWNS, case_of, possible

STARTS: tuple[Start, ...] = ("earliest", "now", "instant")
CASES_AT_ONCE = 200
FAULTY_SHOWN_MAX = 20

KINDS = {
    "everything can be had": lambda case: case.complete,
    "ties larger than a page, and no id cursor": lambda case: case.followable,
    "`order` or `start_date` ignored": lambda case: True,
}
"""What a case is counted under: the first that holds."""

OUTCOMES = ("complete, no gap", "complete, gap counted", "incomplete, gap counted")


class Tried(NamedTuple):
    """What came of some cases."""

    runs: Counter[tuple[str, str]]
    """By kind and outcome."""
    faulty: list[str]


def cases(seed: int) -> Iterator[Case]:
    """The whole product, in an order that is drawn, so that any part of it is a sample."""
    random = Random(seed)
    readings = list(product(SCENARIOS, PAGES, *UNKNOWNS.values()))
    random.shuffle(readings)
    for scenario, page, *values in readings:
        start = random.choice(STARTS)
        yield case_of(
            scenario,
            dict(zip(UNKNOWNS, values, strict=True)),
            page,
            random.choice([one for one in CLOCKS if possible(start, one[0], one[3])]),
            start,
            killed_at=calls(random),
            restarted_at=calls(random),
            resumed_old=random.random() < 0.5,
        )


def calls(random: Random) -> frozenset[int]:
    return frozenset(random.sample(range(1, 41), random.randrange(4)))


def attempt(some: Sequence[Case]) -> Tried:
    tried = Tried(Counter(), [])
    for case in some:
        verdict = run(case)
        kind = next(name for name, holds in KINDS.items() if holds(case))
        tried.runs[kind, verdict.kind] += 1
        if verdict.faults:
            tried.faulty.append(f"{verdict.faults} {case}")
    return tried


def attempt_all(chosen: Iterator[Case]) -> Tried:
    tried = Tried(Counter(), [])
    portions: list[list[Case]] = []
    while portion := list(islice(chosen, CASES_AT_ONCE)):
        portions.append(portion)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for number, part in enumerate(pool.map(attempt, portions), start=1):
            tried.runs.update(part.runs)
            tried.faulty.extend(part.faulty)
            if sys.stderr.isatty():
                print(f"\r{tried.runs.total():,} runs, {number / len(portions):.0%}", end="", file=sys.stderr, flush=True)
    return tried


def table(tried: Tried) -> str:
    rows: list[tuple[Any, ...]] = [
        (kind, *(tried.runs[kind, outcome] for outcome in OUTCOMES), sum(tried.runs[kind, outcome] for outcome in OUTCOMES))
        for kind in KINDS
    ]
    lines = [f"| what the API does | {' | '.join(OUTCOMES)} | runs |", f"|---|{'---:|' * (len(OUTCOMES) + 1)}"]
    lines += [f"| {kind} | {' | '.join(f'{count:,}' for count in counts)} |" for kind, *counts in rows]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make readings")
    parser.add_argument("--runs", type=int, help="only so many, drawn")
    parser.add_argument("--seed", type=int, default=1, help="of what is drawn")
    parser.add_argument("--write", action="store_true", help="also into docs/reliability.md, if all of them ran and broke no claim")
    asked = parser.parse_args()
    began = time.monotonic()
    tried = attempt_all(islice(cases(asked.seed), asked.runs))
    told = f"{table(tried)}\n\n{tried.runs.total():,} runs, {len(tried.faulty)} broke a claim; seed {asked.seed}."
    print(f"\n{told} {(time.monotonic() - began) / 60:.1f} minutes.", *tried.faulty[:FAULTY_SHOWN_MAX], sep="\n")
    if asked.write and asked.runs is None and not tried.faulty:
        put("readings", told)
    return 1 if tried.faulty else 0


if __name__ == "__main__":
    sys.exit(main())
