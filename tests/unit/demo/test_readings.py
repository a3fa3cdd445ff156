"""The listing: what is documented, and each reading of what is not."""

from dataclasses import replace
from typing import Any

import pytest

from poller.demo.readings import Listing, ListQuery, Readings, Refused, Stored, format_instant, list_activities, parse_instant_us

NOW = 1_000.0
SECOND = 1_000_000


def activity(at: float, name: str | None = None, **fields: Any) -> Stored:
    values: dict[str, Any] = {"id": name or f"a{at:g}", "type": "customer.created", "created_at_us": round(at * SECOND), "shown_at": at}
    return Stored(**(values | fields))


def us(at: float) -> int:
    return round(at * SECOND)


def listed(stored: list[Stored], *, now: float = NOW, call: int = 0, readings: Readings = Readings(), **query: Any) -> list[str]:
    return [
        activity.id for activity in list_activities(stored, ListQuery(**({"order": "created_at"} | query)), readings, now, call).activities
    ]


FIVE = [activity(at) for at in (1, 2, 3, 4, 5)]


def test_ten_are_listed_newest_first_where_nothing_is_asked() -> None:
    stored = [activity(at) for at in range(1, 13)]

    assert listed(stored, order=None) == [f"a{at}" for at in range(12, 2, -1)]


def test_the_default_order_can_be_oldest_first() -> None:
    assert listed(FIVE, order=None, limit=2, readings=Readings(order_default="created_at")) == ["a1", "a2"]


def test_an_order_is_honoured_both_ways() -> None:
    assert listed(FIVE, order="created_at") == ["a1", "a2", "a3", "a4", "a5"]
    assert listed(FIVE, order="-created_at") == ["a5", "a4", "a3", "a2", "a1"]


def test_an_order_by_type_sorts_by_type() -> None:
    stored = [activity(1, type="b"), activity(2, type="a"), activity(3, type="c")]

    assert listed(stored, order="type") == ["a2", "a1", "a3"]
    assert listed(stored, order="-type") == ["a3", "a1", "a2"]


@pytest.mark.parametrize(("order", "first"), [("newest_first", "a5"), ("oldest_first", "a1")])
def test_an_order_can_be_ignored(order: Any, first: str) -> None:
    assert {listed(FIVE, order=asked, limit=1, readings=Readings(order=order))[0] for asked in ("created_at", "-created_at", None)} == {
        first
    }


@pytest.mark.parametrize(
    ("bound", "expected"), [("inclusive", ["a3", "a4", "a5"]), ("exclusive", ["a4", "a5"]), ("ignored", ["a1", "a2", "a3", "a4", "a5"])]
)
def test_start_date_can_be_read_three_ways(bound: Any, expected: list[str]) -> None:
    assert listed(FIVE, start_date_us=us(3), readings=Readings(start_date=bound)) == expected


@pytest.mark.parametrize(
    ("bound", "expected"), [("inclusive", ["a1", "a2", "a3"]), ("exclusive", ["a1", "a2"]), ("ignored", ["a1", "a2", "a3", "a4", "a5"])]
)
def test_end_date_can_be_read_three_ways(bound: Any, expected: list[str]) -> None:
    assert listed(FIVE, end_date_us=us(3), readings=Readings(end_date=bound)) == expected


@pytest.mark.parametrize(
    ("bound", "expected"), [("inclusive", ["a3", "a4", "a5"]), ("exclusive", ["a4", "a5"]), ("ignored", ["a1", "a2", "a3", "a4", "a5"])]
)
def test_starting_after_can_be_read_three_ways(bound: Any, expected: list[str]) -> None:
    assert listed(FIVE, starting_after_us=us(3), readings=Readings(starting_after=bound)) == expected


@pytest.mark.parametrize(
    ("direction", "ascending", "descending"),
    [("order", ["a4", "a5"], ["a2", "a1"]), ("newer", ["a4", "a5"], ["a5", "a4"]), ("older", ["a1", "a2"], ["a2", "a1"])],
)
def test_starting_after_can_go_three_ways(direction: Any, ascending: list[str], descending: list[str]) -> None:
    readings = Readings(starting_after_direction=direction)

    assert listed(FIVE, starting_after_us=us(3), readings=readings) == ascending
    assert listed(FIVE, starting_after_us=us(3), order="-created_at", readings=readings) == descending


TIED = [activity(1), *(activity(2, name) for name in ("t1", "t2", "t3")), activity(3)]


def test_starting_after_id_goes_on_inside_a_tie() -> None:
    assert listed(TIED, starting_after_id="t2") == ["t3", "a3"]
    assert listed(TIED, starting_after_id="t2", order="-created_at") == ["t1", "a1"]


def test_starting_after_id_can_skip_its_tie() -> None:
    assert listed(TIED, starting_after_id="t1", readings=Readings(starting_after_id="by_created_at")) == ["a3"]


def test_starting_after_id_can_be_ignored() -> None:
    assert listed(TIED, starting_after_id="t2", limit=1, readings=Readings(starting_after_id="ignored")) == ["a1"]


@pytest.mark.parametrize(("reading", "expected"), [("honoured", ["a1"]), ("by_created_at", ["a1"]), ("empty_when_vanished", [])])
def test_a_vanished_id_starts_the_list_anew_or_ends_it(reading: Any, expected: list[str]) -> None:
    assert listed(TIED, starting_after_id="gone", limit=1, readings=Readings(starting_after_id=reading)) == expected


def test_a_vanished_id_can_be_refused() -> None:
    readings = Readings(starting_after_id="refused_when_vanished")
    stored = [activity(1, gone_at=NOW), activity(2)]

    assert listed(FIVE, starting_after_id="a4", readings=readings) == ["a5"]
    with pytest.raises(Refused, match="a1"):
        listed(stored, starting_after_id="a1", readings=readings)


def test_every_id_cursor_can_be_refused() -> None:
    with pytest.raises(Refused):
        listed(FIVE, starting_after_id="a4", readings=Readings(starting_after_id="refused"))


def test_ties_come_in_the_same_order_unless_they_are_unstable() -> None:
    stored = [activity(2, f"t{number}") for number in range(20)]
    unstable = Readings(ties="unstable")

    assert len({tuple(listed(stored, limit=20, call=call)) for call in range(5)}) == 1
    assert len({tuple(listed(stored, limit=20, call=call, readings=unstable)) for call in range(5)}) == 5
    assert listed(stored, limit=20, call=1, readings=unstable) == listed(stored, limit=20, call=1, readings=unstable)


def test_milliseconds_can_be_shown_of_a_store_that_compares_microseconds() -> None:
    stored = [activity(2.000100), activity(2.000200)]
    shown_at = parse_instant_us(format_instant(stored[0].created_at_us))

    assert listed(stored, starting_after_us=shown_at) == []
    assert listed(stored, starting_after_us=shown_at, readings=Readings(resolution="microseconds")) == ["a2.0001", "a2.0002"]
    assert listed(stored, starting_after_us=shown_at, order="-created_at", readings=Readings(resolution="microseconds")) == []


def test_ties_of_a_millisecond_are_broken_by_id_but_microseconds_by_time() -> None:
    stored = [activity(2.000100, "z"), activity(2.000200, "a")]

    assert listed(stored) == ["a", "z"]
    assert listed(stored, readings=Readings(resolution="microseconds")) == ["z", "a"]


def test_a_page_can_be_shorter_than_what_was_asked() -> None:
    stored = [activity(at) for at in range(1, 60)]

    assert len(listed(stored, limit=100, readings=Readings(page_activities_max=20))) == 20


def test_an_activity_is_listed_from_when_it_is_shown_until_it_is_gone() -> None:
    late = activity(2, shown_at=7.5, gone_at=20)

    assert [listed([late], now=now) for now in (2, 7.4, 7.5, 19.9, 20)] == [[], [], ["a2"], ["a2"], []]


@pytest.mark.parametrize(
    "field",
    [
        {"campaign_id": "camp_1"},
        {"campaign_type": "PROMOTION"},
        {"product_id": "prod_1"},
        {"category": "EFFECT"},
        {"type": "customer.order.paid"},
    ],
)
def test_each_filter_lists_only_what_it_names(field: dict[str, Any]) -> None:
    assert listed([activity(1), activity(2, **field)], **field) == ["a2"]


def test_a_listing_says_how_many_there_are_and_how_to_go_on() -> None:
    assert list_activities(FIVE, ListQuery(limit=2, order="created_at", start_date_us=us(2)), Readings(), NOW) == Listing(
        (FIVE[1], FIVE[2]), total=4, has_more=True, more_starting_after="a3"
    )
    assert list_activities(FIVE, ListQuery(limit=4, order="created_at", start_date_us=us(2)), Readings(), NOW) == Listing(
        tuple(FIVE[1:]), total=4, has_more=False, more_starting_after=None
    )


def test_total_and_has_more_can_be_wrong_or_absent() -> None:
    def said(**readings: Any) -> tuple[int | None, bool | None]:
        listing = list_activities(FIVE, ListQuery(limit=2), replace(Readings(), **readings), NOW)
        return listing.total, listing.has_more

    assert said(total="wrong", has_more="wrong") == (2, False)
    assert said(total="absent", has_more="absent") == (None, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:01.002Z", 1_002_000),
        ("1970-01-01T00:00:01.002003+00:00", 1_002_003),
        ("1970-01-01T02:00:01+02:00", 1_000_000),
        ("1970-01-02", 86_400_000_000),
        ("1970-01-01T00:00:01", 1_000_000),
    ],
)
def test_instants_are_understood_in_several_forms(text: str, expected: int) -> None:
    assert parse_instant_us(text) == expected


def test_an_instant_is_shown_in_milliseconds_cut() -> None:
    assert format_instant(1_661_850_847_660_999) == "2022-08-30T09:14:07.660Z"
    assert format_instant(0) == "1970-01-01T00:00:00.000Z"
