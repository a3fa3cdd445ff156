"""`python -m tests.bench`: measure everything, write `docs/performance.md`, exit 1 where a goal is missed. Some four minutes."""

import argparse
import logging
import sys
import time

from tests.bench import backfill, cpu_per_page, memory, restore
from tests.bench.document import DOCUMENT, Measured, document
from tests.bench.figures import Figure, table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="also into docs/performance.md")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)  # what aiokafka says of topics that are just being made is no news
    began = time.monotonic()
    memories = _told(memory.measure())
    restores = _told(restore.measure())
    backfills, backfill_profile = backfill.measure()
    _told(backfills)
    reads, read_profiles = cpu_per_page.measure()
    _told(reads)
    measured = Measured(reads, backfills, memories, restores, read_profiles, backfill_profile)
    if given.write:
        DOCUMENT.write_text(document(measured, time.monotonic() - began))
    missed = [figure for figure in measured.figures if not figure.met]
    for figure in missed:
        print(f"missed: {figure.what}")
    return 1 if missed else 0


def _told(figures: list[Figure]) -> list[Figure]:
    print(table(figures), flush=True)
    return figures


if __name__ == "__main__":
    sys.exit(main())
