"""Customers are rewound through the watch topic, again and again, while processes are killed and the group divides its partitions anew."""

from collections import Counter, defaultdict
from functools import cache
from random import Random
from typing import NamedTuple

import anyio

from poller.core.ownership import partition_of
from poller.kafka.record import OWNERSHIP_KEY, REPLAY_HEADER, Record, decode_checkpoint, encode_checkpoint
from poller.model import Checkpoint, CustomerId, Rewind, WatchEntry
from tests.support.judges import compare, identity
from tests.support.plan import Plan
from tests.support.world import EPOCH, World, run_in

PLAN = Plan(
    seed=31,
    hours=0.1,
    customers=20,
    replicas=2,
    partitions=2,
    calls_per_minute=900,
    calls_in_flight_max=8,
    lookback_seconds=20,
    late_seconds_max=10,
    activities_per_customer_day=8_000,
    exponent=0.0,
    history_hours=0.3,
    kills=4,
    rebalances=3,
    expulsions=1,
    outages=0,
)
REWINDS_EACH_SECONDS = 4.0


class Told(NamedTuple):
    """One replay of one customer, as the topics tell it."""

    rewind: Rewind
    begun: float
    """When its first page was committed."""
    done: bool


class RewoundWorld(World):
    """The first customers' past was never published, as somebody had moved their checkpoints ahead; in the end what is missing of it is."""

    watch_topic = True

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.everybody = [CustomerId(name) for name in self.simulator.customers]
        self.ahead = self.everybody[:3]
        self.rewinds: dict[tuple[CustomerId, str], Rewind] = {}
        self.random = Random(f"{plan.seed}/rewound")
        for customer in self.ahead:
            moved = encode_checkpoint(Checkpoint(cursor_ms=round(EPOCH * 1000)))
            self.kafka.put(partition_of(customer, plan.partitions), customer.encode(), moved)

    def rewind(self, customer: CustomerId, seconds: float, *, missing_only: bool) -> None:
        """To so long before now."""
        rewind = Rewind(f"r{len(self.rewinds)}", round((self.clock() - seconds) * 1000), missing_only)
        self.rewinds[customer, rewind.id] = rewind
        self.kafka.watch({customer: WatchEntry(replay=rewind)})

    async def live(self) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.rewind_them)
            await super().live()

    async def rewind_them(self) -> None:
        seconds = self.plan.hours * 3600
        await anyio.sleep(30)
        while self.seconds < seconds - 30:
            await anyio.sleep(self.random.expovariate(1 / REWINDS_EACH_SECONDS))
            customer = self.random.choice(self.everybody[3:])
            self.rewind(customer, self.random.choice((5.0, 100.0, 1e4)), missing_only=self.random.random() < 0.4)
        for customer in self.ahead:
            self.rewind(customer, 1e6, missing_only=True)

    # What there is to judge.

    def new(self) -> list[Record]:
        return [record for record in self.published() if replay_of(record) is None]

    def judge_new(self) -> None:
        """Everything that is new is published once without the header, but for what lay before a checkpoint that was moved."""
        truth = self.simulator.truth(lookback_seconds=self.plan.lookback_seconds)
        wanted = [one for one in truth.activities if CustomerId(one.customer) not in self.ahead or one.created_at_ms >= EPOCH * 1000]
        seen = Counter(map(identity, self.new()))
        compare(self, seen, [(one.customer, one.id) for one in wanted], [(one.customer, one.id) for one in wanted if one.must])

    def created(self) -> dict[tuple[str, str], int]:
        """Every activity that there is."""
        return {(one.customer, one.id): one.created_at_ms for one in self.simulator.truth(lookback_seconds=0).activities}

    def told(self) -> dict[tuple[CustomerId, str], Told]:
        """Every replay that was begun."""
        found: dict[tuple[CustomerId, str], Told] = {}
        for at, record in self.kafka.read_timed("checkpoints"):
            checkpoint = None if record.key == OWNERSHIP_KEY else decode_checkpoint(record.value)
            if checkpoint is not None and checkpoint.replayed is not None:
                key = CustomerId(record.key.decode()), checkpoint.replayed
                before = found.get(key, Told(self.rewinds[key], at, False))
                found[key] = before._replace(done=before.done or checkpoint.replay is None)
        return found

    def again(self) -> dict[tuple[CustomerId, str], Counter[str]]:
        """What each replay has published again, by ids."""
        found: defaultdict[tuple[CustomerId, str], Counter[str]] = defaultdict(Counter)
        for record in self.published():
            replay = replay_of(record)
            if replay is not None:
                customer, id = identity(record)
                found[CustomerId(customer), replay][id] += 1
        return found

    def wanted(self, customer: CustomerId, told: Told) -> set[str]:
        """What had been published before it began, and was created since its date; where only what is missing is wanted, what had not been."""
        standing = {identity(record) for at, record in self.kafka.read_timed("activities") if at < told.begun}
        since = {name for name, at_ms in self.created().items() if name[0] == customer and at_ms >= told.rewind.from_ms}
        if told.rewind.missing_only:
            return {id for _, id in since - standing} if customer in self.ahead else set()
        return {id for _, id in since & standing}


def replay_of(record: Record) -> str | None:
    return next((value.decode() for name, value in record.headers if name == REPLAY_HEADER), None)


@cache
def rewound() -> RewoundWorld:
    return run_in(RewoundWorld, PLAN)


def test_whatever_is_rewound_and_whoever_dies_what_is_new_is_published_once_without_the_header() -> None:
    world = rewound()
    print(len(world.published()), len(world.new()), len(world.simulator.calls), len(world.rewinds), world.lives)

    world.judge_new()
    assert world.judge_budget() > 0
    assert (len(world.rewinds) > 50, world.lives) == (True, 6)
    assert [process.crash for process in world.all_processes if process.crash] == []


def test_each_replay_publishes_once_more_what_had_been_published_before_it_began() -> None:
    world = rewound()
    again, told = world.again(), {key: one for key, one in world.told().items() if key[0] not in world.ahead}
    wanted = {key: Counter(world.wanted(key[0], one)) for key, one in told.items()}
    done = [key for key, one in told.items() if one.done]

    assert {key: again.get(key, Counter()) for key in done} == {key: wanted[key] for key in done}
    assert [key for key in told if again.get(key, Counter()) - wanted[key]] == []
    assert len(again.keys() & told.keys()) > 20
    assert sum(1 for key in done if told[key].rewind.missing_only) > 5


def test_each_last_rewind_is_carried_out() -> None:
    world = rewound()
    last = dict(world.rewinds.keys())
    told = world.told()

    assert [key for key in last.items() if key not in told or not told[key].done] == []


def test_where_a_checkpoint_was_moved_ahead_only_what_is_missing_is_published_and_marked() -> None:
    world = rewound()
    created = world.created()
    again = world.again()
    rewinds = {key for key in world.rewinds if key[0] in world.ahead}

    assert len(rewinds) == len(world.ahead)
    for customer, id in rewinds:
        missing = Counter(name[1] for name, at_ms in created.items() if name[0] == customer and at_ms < EPOCH * 1000)
        assert missing.total() > 50
        assert again[customer, id] == missing


def test_what_is_published_again_says_nothing_of_freshness() -> None:
    world = rewound()
    metrics = [process.telemetry.metrics for process in world.all_processes]

    assert sum(one.counted("poller_activities_replayed_total") for one in metrics) > 0.9 * (len(world.published()) - len(world.new()))
    assert sum(one.histogram("poller_freshness_seconds").count for one in metrics) <= len(world.new())
