"""What freshness a budget buys: against what theory says, and against what was measured of the rule itself."""

import math
from functools import cache
from random import Random

import pytest

from poller.config import CYCLE_SECONDS_MAX
from poller.core.plan import (
    Allowance,
    Fleet,
    Group,
    Offer,
    Plan,
    allowance,
    calls_min,
    fleet_of,
    known_of,
    lives,
    planned,
    staleness_seconds,
    turn_seconds,
    zipf_rates,
)
from poller.core.rates import CHANCE_MIN, GAP_SECONDS_MIN, Habits
from poller.errors import SettingsError
from poller.model import Checkpoint, CustomerId, Learned, Pool, Rates, Restored
from tests.bench.freshness.cases import CASES, Case
from tests.bench.freshness.document import DOCUMENT
from tests.bench.freshness.workload import ACTIVITIES_A_DAY
from tests.support.builders import ownership

MINUTE, DAY = 60.0, 86_400.0
STEADY = Habits(CHANCE_MIN, GAP_SECONDS_MIN)
"""As good as no bursts."""
VISITS = Habits(0.75, 200.0)


@cache
def plan(fleet: Fleet, offer: Offer) -> Plan:
    return planned(fleet, lives(fleet, offer, Random(1).random, visits=150), offer)


def zipf(customers: int, habits: Habits = VISITS, exponent: float = 1.0, activities_per_day: float = 12.0) -> Fleet:
    return fleet_of(zipf_rates(customers, activities_per_day / DAY, exponent), habits)


def root_sum(fleet: Fleet) -> float:
    return sum(group.customers * math.sqrt(group.rate) for group in fleet.groups)


# ------------------------------------------------------------------------------------------------------------------ theory


def test_steady_customers_are_expected_to_wait_as_the_square_root_rule_has_it() -> None:
    fleet, offer = zipf(1000, STEADY), Offer(50 / MINUTE)
    expected = plan(fleet, offer)

    assert expected.rule.mean_seconds == pytest.approx(root_sum(fleet) ** 2 / (2 * offer.calls_per_second * fleet.rate), rel=0.03)
    assert expected.price == pytest.approx((root_sum(fleet) / offer.calls_per_second) ** 2 / 2, rel=0.03)
    assert expected.spending.overdue == 0
    assert expected.in_turn.mean_seconds == 1000 / (2 * offer.calls_per_second)


def test_customers_who_are_all_alike_and_steady_are_best_read_in_turn() -> None:
    expected = plan(Fleet((Group(400, 12 / DAY),), STEADY), Offer(1.0))

    assert expected.rule.mean_seconds == pytest.approx(expected.in_turn.mean_seconds, rel=0.02)
    assert expected.rule.p95_seconds == pytest.approx(expected.in_turn.p95_seconds, rel=0.03)


def test_one_customer_is_read_whenever_there_is_a_call_however_it_acts() -> None:
    expected = plan(Fleet((Group(1, 12 / DAY),), VISITS), Offer(1 / MINUTE))

    assert expected.rule.mean_seconds == pytest.approx(30.0, rel=0.06)
    assert expected.spending.calls == pytest.approx(1 / MINUTE, rel=0.01)


@pytest.mark.parametrize("rounds", [1.2, 1.5])
def test_all_calls_are_spent_and_a_tighter_bound_leaves_fewer_for_whoever_is_worth_one(rounds: float) -> None:
    fleet, calls = zipf(200, STEADY, exponent=1.5), 0.5
    tight, loose = (plan(fleet, Offer(calls, 200 / calls * bound)) for bound in (rounds, rounds + 0.5))

    assert tight.spending.calls == pytest.approx(calls, rel=0.01)
    assert tight.spending.overdue > loose.spending.overdue > 0
    assert tight.price > loose.price
    assert tight.rule.mean_seconds > loose.rule.mean_seconds
    assert tight.rule.worst_seconds == 200 / calls * rounds


def test_the_price_says_what_more_calls_would_save() -> None:
    fleet, offers = zipf(500, STEADY), [Offer(calls, 1e6) for calls in (0.5, 0.7)]
    before, after = (plan(fleet, offer) for offer in offers)
    saved = (before.rule.mean_seconds - after.rule.mean_seconds) * fleet.rate / (0.7 - 0.5)

    assert after.price < saved < before.price
    assert saved == pytest.approx(math.sqrt(before.price * after.price), rel=0.1)


def test_visits_are_read_sooner_than_the_best_fixed_intervals_would() -> None:
    fleet, offer = zipf(1000), Offer(50 / MINUTE, 40 * MINUTE)

    assert plan(fleet, offer).rule.mean_seconds < 0.8 * root_sum(fleet) ** 2 / (2 * offer.calls_per_second * fleet.rate)


def test_who_is_never_quiet_is_played_for_as_many_reads_as_others() -> None:
    fleet, offer = Fleet((Group(5, 5.0),), Habits(0.95, 6.0)), Offer(30.0)
    expected = planned(fleet, lives(fleet, offer, Random(1).random, visits=20), offer)

    assert expected.rule.mean_seconds == pytest.approx(1 / 12, rel=0.15)


def test_the_same_numbers_drawn_make_the_same_plan() -> None:
    fleet, offer = zipf(20), Offer(0.005)

    assert planned(fleet, lives(fleet, offer, Random(2).random), offer) == planned(fleet, lives(fleet, offer, Random(2).random), offer)


# ------------------------------------------------------------------------------------------------------------ what was measured


def measured(name: str) -> tuple[float, float]:
    """Mean delay and 95th percentile in minutes, over the seeds, as `docs/freshness.md` has them."""
    rows = [
        [cell.strip() for cell in line.strip("| \n").split(" | ")] for line in DOCUMENT.read_text().splitlines() if line.startswith("| ")
    ]
    head = next(row for row in rows if row[0] == "case")
    row = next(row for row in rows if row[0] == name)
    both = [[float(end) for end in row[head.index(column)].split(" to ")] for column in ("mean delay, min", "p95, min")]
    return sum(both[0]) / len(both[0]), sum(both[1]) / len(both[1])


@pytest.mark.parametrize("case", [case for case in CASES if case.name[:4] in {"CI-1", "CI-2", "CI-3"}], ids=str)
def test_what_is_expected_lies_within_a_seventh_of_what_was_measured(case: Case) -> None:
    workload = case.workload
    habits = Habits(max(workload.chance, CHANCE_MIN), workload.gap * MINUTE if workload.chance else GAP_SECONDS_MIN)
    fleet = fleet_of(zipf_rates(workload.customers, ACTIVITIES_A_DAY / DAY, workload.exponent), habits)
    expected = plan(fleet, Offer(case.calls_a_minute / MINUTE, case.staleness * MINUTE))
    mean, p95 = measured(case.name)

    assert expected.rule.mean_seconds / MINUTE == pytest.approx(mean, rel=0.14)
    assert expected.rule.p95_seconds / MINUTE == pytest.approx(p95, rel=0.14)
    assert expected.rule.mean_seconds / MINUTE < mean * 1.02  # what must be learned costs something


# ------------------------------------------------------------------------------------------------------------------------ pages


def test_whoever_acts_more_than_a_page_holds_takes_further_calls() -> None:
    expected = plan(Fleet((Group(10, 0.2),), STEADY), Offer(1 / 45))

    # Read every 450 s each would show 90 activities on average, so some more than a page holds; then the others come later, and show more too.
    assert expected.spending.pages == pytest.approx(expected.spending.calls / 2, rel=0.1)
    assert expected.spending.calls == pytest.approx(1 / 45, rel=0.03)


def test_a_turn_takes_as_long_as_all_the_pages_that_fill_meanwhile() -> None:
    fleet, offer = Fleet((Group(10, 0.2),), STEADY), Offer(1 / 40)

    assert turn_seconds(fleet, offer) == pytest.approx(400, rel=0.05)
    assert turn_seconds(fleet, Offer(1 / 40, lookback_seconds=300.0)) == pytest.approx(2000, rel=0.05)  # 460 activities on five pages


def test_the_lookback_is_read_again_and_fills_pages() -> None:
    busy = Fleet((Group(10, 0.2),), STEADY)
    without, again = (plan(busy, Offer(1 / 20, lookback_seconds=lookback)) for lookback in (0.0, 500.0))

    assert without.spending.pages < again.spending.pages
    assert without.rule.mean_seconds < again.rule.mean_seconds


def test_calls_that_do_not_suffice_for_the_pages_are_told() -> None:
    busy, calls = Fleet((Group(10, 0.2),), STEADY), 1 / 70
    offer = Offer(calls)

    assert staleness_seconds(busy, offer) == 1400.0
    assert calls_min(busy, offer) == pytest.approx(10 * 3 / 1400, rel=0.05)  # 280 activities each
    assert plan(busy, offer).overspends
    assert not plan(busy, Offer(0.05)).overspends


def test_to_read_everybody_in_time_takes_a_call_each_at_least() -> None:
    assert calls_min(zipf(100, activities_per_day=0.01), Offer(1.0, 150.0)) == pytest.approx(100 / 150, rel=1e-3)


# -------------------------------------------------------------------------------------------------------------- who, and with what


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((60, 60.0, None), Allowance(1.0, 1 - 59.999 / 61, 0.0)),
        ((100, 60.0, 267_840), Allowance(0.1, 2679 / CYCLE_SECONDS_MAX, 0.0)),
        ((60, 60.0, 10**9), Allowance(1.0, 1 - 59.999 / 61, 0.0)),
        ((120, 60.0, None, 2), Allowance(2.0, 2 - (121 - 2.002) / 61, 0.0)),
    ],
)
def test_what_is_left_to_read_with_is_the_least_that_any_limit_leaves(
    arguments: tuple[float, float, int | None], expected: Allowance
) -> None:
    allowed = allowance(*arguments)

    assert (allowed.configured, allowed.kept, allowed.tokens) == pytest.approx((expected.configured, expected.kept, expected.tokens))
    assert allowed.reads == pytest.approx(expected.configured - expected.kept)


def test_tokens_take_their_calls_but_never_more_than_every_second_one() -> None:
    assert allowance(60, 60.0, None, oauth=True).tokens == 1 / 660
    assert allowance(2, 3600.0, None, oauth=True).tokens == pytest.approx(1 / 3600, rel=0.01)


def test_a_limit_that_cannot_be_divided_is_refused() -> None:
    with pytest.raises(SettingsError, match="4 partitions"):
        allowance(0.5, 60.0, None, 4)


def test_groups_hold_everybody_and_all_that_they_do() -> None:
    rates = zipf_rates(5000, 2.0, 1.3)
    fleet = fleet_of(rates, VISITS)

    assert sum(rates) == pytest.approx(10_000)
    assert rates[0] / rates[9] == pytest.approx(10**1.3)
    assert fleet.customers == 5000
    assert fleet.rate == pytest.approx(10_000)
    assert len(fleet.groups) <= 48
    assert fleet_of([0.5, 0.5], VISITS).groups == (Group(2, 0.5),)


def test_of_whom_nothing_is_known_acts_as_the_others_do_on_average() -> None:
    a, b, new, gone = (CustomerId(name) for name in ("a", "b", "new", "gone"))
    pool = Pool(activities=1e6, follows=5e5, gap_seconds=5e7)
    held = [
        Restored({a: Checkpoint(1, rates=Rates(at=9.0, visits=1e4, exposure=1e6))}, ownership(learned=Learned(pool))),
        Restored(
            {b: Checkpoint(1, rates=Rates(at=9.0, visits=2e4, exposure=1e6)), gone: Checkpoint(1, rates=Rates(at=9.0, visits=1e9))}, None
        ),
    ]
    known = known_of(held, [a, b, new])

    assert known is not None
    assert (known.customers, known.seconds) == (2, 1e6)
    assert known.fleet.habits.chance == pytest.approx(0.5, rel=1e-3)
    assert known.fleet.habits.gap == pytest.approx(100.0, rel=1e-2)
    assert [group.rate for group in known.fleet.groups] == pytest.approx([0.02, 0.03, 0.04], rel=0.02)  # visits of two


def test_what_was_never_read_teaches_nothing() -> None:
    assert known_of([Restored({}, None)], [CustomerId("a")]) is None
    assert known_of([Restored({CustomerId("a"): Checkpoint(0)}, ownership())], [CustomerId("a")]) is None
