"""What a customer takes in memory who does nothing: what the engine keeps of them, their place in the schedule, and their checkpoint.

Counted by tracemalloc, which counts what Python's objects were given and so comes out the same on every machine; what the allocator
rounds up and keeps for itself is not in it (the process's own size is with the figures of a read). Everything that comes with a customer is counted:
the id, how it is to be watched, and the checkpoint as it was decoded.
"""

import gc
import tracemalloc
from collections.abc import Iterator

from poller.core.engine import Engine
from poller.core.policy import Policy
from poller.kafka.record import Found, encode_checkpoint, restored_of
from poller.model import Checkpoint, Commit, CustomerId, Fetch, Page, Rates, Restored
from tests.bench.figures import Figure

GOAL_KB = 1.0
NOW = 1_750_000_000.0
POLICY = Policy(calls_limit=1e9, calls_in_flight_max=4)


def idle(number: int, customers: int, now: float) -> Checkpoint:
    """How one of so many stands who was read within the last hour, and has done nothing lately. No two numbers are the same."""
    at = now - 3600 + 3600 * number / customers
    rates = Rates(at=at, due=at + 5000.5, running=1e-9 * number, visits=1 + 1e-6 * number, exposure=400_000.5 + number, last=at - 4000.5)
    return Checkpoint(cursor_ms=int(at * 1000) - 300_000, last_read=at, rates=rates)


def stored(customers: int) -> dict[bytes, Found]:
    """The checkpoint topic, as it is read from Kafka: everybody was read a while ago, and nothing has happened lately."""
    checkpoints = [idle(i, customers, NOW) for i in range(customers)]
    return {f"cust_{i:024x}".encode(): Found(i, encode_checkpoint(checkpoint)) for i, checkpoint in enumerate(checkpoints)}


def owning(listed: str, restored: Restored) -> Engine:
    """An engine that may call, whose customers are listed one a line."""
    engine = Engine(POLICY)
    engine.watch([CustomerId(line) for line in listed.splitlines()])
    engine.partitioned(1)
    engine.assigned(0, restored, NOW)
    return engine


def read_everybody(engine: Engine, now: float) -> int:
    """One call for each, which finds nothing; how many that were."""
    engine.confirmed(now)
    calls = 0
    for fetch in _fetches(engine, now):
        calls += 1
        engine.page_received(fetch, Page(entries=(), server_time=now), now)
        _commit(engine, now)
    return calls


def _fetches(engine: Engine, now: float) -> Iterator[Fetch]:
    """Until everybody has been called who had not been read before `now`."""
    for _ in range(engine.view.customers):
        order = engine.next(now)
        assert isinstance(order, Fetch), order
        yield order


def _commit(engine: Engine, now: float) -> None:
    commit = engine.commit(0, now, at_once=True)
    assert isinstance(commit, Commit)
    engine.committed(commit, now)


def bytes_a_customer(customers: int) -> tuple[float, float]:
    """After a restore, and after everybody has been read once more."""
    topic = stored(customers)
    listed = "".join(f"cust_{i:024x}\n" for i in range(customers))
    gc.collect()
    tracemalloc.start()
    try:
        engine = owning(listed, restored_of(topic))
        _commit(engine, NOW)
        restored = _traced()
        assert read_everybody(engine, NOW + 10) == customers
        return restored / customers, _traced() / customers
    finally:
        tracemalloc.stop()


def _traced() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def measure(customers: int = 100_000, times: int = 3) -> list[Figure]:
    runs = [bytes_a_customer(customers) for _ in range(times)]
    return [
        Figure(f"an idle customer, of {customers:,}, {when}", "kB", [run[i] / 1000 for run in runs], at_most=GOAL_KB)
        for i, when in enumerate(("restored", "and read once more"))
    ]
