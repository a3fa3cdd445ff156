"""Many lives of the swarm, some hours of virtual time each: one drawn plan a seed, over all cores.

python -m tests.simulation --seeds 100     one line a seed as it ends, and the failed ones at the end, with how to replay each
python -m tests.simulation --seed 17       one seed, twice: its plan, its figures, and whether the second run was the same
"""

import argparse
import os
import sys
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass

from tests.support.judges import Figures, Objection
from tests.support.plan import Plan
from tests.support.world import run


@dataclass(frozen=True)
class Outcome:
    """What came of one seed."""

    plan: Plan
    cpu_seconds: float
    figures: Figures | None = None
    fault: str = ""
    trace: str = ""

    def __str__(self) -> str:
        verdict = f"FAILED: {self.fault}" if self.fault else f"ok: {self.figures}"
        return f"{self.plan}\n    {self.cpu_seconds:.1f} s of CPU · {verdict}"


def play(seed: int) -> Outcome:
    """One seed. Whatever goes wrong is told, so that the others go on."""
    plan, began = Plan.drawn(seed), time.process_time()
    try:
        world = run(plan)
        figures = world.judge()
    except Exception as error:  # noqa: BLE001  # a failure of any kind is this seed's outcome
        fault = str(error) if isinstance(error, Objection) else f"{error!r}\n{traceback.format_exc()}"
        return Outcome(plan, time.process_time() - began, fault=fault)
    return Outcome(plan, time.process_time() - began, figures, trace=world.digest())


def play_many(seeds: Sequence[int]) -> list[Outcome]:
    outcomes = []
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for done in as_completed([pool.submit(play, seed) for seed in seeds]):
            outcomes.append(done.result())
            print(outcomes[-1], flush=True)
    return outcomes


def replay(seed: int) -> bool:
    """Whether one seed is faultless, and the same twice."""
    print(Plan.drawn(seed), flush=True)
    first, again = play(seed), play(seed)
    print(first)
    same = (first.trace, first.fault) == (again.trace, again.fault)
    print(f"played twice: {'the same' if same else 'NOT THE SAME'} {first.trace}")
    return same and not first.fault


def summary(outcomes: Sequence[Outcome]) -> str:
    failed = sorted((outcome for outcome in outcomes if outcome.fault), key=lambda outcome: outcome.plan.seed)
    hours, cpu_seconds = sum(one.plan.hours for one in outcomes), sum(one.cpu_seconds for one in outcomes)
    lines = [f"{len(outcomes)} seeds, {len(failed)} failed; {hours:.0f} virtual hours in {cpu_seconds:.0f} s of CPU"]
    lines += [f"  make sim SEED={one.plan.seed}    {one.fault.splitlines()[0]}" for one in failed]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make sim")
    parser.add_argument("--seeds", type=int, default=20, help="so many seeds")
    parser.add_argument("--first", type=int, default=1, help="from this one on")
    parser.add_argument("--seed", type=int, help="this one alone, twice")
    asked = parser.parse_args()
    if asked.seed is not None:
        return 0 if replay(asked.seed) else 1
    outcomes = play_many(range(asked.first, asked.first + asked.seeds))
    print(summary(outcomes))
    return 1 if any(outcome.fault for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
