"""What freshness a budget of calls buys, before it is spent.

The rule calls each customer when the waiting of its activities reaches the price of a call (`freshness.py`), whatever the others do. So with a
price given each customer stands for itself, as the arms of Whittle's index do: one customer of each rate is played alone, read by read, with
the formulas of the rule, and the price is the one at which the reads of all together are the calls that there are. Of constant rates λ that is the √ rule with a
bound: reads at max(1/M, √(λ/2c)). The price says what more calls would save: each ends that much waiting (`Plan.price`).

What the others do matters in one way: calls are a slot 1/B apart, so nobody is read more often than that, and a read waits half a slot for its own.
The fleet's rates are taken for known, and nights for as busy as days. Of the rule itself, which must learn, some 5 % more delay was measured over
the cases of `docs/freshness.md`; up to 15 % where M is less than 1.2 rounds, and 20 % with ten customers.

Times are seconds, rates activities (or calls) a second.
"""

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

import msgspec

from poller.config import CYCLE_SECONDS_MAX
from poller.core.budget import RESERVE, Terms
from poller.core.feed import SHARE_START
from poller.core.freshness import Freshness, held_staleness_seconds
from poller.core.rates import Habits, forecast, habits_of, observed
from poller.model import PAGE_ACTIVITIES_MAX, CustomerId, Learned, Pool, Rates, Restored

Draw = Callable[[], float]
"""A number from 0 up to, but not including, 1."""

TOKEN_RENEWAL_SECONDS = 660.0
"""How far apart the calls for OAuth's tokens are: a token of 15 minutes is renewed before it dies."""

GROUPS_MAX = 24
"""Customers of nearly the same rate are taken for alike."""

VISITS, VISITS_MAX = 400, 3000
READS_MIN = 50
"""A life holds so many visits, and more where fewer reads than these would see them all."""

VISIT_READS = 8
"""Of one life, for each of its visits, while something goes on in it."""

QUIET = 0.02
"""Visits that may still be running count for nothing where they bring less than this part of those that start."""

CERTAIN = 1e30
"""Seconds of evidence: the rates are known."""

STEPS_MAX, NEAR = 24, 0.005
"""The price is found when the calls are within half a percent of those there are."""

STEP_MAX = 20.0

HIGHEST = 10.0
"""No call is worth so much more than what the busiest customer's activities wait within M, and another visit's."""

MANY_PAGES = 20
"""Of so many the last one is half full."""

DEVIATIONS = 3.0
"""Further from the mean by √2 of so many than it will be."""

TURNS, PAGES_MAX = 100, 1000
"""Of trying how long a turn takes; each comes nearer by as much as activities fill pages."""

OVERSPENDS = 0.02
"""Further from the calls there are no price is but the highest."""


class Group(msgspec.Struct, frozen=True):
    """Customers who act alike."""

    customers: int
    rate: float
    """λ̄ of each."""


class Fleet(msgspec.Struct, frozen=True):
    """Who is watched."""

    groups: tuple[Group, ...]
    habits: Habits

    @property
    def customers(self) -> int:
        return sum(group.customers for group in self.groups)

    @property
    def rate(self) -> float:
        """Of all together."""
        return sum(group.customers * group.rate for group in self.groups)


class Allowance(msgspec.Struct, frozen=True):
    """Calls a second, on average over a whole cycle."""

    configured: float
    """What the settings allow."""
    kept: float
    """Not spent: the cycle's reserve, or what keeps any window within its limit."""
    tokens: float
    feed: float = 0.0
    """The change feed's part while nothing is known of its worth: it takes from a fifth of that to four times as much, as it is worth."""

    @property
    def reads(self) -> float:
        """B: what is left to read with."""
        return self.configured - self.kept - self.tokens - self.feed


class Offer(msgspec.Struct, frozen=True):
    """What reading may cost, and what it must keep."""

    calls_per_second: float
    staleness_seconds_max: float | None = None
    lookback_seconds: float = 0.0
    """Each read shows the activities of so long before it again, and they fill its pages."""


class Delay(msgspec.Struct, frozen=True):
    """From an activity's creation to the call that publishes it."""

    mean_seconds: float
    p95_seconds: float
    worst_seconds: float


class Spending(msgspec.Struct, frozen=True):
    """Calls a second, by what they are made for."""

    worth: float
    """Reads that are worth the price."""
    overdue: float
    """Reads that are not, but nobody goes unread for longer than M."""
    pages: float
    """Pages after a read's first."""

    @property
    def calls(self) -> float:
        return self.worth + self.overdue + self.pages


class Plan(msgspec.Struct, frozen=True):
    """What is to be expected."""

    offer: Offer
    staleness_seconds: float
    """M, as it will be held."""
    rule: Delay
    in_turn: Delay
    """The same calls, but everybody read equally often."""
    spending: Spending
    price: float
    """Of a call, in activity·seconds: the waiting that one more saves."""

    @property
    def overspends(self) -> bool:
        """At no price are there calls enough to keep M, with all the pages that come of it."""
        return self.spending.calls > self.offer.calls_per_second * (1 + OVERSPENDS)


# ------------------------------------------------------------------------------------------------------------- who, and with what


def allowance(
    limit: float, window_seconds: float, calls_per_cycle: int | None, partitions: int = 1, *, oauth: bool = False, feed: bool = False
) -> Allowance:
    """Of a limit of so many calls in a window, and of a cycle. Raises `SettingsError` where it cannot be divided over the partitions."""
    configured = limit / window_seconds
    allowed = min(configured, Terms.of(limit, window_seconds, None, partitions).calls_per_second * partitions)
    if calls_per_cycle is not None:
        configured = min(configured, calls_per_cycle / CYCLE_SECONDS_MAX)
        allowed = min(allowed, (calls_per_cycle - math.ceil(calls_per_cycle * RESERVE)) / CYCLE_SECONDS_MAX)
    tokens = min(1 / TOKEN_RENEWAL_SECONDS, allowed / 2) if oauth else 0.0  # where calls are rarer each needs a token of its own
    return Allowance(configured, configured - allowed, tokens, SHARE_START * (allowed - tokens) if feed else 0.0)


def zipf_rates(customers: int, mean: float, exponent: float) -> list[float]:
    """The k-th busiest of so many acts k^−exponent as often as the first; `mean`: how often they act on average."""
    weights = [rank**-exponent for rank in range(1, customers + 1)]
    scale = mean * customers / math.fsum(weights)
    return [weight * scale for weight in weights]


def fleet_of(rates: Iterable[float], habits: Habits) -> Fleet:
    """Customers of these rates, all above 0, in groups of nearly the same."""
    ascending = sorted(rates)
    width = max(math.log(ascending[-1] / ascending[0]) / GROUPS_MAX, 1e-9)
    group_of = [min(int(math.log(rate / ascending[0]) / width), GROUPS_MAX - 1) for rate in ascending]
    members, sums = Counter(group_of), [0.0] * GROUPS_MAX
    for rate, number in zip(ascending, group_of, strict=True):
        sums[number] += rate
    return Fleet(tuple(Group(count, sums[number] / count) for number, count in sorted(members.items())), habits)


class Known(msgspec.Struct, frozen=True):
    """The fleet as a deployment has come to know it."""

    fleet: Fleet
    customers: int
    """Of how many something is known; the others are taken to act as often as these do on average."""
    seconds: float
    """Over how long, on average."""


def known_of(restored: Iterable[Restored], watched: Sequence[CustomerId]) -> Known | None:
    """What stands in the partitions of the checkpoint topic about these customers; `None`: nothing yet."""
    rates: dict[CustomerId, Rates] = {}
    pool = Pool()
    for partition in restored:
        rates |= {customer: one.rates for customer, one in partition.checkpoints.items() if one.rates is not None}
        if partition.ownership is not None:
            pool = _together(pool, partition.ownership.learned.pool)
    freshness = Freshness(Learned(pool), calls_per_second=1.0)
    for customer in watched:
        freshness.add(customer, rates.get(customer))
    seen = [rates[customer].exposure for customer in watched if customer in rates]
    if sum(seen) <= 0:
        return None
    fleet = fleet_of((freshness.forecast(customer).rate for customer in watched), habits_of(pool))
    return Known(fleet, len(seen), sum(seen) / len(seen))


def _together(pool: Pool, other: Pool) -> Pool:
    """Each partition has learned by itself how visits go."""
    return Pool(pool.activities + other.activities, pool.follows + other.follows, pool.gap_seconds + other.gap_seconds)


def round_seconds(fleet: Fleet, offer: Offer) -> float:
    """N/B: how long it takes to read everybody once."""
    return fleet.customers / offer.calls_per_second


def turn_seconds(fleet: Fleet, offer: Offer) -> float:
    """How long it takes to read everybody in turn, once, with the pages that each fills meanwhile. Expects an offer of `calls_min` at least."""
    seconds = round_seconds(fleet, offer)
    for _ in range(TURNS):
        seconds = min(_pages(fleet, offer, seconds), fleet.customers * PAGES_MAX) / offer.calls_per_second
    return seconds


def _pages(fleet: Fleet, offer: Offer, seconds: float) -> float:
    """Of a read of everybody after so long."""
    spread = (1 + fleet.habits.chance) / (1 - fleet.habits.chance)
    return math.fsum(_pages_of(group.rate * (seconds + offer.lookback_seconds), spread) * group.customers for group in fleet.groups)


def _pages_of(mean: float, spread: float) -> float:
    """Pages of a read that shows so many activities on average, their variance being so many times that: one, and one more for each hundred exceeded."""
    if mean > MANY_PAGES * PAGE_ACTIVITIES_MAX:
        return mean / PAGE_ACTIVITIES_MAX + 0.5
    deviation = math.sqrt(2 * mean * spread)
    surely = max(0, math.floor((mean - DEVIATIONS * deviation) / PAGE_ACTIVITIES_MAX))
    perhaps = range(surely + 1, math.ceil((mean + DEVIATIONS * deviation) / PAGE_ACTIVITIES_MAX) + 1)
    return 1 + surely + math.fsum(math.erfc((page * PAGE_ACTIVITIES_MAX - mean) / deviation) / 2 for page in perhaps)


def staleness_seconds(fleet: Fleet, offer: Offer) -> float:
    """M, as `Freshness` holds it."""
    return held_staleness_seconds(offer.staleness_seconds_max, round_seconds(fleet, offer))


def calls_min(fleet: Fleet, offer: Offer) -> float:
    """Calls a second that it takes to read everybody within M, with all the pages that they fill meanwhile."""
    bound = staleness_seconds(fleet, offer)
    return _pages(fleet, offer, bound) / bound


# ------------------------------------------------------------------------------------------------------------------------- lives


class Life(NamedTuple):
    """One customer of a group, played alone."""

    group: Group
    times: Sequence[float]
    """When it acts, ascending; for the last read some time beyond the end too."""
    seconds: float
    """Until when it is played,"""
    reads: int
    """and for how many reads, of those while something goes on; twice as many at most."""


def lives(fleet: Fleet, offer: Offer, draw: Draw, visits: int = VISITS) -> tuple[Life, ...]:
    """One for each group, of so many visits; or more, as this offer needs, and others that are not much smaller."""
    price, bound = _square_root_price(fleet, offer), staleness_seconds(fleet, offer)
    intervals = [min(bound, math.sqrt(2 * price / group.rate)) for group in fleet.groups]
    needed = [
        math.ceil(READS_MIN * interval * _start_rate(group, fleet.habits)) for group, interval in zip(fleet.groups, intervals, strict=True)
    ]
    return tuple(
        _life(group, fleet.habits, max(visits, min(count, VISITS_MAX)), visits * VISIT_READS, draw)
        for group, count in zip(fleet.groups, needed, strict=True)
    )


def _life(group: Group, habits: Habits, visits: int, reads: int, draw: Draw) -> Life:
    times: list[float] = []
    started, seconds = 0.0, math.inf
    for number in range(visits + max(1, visits // 10)):
        started += _exponential(1 / _start_rate(group, habits), draw)
        times += _visit(started, habits, draw)
        if number == visits:
            seconds = started
    return Life(group, sorted(time for time in times if time <= started), seconds, reads)


def _visit(started: float, habits: Habits, draw: Draw) -> Iterator[float]:
    time = started
    yield time
    while draw() < habits.chance:
        time += _exponential(habits.gap, draw)
        yield time


def _exponential(mean: float, draw: Draw) -> float:
    return -mean * math.log(1 - draw())


def _start_rate(group: Group, habits: Habits) -> float:
    """σ."""
    return group.rate * (1 - habits.chance)


# ----------------------------------------------------------------------------------------------------------------------- the plan


class _Terms(NamedTuple):
    """What a life is read by."""

    price: float
    bound: float
    slot: float
    lookback: float


class _Read(NamedTuple):
    """What came of one life."""

    worth: float
    """Reads a second, and so on."""
    overdue: float
    pages: float
    delays: Sequence[float]
    """Of what was found."""


def planned(fleet: Fleet, among: Sequence[Life], offer: Offer) -> Plan:
    """`among`: the lives of this fleet. Expects an offer of `calls_min` at least."""
    bound, slot = staleness_seconds(fleet, offer), 1 / offer.calls_per_second
    price, spending, reads = _priced(fleet, among, offer, bound)
    weights = [life.group.customers * life.group.rate / len(read.delays) for life, read in zip(among, reads, strict=True)]
    delays = sorted((delay, weight) for read, weight in zip(reads, weights, strict=True) for delay in read.delays)
    contention = slot / 2 * (1 - 1 / fleet.customers)
    turn = turn_seconds(fleet, offer)
    mean = math.fsum(delay * weight for delay, weight in delays) / fleet.rate + contention
    p95 = _quantile(delays, 0.95) + contention
    return Plan(
        offer=offer,
        staleness_seconds=bound,
        rule=Delay(min(mean, turn / 2), min(p95, bound), bound),  # to read in turn is always possible
        in_turn=Delay(turn / 2, 0.95 * turn, turn),
        spending=spending,
        price=price,
    )


def _priced(fleet: Fleet, among: Sequence[Life], offer: Offer, bound: float) -> tuple[float, Spending, list[_Read]]:
    """The price at which the calls made are those there are, and what comes of it. The dearer a call, the fewer are made: about price^−½ of those that are
    worth it, which makes the next guess; where that leaves what is known of the price, its middle does. Pages come whole, so that no price may fit
    to the half percent.
    """
    calls = offer.calls_per_second
    low, high, steps = 0.0, HIGHEST * (fleet.groups[-1].rate * bound + 1) * bound, 0
    price = min(_square_root_price(fleet, offer), high)
    while True:
        terms = _Terms(price, bound, 1 / calls, offer.lookback_seconds)
        reads = [_read(life, fleet.habits, terms) for life in among]
        spending = _spending(among, reads)
        steps += 1
        if abs(spending.calls / calls - 1) < NEAR or steps == STEPS_MAX:
            return price, spending, reads
        low, high = (price, high) if spending.calls > calls else (low, price)
        left = max(calls - spending.overdue - spending.pages, calls / STEP_MAX)
        guess = price * min(max((spending.worth / left) ** 2, 1 / STEP_MAX), STEP_MAX)
        price = guess if low < guess < high else math.sqrt(low * high)


def _square_root_price(fleet: Fleet, offer: Offer) -> float:
    """Of constant rates without a bound: (Σ√λ)²/(2B²)."""
    roots = math.fsum(group.customers * math.sqrt(group.rate) for group in fleet.groups)
    return (roots / offer.calls_per_second) ** 2 / 2


def _spending(among: Sequence[Life], reads: Sequence[_Read]) -> Spending:
    parts = ((life.group.customers, read) for life, read in zip(among, reads, strict=True))
    totals = [(count * read.worth, count * read.overdue, count * read.pages) for count, read in parts]
    return Spending(*(math.fsum(column) for column in zip(*totals, strict=True)))


def _read(life: Life, habits: Habits, terms: _Terms) -> _Read:
    """Read one life at a price."""
    start = _start_rate(life.group, habits)
    rates = Rates(at=0.0, visits=start * CERTAIN, exposure=CERTAIN)
    quiet, quiet_overdue = _wait(rates, start, habits, terms)
    worth = overdue = pages = found = 0
    delays: list[float] = []
    for count in range(2 * life.reads):
        if rates.running < QUIET * start * habits.gap:  # nothing goes on: as often as ever, until something does
            if count >= life.reads:  # between visits: to end within one would make too much of it
                break
            following = life.times[found] if found < len(life.times) else life.seconds
            skipped = int(max(0.0, following - rates.at) / quiet)
            worth, overdue = (worth, overdue + skipped) if quiet_overdue else (worth + skipped, overdue)
            rates = msgspec.structs.replace(rates, at=rates.at + skipped * quiet, running=0.0)
        wait, is_overdue = _wait(rates, start, habits, terms)
        worth, overdue = (worth, overdue + 1) if is_overdue else (worth + 1, overdue)
        now, first = rates.at + wait, found
        found = bisect_right(life.times, now, found)
        shown = found - bisect_right(life.times, rates.at - terms.lookback, 0, first)
        pages += max(0, math.ceil(shown / PAGE_ACTIVITIES_MAX) - 1)
        delays += [now - time for time in life.times[first:found]]
        after, _ = observed(rates, life.times[first:found], now, start, habits)
        rates = Rates(after.at, None, after.running, start * CERTAIN, CERTAIN, after.last)
        if now >= life.seconds:
            break
    return _Read(worth / rates.at, overdue / rates.at, pages / rates.at, delays)


def _wait(rates: Rates, start: float, habits: Habits, terms: _Terms) -> tuple[float, bool]:
    """After how many seconds it is read, and whether before that is worth a call."""
    wait = forecast(rates, start, habits).reaches(terms.price)
    return max(min(wait, terms.bound), terms.slot), wait > terms.bound


def _quantile(weighted: Sequence[tuple[float, float]], share: float) -> float:
    """Of ascending values with their weights."""
    sums = list(accumulate(weight for _, weight in weighted))
    return weighted[bisect_left(sums, share * sums[-1])][0]
