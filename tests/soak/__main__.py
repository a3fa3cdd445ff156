"""`python -m tests.soak`: everything goes wrong at random for some minutes; exit 1 unless nothing was lost or came twice and everything has levelled off."""

import argparse
import logging
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import msgspec

from tests.soak import report
from tests.soak.mischief import STREAMS
from tests.soak.plan import drawn
from tests.soak.soak import CALLS_PER_MINUTE, CUSTOMERS, PARTITIONS, Outcome, soak

WRONG_MAX = 20
MINUTES_MIN = 2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of faults; some three more are needed around them")
    parser.add_argument("--seed", type=int, default=7, help="of the customers, and of every fault and its moment")
    parser.add_argument("--write", action="store_true", help="also into docs/reliability.md and its plot")
    parser.add_argument("--keep", type=Path, metavar="DIRECTORY", help="leave the broker's data, the pollers' logs and all samples there")
    given = parser.parse_args()
    if given.minutes < MINUTES_MIN:
        parser.error(f"in less than {MINUTES_MIN} minutes too few samples are taken to judge")
    logging.disable(logging.CRITICAL)  # what our own readers say of a broker that is away is no news
    plan = drawn(STREAMS, given.seed, given.minutes * 60)
    print(
        f"seed={given.seed} minutes={given.minutes:g} customers={CUSTOMERS} calls_per_minute={CALLS_PER_MINUTE:g} partitions={PARTITIONS} "
        f"faults={sum(map(len, plan.values()))}"
    )
    for stream, blows in plan.items():
        print(f"{stream}: {' · '.join(f'{blow.at_seconds:.0f} s {blow.fault}' for blow in blows)}", flush=True)
    with directory_of(given.keep) as directory:
        outcome = anyio.run(soak, given.minutes, given.seed, plan, directory, backend_options={"use_uvloop": True})
    return tell(outcome, given.keep, write=given.write)


@contextmanager
def directory_of(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="poller-soak-", ignore_cleanup_errors=True) as directory:
            yield Path(directory)
    else:
        keep.mkdir(parents=True)
        yield keep.resolve()


def tell(outcome: Outcome, keep: Path | None, *, write: bool) -> int:
    """The exit code. What failed is not written over what held."""
    if keep is not None:
        (keep / "outcome.json").write_bytes(msgspec.json.encode(outcome))
        (keep / report.PLOT.name).write_text(report.plot(outcome))
    print(f"\n{report.document(outcome)}\n")
    for wrong in outcome.wrong[:WRONG_MAX]:
        print(f"FAILED: {wrong}", flush=True)
    if write and outcome.passed:
        report.write(outcome)
    print("passed" if outcome.passed else f"failed: {outcome.lost} lost, {outcome.twice} twice, {len(outcome.wrong)} wrong")
    return 0 if outcome.passed else 1


if __name__ == "__main__":
    sys.exit(main())
