"""How long a takeover takes to know where everybody stands: a checkpoint topic of a real Kafka, through `KafkaLog.open`, into an engine.

    broker ──▶ consumer ──▶ the last record of each key ──▶ decoded checkpoints ──▶ engine, scheduled

Timed from the moment that a process sets about to own the partition until its engine could order the first call. In it are the topics'
verification, and the fencing of the writer before.
"""

import sys
import time
from typing import NamedTuple
from uuid import uuid4

import anyio

from poller.app import make_clock
from poller.config import KafkaSettings
from poller.core.engine import Engine
from poller.core.policy import Policy
from poller.demo.broker import broker
from poller.kafka.log import KafkaLog
from poller.model import Batch, Checkpoint, CustomerId
from tests.bench.figures import Figure
from tests.support.builders import ownership

GOAL_SECONDS = 3.0
URL = "https://api.example.com"
AT_ONCE = 5_000
"""Checkpoints in one transaction."""


class Run(NamedTuple):
    """One takeover."""

    seconds: float
    cpu_seconds: float


async def fill(log: KafkaLog, application_id: str, customers: list[CustomerId], rounds: int) -> None:
    """So many checkpoints of each, as idle customers have them."""
    owner = ownership(application_id=application_id, url=URL)
    async with log.open(0) as writer:
        for number in range(rounds):
            at = time.time() + number
            batches = [
                Batch(customer=customer, partition=0, base=None, checkpoint=Checkpoint(cursor_ms=int(at * 1000) - 300_000, last_read=at))
                for customer in customers
            ]
            for first in range(0, len(batches), AT_ONCE):
                await writer.append(batches[first : first + AT_ONCE], owner)


async def takeover(settings: KafkaSettings, customers: list[CustomerId]) -> Run:
    """By a process that watches all of them."""
    clock = make_clock()
    log, engine = KafkaLog(settings, URL, clock), Engine(Policy(application_id=settings.application_id, url=URL))
    engine.watch(customers)
    engine.partitioned(await log.prepare())
    began, cpu = time.perf_counter(), time.process_time()
    async with log.open(0) as writer:
        engine.assigned(0, writer.restored, clock())
        run = Run(time.perf_counter() - began, time.process_time() - cpu)
        assert len(writer.restored.checkpoints) == len(customers)
    return run


async def runs_of(count: int, rounds: int, times: int) -> list[Run]:
    """So many takeovers, one after the other, each of which fences the one before."""
    customers = [CustomerId(f"cust_{i:024x}") for i in range(count)]
    async with broker(log=lambda _: None) as running:
        name = f"restore-{uuid4().hex[:8]}"
        settings = KafkaSettings(bootstrap_servers=running.bootstrap_servers, application_id=name, activities_topic=name)
        log = KafkaLog(settings, URL, make_clock())
        await log.prepare()
        await fill(log, name, customers, rounds)
        return [await takeover(settings, customers) for _ in range(times)]


def measure(customers: int = 100_000, times: int = 3) -> list[Figure]:
    figures = []
    for rounds, what in ((1, "each written once"), (3, "each written three times, not compacted yet")):
        runs = anyio.run(runs_of, customers, rounds, times, backend_options={"use_uvloop": sys.platform != "win32"})
        goal = GOAL_SECONDS if rounds == 1 else None
        whole = f"{customers:,} checkpoints, {what}"
        figures.append(Figure(whole, "s", [run.seconds for run in runs], at_most=goal))
        figures.append(Figure(f"CPU of it, {what}", "s", [run.cpu_seconds for run in runs]))
    return figures
