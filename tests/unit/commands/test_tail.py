"""When `poller tail` stops, and what it says of a topic that is missing."""

import pytest

from poller.commands.tail import Until, created_by_run, place
from poller.config import KafkaSettings
from poller.errors import LogRefused


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


@pytest.mark.anyio
@pytest.mark.parametrize(("of_settings", "remedy"), [(True, "`poller run` creates it"), (False, "check --topic")])
async def test_a_topic_that_is_missing_is_refused_with_what_would_help(of_settings: bool, remedy: str) -> None:
    class Consumer:
        async def topics(self) -> set[str]:
            return {"another"}

    with pytest.raises(LogRefused, match=remedy):
        await place(Consumer(), "t", from_beginning=False, of_settings=of_settings)


def test_run_creates_the_topics_of_the_settings_and_no_other() -> None:
    settings = KafkaSettings(bootstrap_servers="kafka:9092")

    assert created_by_run(settings.dead_letters_topic, settings)
    assert not created_by_run("another", settings)
