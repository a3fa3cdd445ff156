"""Every two readings of the API together, through the real client and worker: a few virtual minutes each, and the claims of `tests/support/judge.py`."""

import math
from collections import Counter
from dataclasses import dataclass, fields, replace
from itertools import combinations, product
from random import Random
from typing import Any

import anyio
import pytest
from anyio.abc import TaskGroup

from poller.demo.api import Simulator
from poller.demo.options import SimulatorOptions
from poller.demo.population import Scripted
from poller.demo.readings import Readings, Stored
from poller.model import CustomerId
from tests.support.judge import Case, Scenario, Verdict
from tests.support.judges import checkpoints_of, identity
from tests.support.pairwise import pairwise
from tests.support.plan import CALM, Plan
from tests.support.readings import PAGES, UNKNOWNS
from tests.support.virtual_time import run_in_virtual_time
from tests.support.world import EPOCH, Process, World

HOUR = 3600.0
LOOKBACK_SECONDS = 30.0
LATE_SECONDS = (0.0, 0.0, 5.0, 20.0)

# When what happens, in seconds.
PAST_TIE, LIVE_TIE = -5_000.0, 95.0
STRUCK = (60.0, 120.0)
CHANGED = 90.0
ENDED = 180.0
JUDGED = 240.0

STEADY, LEAVING = "cust_steady", "cust_leaving"

FACTORS: dict[str, tuple[Any, ...]] = {
    **UNKNOWNS,
    "page": PAGES,
    "tie": (2, 100, 101, 250),
    "tie_at": (PAST_TIE, LIVE_TIE),
    "late": (False, True),
    "clocks": ("right", "absent", "ahead", "behind", "jumps ahead", "jumps behind", "ours ahead", "ours behind"),
    "payload": ("nested", "flat", "mixed"),
    "total": ("right", "wrong", "absent"),
    "has_more": ("right", "wrong", "absent"),
    "endpoint": ("activities", "activity"),
    "duplicate_rate": (0.0, 0.3),
    "gone": ("nothing", "activities", "customer"),
    "struck": ("never", "killed", "restarted"),
}

CLOCKS: dict[str, tuple[float, float, float]] = {
    "ahead": (HOUR, HOUR, 0),
    "behind": (-HOUR, -HOUR, 0),
    "jumps ahead": (0, HOUR, 0),
    "jumps behind": (0, -HOUR, 0),
    "ours ahead": (0, 0, HOUR),
    "ours behind": (0, 0, -HOUR),
}
"""How far `Date` is ahead at first and later, and our own clock."""

RUNS: Counter[str] = Counter()
"""What came of the runs of this session, by kind."""

ASKED = tuple(Readings.__slots__)


@dataclass(frozen=True)
class Situation:
    """One reading of the API, what stands in it, and what happens meanwhile."""

    start_date: str = "inclusive"
    starting_after: str = "exclusive"
    starting_after_direction: str = "order"
    starting_after_id: str = "honoured"
    order: str = "honoured"
    ties: str = "stable"
    resolution: str = "milliseconds"
    page: tuple[int, int] = (100, 100)
    """The most activities on a page, at first and later."""
    tie: int = 2
    tie_at: float = PAST_TIE
    late: bool = False
    clocks: str = "right"
    payload: str = "nested"
    total: str = "right"
    has_more: str = "right"
    endpoint: str = "activities"
    duplicate_rate: float = 0.0
    gone: str = "nothing"
    struck: str = "never"

    def readings(self, later: bool) -> Readings:
        named = {name: getattr(self, name) for name in ASKED if name in FACTORS}
        date_offset_seconds = CLOCKS.get(self.clocks, (0.0, 0.0, 0.0))[later]
        date: Any = "absent" if self.clocks == "absent" else "right"
        return Readings(**named, page_activities_max=self.page[later], date=date, date_offset_seconds=date_offset_seconds)

    def __str__(self) -> str:
        """All that is not as usual."""
        usual = Situation()
        said = [f"{one.name}={getattr(self, one.name)}" for one in fields(self) if getattr(self, one.name) != getattr(usual, one.name)]
        return " ".join(said) or "as usual"

    @property
    def excused(self) -> set[str]:
        """Claims that do not hold here: the id cursor cannot lead through a tie where the activity that it names has vanished."""
        return {"incomplete"} if self.gone == "activities" and self.tie > min(self.page) else set()

    @property
    def skew_seconds(self) -> float:
        return CLOCKS.get(self.clocks, (0.0, 0.0, 0.0))[2]

    def script(self) -> dict[str, list[Stored]]:
        """What each customer does. Nobody else is erased, and nobody else has ties."""
        random = Random(f"{self}/script")
        past, live = [-6_000.0 + 7 * i for i in range(15)], [1.0 + 8 * i for i in range(22)]
        tied = [self.stored(random, f"t{i:03}", self.tie_at) for i in random.sample(range(self.tie), self.tie)]
        return {
            STEADY: [*(self.stored(random, f"a{i:03}", at) for i, at in enumerate([*past, *live])), *tied],
            LEAVING: [self.stored(random, f"b{i:03}", at) for i, at in enumerate([-4_000.0, *live[::3]])],
        }

    def stored(self, random: Random, id: str, at: float) -> Stored:
        late, gone = random.choice(LATE_SECONDS) if self.late else 0.0, random.choice((1.0, 15.0, math.inf, math.inf))
        return Stored(
            id=id,
            type="customer.created",
            created_at_us=round((EPOCH + at) * 1000) * 1000 + random.randrange(1000),
            shown_at=EPOCH + at + late,
            gone_at=EPOCH + max(at, 0.0) + late + gone if self.gone == "activities" else math.inf,
        )

    def case(self, activities: list[Stored], tie: int) -> Case:
        """As the judge sees one customer: the page as small as it ever is, `Date` as wrong as it ever is."""
        return Case(
            Scenario(tuple(activities), tie),
            replace(self.readings(later=True), page_activities_max=min(self.page)),
            clock_offset=self.skew_seconds,
        )


class ReadingsWorld(World):
    """Two customers whose life is told, and one process at a time."""

    def __init__(self, situation: Situation, plan: Plan) -> None:
        super().__init__(plan)
        self.situation = situation
        self.script = situation.script()
        options = SimulatorOptions(
            seed=plan.seed,
            endpoints=situation.endpoint,  # type: ignore[arg-type]
            calls_per_window=None,
            latency_seconds=0.1,
            duplicate_rate=situation.duplicate_rate,
            readings=situation.readings(later=False),
        )
        self.simulator = Simulator(options, self.clock, Scripted(self.script))

    def start(self, tasks: TaskGroup) -> Process:
        self.lives += 1
        process = Process(self, self.policy(), self.situation.skew_seconds)
        self.processes.append(process)
        self.all_processes.append(process)
        tasks.start_soon(process.run_guarded)
        return process

    def faults(self) -> list[tuple[float, str]]:
        fault = {"killed": "kill", "restarted": "restart"}.get(self.situation.struck)
        return sorted([(CHANGED, "change"), *((at, fault) for at in STRUCK if fault)])

    def strike(self, fault: str, tasks: TaskGroup) -> None:
        if fault != "change":
            super().strike(fault, tasks)
        else:
            self.simulator.change(readings=self.situation.readings(later=True))
            if self.situation.gone == "customer":
                self.simulator.erase(LEAVING)

    async def settle(self) -> None:
        self.simulator.freeze()
        await anyio.sleep_until(JUDGED)

    # What there is to judge.

    def verdict(self, customer: str, tie: int) -> Verdict:
        published = Counter(id for of, id in map(identity, self.published()) if of == customer)
        activities = self.script[customer]
        erased = self.situation.gone == "customer" and customer == LEAVING
        must = set() if erased else {one.id for one in activities if math.isinf(one.gone_at)}
        told = [said for process in self.all_processes for event, said in process.told.events if event == "gap_suspected"]
        return Verdict(
            self.situation.case(activities, tie),
            lost=must - published.keys(),
            twice={id for id, times in published.items() if times > 1},
            extra=published.keys() - {one.id for one in activities},
            gaps=sum(said["customer"] == customer for said in told),
            endless=not erased and self.read_at(customer) < ENDED + max(LATE_SECONDS),
        )

    def read_at(self, customer: str) -> float:
        """When the last complete read began."""
        checkpoint = checkpoints_of(self).get(CustomerId(customer))
        return (
            -math.inf if checkpoint is None or checkpoint.last_read is None else checkpoint.last_read - EPOCH - self.situation.skew_seconds
        )

    def crashes(self) -> list[str]:
        return [repr(process.crash) for process in self.all_processes if process.crash is not None]


PLAN = replace(CALM, seed=31, hours=ENDED / 3600, calls_per_minute=60, lookback_seconds=LOOKBACK_SECONDS, session_seconds=6)


def life(situation: Situation) -> ReadingsWorld:
    async def lived() -> ReadingsWorld:
        world = ReadingsWorld(situation, replace(PLAN, endpoint=situation.endpoint))  # type: ignore[arg-type]
        await world.live()
        return world

    return run_in_virtual_time(lived, seed=PLAN.seed)


FOLLOWED: dict[str, tuple[Any, ...]] = {
    "starting_after_id": FACTORS["starting_after_id"],
    "page": ((100, 100), (7, 7), (100, 7), (7, 100)),
    "tie": (101, 250),
    "tie_at": FACTORS["tie_at"],
    "ties": FACTORS["ties"],
    "late": FACTORS["late"],
    "struck": FACTORS["struck"],
}
"""What meets only where the walk gets so far: order and start_date are honoured."""

MET_BEFORE = (
    Situation(page=(100, 7), tie=8, tie_at=LIVE_TIE),
    Situation(page=(100, 7), start_date="ignored", order="oldest_first"),
    Situation(page=(100, 7), clocks="behind"),
    Situation(page=(100, 7), tie=101, tie_at=LIVE_TIE, late=True, struck="restarted"),
)
"""What once went wrong, each by itself: a cap that shrinks below a tie, or below the past that an ignored start_date shows; one whose pages look
short while the cursor is an hour behind; and an activity shown late, within a tie that the id cursor is being led through.
"""

DRAWN = [Situation(**case) for factors in (FACTORS, FOLLOWED) for case in pairwise(factors)]
SITUATIONS = list(dict.fromkeys((*DRAWN, *MET_BEFORE)))


class Summary:
    """A pytest plugin, as `tests/property/conftest.py` has one."""

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section("readings of the API, pairwise through the whole program")
        for kind, runs in sorted(RUNS.items()):
            terminalreporter.write_line(f"{runs:6} runs: {kind}")


@pytest.fixture(scope="module", autouse=True)
def summary(request: pytest.FixtureRequest) -> None:
    request.config.pluginmanager.register(Summary())


@pytest.mark.parametrize("situation", SITUATIONS, ids=str)
def test_whatever_two_readings_meet_nothing_is_published_twice_or_lost_in_silence(situation: Situation) -> None:
    world = life(situation)
    steady, leaving = world.verdict(STEADY, situation.tie), world.verdict(LEAVING, 1)
    RUNS[steady.kind] += 1

    assert (world.crashes(), set(steady.faults) - situation.excused, leaving.faults) == ([], set(), [])


@pytest.mark.parametrize("factors", [FACTORS, FOLLOWED], ids=["all", "followed"])
def test_every_two_values_of_two_factors_meet_in_a_case(factors: dict[str, tuple[Any, ...]]) -> None:
    cases = pairwise(factors)

    met = {((one, case[one]), (other, case[other])) for case in cases for one, other in combinations(factors, 2)}
    assert met == {((one, a), (other, b)) for one, other in combinations(factors, 2) for a, b in product(factors[one], factors[other])}
    assert cases == pairwise(factors)
    assert len(cases) <= 1.1 * math.prod(sorted(len(values) for values in factors.values())[-2:])
