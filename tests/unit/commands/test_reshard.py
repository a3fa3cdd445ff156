"""What `poller reshard` refuses before it asks Kafka, and what it tells."""

import io
import json

import msgspec
import pytest
from msgspec.structs import replace

from poller.commands.reshard import NEXT, as_json, lines, progress, refuse, settings_of
from poller.errors import SettingsError
from poller.kafka.reshard import Outcome

MOVED = Outcome("moved", "old", 1, "new", 4, 10, (1, 4, 2, 3), marked=1, written=9, stopped=2)
WHOLE = {
    "POLLER_VOUCHERIFY_APP_ID": "id",
    "POLLER_VOUCHERIFY_APP_TOKEN": "token",
    "POLLER_CUSTOMERS": "a",
    "POLLER_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9",
    "POLLER_CALLS_PER_MINUTE": "5",
}


def test_what_was_done_is_told_with_what_to_set_and_what_to_do_next() -> None:
    assert list(lines(MOVED)) == [
        ("moved", "10 checkpoints"),
        ("old topic", "old, 1 partition, 1 of them left"),
        ("new topic", "new, 4 partitions, of 1 to 4 checkpoints"),
        ("written", "9 checkpoints"),
        ("told to stop", "2 pollers, and whoever starts with the old topic"),
        ("settings", "POLLER_KAFKA_CHECKPOINTS_TOPIC=new POLLER_KAFKA_CHECKPOINT_PARTITIONS=4"),
        ("next", NEXT["moved"]),
    ]
    assert "written" not in dict(lines(replace(MOVED, state="would be moved")))


def test_json_holds_all_of_it() -> None:
    assert json.loads(json.dumps(as_json(MOVED, dry_run=False))) == {
        **msgspec.to_builtins(MOVED),
        "customers_of_each": [1, 4, 2, 3],
        "dry_run": False,
        "settings": {"POLLER_KAFKA_CHECKPOINTS_TOPIC": "new", "POLLER_KAFKA_CHECKPOINT_PARTITIONS": "4"},
    }


def test_once_it_is_taken_back_the_settings_are_the_old_ones() -> None:
    assert set(settings_of(replace(MOVED, state="undone")).values()) == {"old", "1"}


def test_options_that_cannot_be_meant_are_refused_all_at_once() -> None:
    with pytest.raises(SettingsError) as refused:
        refuse(1001, "no topic", {})

    assert refused.value.faults == [
        "--partitions=1001: should be 1 to 1000",
        "--to='no topic': should be 1 to 249 letters, digits, `.`, `_` and `-`",
    ]


def test_a_budget_that_cannot_be_divided_so_often_is_refused_where_it_is_known() -> None:
    refuse(4, None, WHOLE)
    refuse(8, "new", {name: value for name, value in WHOLE.items() if name != "POLLER_VOUCHERIFY_APP_ID"})

    with pytest.raises(SettingsError, match="5 calls in 60 s cannot be divided over 8 partitions"):
        refuse(8, None, WHOLE)


def test_on_a_terminal_each_step_has_a_bar_and_elsewhere_nothing_is_shown() -> None:
    for stream, shown in ((Terminal(), True), (io.StringIO(), False), (None, False)):
        with progress(stream) as told:
            told("reading", 0, 2)
            told("copying", 1, 2)
            told("reading", 2, 2)

        said = "" if stream is None else stream.getvalue()
        assert ("reading" in said and "copying" in said) is shown


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True
