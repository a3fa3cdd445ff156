"""How the cursor moves, and what the server's time is taken to be."""

import math

import pytest

from poller.core.cursor import ServerClock, advance, latest_server_time_ms, server_time_ms, start_now, went_back
from poller.core.replay import begun
from poller.model import Checkpoint, Rewind
from tests.support.builders import activities, activity, checkpoint, dead_letter, page, walk

REWIND = Rewind("r", 5_000)


def test_nothing_is_known_of_the_server_before_its_first_page() -> None:
    assert ServerClock().earliest(100.0) is None


def test_a_date_and_an_activity_each_tell_how_far_the_server_is_ahead() -> None:
    clock = ServerClock().observe(page(*activities(90, 95), date=103.0), received=100.0)

    assert clock == ServerClock(by_date=3.0, by_activity=-5.0)


def test_the_newest_activity_of_all_pages_counts_and_the_last_date() -> None:
    clock = ServerClock()
    for entry, date, received in ((95, 103.0, 100.0), (120, 203.0, 200.0), (299, 301.0, 300.0)):
        clock = clock.observe(page(activity(entry), date=date), received)

    assert clock == ServerClock(by_date=1.0, by_activity=-1.0)


def test_a_page_without_date_and_activities_teaches_nothing() -> None:
    known = ServerClock(by_date=3.0, by_activity=-5.0)

    assert known.observe(page(dead_letter(at=500)), received=100.0) == known


def test_the_servers_time_is_rather_too_early_than_too_late() -> None:
    assert ServerClock(by_date=3.0, by_activity=-5.0).earliest(100.0) == 95.0
    assert ServerClock(by_date=-3.0).earliest(100.0) == 97.0
    assert ServerClock(by_date=3_600.0).earliest(100.0) == 100.0


@pytest.mark.parametrize(
    ("date", "by_activity", "expected"),
    [
        (99.0, -5.0, 95_000),  # the newest activity is the earliest estimate
        (90.0, -5.0, 90_000),  # the Date header is
        (3_700.0, 3_600.0, 100_000),  # both are ahead of us: our own clock is
        (99.0, None, 99_000),  # one is enough
        (None, -5.0, 95_000),
        (None, None, None),  # our own alone is not
        (99.9996, None, 99_999),  # rounded down
    ],
)
def test_the_time_of_a_read_is_the_smallest_estimate_of_its_first_request(
    date: float | None, by_activity: float | None, expected: int | None
) -> None:
    clock = ServerClock(by_date=77.0, by_activity=by_activity)

    assert server_time_ms(walk(sent=100.0, server_time=date), clock) == expected


def test_the_latest_estimate_of_a_read_is_the_largest_or_our_own_clock() -> None:
    late = walk(sent=100.0, server_time=103.0)

    assert latest_server_time_ms(late, ServerClock(by_activity=-5.0)) == 103_000
    assert latest_server_time_ms(late, ServerClock(by_activity=5.0)) == 105_000
    assert latest_server_time_ms(walk(sent=100.0), ServerClock()) == 100_000


@pytest.mark.parametrize(
    ("shown_to_ms", "server_ms", "expected"),
    [
        (None, 100_000, 40_000),  # all was shown: the lookback behind the server's time
        (30_000, 100_000, 30_000),  # all was shown up to there
        (90_000, 100_000, 40_000),
        (None, 61_000, 5_000),  # never back
        (2_000, 100_000, 5_000),
        (None, None, 5_000),  # the time is not known: stay
    ],
)
def test_the_cursor_moves_with_the_servers_time_up_to_what_was_shown_and_never_back(
    shown_to_ms: int | None, server_ms: int | None, expected: int
) -> None:
    assert advance(5_000, shown_to_ms, server_ms, lookback_ms=60_000) == expected


def test_a_customer_that_starts_now_begins_a_lookback_and_some_slack_ago_by_the_servers_time() -> None:
    assert start_now(ServerClock(by_date=-10.0), 300_000, now=1_000.0) == checkpoint(630)
    assert start_now(ServerClock(), 300_000, now=1_000.0) == checkpoint(640)


def test_a_start_before_all_time_is_the_beginning() -> None:
    assert start_now(ServerClock(by_date=-math.pi), 300_000, now=100.0) == checkpoint(0)


@pytest.mark.parametrize(
    ("known", "found", "undone"),
    [
        (None, None, False),
        (None, checkpoint(10), False),
        (checkpoint(10), None, True),
        (checkpoint(10), checkpoint(10), False),
        (checkpoint(10), checkpoint(11), False),
        (checkpoint(10), checkpoint(9), True),
        (checkpoint(10, recent={"a": 12_000}), checkpoint(10), True),
        (checkpoint(10, recent={"a": 12_000}), checkpoint(10, recent={"a": 12_000, "b": 13_000}), False),
        (checkpoint(10, recent={"a": 12_000}), checkpoint(12.001), False),
        (checkpoint(10, recent={"a": 12_000}), begun(checkpoint(10, recent={"a": 12_000}), REWIND), False),
        (checkpoint(10, recent={"a": 12_000}), begun(checkpoint(10), REWIND), True),
        (checkpoint(10), begun(checkpoint(9), REWIND), True),
        (begun(checkpoint(10), REWIND), checkpoint(10, replayed="r"), False),
        (checkpoint(10, replayed="r"), begun(checkpoint(10), REWIND), True),
    ],
)
def test_a_checkpoint_went_back_if_it_says_less_than_one_that_was_committed(
    known: Checkpoint | None, found: Checkpoint | None, undone: bool
) -> None:
    assert went_back(known, found) is undone
