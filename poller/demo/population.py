"""Who acts when: customers acting in visits, and what the API stores of it.

A visit starts at a rate that follows the hour of the day; after each activity another follows with probability `follow` after an
exponential gap. `workload` is the finite form, the same everywhere for the same seed (the benchmark of the schedule stands on it);
`Visits` is the same process without an end, made as the clock proceeds. Times of the process are minutes; it may run faster than the clock.
"""

import math
from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from heapq import heappop, heappush
from random import Random
from typing import Protocol

import msgspec

from poller.demo.objects import CAMPAIGNS, PRODUCTS, Customer
from poller.demo.options import SimulatorOptions
from poller.demo.payloads import OBJECTS, TYPES, UNDOCUMENTED_TYPES, category
from poller.demo.readings import MILLISECOND_US, Defect, Stored

DAY_MINUTES = 1440
SECOND_US = 1_000_000
DEFECTS: tuple[Defect, ...] = ("no_id", "no_type", "no_created_at", "bad_created_at", "bad_utf8", "not_an_object", "odd_created_at")

Uniform = Callable[[], float]


class Rhythm(msgspec.Struct, frozen=True):
    """How visits are made."""

    follow: float = 0.75
    gap_minutes: float = 10 / 3
    day_amplitude: float = 0.8
    peak_minute: float = 840.0


def rates(customers: int, exponent: float, mean_per_day: float, uniform: Uniform) -> list[float]:
    """Activities a minute of each customer: weights (k + 1)^−exponent, shuffled."""
    weights = [(k + 1) ** -exponent for k in range(customers)]
    for j in range(customers - 1, 0, -1):
        k = int(uniform() * (j + 1))
        weights[j], weights[k] = weights[k], weights[j]
    total = sum(weights)
    return [weight / total * customers * mean_per_day / DAY_MINUTES for weight in weights]


def exponential(mean: float, uniform: Uniform) -> float:
    return -mean * math.log(1 - uniform())


def visits(rate: float, rhythm: Rhythm, uniform: Uniform, end: float = math.inf) -> Iterator[list[float]]:
    """The times of one visit after the other, by thinning; a visit may still go on when the next one starts."""
    top = (1 - rhythm.follow) * rate * (1 + rhythm.day_amplitude)
    t = 0.0
    while (t := t + exponential(1 / top, uniform)) < end:
        density = 1 + rhythm.day_amplitude * math.cos(2 * math.pi * (t - rhythm.peak_minute) / DAY_MINUTES)
        if uniform() * (1 + rhythm.day_amplitude) < density:
            yield visit(t, rhythm, uniform, end)


def visit(start: float, rhythm: Rhythm, uniform: Uniform, end: float) -> list[float]:
    times = [start]
    while uniform() < rhythm.follow:
        following = times[-1] + exponential(rhythm.gap_minutes, uniform)
        if following >= end:
            break
        times.append(following)
    return times


def ascending(of_visits: Iterable[list[float]]) -> Iterator[float]:
    """The times of all visits, merged."""
    ahead: list[float] = []
    for times in of_visits:
        while ahead and ahead[0] <= times[0]:
            yield heappop(ahead)
        for t in times:
            heappush(ahead, t)
    while ahead:
        yield heappop(ahead)


def workload(
    customers: int, exponent: float, days: float, seed: int, rhythm: Rhythm = Rhythm(), mean_per_day: float = 12.0
) -> list[list[float]]:
    """Each customer's activity times in minutes, ascending. One stream of random numbers makes them all, in the order of the customers."""
    uniform = Random(seed).random
    of_customers = rates(customers, exponent, mean_per_day, uniform)
    return [sorted(t for times in visits(rate, rhythm, uniform, days * DAY_MINUTES) for t in times) for rate in of_customers]


class Population(Protocol):
    """The customers, and what they did."""

    customers: Sequence[Customer]

    def activities(self, customer: Customer, now: float) -> Sequence[Stored]:
        """What was created up to `now`, ascending by `created_at_us`; shown or not."""

    def freeze(self, now: float) -> None:
        """Nothing is created after `now`."""


class Visits:
    """Customers that act in visits, from `started_at` (Unix time in seconds) on; made only as far as it is asked for."""

    def __init__(self, options: SimulatorOptions, started_at: float) -> None:
        self.options = options
        self.origin = started_at - options.history_seconds
        self.frozen_at = math.inf
        self.customers: Sequence[Customer] = tuple(
            make_customer(options.seed, index, round(created_at(options, index, started_at) * SECOND_US))
            for index in range(options.customers)
        )
        self._index = {customer.id: index for index, customer in enumerate(self.customers)}
        self._times = [iter(times) for times in process(options)]
        self._next = [next(times, math.inf) for times in self._times]
        self._made = [0] * options.customers
        self._stored: list[list[Stored]] = [[] for _ in range(options.customers)]
        self._minute_seconds = 60 / compression(options)

    def activities(self, customer: Customer, now: float) -> Sequence[Stored]:
        index = self._index[customer.id]
        until = (min(now, self.frozen_at) - self.origin) / self._minute_seconds
        while self._next[index] <= until:
            self._make(index, customer)
        return self._stored[index]

    def freeze(self, now: float) -> None:
        self.frozen_at = min(self.frozen_at, now)

    def _make(self, index: int, customer: Customer) -> None:
        at = self.origin + self._next[index] * self._minute_seconds
        there = at * SECOND_US >= customer.created_at_us
        for activity in make_activities(self.options, customer, self._made[index], at) if there else ():
            insort(self._stored[index], activity, key=lambda activity: activity.created_at_us)
        self._made[index] += 1
        self._next[index] = next(self._times[index], math.inf)


class Scripted:
    """Customers of whom is told what they did; for tests."""

    def __init__(self, script: Mapping[str, Iterable[Stored]]) -> None:
        self.customers: Sequence[Customer] = tuple(Customer(id=name, source_id=name) for name in script)
        self._stored = {name: sorted(activities, key=lambda activity: activity.created_at_us) for name, activities in script.items()}
        self._frozen_at = math.inf

    def activities(self, customer: Customer, now: float) -> Sequence[Stored]:
        until = min(now, self._frozen_at) * SECOND_US
        return [activity for activity in self._stored[customer.id] if activity.created_at_us <= until]

    def add(self, customer_id: str, *activities: Stored) -> None:
        for activity in activities:
            insort(self._stored[customer_id], activity, key=lambda activity: activity.created_at_us)

    def freeze(self, now: float) -> None:
        self._frozen_at = min(self._frozen_at, now)


def process(options: SimulatorOptions) -> Iterable[Iterable[float]]:
    """Each customer's times in minutes: the finite workload where days are given, else without an end, a random stream for each customer."""
    rhythm = Rhythm(options.follow_probability, options.gap_minutes, options.day_amplitude, options.peak_minute)
    if options.days is not None:
        return workload(options.customers, options.exponent, options.days, options.seed, rhythm, options.activities_per_customer_day)
    of_customers = rates(options.customers, options.exponent, options.activities_per_customer_day, Random(options.seed).random)
    return [
        ascending(visits(rate, rhythm, Random(f"{options.seed}/{index}").random)) if rate > 0 else []
        for index, rate in enumerate(of_customers)
    ]


def compression(options: SimulatorOptions) -> float:
    """Minutes of the process in a minute of the clock."""
    if options.activities_per_customer_minute is None:
        return options.time_compression
    return options.activities_per_customer_minute * DAY_MINUTES / options.activities_per_customer_day


def make_customer(seed: int, index: int, created_at_us: int = 0) -> Customer:
    return Customer(
        id=f"cust_{blake2b(f'{seed}/customer/{index}'.encode(), digest_size=12).hexdigest()}",
        source_id=f"shopper+{index}@example.com",
        created_at_us=created_at_us,
    )


def created_at(options: SimulatorOptions, index: int, started_at: float) -> float:
    """An hour after the one before, and all before anybody does anything; but for those who arrive."""
    arriving = index - (options.customers - options.arriving_customers)
    if arriving >= 0:
        return started_at + (arriving + 1) / options.arriving_customers * options.arriving_seconds
    return started_at - options.history_seconds + 3600.0 * (arriving - 1)


def make_activities(options: SimulatorOptions, customer: Customer, ordinal: int, at: float) -> list[Stored]:
    """What one moment of the process leaves behind: an activity, or several of the same millisecond from one request.

    Its randomness is its own, so the times of a seed do not change with the options that only decide about what happens then.
    """
    random = Random(f"{options.seed}/{customer.id}/{ordinal}")
    group_id = f"v-{random.getrandbits(72):018x}"
    size = group_size(options, random)
    at_ms = int(at * 1000)
    return [make_activity(options, random, group_id, at_ms, at) for _ in range(size)]


def group_size(options: SimulatorOptions, random: Random) -> int:
    chance = random.random()
    if chance < options.large_tie_rate:
        return options.large_tie_activities
    if chance < options.large_tie_rate + options.tie_rate:
        return random.randint(2, max(2, options.tie_activities_max))
    return 1


def make_activity(options: SimulatorOptions, random: Random, group_id: str, at_ms: int, at: float) -> Stored:
    drawn = draw_type(options, random)
    created_at_us = at_ms * MILLISECOND_US + random.randrange(MILLISECOND_US)
    campaign_id, campaign_type = random.choice(CAMPAIGNS) if "campaign" in OBJECTS.get(drawn, ()) else (None, None)
    return Stored(
        id=f"{'event' if random.random() < 0.05 else 'evcus'}_{random.getrandbits(72):018x}",
        type=drawn,
        created_at_us=created_at_us,
        shown_at=max(at, created_at_us / SECOND_US) + draw_lateness(options, random),
        group_id=group_id,
        campaign_id=campaign_id,
        campaign_type=campaign_type,
        product_id=random.choice(PRODUCTS) if "order" in OBJECTS.get(drawn, ()) else None,
        category=category(drawn),
        defect=random.choice(DEFECTS) if random.random() < options.defect_rate else None,
        pad_bytes=options.large_bytes if random.random() < options.large_rate else 0,
    )


TYPE_WEIGHTS = [1 / (rank + 1) for rank in range(len(TYPES))]
"""By Zipf, in the order of the documented list stepped through by 31, so that not one family has all the traffic."""
TYPES_BY_FREQUENCY = [TYPES[rank * 31 % len(TYPES)] for rank in range(len(TYPES))]


def draw_type(options: SimulatorOptions, random: Random) -> str:
    if random.random() < options.undocumented_type_rate:
        return random.choice(UNDOCUMENTED_TYPES)
    drawn = random.choices(TYPES_BY_FREQUENCY, TYPE_WEIGHTS)[0]
    return "customer.updated" if drawn == "customer.deleted" else drawn  # whoever is deleted does nothing more


def draw_lateness(options: SimulatorOptions, random: Random) -> float:
    late, seconds = random.random() < options.late_rate, exponential(options.late_seconds_mean, random.random)
    return min(seconds, options.late_seconds_max) if late else 0.0
