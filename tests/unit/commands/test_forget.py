"""What `poller forget` says; that it does it is shown with a real Kafka."""

import math

import pytest

from poller.cli import OK, UNUSABLE, run_command
from poller.commands.forget import Forgotten, Outcome, Report, as_json, described, remaining
from poller.config import KafkaSettings
from poller.model import CustomerId

SETTINGS = KafkaSettings(bootstrap_servers="k:1", activities_topic="t")
ANNA = CustomerId("anna@example.com")


def forgotten(outcome: Outcome, *named_by: str, checkpoint: bool = True) -> Forgotten:
    return Forgotten(ANNA, outcome, checkpoint, named_by)


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (forgotten("forgotten"), "forgotten: its checkpoint and its watch entry are removed"),
        (forgotten("forgotten", checkpoint=False), "forgotten: it had no checkpoint; its watch entry is removed"),
        (
            forgotten("kept out", "POLLER_CUSTOMERS"),
            "forgotten: its checkpoint is removed. But POLLER_CUSTOMERS names it: its watch entry stays",
        ),
        (forgotten("kept out", "A", "B", checkpoint=False), "forgotten: it had no checkpoint. But A and B names it"),
        (forgotten("not yet"), "not yet: no poller has carried it out. One will as soon as it runs; then do the same again"),
        (forgotten("would be forgotten", "POLLER_CUSTOMERS"), "would be forgotten; POLLER_CUSTOMERS names it"),
        (forgotten("would be forgotten", checkpoint=False), "would be forgotten: it has no checkpoint"),
    ],
)
def test_what_became_of_each_is_said_with_what_to_do(one: Forgotten, words: str) -> None:
    assert described(one).startswith(words)


def test_what_remains_is_said_with_how_long_as_far_as_the_topics_tell() -> None:
    told = [list(remaining(Report([], remains), SETTINGS)) for remains in ({"t": 7 * 86_400.0, "t.dead-letters": math.inf}, None)]

    assert told == [
        [
            "What was published remains: activities in t, for 7 days after it was published, or a segment longer",
            "What was published remains: dead letters in t.dead-letters, for ever, by its retention.ms",
        ],
        [
            "What was published remains: activities in t, as long as its retention.ms says, which could not be asked",
            "What was published remains: dead letters in t.dead-letters, as long as its retention.ms says, which could not be asked",
        ],
    ]


def test_as_json_it_is_the_same_as_values() -> None:
    report = Report([forgotten("kept out", "POLLER_CUSTOMERS")], {"t": 60.0, "t.dead-letters": math.inf})

    assert as_json(report, SETTINGS, dry_run=False) == {
        "topic": "t.watch",
        "dry_run": False,
        "customers": [{"id": ANNA, "outcome": "kept out", "checkpoint": True, "named_by": ("POLLER_CUSTOMERS",)}],
        "remains_seconds": {"t": 60.0, "t.dead-letters": None},
    }
    assert as_json(Report([], None), SETTINGS, dry_run=True)["remains_seconds"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [([], "ID is missing"), ([".."], "cannot be asked for: '..'"), (["a"], "POLLER_KAFKA_BOOTSTRAP_SERVERS is required")],
)
def test_what_cannot_be_meant_is_told_before_anything_is_asked(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["forget", *arguments]) == UNUSABLE

    assert words in capsys.readouterr().err


def test_its_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["forget", "--help"]) == OK

    assert "poller forget" in capsys.readouterr().out.split("Example")[1]
