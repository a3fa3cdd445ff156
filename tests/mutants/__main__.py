"""`python -m tests.mutants`: take each safeguard out in turn, print what noticed, exit 1 where nothing did."""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from tests.mutants import tree
from tests.mutants.table import MUTANTS, Mutant

AT_ONCE_MAX = 2


class Judged(NamedTuple):
    """What became of one mutant."""

    mutant: Mutant
    run: tree.Run

    @property
    def survivors(self) -> list[str]:
        """The tests that should have failed, and how they ended instead."""
        return [f"{self.run.of(test)}: {test}" for test in self.mutant.tests if self.run.of(test) != "failed"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="only mutants whose name holds one of these")
    parser.add_argument("--at-once", type=int, default=AT_ONCE_MAX, help="of those that need no Kafka")
    given = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS if not given.names or any(name in mutant.name for name in given.names)]
    began = time.monotonic()
    sound = unmutated(chosen)
    if not sound:
        return 1
    judged = list(judge(chosen, given.at_once))
    survived = [one for one in judged if one.survivors]
    print(f"\n{len(judged)} mutants, {len(survived)} survived, {time.monotonic() - began:.0f} s")
    return 1 if survived or not judged else 0


def unmutated(mutants: Sequence[Mutant]) -> bool:
    """Whether all the tests pass on the program as it is: a test that fails anyhow would prove nothing."""
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    with tree.copy(None) as to:
        run = tree.run(tests, to, tree.UNMUTATED_SECONDS_MAX)
    wrong = [f"{run.of(test)}: {test}" for test in tests if run.of(test) != "passed"]
    print(f"the program as it is: {len(tests)} tests, {len(wrong)} that do not pass, {run.seconds:.0f} s", flush=True)
    for line in wrong:
        print(f"       {line}")
    if wrong:
        print(run.output)
    return not wrong


def judge(mutants: Sequence[Mutant], at_once: int) -> Iterator[Judged]:
    """Those that need Kafka come last, and one by one: they wait in real time."""
    with ThreadPoolExecutor(at_once) as pool:
        for one in pool.map(judged, [mutant for mutant in mutants if not mutant.needs_kafka]):
            tell(one)
            yield one
    for mutant in mutants:
        if mutant.needs_kafka:
            tell(one := judged(mutant))
            yield one


def judged(mutant: Mutant) -> Judged:
    with tree.copy(mutant) as to:
        return Judged(mutant, tree.run(mutant.tests, to))


def tell(one: Judged) -> None:
    mutant, run = one
    caught = len(mutant.tests) - len(one.survivors)
    verdict = "SURVIVED" if one.survivors else "caught"
    print(f"{verdict:8} {run.seconds:5.1f} s  {caught} of {len(mutant.tests)}  {mutant.name} ({mutant.file})", flush=True)
    for line in one.survivors:
        print(f"       {line}")
    if one.survivors:
        print(run.output, flush=True)


if __name__ == "__main__":
    sys.exit(main())
