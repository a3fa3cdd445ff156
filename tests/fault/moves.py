"""Which metric each fault moves. `docs/runbook.md` shows this table, and the harness looks for each move while its fault is there.

A counter begins anew in a process that is started, so what is looked at is how far it rises in each process, added up. A gauge is added up over the replicas
that answer, as a rule of Prometheus does; a process that is killed or stopped answers nothing.
"""

import math
import re
import time
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import anyio
from prometheus_client.parser import text_string_to_metric_families

from tests.fault.probes import ask
from tests.support import document
from tests.support.processes import Deployment, Poller

LOOK_SECONDS = 0.25
ANSWER_SECONDS_MAX = 1.0

How = Literal["rises", "falls to 0", "is above 0", "ages"]


class Move(NamedTuple):
    """One metric that must move."""

    metric: str
    """Its name, with the labels that are meant."""
    how: How
    alert: str | None = None
    """Which fires where that goes on for long enough."""
    by: float = 1.0
    """At least; of what ages, in seconds."""

    @property
    def name(self) -> str:
        return self.metric.partition("{")[0]

    @property
    def labels(self) -> Mapping[str, str]:
        return dict(re.findall(r'(\w+)="([^"]*)"', self.metric))


class Moved(NamedTuple):
    """How far one has moved."""

    move: Move
    far: float

    @property
    def enough(self) -> bool:
        return self.far <= 0 if self.move.how == "falls to 0" else self.far >= self.move.by

    def __str__(self) -> str:
        match self.move.how:
            case "rises":
                return f"{self.move.metric} rose by {self.far:,.6g}"
            case "ages":
                return f"{self.move.metric} aged by {self.far:.1f} s"
            case "is above 0":
                return f"{self.move.metric} came to {self.far:,.6g}"
            case "falls to 0":
                return f"{self.move.metric} fell to {self.far:,.6g}"


Samples = Sequence[tuple[str, Mapping[str, str], float]]


def samples_of(text: str) -> Samples:
    return [(sample.name, sample.labels, sample.value) for family in text_string_to_metric_families(text) for sample in family.samples]


def value(move: Move, samples: Samples) -> float | None:
    """All of its series together; `None`: there is none."""
    found = [number for name, labels, number in samples if name == move.name and move.labels.items() <= labels.items()]
    return sum(found) if found else None


class Track:
    """How one of them moves."""

    def __init__(self, move: Move) -> None:
        self.move = move
        self._before: dict[int, float] = {}
        self._last: dict[int, float] = {}
        self._seen: list[float] = []

    def begin(self) -> None:
        """What was seen by now is how it stood before the fault."""
        self._before, self._seen = dict(self._last), []

    def take(self, values: Mapping[int, float], now: float) -> None:
        """What the processes that answer show, by their numbers; `now`: Unix time in seconds."""
        self._last.update(values)
        self._seen.append(now - max(self._last.values(), default=now) if self.move.how == "ages" else sum(values.values()))

    def moved(self) -> Moved:
        match self.move.how:
            case "rises":
                return Moved(self.move, sum(last - self._before.get(number, 0.0) for number, last in self._last.items()))
            case "falls to 0":
                return Moved(self.move, min(self._seen, default=math.inf))
            case "is above 0" | "ages":
                return Moved(self.move, max(self._seen, default=0.0))


class Meter:
    """Looks at all replicas again and again, from before the fault until all is well again."""

    def __init__(self, pollers: Deployment, moves: Sequence[Move]) -> None:
        self._pollers = pollers
        self._tracks = [Track(move) for move in moves]

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await anyio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Once, at all who answer."""
        seen: dict[int, Samples] = {}

        async def scrape(number: int, poller: Poller) -> None:
            answer = await ask(int(poller.settings["POLLER_ADMIN_PORT"]), "/metrics", answer_seconds_max=ANSWER_SECONDS_MAX)
            if (answer.end, answer.status) == ("whole", 200):
                seen[number] = samples_of(answer.text)

        async with anyio.create_task_group() as scrapes:
            for number, poller in enumerate(self._pollers.pollers):
                if poller.exit_code is None:
                    scrapes.start_soon(scrape, number, poller)
        for track in self._tracks:
            found = {number: value(track.move, samples) for number, samples in seen.items()}
            track.take({number: one for number, one in found.items() if one is not None}, time.time())

    def begin(self) -> None:
        """From now on the fault may come."""
        for track in self._tracks:
            track.begin()

    def moved(self) -> list[Moved]:
        return [track.moved() for track in self._tracks]


# -------------------------------------------------------------------------------------------------------------------- table

RESTORED = Move("poller_restore_seconds_count", "rises")
REBALANCED = Move("poller_rebalances_total", "rises", "PollerRebalanceStorm")
HANDED_OVER = Move("poller_hand_over_seconds_count", "rises")
UNOWNED = Move("poller_partitions_owned", "falls to 0", "PollerPartitionsUnowned")
UNREADY = Move("poller_ready", "falls to 0", "PollerDown")
UNCOMMITTED = Move('poller_last_success_timestamp_seconds{kind="commit"}', "ages", "PollerNothingCommitted", by=2)
UNAVAILABLE = Move('poller_kafka_errors_total{kind="unavailable"}', "rises", "PollerNothingCommitted")
REFUSED = Move('poller_kafka_errors_total{kind="refused"}', "rises", "PollerKafkaRefuses")

MOVES: Mapping[str, tuple[Move, ...]] = {
    "kill -9 at any moment": (UNREADY, RESTORED),
    "kill -9 again and again, before calls are earned": (UNREADY, RESTORED),
    "kill -9 of the owner, another stands by": (UNOWNED, REBALANCED, HANDED_OVER),
    "SIGTERM to the owner, another stands by": (REBALANCED, HANDED_OVER),
    "SIGSTOP past the session, then SIGCONT": (UNOWNED, REBALANCED, Move("poller_loop_lag_seconds_sum", "rises", "PollerLoopLag", by=5)),
    "replicas join and leave": (REBALANCED, HANDED_OVER),
    "watched set changes ten times a second, under kills and rebalances": (
        Move('poller_customers{state="paused"}', "is above 0"),
        REBALANCED,
    ),
    "broker restarted": (UNCOMMITTED,),
    "broker killed -9": (UNCOMMITTED,),
    "no Kafka for 35 s": (UNAVAILABLE, UNOWNED, UNCOMMITTED._replace(by=25)),
    "disk full": (UNCOMMITTED,),
    "topic takes smaller records, then as before": (REFUSED,),
    "authorisation taken away, then given back": (REFUSED, UNOWNED),
    "activities topic deleted, then made anew": (REFUSED, UNOWNED),
    "checkpoints topic deleted, then written back": (REFUSED, UNOWNED),
    "three brokers, each restarted in turn": (UNCOMMITTED._replace(by=0.5),),
    "one broker of three killed -9": (UNCOMMITTED,),
    "leader hangs for 8 s": (UNCOMMITTED,),
    "checkpoints topic deleted where brokers create topics": (REFUSED, UNOWNED),
    "only replica's broker away for 8 s": (UNAVAILABLE, UNOWNED),
}


def table() -> str:
    """As the runbook shows it."""
    rows = [
        (fault if number == 0 else "", f"`{move.metric}`", told(move), f"[{move.alert}](#{move.alert.lower()})" if move.alert else "")
        for fault, moves in MOVES.items()
        for number, move in enumerate(moves)
    ]
    return document.table(("fault", "metric", "what it does", "alert, where it lasts"), rows)


def told(move: Move) -> str:
    return (
        f"rises by {move.by:g} or more"
        if move.how == "rises" and move.by > 1
        else f"ages by {move.by:g} s or more"
        if move.how == "ages"
        else move.how
    )


if __name__ == "__main__":
    print(table())
