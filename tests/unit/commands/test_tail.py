"""When `poller tail` stops."""

from poller.commands.tail import Until


def test_it_shows_as_many_records_as_asked_for_and_then_stops() -> None:
    until = Until(5, None, 0.0)
    seen = [(until.reached(1.0), until.take(come, 1.0)) for come in (2, 0, 2, 9)]

    assert seen == [(False, 2), (False, 0), (False, 2), (False, 1)]
    assert until.reached(1.0)


def test_it_stops_when_nothing_has_come_for_so_long() -> None:
    until = Until(None, 5.0, 0.0)

    assert until.take(3, 4.0) == 3
    assert until.take(0, 8.0) == 0
    assert [until.reached(now) for now in (8.9, 9.0)] == [False, True]


def test_without_limits_it_never_stops() -> None:
    assert not Until(None, None, 0.0).reached(1e9)
