"""`python -m tests.fault`: inject every fault, print the table, exit 1 unless nothing was lost and nothing came twice."""

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import anyio

from tests.fault import report
from tests.fault.faults import FAULTS, NOT_PROMISED
from tests.fault.harness import Fault, Row, run
from tests.support.cluster import one_broker, three_brokers

WRONG_MAX = 20
CLUSTERS = {"one broker": one_broker, "three brokers": three_brokers}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="only faults whose name holds one of these")
    parser.add_argument("--seed", type=int, default=7, help="of every random moment")
    parser.add_argument("--write", action="store_true", help="also into docs/reliability.md, if all of them ran and passed")
    parser.add_argument("--keep", type=Path, metavar="DIRECTORY", help="leave the brokers' data and the pollers' logs there")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)  # what our own readers say of brokers that are away is no news
    faults = (
        [fault for fault in (*FAULTS, *NOT_PROMISED) if any(name in fault.name for name in given.names)] if given.names else list(FAULTS)
    )
    print(f"seed={given.seed}, {len(faults)} faults: {', '.join(fault.name for fault in faults)}\n", flush=True)
    began = time.monotonic()
    rows = anyio.run(run_all, faults, given.seed, given.keep, backend_options={"use_uvloop": True})
    print(f"\n{report.table(rows)}\n{report.notes(rows)}\n{report.moves(rows)}\n\n{report.run_on(given.seed, time.monotonic() - began)}")
    if given.write and not given.names and all(row.passed for row in rows):
        report.write(rows, given.seed, time.monotonic() - began)
    return 0 if rows and all(row.passed for row in rows) else 1


@contextmanager
def directory_of(kind: str, keep: Path | None) -> Iterator[Path]:
    """Of one cluster."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="poller-faults-") as directory:
            yield Path(directory)
    else:
        (keep / kind).mkdir(parents=True)
        yield keep / kind


async def run_all(faults: Sequence[Fault], seed: int, keep: Path | None) -> list[Row]:
    rows: list[Row] = []
    for kind, cluster_of in CLUSTERS.items():
        chosen = [fault for fault in faults if fault.on == kind]
        if not chosen:
            continue
        with directory_of(kind, keep) as directory:
            async with cluster_of(directory) as cluster:
                for fault in chosen:
                    began = time.monotonic()
                    rows.append(await run(fault, cluster, directory, seed))
                    tell(rows[-1], time.monotonic() - began)
    return rows


def tell(row: Row, took_seconds: float) -> None:
    print(f"{'ok' if row.passed else 'FAILED':6} {took_seconds:5.1f} s  {' · '.join(report.cells(row))}  {row.notes}", flush=True)
    for wrong in row.wrong[:WRONG_MAX]:
        print(f"       {wrong}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
