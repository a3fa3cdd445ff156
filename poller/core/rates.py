"""How often customers act: what is learned of each, and what that lets expect of the time since it was last read.

Customers act in *visits*. A visit starts at rate σ; after each of its activities another follows with probability p, after an exponential
gap of mean g. So the long-run rate is λ̄ = σ/(1 − p), and what is expected beyond it fades with T = g/(1 − p). Of each customer we keep how
many visits are expected to run (x), and how many have started over how long (σ); p and g are one for all, as no single customer shows
enough of them. A read returns every activity since the last one, with its time: so knowledge comes with time, not with reads, and nobody
is ever called only to learn.

Times are seconds, rates activities (or visits) a second.
"""

import math
from collections.abc import Sequence

import msgspec

from poller.model import NO_LESSON, Lesson, Pool, Rates

MEMORY_SECONDS = 5 * 86_400.0
"""Visits and their exposure count less with age: by a factor of e after so long."""

PRIOR_VISITS = 1.0
"""What a customer has not shown yet is taken as so many visits at the fleet's rate."""

CHANCE_MIN, CHANCE_MAX = 0.02, 0.95
GAP_SECONDS_MIN, GAP_SECONDS_MAX = 6.0, 7200.0

REMEMBERED = 0.9998
"""What each activity leaves of the weight of those before it, in p and g."""

TEACHES_BELOW = 0.05
"""Only a customer with σ·g below it teaches p and g: where visits start all the time, no activity can be told to follow another."""

NEWTON_STEPS = 5
"""They leave `waiting` within a twentieth of the price, and for a customer without bursts they find it at once."""


class Habits(msgspec.Struct, frozen=True, gc=False):
    """How visits go."""

    chance: float
    """p: that another activity follows one."""
    gap: float
    """g: after how many seconds, on average."""

    @property
    def fading(self) -> float:
        """T: what runs now is forgotten by a factor of e after so many seconds."""
        return self.gap / (1 - self.chance)


def habits_of(pool: Pool) -> Habits:
    """p: the share of activities that follow another (a visit has 1/(1 − p) activities, p/(1 − p) of which do); g: after how long, on average."""
    gap = pool.gap_seconds / pool.follows if pool.follows > 0 else 0.0
    chance = pool.follows / pool.activities
    return Habits(_bounded(chance, CHANCE_MIN, CHANCE_MAX), _bounded(gap, GAP_SECONDS_MIN, GAP_SECONDS_MAX))


def taught(pool: Pool, lesson: Lesson) -> Pool:
    """The pool after a read: its activities weigh alike, and together as much as they would one by one."""
    if lesson.activities == 0:
        return pool
    left = REMEMBERED**lesson.activities
    weight = (1 - left) / (1 - REMEMBERED) / lesson.activities
    return Pool(
        pool.activities * left + lesson.activities * weight,
        pool.follows * left + lesson.follows * weight,
        pool.gap_seconds * left + lesson.gap_seconds * weight,
    )


class Forecast(msgspec.Struct, frozen=True, gc=False):
    """What is expected of the time since a customer's last read: s seconds after it, activities come at rate + excess·e^(−s/fading)."""

    rate: float
    """λ̄, in the long run."""
    excess: float
    """λ_now − λ̄: by how much it was higher or lower at the last read. Never below −p·λ̄, as visits start all the time."""
    fading: float
    """T."""

    def pending(self, seconds: float) -> float:
        """Activities expected to have come in, and to await the next read: the integral of their rate."""
        return self.rate * seconds - self.excess * self.fading * math.expm1(-seconds / self.fading)

    def waiting(self, seconds: float) -> float:
        """How long these have waited, all together, in activity·seconds: the integral of `pending`.

        To read a customer when it reaches the price of a call minimises the mean delay: for constant rates λ it reads at frequencies
        ∝ √λ, as do Sia, Cho & Cho (TKDE 2007); the threshold on the waiting accrued is that of Olston & Pandey (WWW 2008).
        """
        faded = seconds + self.fading * math.expm1(-seconds / self.fading)
        return self.rate * seconds * seconds / 2 + self.excess * self.fading * faded

    def reaches(self, price: float) -> float:
        """After how many seconds `waiting` reaches the price, by Newton. It is convex, so all steps but the first come from above, if that begins
        below: `waiting` is at most max(rate, rate + excess)·s²/2, and, with an excess above 0, at most rate·s²/2 + excess·fading·s.
        """
        lasting = max(0.0, self.excess) * self.fading
        seconds = max(
            math.sqrt(2 * price / (self.rate + max(0.0, self.excess))),
            2 * price / (lasting + math.sqrt(lasting * lasting + 2 * self.rate * price)),
        )
        for _ in range(NEWTON_STEPS):
            seconds -= (self.waiting(seconds) - price) / self.pending(seconds)
        return seconds


def visit_rate(rates: Rates, fleet: float) -> float:
    """σ of one customer, by empirical Bayes: what it has shown, and as many visits at the fleet's σ as the prior stands for."""
    return (rates.visits + PRIOR_VISITS) / (rates.exposure + PRIOR_VISITS / fleet)


def forecast(rates: Rates, fleet: float, habits: Habits) -> Forecast:
    start = visit_rate(rates, fleet)
    rate = start / (1 - habits.chance)
    return Forecast(rate, start + rates.running / habits.gap - rate, habits.fading)


def observed(rates: Rates, times: Sequence[float], until: float, fleet: float, habits: Habits) -> tuple[Rates, Lesson]:
    """What is known after a read that found activities created at these times, in order, and everything up to `until`.

    By r, the probability that an activity belongs to a visit that was running, visits are told from activities: of these, bursts bring
    many at once, and their number says little about the rate. Clocks differ: an activity from after `until` is taken for one of that instant, and
    where `until` lies before the last read, nothing was seen meanwhile.
    """
    start = visit_rate(rates, fleet)
    running, at, last, follows, gap_seconds = rates.running, rates.at, rates.last, 0.0, 0.0
    for created in times:
        time = min(created, until)
        running = _silent(running, time - at, habits.gap)
        at = max(at, time)
        share = running / (running + start * habits.gap)
        running += habits.chance - share * min(running, 1.0)
        follows += share
        gap_seconds += share * max(0.0, time - last)
        last = max(last, time)
    left = math.exp(-max(0.0, until - rates.at) / MEMORY_SECONDS)
    after = Rates(
        at=until,
        running=_silent(running, until - at, habits.gap),
        visits=rates.visits * left + len(times) - follows,
        exposure=rates.exposure * left + max(0.0, until - rates.at),
        last=last,
    )
    return after, Lesson(len(times), follows, gap_seconds) if start * habits.gap < TEACHES_BELOW else NO_LESSON


def _silent(running: float, seconds: float, gap: float) -> float:
    """Visits expected to run after a silence: a single one by Bayes (it would have shown itself with 1 − e), several each by itself."""
    if seconds <= 0 or running <= 0:
        return running
    left = running * math.exp(-seconds / gap)
    return left if running >= 1 else left / (1 - running + left)


def _bounded(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
