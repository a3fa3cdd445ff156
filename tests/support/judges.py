"""The judges of a simulation. They compare what a reader of the log has seen with what the API has shown, count the calls that arrived there, and
know nothing of how the program works; every objection carries the plan, so that it can be replayed.

| judge | objects when |
|---|---|
| safety | an activity or a dead letter is lost, twice, invented or changed |
| state | a checkpoint passes what is not published, or forgets what is and could be published again |
| budget | a window or the cycle holds more calls than allowed |
| freshness | publication takes longer than one round of all customers explains, the spans of faults not counted |
| liveness | a process ends by itself, a customer is no longer read, or something is said that no fault explains |
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from poller.core.ownership import partition_of
from poller.demo.population import make_customer
from poller.kafka.record import Record, restored_of
from poller.model import Checkpoint, CustomerId
from tests.support.plan import LATENCY_SECONDS, Plan

if TYPE_CHECKING:
    from tests.support.world import World

CALL_SECONDS_MAX = 2.0
"""One call and its commit, retried once."""

HANG_SECONDS, SLOW_SECONDS = 30.0, 5.0
GRANT_CALLS = 2.0

MEDIAN_ROUNDS = 1.0
"""Evenly spread calls make it half a round."""
P99_ROUNDS = 2.0
P99_SECONDS = 60.0
"""What failures of one customer's calls may add."""

NEVER_SAID = {
    "gap_suspected",
    "recent_ids_dropped",
    "endpoint_cannot_be_followed",
    "deprecated_endpoint",
    "settings_doubtful",
    "watched_set_differs",
}


class Objection(AssertionError):
    """What a judge has found."""


@dataclass(frozen=True)
class Figures:
    """What came of one simulation."""

    published: int
    dead_letters: int
    calls: int
    calls_in_window_max: int
    median_seconds: float
    p99_seconds: float
    round_seconds: float
    lives: int

    def __str__(self) -> str:
        return (
            f"{self.published} published, {self.dead_letters} dead letters, {self.calls} calls, at most {self.calls_in_window_max} in a window, "
            f"delay {self.median_seconds:.1f} s at the median and {self.p99_seconds:.1f} s at p99, a round {self.round_seconds:.1f} s, {self.lives} lives"
        )


def judge(world: "World") -> Figures:
    judge_liveness(world)
    judge_safety(world)
    judge_state(world)
    most = judge_budget(world)
    judge_freshness(world)
    counted = counted_delays(world) or [0.0]
    return Figures(
        published=len(world.published()),
        dead_letters=len(world.kafka.read_committed("dead_letters")),
        calls=len(world.simulator.calls),
        calls_in_window_max=most,
        median_seconds=median(counted),
        p99_seconds=quantile(counted, 0.99),
        round_seconds=round_seconds(world.plan),
        lives=world.lives,
    )


def object_to(world: "World", what: str) -> Objection:
    return Objection(f"{what} [{world.plan}]")


# ---------------------------------------------------------------------------------------------------------------- safety


def judge_safety(world: "World") -> None:
    """Nothing lost, nothing twice, nothing invented, nothing changed."""
    truth = world.simulator.truth(lookback_seconds=world.plan.lookback_seconds, raw=True)
    activities = [one for one in truth.activities if one.topic == "activities"]
    letters = [one for one in truth.activities if one.topic == "dead-letters"]
    shown = {(one.customer, one.id): one for one in activities}
    compare(
        world,
        Counter(map(identity, world.published())),
        [(one.customer, one.id) for one in activities],
        [(one.customer, one.id) for one in activities if one.must],
    )
    compare(
        world,
        Counter((record.key.decode(), record.value) for record in world.kafka.read_committed("dead_letters")),
        [(one.customer, one.raw) for one in letters],
        [(one.customer, one.raw) for one in letters if one.must],
    )
    for record in world.published():
        one = shown[identity(record)]
        if (record.key, record.value) != (one.type.encode(), one.raw):
            raise object_to(world, f"changed: {one.id}")


def compare(
    world: "World", seen: Counter[tuple[str, str]] | Counter[tuple[str, bytes]], may: Iterable[object], must: Iterable[object]
) -> None:
    twice = [key for key, count in seen.items() if count > 1]
    lost = [key for key in must if key not in seen]
    invented = list(seen.keys() - set(may))
    if lost or twice or invented:
        raise object_to(world, f"lost {len(lost)}, twice {len(twice)}, invented {len(invented)}: {[*lost, *twice, *invented][:3]}")


def judge_state(world: "World") -> None:
    """What stands in the checkpoints is what stands in the topic; now, and whenever it was looked at before."""
    if world.objections:
        raise world.objections[0]
    checkpoints = checkpoints_of(world)
    published = set(map(identity, world.published()))
    for one in world.simulator.truth(lookback_seconds=world.plan.lookback_seconds).activities:
        checkpoint = checkpoints.get(CustomerId(one.customer))
        if checkpoint is None or one.topic != "activities":
            continue
        there, passed, known = (one.customer, one.id) in published, one.created_at_ms < checkpoint.cursor_ms, one.id in checkpoint.recent
        if not there and (known or (passed and one.must)):
            raise object_to(world, f"the checkpoint of {one.customer} covers {one.id}, which is not published")
        if there and not passed and not known:
            raise object_to(world, f"the checkpoint of {one.customer} has forgotten {one.id}, which would be published again")


def checkpoints_of(world: "World") -> dict[CustomerId, Checkpoint]:
    return {
        customer: checkpoint
        for partition in range(world.kafka.partitions)
        for customer, checkpoint in restored_of(world.kafka.latest(partition)).checkpoints.items()
    }


# ---------------------------------------------------------------------------------------------------------------- budget


def judge_budget(world: "World") -> int:
    """The most calls that arrived in a window."""
    limit, window_seconds = world.plan.window
    most = world.simulator.calls_in_window_max(window_seconds)
    if most > limit:
        raise object_to(world, f"{most} calls in {window_seconds:g} s")
    cap = world.plan.calls_per_cycle
    if cap is not None and len(world.simulator.calls) > cap:
        raise object_to(world, f"{len(world.simulator.calls)} calls in a cycle of {cap}")
    return most


def partition_calls_per_second(plan: Plan) -> float:
    """What one partition may spend: of the rate, as `poller/core/budget.py` divides it, or of the cycle."""
    limit, window_seconds = plan.window
    capacity = max(1, math.ceil(limit / window_seconds / 2 / plan.partitions))
    rate = (limit + 1 - capacity * plan.partitions) / (window_seconds + 1)
    if plan.calls_per_cycle is not None:
        rate = min(rate, 0.98 * plan.calls_per_cycle / plan.cycle_hours / 3600)
    return rate / plan.partitions


# -------------------------------------------------------------------------------------------------------------- freshness


def round_seconds(plan: Plan) -> float:
    """How long it takes to read every customer once, in the partition that has most of them; `inf`: the calls do not suffice for that."""
    busiest = max(customers_by_partition(plan))
    life_seconds = 1 + plan.late_seconds_max / plan.token_seconds
    tokens_per_second = 0 if plan.auth == "token" else 1 / (0.75 * plan.token_seconds) / plan.partitions * life_seconds
    call_seconds = LATENCY_SECONDS + plan.call_failures * (0.1 * HANG_SECONDS + 0.2 * SLOW_SECONDS)
    calls_per_second = min(partition_calls_per_second(plan), plan.calls_in_flight_max / call_seconds / plan.partitions)
    calls_per_second = calls_per_second * (1 - plan.call_failures) - tokens_per_second
    page = plan.readings.page_activities_max - 1
    pages_per_second = 1.8 * busiest * plan.activities_per_customer_day / 86_400 / page
    behind_seconds = plan.lookback_seconds + plan.skew_seconds + max(0.0, -plan.readings.date_offset_seconds)
    left = calls_per_second - pages_per_second
    return math.inf if left <= 0.2 * calls_per_second else (busiest + pages_per_second * behind_seconds) / left


def customers_by_partition(plan: Plan) -> list[int]:
    count = Counter(partition_of(CustomerId(make_customer(plan.seed, index).id), plan.partitions) for index in range(plan.customers))
    return list(count.values())


def delays(world: "World") -> list[float]:
    """Seconds from being shown, but not before the beginning, to being committed."""
    return [committed - shown for shown, committed in spans(world)]


def spans(world: "World") -> list[tuple[float, float]]:
    """From when to when each activity waited, in seconds since the beginning; what must be published and is not waits to the end."""
    began = world.simulator.started_at
    truth = world.simulator.truth(lookback_seconds=world.plan.lookback_seconds)
    shown_at = {(one.customer, one.id): max(0.0, one.shown_at - began) for one in truth.activities}
    published = [(identity(record), at) for at, record in world.kafka.read_timed("activities")]
    waiting = {(one.customer, one.id) for one in truth.must if one.topic == "activities"} - {key for key, _ in published}
    return [(shown_at[key], at) for key, at in published] + [(shown_at[key], world.seconds) for key in waiting]


def counted_delays(world: "World") -> list[float]:
    """The delays without the spans of faults, and only of what was shown once the past had been read."""
    plan = world.plan
    begun = backfill_seconds(plan)
    disturbed = merged(world.disturbed)
    return [max(0.0, until - since - overlap(since, until, disturbed)) for since, until in spans(world) if since >= begun]


def backfill_seconds(plan: Plan) -> float:
    if not plan.history_hours:
        return 0.0
    pages = plan.customers * plan.activities_per_customer_day * 1.2 * plan.history_hours / 24 / (plan.readings.page_activities_max - 1)
    return 2 * round_seconds(plan) + 3 * pages / (partition_calls_per_second(plan) * plan.partitions)


def merged(spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    whole: list[tuple[float, float]] = []
    for since, until in sorted(spans):
        if whole and since <= whole[-1][1]:
            whole[-1] = (whole[-1][0], max(until, whole[-1][1]))
        else:
            whole.append((since, until))
    return whole


def overlap(since: float, until: float, spans: Sequence[tuple[float, float]]) -> float:
    return sum(max(0.0, min(until, end) - max(since, begin)) for begin, end in spans)


def judge_freshness(world: "World") -> float:
    """The median delay."""
    counted, whole = counted_delays(world), round_seconds(world.plan)
    if len(counted) < 20:
        return 0.0
    middle, most = median(counted), quantile(counted, 0.99)
    if middle > MEDIAN_ROUNDS * whole + CALL_SECONDS_MAX:
        raise object_to(world, f"the median delay is {middle:.1f} s, and a round {whole:.1f} s")
    if most > p99_rounds(world.plan) * whole + P99_SECONDS:
        raise object_to(world, f"the delay is {most:.1f} s at p99, and a round {whole:.1f} s")
    return middle


def p99_rounds(plan: Plan) -> float:
    """A call that fails puts its customer behind all others, in the midst of a walk as well; and walks are long where pages are small."""
    return P99_ROUNDS + (20 * plan.call_failures if plan.readings.page_activities_max < 100 else 0)


# --------------------------------------------------------------------------------------------------------------- liveness


def judge_liveness(world: "World") -> None:
    """Every process goes on, every customer is read, and nothing is said that no fault explains."""
    for process in world.all_processes:
        if process.crash is not None:
            raise object_to(world, f"a process ended: {process.crash!r}") from process.crash
        for event, said in process.told.events:
            if event in NEVER_SAID:
                raise object_to(world, f"{event}: {said}")
    read = {call.customer for call in world.simulator.calls if call.at >= world.simulator.frozen_at}
    unread = [customer for customer in world.simulator.customers if customer not in read]
    if unread:
        raise object_to(world, f"{len(unread)} customers are no longer read: {unread[:3]}")


# ----------------------------------------------------------------------------------------------------------------- small


def identity(record: Record) -> tuple[str, str]:
    return header(record, "ce_subject"), header(record, "ce_id")


def header(record: Record, name: str) -> str:
    value = next((value for key, value in record.headers if key == name), None)
    assert value is not None, f"a record without {name}"
    return value.decode()


def quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]
