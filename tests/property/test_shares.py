"""One budget of several partitions, whatever happens to their owners while parts of it change hands: nobody has what another has, or had."""

from hypothesis import given, settings
from hypothesis import strategies as st

from poller.core.budget import Cycle
from poller.core.policy import Policy
from tests.support.dividers import Divider, Event, dividers, live
from tests.support.spender import EPOCH, most_in_a_window

EVENTS: tuple[Event, ...] = (
    *("commit", "commit", "commit", "hear", "hear", "hear", "begin", "stands"),
    *("spend", "fails", "stands unheard", "killed", "killed, needs more", "killed, needs less"),
)
WAITS = (0.0, 0.0, 0.1, 1.0, 5.0, 20.0, 61.0)
CUSTOMERS = st.lists(st.sampled_from((0, 1, 10, 100)), min_size=2, max_size=4)
STEPS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(WAITS), st.sampled_from(EVENTS)), min_size=60, max_size=200)


def lived(these: list[Divider], steps: list[tuple[int, float, Event]], begin: float = EPOCH, scale: float = 1.0) -> None:
    now = begin
    for number, wait, event in steps:
        now += wait * scale
        these[number % len(these)].happen(event, these, now)


def capped(cycle: Cycle) -> Policy:
    return Policy(calls_limit=1000, calls_window_seconds=60, cycle=cycle)


def given_out(these: list[Divider]) -> int:
    """Parts that somebody has, or that are under way, as committed."""
    shares = {one.number: one.durable[1] for one in these if one.durable is not None and one.durable[1] is not None}
    under_way = sum(
        max(0, parts - (shares[to].taken.get(giver, 0) if to in shares else 0))
        for giver, share in shares.items()
        for to, parts in share.given.items()
    )
    return sum(one.parts for one in these) + under_way


@settings(max_examples=60)
@given(customers=CUSTOMERS, steps=STEPS)
def test_no_window_holds_more_calls_than_the_limit_while_shares_change_hands(
    customers: list[int], steps: list[tuple[int, float, Event]]
) -> None:
    these = dividers(Policy(calls_limit=30, calls_window_seconds=60), customers)
    before = given_out(these)
    live(these, EPOCH, 200)
    lived(these, steps, EPOCH + 200)

    assert most_in_a_window([at for one in these for at in one.calls], 60) <= 30
    assert given_out(these) == before
    assert all(one.parts > 0 for one in these)


@settings(max_examples=60)
@given(customers=CUSTOMERS, cycle_calls=st.integers(20, 400), steps=STEPS)
def test_no_cycle_holds_more_calls_than_its_cap_while_shares_change_hands(
    customers: list[int], cycle_calls: int, steps: list[tuple[int, float, Event]]
) -> None:
    cycle = Cycle(cycle_calls, reset_day=31)
    these = dividers(capped(cycle), customers)
    lived(these, steps, scale=3_600.0)

    begun = [cycle.bounds(at)[0] for one in these for at in one.calls]
    assert all(begun.count(day) <= cycle_calls for day in set(begun))


@settings(max_examples=40)
@given(customers=CUSTOMERS, lowered_to=st.integers(20, 400), steps=STEPS)
def test_a_cap_that_is_lowered_holds_for_what_is_left_of_the_cycle(
    customers: list[int], lowered_to: int, steps: list[tuple[int, float, Event]]
) -> None:
    these = dividers(capped(Cycle(100_000, reset_day=1)), customers)
    lived(these, steps)
    later = EPOCH + sum(wait for _, wait, _ in steps)
    for one in these:
        one.under(capped(Cycle(lowered_to, reset_day=1)), later)
        one.calls.clear()
    live(these, later, 120)

    assert sum(len(one.calls) for one in these) <= lowered_to
