"""What `poller watch` makes of the topic and of the settings here, and how it tells."""

import json
import re
from pathlib import Path

import pytest

from poller.cli import OK, UNUSABLE, WATCHED, run_command
from poller.commands.watch import rewind_of
from poller.commands.watch_changes import Changed, added, as_json, changes_of, described, lines, paused, removed, rewound, summary
from poller.config import load_sources
from poller.customers import entries_in
from poller.errors import SettingsError
from poller.kafka.watch import Watched
from poller.model import PLAIN, CustomerId, Rewind, WatchEntry
from poller.watch_entry import decode, fields

A, B, C = CustomerId("a"), CustomerId("b"), CustomerId("c")
HEAVY, PAUSED = WatchEntry(weight=2.0), WatchEntry(paused=True)
FULL = decode(
    b'{"start":"earliest","until":"2026-02-28T00:00:00Z","weight":2.5,"paused":true,"campaign_type":"LOYALTY_PROGRAM","campaign_id":"camp_1",'
    b'"product_id":"prod_1","headers":{"region":"eu","tenant":"acme"},'
    b'"replay":{"id":"r1","from":"2026-01-01T00:00:00Z"}}',
    True,
)
ROOT = Path(__file__).parents[3]


def outcomes(changed: list[Changed]) -> list[tuple[str, str, WatchEntry | None]]:
    return [(one.customer, one.outcome, one.entry) for one in changed]


def test_what_is_there_already_is_not_written_again() -> None:
    changed = added({A: HEAVY, B: PLAIN, C: PLAIN}, Watched({A: HEAVY, B: HEAVY}, {}))

    assert outcomes(changed) == [("a", "unchanged", HEAVY), ("b", "changed", PLAIN), ("c", "added", PLAIN)]
    assert changes_of(changed) == {B: PLAIN, C: PLAIN}


def test_over_a_record_that_cannot_be_used_the_same_entry_is_written_again() -> None:
    changed = added({A: HEAVY, B: PLAIN}, Watched({A: HEAVY}, {"a": "oops", "b": "oops"}))

    assert outcomes(changed) == [("a", "changed", HEAVY), ("b", "added", PLAIN)]


def test_who_is_removed_but_named_by_the_settings_here_stays_watched_and_that_is_said() -> None:
    changed = removed(
        [A, B, C], Watched({A: PLAIN}, {"c": "oops"}), {"POLLER_CUSTOMERS_FILE": {A: HEAVY}, "POLLER_CUSTOMERS": {A: PLAIN, B: PLAIN}}
    )

    assert changes_of(changed) == {A: None, C: None}
    assert list(lines(changed, dry_run=False)) == [
        ("a", "removed: stays watched: POLLER_CUSTOMERS_FILE and POLLER_CUSTOMERS names it"),
        ("b", "unchanged: is not in the topic; stays watched: POLLER_CUSTOMERS names it"),
        ("c", "removed"),
    ]


def test_a_paused_customer_keeps_the_rest_of_its_entry_and_has_it_when_it_is_resumed() -> None:
    heavy_and_paused = WatchEntry(weight=2.0, paused=True)

    assert outcomes(paused([A], Watched({A: HEAVY}, {}), {}, True)) == [("a", "changed", heavy_and_paused)]
    assert outcomes(paused([A], Watched({A: heavy_and_paused}, {}), {}, False)) == [("a", "changed", HEAVY)]
    assert outcomes(paused([A], Watched({A: HEAVY}, {}), {}, False)) == [("a", "unchanged", HEAVY)]


def test_who_is_paused_but_named_elsewhere_gets_an_entry_that_says_the_same() -> None:
    named = {"POLLER_CUSTOMERS_FILE": {A: HEAVY}, "POLLER_CUSTOMERS": {A: PLAIN}}

    (one,) = paused([A], Watched({}, {}), named, True)
    (stranger,) = paused([B], Watched({}, {}), named, True)

    assert (one.outcome, one.entry) == ("added", WatchEntry(weight=2.0, paused=True))
    assert one.note == "was not in the topic: the entry that it has there now counts, whatever POLLER_CUSTOMERS_FILE says"
    assert (stranger.outcome, stranger.entry) == ("added", PAUSED)
    assert stranger.note.endswith("and no setting here names it")


def test_who_is_resumed_but_was_never_paused_is_left_alone() -> None:
    named = {"POLLER_CUSTOMERS": {A: PLAIN}}

    found = paused([A, B], Watched({}, {}), named, False)

    assert outcomes(found) == [("a", "unchanged", None), ("b", "unchanged", None)]
    assert [one.note for one in found] == ["is not in the topic; POLLER_CUSTOMERS names it, as not paused", "is not in the topic"]


def test_each_customer_is_told_in_a_line_or_as_json_and_many_are_counted() -> None:
    changed = [Changed(A, "added", HEAVY, "and more"), Changed(B, "unchanged", PLAIN)]

    assert list(lines(changed, dry_run=True)) == [("a", "would be added: and more"), ("b", "unchanged")]
    assert summary(changed, "t.watch", dry_run=False) == "2 customers: 1 added, 0 changed, 1 unchanged in topic t.watch"
    assert summary(changed, "t.watch", dry_run=True).endswith("; nothing was written, as this was a dry run")
    assert as_json(changed, "t.watch", dry_run=False, each=True) == {
        "topic": "t.watch",
        "dry_run": False,
        "added": 1,
        "changed": 0,
        "removed": 0,
        "unchanged": 1,
        "customers": [
            {"id": "a", "outcome": "added", "entry": {"weight": 2}, "note": "and more"},
            {"id": "b", "outcome": "unchanged", "entry": {}},
        ],
    }
    assert "customers" not in as_json(changed, "t.watch", dry_run=False, each=False)


def test_an_entry_is_described_in_one_line() -> None:
    assert described(FULL) == (
        "start earliest, until 2026-02-28T00:00:00.000Z, weight 2.5, paused, campaign_type LOYALTY_PROGRAM, campaign_id camp_1, "
        "product_id prod_1, headers region=eu tenant=acme, replay id=r1 from=2026-01-01T00:00:00.000Z"
    )
    assert described(PLAIN) == ""


def test_whom_the_settings_here_name_is_known_by_variable_and_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "customers"
    file.write_text('{"id":"b","weight":2}')

    assert list(load_sources({"POLLER_CUSTOMERS": "a, b", "POLLER_CUSTOMERS_FILE": str(file)}).items()) == [
        ("POLLER_CUSTOMERS_FILE", {B: HEAVY}),
        ("POLLER_CUSTOMERS", {A: PLAIN, B: PLAIN}),
    ]
    assert load_sources({"POLLER_CUSTOMERS": "a,..", "POLLER_CUSTOMERS_FILE": "/nowhere"}) == {}


@pytest.mark.parametrize("part", sorted(WATCHED))
def test_every_parts_help_shows_an_example(part: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["watch", part, "--help"]) == OK

    assert f"poller watch {part}" in capsys.readouterr().out.split("Example")[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add"], "ID is missing"),
        (["remove", "..", "a\nb"], "ID names a customer that cannot be asked for: '..'"),
        (["add", "a", "--weight", "0"], "weight: expected `float` >= 0.01"),
        (["add", "a", "--weight", "nan"], "weight: expected `float`, got `null`"),
        (["add", "a", "--start", "yesterday"], "start: should be `now`, `earliest`, or a date-time"),
        (["add", "a", "--header", "tenant"], "--header='tenant': should be NAME=VALUE"),
        (["add", "a", "--header", "ce_id=1"], "'ce_id' cannot be a name"),
        (["add", "a", "--campaign-id", "\udcff"], "entry: "),
        (["import", "/nowhere"], "FILE='/nowhere': cannot be read (No such file or directory)"),
        (["list"], "POLLER_KAFKA_BOOTSTRAP_SERVERS is required"),
        (["add", "a"], "POLLER_KAFKA_BOOTSTRAP_SERVERS is required"),
    ],
)
def test_what_cannot_be_meant_is_told_before_anything_is_asked(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["watch", *arguments]) == UNUSABLE

    assert words in capsys.readouterr().err


def test_the_example_of_a_list_is_one() -> None:
    entries = entries_in((ROOT / "config/customers.example.jsonl").read_bytes())

    assert PLAIN in entries.values()
    assert {field for entry in entries.values() for field in fields(entry)} == set(fields(FULL))


def test_the_documentation_names_every_command_and_every_field_and_its_entries_are_good() -> None:
    text = (ROOT / "docs/watching.md").read_text()
    schema = json.loads((ROOT / "config/watch-entry.schema.json").read_text())

    assert [part for part in WATCHED if f"`poller watch {part}" not in text] == []
    assert [field for field in schema["$defs"]["WatchLine"]["properties"] if f"`{field}`" not in text] == []
    (listed,) = [block for block in text.split("```") if block.startswith("json\n")]
    assert entries_in(listed.removeprefix("json\n").encode())


FOUND = WatchEntry(found="all")


def test_an_entry_of_whom_was_found_is_the_users_once_it_is_paused() -> None:
    assert outcomes(paused([A], Watched({A: FOUND}, {}), {}, True)) == [("a", "changed", PAUSED)]
    assert outcomes(paused([A], Watched({A: FOUND}, {}), {}, False)) == [("a", "unchanged", FOUND)]


def test_whoever_takes_out_whom_was_found_hears_that_this_does_not_last() -> None:
    (one,) = removed([A], Watched({A: FOUND}, {}), {})

    assert (one.outcome, one.entry) == ("removed", None)
    assert one.note == "is found again once all are listed anew: `poller watch pause` lasts"


REWIND = Rewind("r1", 1_767_225_600_000, missing_only=True)


def test_who_is_rewound_keeps_the_rest_of_its_entry_and_who_is_named_elsewhere_gets_one_that_says_the_same() -> None:
    named = {"POLLER_CUSTOMERS_FILE": {B: HEAVY}, "POLLER_CUSTOMERS": {B: PLAIN}}
    changed = rewound([A, B, C], Watched({A: PAUSED}, {}), named, REWIND)

    assert outcomes(changed) == [
        ("a", "changed", WatchEntry(paused=True, replay=REWIND)),
        ("b", "added", WatchEntry(weight=2.0, replay=REWIND)),
        ("c", "added", WatchEntry(replay=REWIND)),
    ]
    assert [one.note for one in changed] == [
        "replay=r1; is paused: begins when it is resumed",
        "replay=r1; was not in the topic: the entry that it has there now counts, whatever POLLER_CUSTOMERS_FILE says",
        "replay=r1; was not in the topic: the entry that it has there now counts, and no setting here names it: it is watched from now on, if it was not",
    ]


def test_a_rewind_is_ordered_once_each_time_and_goes_with_what_is_said_next() -> None:
    again = rewound([A], Watched({A: WatchEntry(replay=REWIND)}, {}), {}, Rewind("r2", REWIND.from_ms))
    (resumed,) = paused([A], Watched({A: WatchEntry(paused=True, replay=REWIND)}, {}), {}, False)

    assert outcomes(again) == [("a", "changed", WatchEntry(replay=Rewind("r2", REWIND.from_ms)))]
    assert resumed.entry == WatchEntry(replay=REWIND)
    assert described(resumed.entry) == "replay id=r1 from=2026-01-01T00:00:00.000Z missing_only=True"


def test_a_date_alone_is_midnight_and_each_rewind_has_an_id_of_its_own() -> None:
    day, instant = rewind_of("2026-01-01", True), rewind_of("2026-01-01T01:00:00+01:00", False)

    assert (day.from_ms, instant.from_ms, day.missing_only, instant.missing_only) == (REWIND.from_ms, REWIND.from_ms, True, False)
    assert day.id != instant.id


@pytest.mark.parametrize(
    ("to", "words"),
    [
        ("yesterday", "--to='yesterday': should be a date-time with its zone"),
        ("2026-01-01T00:00:00", "--to='2026-01-01T00:00:00': should be a date-time with its zone"),
        ("2026-02-30", "--to='2026-02-30': should be"),
        ("1969-12-31", "--to='1969-12-31': lies before 1970"),
        ("9000-01-01", "--to='9000-01-01': lies ahead, so nothing would be published again"),
    ],
)
def test_a_date_that_cannot_be_rewound_to_is_refused(to: str, words: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(words)):
        rewind_of(to, False)
