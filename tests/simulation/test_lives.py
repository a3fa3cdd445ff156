"""Two and a half days of customers who are deleted, vanish, are dropped and come back in time or too late, or are forgotten, while processes are killed."""

from collections import Counter
from dataclasses import replace
from functools import cache

import anyio
from msgspec.structs import replace as changed

from poller.core.policy import Policy
from poller.demo.api import Simulator
from poller.demo.population import Scripted
from poller.demo.readings import Stored
from poller.model import PLAIN, CustomerId, WatchEntry
from tests.support.judges import identity
from tests.support.plan import CALM, Plan, options_of
from tests.support.world import EPOCH, World, run_in

HOUR = 3_600.0
STAYS, DIES, VANISHES, IN_TIME, TOO_LATE, FORGOTTEN = (
    CustomerId(name) for name in ("stays", "dies", "vanishes", "in time", "too late", "forgotten")
)
END = 60.0
PLAN = replace(CALM, seed=5, hours=END, customers=6, calls_per_minute=0.5, lookback_seconds=60, session_seconds=300.0)

DIED, CAME_BACK = 5.0, 40.0
GONE, KNOWN_AGAIN = 10.0, 45.0
DROPPED, WATCHED_IN_TIME, WATCHED_TOO_LATE = 6.0, 9.0, 20.0
RETENTION = 5.0
FORGET, REMEMBERED = 12.0, 30.0
KILLS = (5.02, 10.3, 13.0, 31.0)
DAY_HOURS = 24.0


def stored(customer: str, hours: float, type: str = "customer.updated") -> Stored:
    at = EPOCH + hours * HOUR
    return Stored(id=f"{customer}-{hours:g}", type=type, created_at_us=round(at * 1e6), shown_at=at + 5)


def script() -> dict[str, list[Stored]]:
    """Everybody does something every two hours while they live."""
    lives = {customer: [(0.0, END - 2)] for customer in (STAYS, IN_TIME, TOO_LATE, FORGOTTEN)}
    lives |= {DIES: [(0.0, DIED), (CAME_BACK, CAME_BACK + 3)], VANISHES: [(0.0, GONE - 1), (KNOWN_AGAIN, KNOWN_AGAIN + 3)]}
    done = {
        str(customer): [stored(customer, begin + 0.1 + 2 * n) for begin, end in spans for n in range(int((end - begin) / 2))]
        for customer, spans in lives.items()
    }
    done[DIES] += [stored(DIES, DIED, "customer.deleted"), stored(DIES, DIED + 0.01), stored(DIES, CAME_BACK, "customer.created")]
    return done


class LivesWorld(World):
    """Who is watched is told to the processes as it changes, and to new ones when they start."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.script = script()
        self.simulator = Simulator(options_of(plan), self.clock, Scripted(self.script))
        self.entries: dict[CustomerId, WatchEntry] = {CustomerId(name): PLAIN for name in self.script}

    def policy(self) -> Policy:
        return changed(super().policy(), checkpoint_retention_seconds=RETENTION * HOUR)

    def named(self) -> dict[CustomerId, WatchEntry]:  # type: ignore[override]  # whatever an engine takes
        return dict(self.entries)

    def say(self, customer: CustomerId, entry: WatchEntry | None) -> None:
        self.entries.pop(customer, None)
        if entry is not None:
            self.entries[customer] = entry
        for process in self.processes:
            process.worker.watch(dict(self.entries), "setting")

    async def live(self) -> None:
        happens = [
            *((hours, "kill", STAYS, None) for hours in KILLS),
            *((DROPPED, "say", customer, None) for customer in (IN_TIME, TOO_LATE)),
            (WATCHED_IN_TIME, "say", IN_TIME, PLAIN),
            (WATCHED_TOO_LATE, "say", TOO_LATE, PLAIN),
            (GONE, "erase", VANISHES, None),
            (KNOWN_AGAIN, "know", VANISHES, None),
            (FORGET, "say", FORGOTTEN, WatchEntry(forget=True)),
            (FORGET + 1, "say", FORGOTTEN, None),
            (REMEMBERED, "say", FORGOTTEN, PLAIN),
        ]
        async with anyio.create_task_group() as tasks:
            self.start(tasks)
            for hours, what, customer, entry in sorted(happens, key=lambda one: one[0]):
                await anyio.sleep_until(hours * HOUR)
                match what:
                    case "kill":
                        self.strike("kill", tasks)
                    case "say":
                        self.say(customer, entry)
                    case "erase":
                        self.simulator.erase(customer)
                    case "know":
                        self.simulator._erased.clear()
            await anyio.sleep_until(END * HOUR)
            for process in self.processes:
                process.worker.drain()
        self._ended_at = self.clock()

    def calls(self, customer: CustomerId, begin: float, end: float) -> int:
        return sum(call.customer == customer and begin * HOUR <= call.at - EPOCH < end * HOUR for call in self.simulator.calls)

    def told(self, event: str) -> list[str]:
        """Of whom this was said, in order."""
        said = [(name, fields) for process in self.all_processes for name, fields in process.told.events]
        return [fields.get("customer", "") or ",".join(fields["customers"]) for name, fields in said if name == event]


@cache
def lived() -> LivesWorld:
    return run_in(LivesWorld, PLAN)


def hours_of(id: str) -> float:
    return float(id.rpartition("-")[2])


def test_everything_is_published_once_and_anew_only_of_whom_nothing_was_kept() -> None:
    world = lived()
    times = Counter(map(identity, world.published()))
    anew = {TOO_LATE: DROPPED, FORGOTTEN: FORGET}
    expected = {
        (name, one.id): 1 + (hours_of(one.id) < anew.get(CustomerId(name), 0.0)) for name, done in world.script.items() for one in done
    }

    assert dict(times) == expected
    assert [process.crash for process in world.all_processes if process.crash] == []
    assert world.lives == 1 + len(KILLS)


def test_whoever_is_gone_is_called_once_a_day_until_it_is_back() -> None:
    world = lived()
    died, gone = (world.calls(DIES, DIED + 1, DIED + 1 + DAY_HOURS), world.calls(VANISHES, GONE + 2, GONE + 2 + DAY_HOURS))
    lively = world.calls(STAYS, DIED + 1, DIED + 1 + DAY_HOURS)
    print(died, gone, lively, len(world.simulator.calls))

    assert (died, gone) == (1, 1)
    assert lively > 50
    assert world.calls(DIES, END - 6, END) > 10, "it is back"


def test_nobody_is_called_who_is_not_watched_or_to_be_forgotten() -> None:
    world = lived()
    soon = 0.01

    assert world.calls(IN_TIME, DROPPED + soon, WATCHED_IN_TIME) == world.calls(TOO_LATE, DROPPED + soon, WATCHED_TOO_LATE) == 0
    assert world.calls(FORGOTTEN, FORGET + soon, REMEMBERED) == 0


def test_each_thing_is_told_once() -> None:
    world = lived()

    assert sorted(world.told("customer_retired")) == [DIES, VANISHES]
    assert sorted(world.told("customer_returned")) == [DIES, VANISHES]
    assert world.told("checkpoints_removed") == [TOO_LATE]
    assert world.told("customer_forgotten")[0] == FORGOTTEN
    assert set(world.told("customer_unknown")) == {VANISHES}
    assert world.told("commit_undone") == []
