"""`python -m tests.bench`: measure everything, exit 1 where a goal is missed. Some four minutes; `--quick`: one, to see that it works."""

import argparse
import logging
import sys
import time

from tests.bench import backfill, cpu_per_page, memory, restore
from tests.bench.document import DOCUMENT, Measured, document
from tests.bench.figures import Figure, table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--write", action="store_true", help="also into docs/performance.md")
    either.add_argument(
        "--quick", action="store_true", help="everything, but little of it and once: no figures to go by, so no goal is missed"
    )
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)  # what aiokafka says of topics that are just being made is no news
    began = time.monotonic()
    measured = _measured_quickly() if given.quick else _measured()
    page = document(measured, time.monotonic() - began)
    if given.write:
        DOCUMENT.write_text(page)
    missed = [figure for figure in measured.figures if not figure.met and not given.quick]
    for figure in missed:
        print(f"missed: {figure.what}")
    return 1 if missed else 0


def _measured() -> Measured:
    memories = _told(memory.measure())
    restores = _told(restore.measure())
    backfills, backfill_profile = backfill.measure()
    _told(backfills)
    reads, read_profiles = cpu_per_page.measure()
    _told(reads)
    return Measured(reads, backfills, memories, restores, read_profiles, backfill_profile)


def _measured_quickly() -> Measured:
    memories = _told(memory.measure(customers=1_000, times=1))
    restores = _told(restore.measure(customers=1_000, times=1))
    backfills, backfill_profile = backfill.measure(customers=20, times=1)
    _told(backfills)
    reads, read_profiles = cpu_per_page.measure(times=1, paces=[pace._replace(customers=20, reads=100) for pace in cpu_per_page.PACES])
    _told(reads)
    return Measured(reads, backfills, memories, restores, read_profiles, backfill_profile)


def _told(figures: list[Figure]) -> list[Figure]:
    print(table(figures), flush=True)
    return figures


if __name__ == "__main__":
    sys.exit(main())
