"""A probe finds how the API is to be read, or says that it could not: for every reading and every kind of customer, never wrong."""

import itertools
from random import Random
from typing import Any

import msgspec
import pytest

from poller.demo.readings import Readings
from poller.probe.answers import CALLS_MAX
from poller.probe.findings import findings
from tests.support.probing import NOW, POPULATIONS, Model, apart, entries, faults, stored

GROUPS: tuple[dict[str, tuple[Any, ...]], ...] = (
    {
        "order": ("honoured", "newest_first", "oldest_first"),
        "order_default": ("-created_at", "created_at"),
        "ties": ("stable", "unstable"),
        "resolution": ("milliseconds", "microseconds"),
        "page_activities_max": (100, 30, 7),
    },
    {"start_date": ("inclusive", "exclusive", "ignored"), "end_date": ("inclusive", "exclusive", "ignored")},
    {"starting_after": ("inclusive", "exclusive", "ignored"), "starting_after_direction": ("order", "newer", "older")},
    {"starting_after_id": ("honoured", "by_created_at", "ignored", "empty_when_vanished", "refused_when_vanished", "refused")},
    {"total": ("right", "wrong", "absent"), "has_more": ("right", "wrong", "absent"), "unknown_customer": ("not_found", "empty")},
)


def product(group: dict[str, tuple[Any, ...]]) -> list[dict[str, Any]]:
    return [dict(zip(group, values, strict=True)) for values in itertools.product(*group.values())]


def readings(rounds: int = 4) -> list[Readings]:
    """Every combination of what shapes all pages, each with a part of every other group's combinations, in turns, so that all of those are met.

    The other groups are asked about by calls of their own, so that not all of their combinations with each other are needed.
    """
    shaping, *others = (product(group) for group in GROUPS)
    shuffled = [Random(index).sample(other, len(other)) for index, other in enumerate(others)]
    return [
        Readings(**one, **{name: value for other in shuffled for name, value in other[(n + rounds * index) % len(other)].items()})
        for index, one in enumerate(shaping)
        for n in range(rounds)
    ]


@pytest.mark.parametrize("population", POPULATIONS)
def test_what_is_settled_is_right_and_what_is_not_says_why(population: str) -> None:
    wrong = []
    for reading in readings():
        model = Model(POPULATIONS[population](), reading).probe()
        found = findings(model.seen)
        assert len(model.asked) <= CALLS_MAX - 2
        assert all(one.evidence for one in found)
        wrong += [(fault, reading) for fault in faults(model, {one.name: one.value for one in found})]

    assert wrong == []


HIDDEN = {"ties", "starting_after_id_ties"}
"""Not to be told from so few pages in each reading."""


def hidden(reading: Readings) -> set[str]:
    """What such an API does not show, whoever asks."""
    whys = {
        "starting_after_direction": reading.starting_after == "ignored",
        "resolution": "ignored" in {reading.start_date, reading.end_date},
        "default_limit": reading.page_activities_max < 10,
    }
    return {name for name, holds in whys.items() if holds} | HIDDEN


def test_a_customer_with_enough_activities_settles_all_that_is_to_be_seen() -> None:
    left: dict[Readings, set[str]] = {}
    for reading in readings():
        if reading.order == "honoured" and reading.resolution == "milliseconds" and reading.page_activities_max > 7:
            found = findings(Model(POPULATIONS["ties within a page"](), reading).probe().seen)
            left[reading] = {one.name for one in found if one.value is None} - hidden(reading)

    assert {reading: names for reading, names in left.items() if names} == {}


def test_a_store_of_microseconds_is_recognised_and_bounds_that_it_blurs_are_left_open() -> None:
    found = {one.name: one for one in findings(Model(POPULATIONS["many"](), Readings(resolution="microseconds")).probe().seen)}

    assert found["resolution"].value == "finer"
    assert [found[name].value for name in ("start_date", "end_date", "starting_after")] == [None] * 3
    assert "finer" in found["start_date"].evidence


def test_a_bound_at_a_whole_millisecond_is_settled_in_a_store_of_microseconds_too() -> None:
    whole = [stored(f"evcus_{n}", 60_000 * (100 - n)) for n in range(60)]
    readings = Readings(resolution="microseconds", start_date="exclusive", end_date="inclusive")

    found = {one.name: one.value for one in findings(Model(whole, readings).probe().seen)}

    assert (found["start_date"], found["end_date"], found["resolution"]) == ("exclusive", "inclusive", "milliseconds")


def test_an_empty_history_settles_what_needs_no_activities_and_says_what_would_settle_the_rest() -> None:
    model = Model([]).probe()
    found = findings(model.seen)

    assert {one.name: one.value for one in found if one.value is not None} == {"limit": "refused", "unknown_customer": "not_found"}
    assert sum("it would take a customer" in one.evidence for one in found) >= 10
    assert [ask.name for ask in model.asked] == ["ascending", "descending", "default", "limit", "other_endpoint", "unknown_customer"]


@pytest.mark.parametrize("answered", range(13))
def test_a_probe_that_stops_midway_tells_what_it_knows(answered: int) -> None:
    model = Model(POPULATIONS["ties within a page"]()).probe(answered)
    found = {one.name: one.value for one in findings(model.seen)}
    whole = {one.name: one.value for one in findings(model.probe().seen)}

    assert {name: value for name, value in found.items() if value not in (None, whole[name])} == {}


def test_an_activity_that_arrives_during_the_probe_is_not_taken_for_a_page_that_was_cut() -> None:
    arriving = [stored(f"evcus_a{n}", -1000 * n - 500, shown_at=NOW + n + 0.5) for n in range(12)]

    found = {one.name: one for one in findings(Model([*apart(40), *arriving]).probe().seen)}

    assert found["longest_page"].value is None
    assert (found["order"].value, found["start_date"].value, found["end_date"].value) == ("honoured", "inclusive", "inclusive")


def test_an_answer_that_cannot_be_is_left_open() -> None:
    model = Model(apart(40)).probe(4)
    shown = model.seen["window"]
    model.seen["window"] = msgspec.structs.replace(shown, entries=model.seen["ascending"].entries[5:])

    assert {one.name: one.value for one in findings(model.seen)}["start_date"] is None


@pytest.mark.parametrize(("activities", "taken", "value"), [(150, 100, "capped"), (150, 101, "honoured"), (60, 100, None), (60, 101, None)])
def test_a_limit_over_the_documented_one_is_capped_or_honoured_where_there_are_more(activities: int, taken: int, value: str | None) -> None:
    model = Model(apart(activities)).probe()
    known = entries(model.activities)
    model.seen["limit"] = msgspec.structs.replace(model.seen["ascending"], entries=known[:taken])

    assert {one.name: one.value for one in findings(model.seen)}["limit"] == value
