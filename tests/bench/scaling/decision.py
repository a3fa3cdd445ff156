"""What it takes to decide whom to call, by how many customers there are: CPU of the core alone, once everybody is restored."""

import gc
import time

from poller.kafka.record import restored_of
from poller.model import Page
from tests.bench.memory import NOW, owning, stored
from tests.support.engines import commit_all, fetch

READS = 5_000
SOON = NOW + 10
STEP_SECONDS = 1e-4


def decision_us(customers: int, reads: int = READS) -> float:
    """Of a call: to choose it, to take in a page that shows nothing, to build its checkpoint, and to schedule the customer again."""
    engine = owning("".join(f"cust_{i:024x}\n" for i in range(customers)), restored_of(stored(customers)))
    commit_all(engine, NOW)
    engine.confirmed(SOON)
    gc.collect()
    began = time.process_time()
    for number in range(reads):
        now = SOON + number * STEP_SECONDS
        engine.page_received(fetch(engine, now), Page(entries=(), server_time=now), now)
        commit_all(engine, now)
    return (time.process_time() - began) / reads * 1e6
