"""SIGTERM under load, again and again: what probes see of it, how long it takes, and that what was under way is published before the end.

`python -m tests.fault.sigterm --times 20 --write` puts the table into docs/reliability.md; exit code 1 where anything is not as it should be.
"""

import argparse
import logging
import math
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import anyio
import msgspec

from poller.demo.api import Simulator
from poller.demo.broker import broker, free_port
from tests.fault.judge import quantile
from tests.fault.probes import Onlookers, Seen
from tests.support import document
from tests.support.processes import Api, Deployment, Poller, busy, served
from tests.support.topics import Record, all_published, reading
from tests.support.waiting import until
from tests.support.webhooks import SECRET, signed, webhook

GRACE_SECONDS = 45.0
"""What the manifests allow, from SIGTERM to SIGKILL."""

DRAIN_SECONDS = 25.0
CALLS_IN_FLIGHT_MAX = 16
PROBES = ("/livez", "/readyz", "/startupz", "/metrics")
PROBE_SECONDS = 0.05
LOAD_SECONDS = (1.0, 3.0)
LATEST_CALL_SECONDS = 1.0
"""A call that was ordered before the drain may arrive so much later."""

VISIBLE_SECONDS_MAX = 5.0
"""Nobody writes any more: what is not seen by then is not there."""

CLOCKS_SECONDS = 0.05
"""Between the clock of its log and that of its records."""

UNANSWERED_EVERY = 5
"""Each so-many-th time some calls are never answered, so that the drain ends by its time."""


class Stop(msgspec.Struct, frozen=True):
    """One of them."""

    unanswered: bool
    """Some of the calls that were under way were never answered."""
    in_flight: int
    """Calls under way at SIGTERM."""
    probes: int
    unready_seconds: float
    """From SIGTERM to the first 503 of /readyz."""
    exit_seconds: float
    activities: int
    wrong: tuple[str, ...]


class End(msgspec.Struct, frozen=True):
    """How a process came to it. Instants are Unix time in seconds."""

    asked_at: float
    ended_at: float
    code: int


async def stop_once(kafka: str, directory: Path, random: Random, *, unanswered: bool = False, drain_seconds: float = DRAIN_SECONDS) -> Stop:
    """Raises `AssertionError` where it does not come to its end, or where something is lost or published twice in the end."""
    simulator = slow_api(random)
    async with served(simulator) as api, Deployment(kafka, api.url, simulator.customers, directory, **settings(drain_seconds)) as pollers:
        poller = pollers.start(webhook_port=free_port())
        await poller.active()
        await poller.has_said("published", times=5)
        onlookers = Onlookers(port(poller, "ADMIN"), port(poller, "WEBHOOK"), webhooks_for(simulator.customers, random))
        async with onlookers.looking(PROBES, PROBE_SECONDS):
            await anyio.sleep(random.uniform(*LOAD_SECONDS))
            if unanswered:
                simulator.change(hang_rate=0.2, hang_seconds=3600.0)
                await anyio.sleep(1)
            end = await told_to_end(poller)
            await until(lambda: onlookers.streams, within_seconds=2)
        simulator.change(hang_rate=0.0)
        wrong = [*await uncommitted(kafka, pollers.name, poller), *wrong_about(poller, end, onlookers, api, unanswered=unanswered)]
        await pollers.start().active()
        async with reading(kafka, pollers.name) as reader:
            records = await all_published(reader, simulator, within_seconds=30)
    unready = next((one.answered_at for one in onlookers.of("/readyz") if one.status == 503), end.ended_at)
    return Stop(
        unanswered=unanswered,
        in_flight=poller.events("draining")[-1]["in_flight"],
        probes=sum(one.asked_at < end.ended_at for one in onlookers.probes),
        unready_seconds=max(0.0, unready - end.asked_at),
        exit_seconds=end.ended_at - end.asked_at,
        activities=len(records),
        wrong=tuple(wrong),
    )


def slow_api(random: Random) -> Simulator:
    return busy(
        customers=60,
        exponent=0.0,
        activities_per_customer_minute=30.0,
        latency_seconds=0.4,
        slow_rate=0.05,
        slow_seconds=3.0,
        seed=random.randrange(1000),
    )


def settings(drain_seconds: float) -> dict[str, Any]:
    return {
        "calls_per_minute": 3000,
        "calls_in_flight_max": CALLS_IN_FLIGHT_MAX,
        "drain_seconds": drain_seconds,
        "voucherify_timeout_seconds": 60,
        "webhook_secret": SECRET,
    }


async def told_to_end(poller: Poller) -> End:
    asked_at = time.time()
    poller.send(signal.SIGTERM)
    code = await poller.ended(GRACE_SECONDS)
    return End(asked_at, time.time(), code)


def wrong_about(poller: Poller, end: End, onlookers: Onlookers, api: Api, *, unanswered: bool) -> Iterator[str]:
    if end.code != 0:
        yield f"the exit code is {end.code}"
    yield from wrongly_said(poller, unanswered=unanswered)
    yield from wrongly_seen(onlookers, end.asked_at, at(poller, "drained"))
    yield from calls_after(api, at(poller, "draining"), end.ended_at)


def port(poller: Poller, of: str) -> int:
    return int(poller.settings[f"POLLER_{of}_PORT"])


def webhooks_for(customers: Sequence[str], random: Random) -> Callable[[], tuple[str, bytes]]:
    """One after the other, each of its own id, for one of these."""
    numbers = count()

    def following() -> tuple[str, bytes]:
        body = webhook({"customer": {"id": random.choice(customers)}}, f"whs_{next(numbers)}")
        return signed(body), body

    return following


def at(poller: Poller, event: str) -> float:
    """When it said so."""
    (said,) = poller.events(event)
    return instant(said)


def instant(said: Mapping[str, str]) -> float:
    return datetime.fromisoformat(said["timestamp"]).timestamp()


def wrongly_said(poller: Poller, *, unanswered: bool) -> Iterator[str]:
    """By its log."""
    output, drained = poller.output(), poller.events("drained")[-1]["in_flight"]
    if "Traceback" in output:
        yield "there is a traceback in its output"
    if not unanswered and drained:
        yield f"{drained} calls were still under way when it ended"
    if last := [line for line in output.splitlines() if line and not line.startswith("{")]:
        yield f"lines that are no log events: {last}"
    if poller.events()[-1]["event"] != "stopped":
        yield f"its last word is {poller.events()[-1]}"


def wrongly_seen(onlookers: Onlookers, asked_at: float, drained_at: float) -> Iterator[str]:
    """From outside. Before SIGTERM every answer is good; after it /readyz says that it drains, and all else goes on until the process is drained."""
    unready_from = next((one.asked_at for one in onlookers.of("/readyz") if one.status == 503), math.inf)
    for one in (*onlookers.probes, *onlookers.webhooks):
        if fault := fault_of(one, asked_at, unready_from, drained_at):
            yield f"{fault}: {told(one, asked_at)}"
    if unready_from == math.inf:
        yield "/readyz never said that it is not ready"
    for one in onlookers.streams:
        if (one.end, one.status) != ("whole", 200) or one.answered_at < asked_at:
            yield f"the stream of events did not end as it should: {told(one, asked_at)}"


def fault_of(one: Seen, asked_at: float, unready_from: float, drained_at: float) -> str:
    """Empty where it is as it should be."""
    match one.end, one.status:
        case "cut", _:
            return "cut in the midst of an answer"
        case (("refused" | "unanswered"), _):
            return f"{one.end} while it works" if one.asked_at < drained_at - PROBE_SECONDS else ""
        case _, 503 if one.path == "/readyz":
            return (
                ""
                if one.answered_at >= asked_at and "draining" in one.text
                else "not ready before it was told to end, or for another reason"
            )
        case _, 200 if one.path == "/readyz":
            return "ready while it drains" if one.asked_at > unready_from else ""
        case _, status:
            return "" if status == (204 if one.path.startswith("/webhooks") else 200) else "not as it should be"


def told(one: Seen, asked_at: float) -> str:
    return f"{one.path} {one.end} {one.status} asked {one.asked_at - asked_at:+.3f} s and seen {one.answered_at - asked_at:+.3f} s from SIGTERM on: {one.text[:200]!r}"


def calls_after(api: Api, draining_at: float, ended_at: float) -> Iterator[str]:
    late = [call.at - draining_at for call in api.simulator.calls if draining_at + LATEST_CALL_SECONDS < call.at <= ended_at]
    if late:
        yield f"{len(late)} calls were made up to {max(late):.1f} s after it began to drain"


async def uncommitted(kafka: str, topic: str, poller: Poller) -> list[str]:
    """Customers whose last answer is not in the checkpoint topic, where what was published of it would be too: it was read, and not committed."""
    answered = {said["customer"]: instant(said) for said in poller.events("read")}
    missing = set(answered)
    async with reading(kafka, f"{topic}.checkpoints") as reader:
        with anyio.move_on_after(VISIBLE_SECONDS_MAX):
            while missing := answered_after(answered, await reader.read()):  # noqa: ASYNC110 - nobody tells
                await anyio.sleep(PROBE_SECONDS)
    return [f"what was read of {len(missing)} customers is not committed at the end, such as {min(missing)}"] if missing else []


def answered_after(answered: Mapping[str, float], records: Sequence[Record]) -> set[str]:
    committed = {(record.key or b"").decode(): record.timestamp / 1000 for record in records}
    return {customer for customer, at in answered.items() if at > committed.get(customer, 0.0) + CLOCKS_SECONDS}


# -------------------------------------------------------------------------------------------------------------------- table

HEADINGS = (
    "calls under way are",
    "times",
    "under way",
    "probes asked",
    "503 after: p50",
    "max",
    "exit after: p50",
    "max",
    "activities",
    "wrong",
)


def cells(stops: Sequence[Stop], what: str) -> tuple[str, ...]:
    unready, ended = [stop.unready_seconds for stop in stops], [stop.exit_seconds for stop in stops]
    return (
        what,
        str(len(stops)),
        f"{min(stop.in_flight for stop in stops)} to {max(stop.in_flight for stop in stops)}",
        f"{sum(stop.probes for stop in stops):,}",
        f"{1000 * quantile(unready, 0.5):.0f} ms",
        f"{1000 * max(unready):.0f} ms",
        f"{quantile(ended, 0.5):.1f} s",
        f"{max(ended):.1f} s",
        f"{sum(stop.activities for stop in stops):,}",
        str(sum(len(stop.wrong) for stop in stops)),
    )


def table(stops: Sequence[Stop]) -> str:
    parts = {
        "answered": [stop for stop in stops if not stop.unanswered],
        "in part never answered": [stop for stop in stops if stop.unanswered],
    }
    return document.table(HEADINGS, [cells(part, what) for what, part in parts.items() if part])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=7, help="of every random moment")
    parser.add_argument("--write", action="store_true", help="also into docs/reliability.md, if all went well")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    began = time.monotonic()
    stops = anyio.run(stop_often, given.times, given.seed, backend_options={"use_uvloop": True})
    text = f"{table(stops)}\n\nSeed {given.seed}, {(time.monotonic() - began) / 60:.0f} minutes; a drain of {DRAIN_SECONDS:.0f} s within a grace of {GRACE_SECONDS:.0f} s."
    print(f"\n{text}")
    well = len(stops) == given.times and not any(stop.wrong for stop in stops)
    if given.write and well:
        document.put("sigterm", text)
    return 0 if well else 1


async def stop_often(times: int, seed: int) -> list[Stop]:
    stops = []
    with tempfile.TemporaryDirectory(prefix="poller-sigterm-") as directory:
        async with broker(log=print) as running:
            for number in range(times):
                unanswered = number % UNANSWERED_EVERY == UNANSWERED_EVERY - 1
                stop = await stop_once(running.bootstrap_servers, Path(directory), Random(f"{seed}/{number}"), unanswered=unanswered)
                print(f"{'FAILED' if stop.wrong else 'ok':6} {stop}", flush=True)
                stops.append(stop)
    return stops


if __name__ == "__main__":
    sys.exit(main())
