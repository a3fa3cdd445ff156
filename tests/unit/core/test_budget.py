"""The calls that we allow ourselves."""

import math
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from poller.core.budget import Budget, Cycle, CycleStands, Terms
from poller.errors import SettingsError
from poller.model import Ledger

ONE = Terms(capacity=1, calls_per_second=1.0)
FIVE = Terms(capacity=5, calls_per_second=1.0)
BEGIN = datetime(2024, 4, 1, tzinfo=UTC).timestamp()
END = datetime(2024, 5, 1, tzinfo=UTC).timestamp()
DAY = 86_400.0


def at(year: int, month: int, day: int, hour: int = 0, minute: int = 0, zone: str = "UTC") -> float:
    return datetime(year, month, day, hour, minute, tzinfo=ZoneInfo(zone)).timestamp()


def april(calls: int, capacity: float = 1, calls_per_second: float = 1.0) -> Terms:
    return Terms(capacity, calls_per_second, Cycle(calls, reset_day=1))


def granted(terms: Terms, level: float, now: float = 0.0, cycle_spent: int = 0) -> Budget:
    """A budget with so many calls in its bucket, under a commit that stands."""
    cycle = None if terms.cycle is None else terms.cycle.bounds(now)[0]
    budget, _, _ = Budget.restore(terms, Ledger(level, cycle, cycle_spent), now).prepare(now, last=False)
    return budget.committed()


# The terms.


@pytest.mark.parametrize(("limit", "window", "capacity"), [(10, 60, 1), (60, 60, 1), (100, 3600, 1), (2000, 60, 17)])
def test_the_bucket_holds_half_a_seconds_calls_and_at_least_one(limit: float, window: float, capacity: float) -> None:
    assert Terms.of(limit, window, None, 1).capacity == capacity


@pytest.mark.parametrize("partitions", [1, 4])
@pytest.mark.parametrize(("limit", "window"), [(10, 60), (60, 60), (100, 3600), (2000, 60), (5, 60)])
def test_the_buckets_of_all_partitions_hold_and_refill_less_than_one_call_more_than_the_limit(
    limit: float, window: float, partitions: int
) -> None:
    terms = Terms.of(limit, window, None, partitions)

    assert limit < partitions * (terms.capacity + terms.calls_per_second * (window + 1)) < limit + 1


def test_a_cycle_is_divided_over_the_partitions_and_rounded_down() -> None:
    terms = Terms.of(60, 60, Cycle(103, 5), 4)

    assert terms.cycle == Cycle(25, 5)


@pytest.mark.parametrize(("limit", "partitions"), [(3, 4), (1, 2)])
def test_a_limit_that_cannot_be_divided_is_refused(limit: float, partitions: int) -> None:
    with pytest.raises(SettingsError, match=rf"{limit} calls in 60 s cannot be divided over {partitions} partitions"):
        Terms.of(limit, 60, None, partitions)


# The rate.


def test_a_bucket_without_a_ledger_starts_empty() -> None:
    budget = granted(ONE, 0.0)

    assert Budget.restore(ONE, None, 0.0) == Budget(ONE, level=0.0, at=0.0)
    assert (budget.allowance, budget.available_at(0.0)) == (1, 1.0)


def test_a_bucket_goes_on_from_its_ledger_and_is_not_refilled_for_the_time_in_between() -> None:
    assert Budget.restore(FIVE, Ledger(level=-1.5), 1e9) == Budget(FIVE, level=-1.5, at=1e9)


def test_a_bucket_restored_under_smaller_terms_holds_no_more_than_they_allow() -> None:
    assert Budget.restore(ONE, Ledger(level=5.0), 0.0).level == 1


def test_a_bucket_refills_with_time_up_to_its_capacity() -> None:
    budget = Budget(FIVE, level=1.0, at=10.0)

    assert [budget.refill(now).level for now in (10.0, 11.5, 14.0, 100.0)] == [1.0, 2.5, 5.0, 5.0]


def test_time_that_runs_backwards_changes_nothing() -> None:
    budget = Budget(FIVE, level=1.0, at=10.0)

    assert budget.refill(3.0) is budget


def test_a_call_may_start_when_the_bucket_holds_one() -> None:
    budget = granted(ONE, 0.25)

    assert (budget.available_at(0.0), budget.refill(0.5).available_at(0.5), budget.refill(2.0).available_at(2.0)) == (0.75, 0.75, 2.0)


def test_a_call_takes_one_from_the_bucket_and_one_from_the_grant() -> None:
    budget = granted(FIVE, 3.0).spend(0.0)

    assert (budget.level, budget.allowance) == (2.0, 3)


def test_a_call_beyond_the_bucket_or_the_grant_is_a_fault_of_the_program() -> None:
    with pytest.raises(AssertionError, match="a call that the budget does not allow"):
        granted(ONE, 0.5).spend(0.0)
    with pytest.raises(AssertionError, match="a call that the budget does not allow"):
        Budget(ONE, level=1.0, at=0.0).spend(0.0)


def test_an_instant_that_is_rounded_does_not_keep_a_call_waiting_for_ever() -> None:
    budget = granted(ONE, 0.3, now=1_800_000_000.1)
    at = budget.available_at(1_800_000_000.1)

    assert budget.refill(at).available_at(at) == at


# What is durable.


def test_no_call_may_start_before_a_commit_grants_it() -> None:
    budget = Budget.restore(FIVE, Ledger(level=5.0), 0.0)
    prepared, _, grant = budget.prepare(0.0, last=False)

    assert (budget.available_at(0.0), prepared.available_at(0.0), prepared.committed().available_at(0.0), grant) == (
        math.inf,
        math.inf,
        0.0,
        6,
    )


def test_a_commit_carries_the_ledger_as_if_all_that_it_grants_were_spent() -> None:
    _, ledger, grant = Budget.restore(FIVE, Ledger(level=2.5), 0.0).prepare(0.0, last=False)

    assert (ledger, grant) == (Ledger(level=-0.5), 3)


def test_a_call_that_starts_while_a_commit_is_under_way_is_one_of_those_that_it_grants() -> None:
    prepared, ledger, grant = granted(FIVE, 3.0).prepare(0.0, last=False)
    committed = prepared.spend(0.0).spend(0.0).committed()

    assert (ledger.level, grant, committed.level, committed.allowance) == (-1.0, 4, 1.0, 2)


def test_no_more_calls_start_while_a_commit_is_under_way_than_it_grants() -> None:
    rich = granted(FIVE, 5.0)
    last, ledger, grant = rich.prepare(0.0, last=True)

    assert (rich.allowance, last.allowance, grant, ledger) == (6, 0, 0, Ledger(level=5.0))
    assert last.committed().allowance == 0


def test_the_last_commit_gives_back_what_was_granted() -> None:
    budget = granted(FIVE, 3.0)
    _, ledger, _ = budget.spend(0.0).prepare(0.0, last=True)

    assert Budget.restore(FIVE, ledger, 50.0).level == 2.0


def test_a_commit_from_an_overdrawn_bucket_grants_nothing() -> None:
    _, ledger, grant = Budget.restore(ONE, Ledger(level=-2.0), 0.0).prepare(0.0, last=False)

    assert (ledger.level, grant) == (-2.0, 0)


def test_a_commit_is_worth_making_when_it_would_grant_a_call_a_second_ahead() -> None:
    slow = Terms(1, 0.25)
    budget = Budget.restore(slow, Ledger(level=0.0), 0.0)

    assert budget.grant_due_at(0.0) == 3.0
    assert budget.refill(3.0).prepare(3.0, last=False)[2] == 1


def test_no_commit_is_worth_making_while_calls_are_granted_or_one_is_under_way() -> None:
    budget = Budget.restore(ONE, Ledger(level=1.0), 0.0)

    assert granted(ONE, 1.0).grant_due_at(0.0) == math.inf
    assert budget.prepare(0.0, last=False)[0].grant_due_at(0.0) == math.inf


# The cycle.


@pytest.mark.parametrize(
    ("reset_day", "zone", "now", "expected"),
    [
        (1, "UTC", at(2024, 4, 1), ("2024-04-01", at(2024, 4, 1), at(2024, 5, 1))),
        (1, "UTC", at(2024, 4, 1) - 0.001, ("2024-03-01", at(2024, 3, 1), at(2024, 4, 1))),
        (15, "UTC", at(2024, 1, 3), ("2023-12-15", at(2023, 12, 15), at(2024, 1, 15))),
        (15, "UTC", at(2023, 12, 31), ("2023-12-15", at(2023, 12, 15), at(2024, 1, 15))),
        (31, "UTC", at(2024, 2, 10), ("2024-01-31", at(2024, 1, 31), at(2024, 2, 29))),
        (31, "UTC", at(2024, 2, 29), ("2024-02-29", at(2024, 2, 29), at(2024, 3, 31))),
        (30, "UTC", at(2023, 3, 1), ("2023-02-28", at(2023, 2, 28), at(2023, 3, 30))),
        (29, "UTC", at(2024, 2, 28, 23), ("2024-01-29", at(2024, 1, 29), at(2024, 2, 29))),
        (29, "UTC", at(2023, 2, 28), ("2023-02-28", at(2023, 2, 28), at(2023, 3, 29))),
        (31, "UTC", at(2024, 4, 30), ("2024-04-30", at(2024, 4, 30), at(2024, 5, 31))),
        (1, "Europe/Warsaw", at(2024, 3, 31, 22, 30), ("2024-04-01", at(2024, 3, 31, 22), at(2024, 4, 30, 22))),
        (1, "America/New_York", at(2024, 4, 1, 3), ("2024-03-01", at(2024, 3, 1, 5), at(2024, 4, 1, 4))),
        (1, "Pacific/Kiritimati", at(2024, 3, 31, 10), ("2024-04-01", at(2024, 3, 31, 10), at(2024, 4, 30, 10))),
        # Midnight does not exist on this day: its first hour is skipped.
        (30, "Asia/Beirut", at(2014, 3, 30, 12), ("2014-03-30", at(2014, 3, 29, 22), at(2014, 4, 29, 21))),
        (30, "Asia/Beirut", at(2014, 3, 29, 21, 59), ("2014-02-28", at(2014, 2, 27, 22), at(2014, 3, 29, 22))),
        # Midnight comes twice: the first begins the day.
        (5, "America/Havana", at(2023, 11, 5, 4, 30), ("2023-11-05", at(2023, 11, 5, 4), at(2023, 12, 5, 5))),
    ],
)
def test_a_cycle_begins_on_its_day_at_midnight_of_its_zone_or_on_the_last_day_of_a_shorter_month(
    reset_day: int, zone: str, now: float, expected: tuple[str, float, float]
) -> None:
    assert Cycle(100, reset_day, ZoneInfo(zone)).bounds(now) == expected


@pytest.mark.parametrize("zone", ["UTC", "Europe/Warsaw", "America/Sao_Paulo", "Asia/Beirut", "America/Havana", "Australia/Lord_Howe"])
@pytest.mark.parametrize("reset_day", [1, 15, 28, 29, 30, 31])
def test_cycles_follow_one_another_without_gap_or_overlap(reset_day: int, zone: str) -> None:
    cycle = Cycle(100, reset_day, ZoneInfo(zone))
    now = at(2014, 1, 10)
    for _ in range(130):
        name, begin, end = cycle.bounds(now)

        assert begin <= now < end
        assert cycle.bounds(begin) == cycle.bounds(end - 0.001) == (name, begin, end)
        assert cycle.bounds(end)[1] == end
        now = end


def test_a_cycle_paces_its_calls_evenly_over_the_time_that_is_left_and_keeps_a_reserve() -> None:
    terms = april(3_000)
    budget = granted(terms, 0.0, BEGIN)

    assert budget.calls_per_second(BEGIN) == pytest.approx(2_970 / (30 * DAY))
    assert granted(terms, 0.0, BEGIN + 15 * DAY, 1_500).calls_per_second(BEGIN + 15 * DAY) == pytest.approx(1_470 / (15 * DAY))


def test_a_cycle_with_many_calls_left_does_not_exceed_the_rate() -> None:
    assert granted(april(3_000), 0.0, BEGIN).calls_per_second(END - 10) == 1.0


def test_in_a_cycles_last_second_its_pace_stays_finite() -> None:
    assert granted(april(3, calls_per_second=60.0), 0.0, BEGIN).calls_per_second(END - 1e-6) == 2.0


def test_no_call_is_made_when_the_cycle_is_used_up_until_the_next_one_begins() -> None:
    used_up = granted(april(100, capacity=5), 5.0, BEGIN, cycle_spent=99)

    assert (used_up.allowance, used_up.grant_due_at(BEGIN), used_up.cycle_spent) == (0, END, 99)


def test_a_granted_call_of_an_exhausted_pace_waits_for_the_next_cycle() -> None:
    budget = Budget(april(100), level=0.5, at=BEGIN, allowance=1, cycle="2024-04-01", cycle_spent=99)

    assert budget.available_at(BEGIN) == END


def test_a_grant_is_never_more_than_the_cycle_has_left() -> None:
    prepared, ledger, grant = Budget.restore(april(100, capacity=5), Ledger(5.0, "2024-04-01", 96), BEGIN).prepare(BEGIN, last=False)

    assert (grant, ledger, prepared.cycle_spent) == (3, Ledger(2.0, "2024-04-01", 99), 96)


def test_each_call_counts_in_its_cycle() -> None:
    assert granted(april(100, capacity=5), 5.0, BEGIN).spend(BEGIN).spend(BEGIN).cycle_spent == 2


def test_calls_are_not_counted_where_no_cycle_is_configured() -> None:
    budget = granted(ONE, 1.0).spend(0.0)

    assert (budget.cycle_spent, budget.cycle, budget.cycle_stands(0.0)) == (0, None, None)


def test_a_new_cycle_begins_with_an_empty_ledger() -> None:
    budget = Budget.restore(april(100), Ledger(0.0, "2024-03-01", 99), BEGIN)

    assert budget.cycle_stands(BEGIN) == CycleStands(
        begun="2024-04-01", ends=END, calls=100, spent=0, left=99, calls_per_minute=60 * (99 / (30 * DAY))
    )


def test_of_a_cycle_that_is_spent_nothing_is_left_though_the_reserve_was_used() -> None:
    stands = Budget.restore(april(100), Ledger(0.0, "2024-04-01", 100), BEGIN).cycle_stands(BEGIN)

    assert stands is not None
    assert (stands.spent, stands.left, stands.calls_per_minute) == (100, 0, 0.0)


def test_what_was_granted_in_the_old_cycle_is_void_in_the_new_one() -> None:
    idle = granted(april(100, capacity=5), 5.0, BEGIN)
    under_way, _, _ = idle.prepare(END - 1, last=False)

    assert idle.allowance == 5
    assert idle.refill(END).allowance == 0
    assert under_way.refill(END).committed().allowance == 0


def test_a_clock_that_is_set_back_does_not_bring_an_old_cycle_back() -> None:
    ledger = Ledger(0.0, "2024-05-01", 42)

    assert Budget.restore(april(100), ledger, BEGIN).cycle_spent == 42


def test_a_ledger_goes_on_where_a_cycle_is_configured_later_or_no_longer() -> None:
    assert Budget.restore(april(100), Ledger(0.5), BEGIN).cycle == "2024-04-01"
    assert Budget.restore(ONE, Ledger(0.5, "2024-04-01", 42), BEGIN).prepare(BEGIN, last=True)[1] == Ledger(0.5, "2024-04-01", 42)
