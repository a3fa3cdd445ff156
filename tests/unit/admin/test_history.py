"""The last hour, by lists of samples."""

import pytest

from poller.admin.history import HOUR_SECONDS, STRETCH_SECONDS_MAX, STRETCH_SECONDS_MIN, STRETCHES_MAX, Counted, History, Stretch, quantile

BOUNDS = (1.0, 10.0, 60.0)


def counted(calls: int, **by_type: int) -> Counted:
    return Counted(calls=calls, by_type=by_type, freshness=(sum(by_type.values()), 0))


def lived(seconds: float, *, every: float = STRETCH_SECONDS_MIN, start: float = 0.0) -> History:
    """One call and two activities for each sample."""
    history = History(begun=start)
    for number in range(1, int(seconds / every) + 1):
        history = history.sampled(counted(number, a=number, b=number), None, start + number * every)
    return history


def test_a_stretch_holds_by_how_much_each_count_grew() -> None:
    history = History(begun=0.0).sampled(counted(5, a=10), 7.0, 3.75).sampled(counted(6, a=12, b=1), 3.0, 7.5)

    assert history.stretches == (
        Stretch(begun=0.0, ended=3.75, counted=counted(5, a=10), staleness_max_seconds=7.0),
        Stretch(begun=3.75, ended=7.5, counted=counted(1, a=2, b=1), staleness_max_seconds=3.0),
    )


def test_the_stretch_under_way_is_shown_too_with_the_worst_that_was_seen_in_it() -> None:
    history = History(begun=0.0).sampled(counted(1, a=1), 9.0, 1.0).sampled(counted(2, a=1), None, 2.0)

    assert history.stretches == ()
    assert history.until(counted(3, a=4), 5.0, 3.0) == (Stretch(begun=0.0, ended=3.0, counted=counted(3, a=4), staleness_max_seconds=9.0),)


def test_nothing_seen_stays_unknown() -> None:
    (stretch,) = History(begun=0.0).until(Counted(), None, 1.0)

    assert (stretch.staleness_max_seconds, stretch.counted) == (None, Counted())


@pytest.mark.parametrize("seconds", [60, 600, 1500, 3000, 3700])
def test_stretches_become_longer_and_lose_nothing_of_the_last_hour(seconds: float) -> None:
    history = lived(seconds)

    assert len(history.stretches) <= STRETCHES_MAX
    assert STRETCH_SECONDS_MIN <= history.stretch_seconds <= STRETCH_SECONDS_MAX
    assert all(one.ended == other.begun for one, other in zip(history.stretches, history.stretches[1:], strict=False))
    covered = history.stretches[-1].ended - history.stretches[0].begun
    assert covered >= min(seconds - STRETCH_SECONDS_MAX, HOUR_SECONDS - STRETCH_SECONDS_MAX)
    assert sum(each.counted.calls for each in history.stretches) == covered / STRETCH_SECONDS_MIN
    assert sum(each.counted.published for each in history.stretches) == 2 * covered / STRETCH_SECONDS_MIN


def test_what_is_older_than_an_hour_is_gone_also_after_a_long_silence() -> None:
    awake = lived(600)
    asleep = awake.sampled(counted(1000, a=1000, b=1000), None, 600 + 2 * HOUR_SECONDS)

    assert [(one.begun, one.ended) for one in asleep.stretches] == [(awake.begun, 600 + 2 * HOUR_SECONDS)]


def test_two_stretches_add_up_whatever_each_lacks() -> None:
    one = Stretch(begun=0, ended=1, counted=counted(1, a=1), staleness_max_seconds=None)
    other = Stretch(begun=1, ended=2, counted=Counted(calls=2, by_type={"b": 3}), staleness_max_seconds=4.0)

    assert one.joined(other) == Stretch(
        begun=0, ended=2, counted=Counted(calls=3, by_type={"a": 1, "b": 3}, freshness=(1, 0)), staleness_max_seconds=4.0
    )


@pytest.mark.parametrize(
    ("counts", "share", "value"),
    [
        ((0, 0, 0, 0), 0.5, None),
        ((4, 0, 0, 0), 0.5, 0.5),
        ((0, 10, 0, 0), 0.5, 5.5),
        ((5, 5, 0, 0), 0.5, 1.0),
        ((5, 0, 5, 0), 0.95, 55.0),
        ((0, 0, 0, 3), 0.5, 60.0),
        ((1, 0, 0, 1), 1.0, 60.0),
    ],
)
def test_a_quantile_lies_evenly_between_the_bounds_and_never_above_the_last(
    counts: tuple[int, ...], share: float, value: float | None
) -> None:
    assert quantile(BOUNDS, counts, share) == value
