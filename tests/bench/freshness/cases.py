"""The cases: a workload, a budget, the goals, and what is compared with the rule."""

import math
import time
from collections.abc import Callable
from typing import NamedTuple

from poller.core.freshness import Freshness
from poller.model import CustomerId, Learned, Rates
from tests.bench.freshness.harness import Outcome, Policy, play
from tests.bench.freshness.policies import Halving, RoundRobin, SquareRoot, knowing, learning
from tests.bench.freshness.workload import DAY_MINUTES, Population, Workload, checksum, population

CHECKSUMS = {
    Workload(1000, 1.0, 6, 1): (72_189, 315_923_522.87),
    Workload(2000, 1.0, 14, 1): (333_762, 3_385_060_301.96),
    Workload(2000, 1.2, 14, 1): (334_623, 3_412_563_687.32),
}
"""How many activities, and the sum of their times in minutes."""

THE_RULE, THE_KNOWING_RULE, SQUARE_ROOT = "the rule", "the rule, told the true parameters", "√ rule, told the true rates"
HALVING, ROUND_ROBIN = "halve on a hit, × 1.5 on a miss", "round robin"
POLICIES = (THE_RULE, THE_KNOWING_RULE, SQUARE_ROOT, HALVING, ROUND_ROBIN)


class Case(NamedTuple):
    name: str
    workload: Workload
    """Of the first seed."""
    seeds: int
    calls_a_minute: float
    staleness: float
    """M, in minutes."""
    warm_up_days: int
    mean_at_most: float
    """Minutes, with each seed."""
    p95_at_most: float = math.inf
    compared: bool = True
    """With everything else too, on the first seed."""
    budget_a_minute: float | None = None
    """What the budget allows, where calls come more slowly than that: the rule is told no more, and no bound but two rounds of what is made."""

    def of_seed(self, seed: int) -> "Case":
        return self._replace(workload=self.workload._replace(seed=seed))


ZIPF, STEEPER = Workload(1000, 1.0, 6, 1), Workload(1000, 1.2, 6, 1)
FULL, FULL_STEEPER = Workload(2000, 1.0, 14, 1), Workload(2000, 1.2, 14, 1)
BIG, BIG_STEEPER = Workload(20_000, 1.0, 14, 1), Workload(20_000, 1.2, 14, 1)
CASES = (
    Case("CI-1", ZIPF, 5, 50, 40, 3, 4.00, 17.0),
    Case("CI-2 steeper", STEEPER, 5, 50, 40, 3, 2.65, 12.2),
    Case("CI-3 no bursts", ZIPF._replace(chance=0.0, amplitude=0.0), 3, 50, 40, 3, 5.30),
    Case("CI-4 rich", ZIPF, 2, 200, 10, 3, 0.80),
    Case("CI-5 slow calls", ZIPF, 2, 50 / 3, 120, 3, 14.00, budget_a_minute=50),
    Case("full-1", FULL, 3, 100, 40, 7, 3.55, 16.2),
    Case("full-2 steeper", FULL_STEEPER, 3, 100, 40, 7, 2.20, 11.2),
    Case("big-1", BIG, 1, 1000, 40, 7, 2.80, compared=False),
    Case("big-2 steeper", BIG_STEEPER, 1, 1000, 40, 7, 1.30, compared=False),
)

SPEED_CUSTOMERS = 100_000
SPEED_CALLS_A_MINUTE = 5_000
SPEED_MINUTES = 60
DECISION_US_AT_MOST = 25.0
ARRIVAL_SECONDS_AT_MOST = 2.0


def drawn(workload: Workload) -> Population:
    """The workload; one whose checksum is known must have it."""
    made = population(workload)
    if workload in CHECKSUMS:
        activities, total = checksum(made)
        assert (activities, round(total, 2)) == CHECKSUMS[workload], f"{workload} came out otherwise: {activities} activities, {total}"
    return made


def played(case: Case, name: str) -> Outcome:
    """One policy on one seed."""
    made = drawn(case.workload)
    outcome = play(_policy(case, name, made), made, case.calls_a_minute, case.warm_up_days * DAY_MINUTES, case.workload.minutes)
    _check_the_harness(case, name, made, outcome)
    return outcome


def faults(case: Case, outcome: Outcome) -> list[str]:
    """What the rule has missed."""
    staleness_at_most = case.staleness + 1 / case.calls_a_minute
    goals = (
        ("mean", outcome.mean, case.mean_at_most),
        ("p95", outcome.p95, case.p95_at_most),
        ("staleness", outcome.staleness, staleness_at_most + 1e-6),
    )
    return [f"{case.name} {case.workload.seed}: {what} {is_:.3f} > {goal:.3f}" for what, is_, goal in goals if is_ > goal]


def expected_mean(case: Case, name: str, made: Population) -> tuple[float, float] | None:
    """What theory says of the mean delay, and how far from it the harness may be: N/(2B) of round robin, and with evenly spaced reads at
    frequencies ∝ √λ, (Σ√λ)²/(2BΣλ).
    """
    if name == ROUND_ROBIN:
        return case.workload.customers / (2 * case.calls_a_minute), 0.01
    if name == SQUARE_ROOT:
        roots = math.fsum(math.sqrt(rate) for rate in made.rates)
        return roots**2 / (2 * case.calls_a_minute * math.fsum(made.rates)), 0.03
    return None


def decision_us() -> float:
    """CPU time of a decision and the read that follows it, with very many customers."""
    made = population(Workload(SPEED_CUSTOMERS, 1.0, 1, 1))
    rule = learning(SPEED_CUSTOMERS, SPEED_CALLS_A_MINUTE, 2 * SPEED_CUSTOMERS / SPEED_CALLS_A_MINUTE)
    return play(rule, made, SPEED_CALLS_A_MINUTE, SPEED_MINUTES / 2, SPEED_MINUTES).decision_us


def arrival_seconds() -> float:
    """CPU time until very many customers, restored in any order, are scheduled and the first is taken."""
    rates = [Rates(at=number * 0.012, due=number * 0.012 + number % 977, visits=3.0, exposure=4e5) for number in range(SPEED_CUSTOMERS)]
    names = [CustomerId(f"cust_{number * 7919 % SPEED_CUSTOMERS:024x}") for number in range(SPEED_CUSTOMERS)]
    order = sorted(range(SPEED_CUSTOMERS), key=names.__getitem__)
    began = time.process_time()
    freshness = Freshness(Learned(), SPEED_CALLS_A_MINUTE / 60)
    for number in order:
        freshness.add(names[number], rates[number], rates[number].at)
    freshness.take(1200.0)
    return time.process_time() - began


def _policy(case: Case, name: str, made: Population) -> Policy:
    customers, calls_a_minute = case.workload.customers, case.calls_a_minute
    made_by: dict[str, Callable[[], Policy]] = {
        THE_RULE: lambda: learning(customers, case.budget_a_minute or calls_a_minute, None if case.budget_a_minute else case.staleness),
        THE_KNOWING_RULE: lambda: knowing(case.workload, made, calls_a_minute, case.staleness),
        SQUARE_ROOT: lambda: SquareRoot(made, calls_a_minute),
        HALVING: lambda: Halving(customers, calls_a_minute, case.staleness),
        ROUND_ROBIN: lambda: RoundRobin(customers),
    }
    return made_by[name]()


def _check_the_harness(case: Case, name: str, made: Population, outcome: Outcome) -> None:
    expected = expected_mean(case, name, made)
    if expected is not None:
        mean, tolerance = expected
        assert abs(outcome.mean / mean - 1) <= tolerance, f"{case.name}: {name} gave {outcome.mean:.3f}, where theory says {mean:.3f}"
