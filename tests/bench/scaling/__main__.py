"""`python -m tests.bench.scaling`: measure one replica with a thousand customers and more, exit 1 where a goal is missed. `--write`: into docs/scaling.md.

Some minutes, most of them for the million: `--customers 1000 100000` measures only these.
"""

import argparse
import logging
import sys
import time
from collections.abc import Iterable, Sequence

import anyio

from poller.demo.broker import broker
from tests.bench.scaling import replica
from tests.bench.scaling.decision import decision_us
from tests.bench.scaling.document import DOCUMENT, DRAWING, Measured, document, drawing, faults

CUSTOMERS = (1_000, 10_000, 100_000, 1_000_000)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--write", action="store_true", help="also into docs/scaling.md and docs/scaling.svg")
    either.add_argument("--customers", type=int, nargs="+", default=CUSTOMERS, help="only these numbers of them")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)  # what aiokafka says of topics that are just being made is no news
    began = time.monotonic()
    measured = measure(sorted(given.customers))
    text = document(measured, time.monotonic() - began)
    print(text)
    if given.write:
        DOCUMENT.write_text(text)
        DRAWING.write_text(drawing(measured))
    missed = faults(measured)
    for fault in missed:
        print(f"missed: {fault}")
    return 1 if missed else 0


def measure(counts: Sequence[int]) -> list[Measured]:
    replicas = anyio.run(_replicas, counts, backend_options={"use_uvloop": sys.platform != "win32"})
    return [Measured(one, decision_us(one.customers)) for one in replicas]


async def _replicas(counts: Iterable[int]) -> list[replica.Replica]:
    measured = []
    for count in counts:
        async with broker(log=lambda _: None) as running:
            measured.append(await replica.measure(running.bootstrap_servers, count))
        print(measured[-1], flush=True)
    return measured


if __name__ == "__main__":
    sys.exit(main())
