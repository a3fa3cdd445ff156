"""How one customer is read page by page."""

from msgspec.structs import replace

from poller.core.walk import CALLS_MAX, PAGE_ACTIVITIES_SHORT, End, Shown, Way, fewer, follow, query_of, stuck
from poller.model import ActivityId, Query, Walk
from tests.support.builders import shown, walk

LONGEST = 5
CURSOR_MS = 5_000
FRESH = walk(low=10.0)
"""A walk that begins at second 10."""

FIRST = shown(10, 11, 12, 13, 14)
"""A full page of it."""


def followed(going: Walk, page: Shown, longest: int = LONGEST, stepped: float | None = None) -> Walk | End:
    return follow(going, page, longest, CURSOR_MS, None if stepped is None else round(stepped * 1000))


def after_first(**fields: object) -> Walk:
    """The walk after its first page."""
    going = walk(low=14, calls=1, page_ids=("a10", "a11", "a12", "a13", "a14"), low_keys=("a14",))
    return replace(going, **fields)


def tied(*ids: str, at: float = 14) -> Shown:
    """A page of one instant."""
    return shown(*[at] * len(ids), ids=ids)


TIED = after_first(page_ids=("t1", "t2", "t3", "t4", "t5"), low_keys=("t1", "t2", "t3", "t4", "t5"))
"""A walk whose last page was full of one instant."""


# What is asked for.


def test_a_walk_from_the_beginning_sets_no_bound() -> None:
    assert query_of(walk(low=0)) == Query()


def test_each_way_asks_in_its_own_words() -> None:
    going = after_first()

    assert [query_of(replace(going, way=way)) for way in Way] == [
        Query(start_date_ms=13_999),
        Query(starting_after_id=ActivityId("a12")),
        Query(starting_after_ms=13_999),
        Query(start_date_ms=14_001),
    ]


# A page that leads on.


def test_a_full_page_moves_low_to_its_newest_instant() -> None:
    assert followed(FRESH, FIRST) == after_first()


def test_what_stands_at_low_is_remembered_for_the_next_page_to_join() -> None:
    going = followed(FRESH, shown(10, 11, 12, 14, 14, ids=("a", "b", "c", "d", "e")))

    assert going == walk(low=14, calls=1, page_ids=("a", "b", "c", "d", "e"), low_keys=("d", "e"))


def test_a_page_that_shows_again_what_was_seen_at_low_is_joined() -> None:
    assert followed(after_first(), shown(14, 15, 16, 17, 18)) == walk(
        low=18, calls=2, page_ids=("a14", "a15", "a16", "a17", "a18"), low_keys=("a18",)
    )


def test_a_first_page_of_the_instant_where_it_begins_leads_on() -> None:
    assert followed(FRESH, tied("t1", "t2", "t3", "t4", "t5", at=10)) == replace(TIED, low_ms=10_000)


def test_a_longer_page_than_any_before_is_full() -> None:
    assert isinstance(followed(FRESH, shown(10, 11, 12, 13, 14, 15, 16)), Walk)


# The end.


def test_an_empty_page_ends_the_read() -> None:
    assert followed(FRESH, shown()) == End()


def test_a_very_short_page_proves_the_end() -> None:
    assert followed(FRESH, shown(10, 11, 12, 13), longest=100) == End()


def test_a_short_page_that_a_smaller_cap_may_have_cut_ends_the_read_but_holds_the_cursor() -> None:
    assert PAGE_ACTIVITIES_SHORT == 5
    assert followed(FRESH, FIRST, longest=100) == End(shown_to_ms=14_000)


def test_a_short_page_that_would_leave_the_cursor_where_it_is_does_not_end_the_read() -> None:
    at_cursor = walk(low=5)

    assert followed(at_cursor, tied("t1", "t2", "t3", "t4", "t5", at=5), longest=100) == replace(TIED, low_ms=5_000)
    assert followed(at_cursor, tied("t1", "t2", "t3", "t4", "t5", at=5.001), longest=100) == End(shown_to_ms=5_001)
    assert followed(at_cursor, tied("t1", "t2", "t3", "t4", at=5), longest=100) == End()


def test_a_short_page_without_dates_holds_nothing() -> None:
    assert followed(FRESH, shown(length=7), longest=100) == End()


def test_a_short_page_by_date_ends_the_read_though_what_was_seen_at_low_is_gone() -> None:
    assert followed(after_first(), shown(15, 16)) == End()


def test_a_short_page_by_another_way_ends_the_read_only_if_it_is_joined() -> None:
    by_id = after_first(way=Way.AFTER_ID)

    assert followed(by_id, shown(13, 14, 15)) == End()
    assert followed(by_id, shown(14, 15)) == after_first(calls=2, way=Way.AFTER_DATE)


def test_a_gap_on_the_way_is_told_at_the_end() -> None:
    assert followed(after_first(way=Way.PAST_LOW, gap=True, stepped_ms=14_000), shown()) == End(gap=True, stepped_ms=14_000)


# Ways that do not lead on.


def test_a_full_page_that_is_not_joined_is_not_trusted() -> None:
    assert followed(after_first(), shown(15, 16, 17, 18, 19)) == after_first(calls=2, way=Way.AFTER_ID)


def test_a_full_page_that_shows_nothing_fresh_at_low_takes_the_next_way() -> None:
    assert followed(TIED, tied("t1", "t2", "t3", "t4", "t5")) == replace(TIED, calls=2, way=Way.AFTER_ID)


def test_a_full_page_without_dates_takes_the_next_way() -> None:
    assert followed(FRESH, shown(length=5)) == walk(low=10, calls=1, way=Way.AFTER_DATE)


def test_the_ways_are_tried_in_turn_and_the_last_counts_a_gap() -> None:
    ways = [after_first()]
    while isinstance(step := stuck(ways[-1]), Walk):
        ways.append(step)

    assert [(going.way, going.gap, going.stepped_ms) for going in ways] == [
        (Way.FROM_LOW, False, None),
        (Way.AFTER_ID, False, None),
        (Way.AFTER_DATE, False, None),
        (Way.PAST_LOW, True, 14_000),
    ]
    assert step == End(gap=True, shown_to_ms=14_001, stepped_ms=14_000)


def test_the_id_cursor_needs_an_id_to_follow() -> None:
    assert stuck(after_first(page_ids=("a14",))) == after_first(page_ids=("a14",), way=Way.AFTER_DATE)


def test_a_date_cursor_needs_a_date() -> None:
    assert stuck(walk(low=0)) == walk(low=0, way=Way.PAST_LOW, gap=True, stepped_ms=0)


# The id cursor: of a page of five ids it must show the last two again.


def by_id(*ids: str) -> Walk:
    """In the midst of a tie, after a page of these."""
    return replace(TIED, way=Way.AFTER_ID, page_ids=ids or TIED.page_ids)


def test_the_id_cursor_leads_through_ties() -> None:
    assert query_of(by_id()) == Query(starting_after_id=ActivityId("t3"))
    assert followed(by_id(), tied("t4", "t5", "t6", "t7", "t8")) == replace(
        by_id(), calls=2, page_ids=("t4", "t5", "t6", "t7", "t8"), low_keys=("t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8")
    )


def test_a_long_page_is_asked_to_show_its_last_four_again_and_a_short_one_half_of_it() -> None:
    pages = [tuple(f"t{number}" for number in range(count)) for count in (2, 3, 7, 8, 100)]

    assert [query_of(by_id(*ids)).starting_after_id for ids in pages] == ["t0", "t1", "t3", "t3", "t95"]


def test_a_page_of_the_id_cursor_may_begin_with_the_id_that_was_asked_for() -> None:
    going = followed(by_id(), tied("t3", "t4", "t5", "t6", "t7"))

    assert isinstance(going, Walk)
    assert going.page_ids == ("t3", "t4", "t5", "t6", "t7")


def test_what_is_shown_late_among_the_ties_may_stand_before_the_last_id() -> None:
    pages = [("late", "t4", "t5", "t6", "t7"), ("t4", "late", "t5", "t6", "t7"), ("t3", "late1", "t4", "late2", "t5", "t6")]
    going = [followed(by_id(), tied(*ids)) for ids in pages]

    assert [step.low_keys[5:] for step in going if isinstance(step, Walk)] == [
        ("late", "t6", "t7"),
        ("late", "t6", "t7"),
        ("late1", "late2", "t6"),
    ]
    assert {step.way for step in going if isinstance(step, Walk)} == {Way.AFTER_ID}


def test_a_page_that_does_not_show_again_what_it_should_is_not_trusted() -> None:
    elsewhere = [
        tied("t5", "t6", "t7", "t8", "t9"),  # begins later
        tied("t5", "t4", "t6", "t7", "t8"),  # in another order
        tied("t1", "t4", "t5", "t6", "t7"),  # with another one that was there
        tied("t6", "t7", "t8", "t9", "t10"),
        shown(13, 14, 14, 14, 14, ids=("a", "t4", "t5", "t6", "t7")),  # with something earlier
    ]

    assert [followed(by_id(), page) for page in elsewhere] == [replace(by_id(), calls=2, way=Way.AFTER_DATE)] * 5


def test_an_id_cursor_that_shows_nothing_fresh_is_stuck() -> None:
    going = replace(TIED, way=Way.AFTER_ID, low_keys=("t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8"))

    assert followed(going, tied("t5", "t6", "t7", "t8", "t5")) == replace(going, calls=2, way=Way.AFTER_DATE)


def test_beyond_the_ties_the_walk_goes_on_by_date() -> None:
    going = followed(by_id(), shown(14, 14, 15, 16, 17, ids=("t4", "t5", "c", "d", "e")))

    assert going == walk(low=17, calls=2, page_ids=("t4", "t5", "c", "d", "e"), low_keys=("e",))


def test_more_ties_shown_from_low_are_followed_without_a_gap_where_their_order_stands() -> None:
    going = followed(TIED, tied("t1", "t2", "t3", "t4", "t5", "t6"), longest=6)

    assert going == replace(TIED, calls=2, page_ids=("t1", "t2", "t3", "t4", "t5", "t6"), low_keys=("t1", "t2", "t3", "t4", "t5", "t6"))


def test_ties_in_another_order_than_before_are_a_gap_as_the_id_cursor_may_miss_some() -> None:
    going = followed(TIED, tied("t9", "t2", "t8", "t4", "t5"))

    assert going == replace(
        TIED, calls=2, gap=True, page_ids=("t9", "t2", "t8", "t4", "t5"), low_keys=("t9", "t2", "t8", "t4", "t5", "t1", "t3")
    )


# Known gaps.


def test_a_tie_that_was_stepped_over_is_stepped_over_at_once_and_not_counted_again() -> None:
    assert followed(FRESH, FIRST, stepped=14) == after_first(way=Way.PAST_LOW, stepped_ms=14_000)


def test_a_step_that_is_elsewhere_changes_nothing() -> None:
    assert followed(FRESH, FIRST, stepped=13) == after_first()


def test_past_low_a_page_needs_nothing_to_join() -> None:
    past = after_first(way=Way.PAST_LOW, gap=True, stepped_ms=14_000)

    assert followed(past, shown(15, 16, 17, 18, 19)) == walk(
        low=19, calls=2, page_ids=("a15", "a16", "a17", "a18", "a19"), low_keys=("a19",), gap=True, stepped_ms=14_000
    )


# An API that does not do as it is asked.


def test_a_page_that_does_not_ascend_shows_that_the_order_is_ignored() -> None:
    assert followed(FRESH, shown(14, 13, 12, 11, 10)) == End(gap=True, followable=False)


def test_a_very_short_page_that_does_not_ascend_has_shown_all() -> None:
    assert followed(FRESH, shown(12, 11)) == End()


def test_a_page_of_one_instant_proves_no_direction() -> None:
    assert isinstance(followed(FRESH, tied("t1", "t2", "t3", "t4", "t5", at=12)), Walk)


def test_a_full_page_that_begins_before_its_date_shows_that_the_date_is_ignored() -> None:
    assert followed(after_first(), shown(1, 2, 3, 4, 5)) == after_first(calls=2, way=Way.AFTER_ID, start_date_ignored=True)


def test_a_millisecond_before_its_date_is_within_what_was_asked_for() -> None:
    page = shown(13.998, 14, 15, 16, 17)

    assert followed(after_first(), page) == walk(low=17, calls=2, page_ids=("a13.998", "a14", "a15", "a16", "a17"), low_keys=("a17",))
    assert followed(after_first(), shown(13.997, 14, 15, 16, 17)) == after_first(calls=2, way=Way.AFTER_ID, start_date_ignored=True)


def test_a_short_page_that_begins_before_its_date_shows_all_whatever_the_date_means() -> None:
    assert followed(after_first(), shown(1, 2, 14)) == End()


def test_a_page_of_the_date_cursor_that_begins_before_it_looks_the_other_way() -> None:
    by_date = after_first(way=Way.AFTER_DATE)

    assert followed(by_date, shown(10, 11, 14)) == after_first(calls=2, way=Way.PAST_LOW, gap=True, stepped_ms=14_000)


def test_where_start_date_is_ignored_the_walk_goes_on_by_the_date_cursor() -> None:
    going = after_first(way=Way.AFTER_ID, start_date_ignored=True)

    assert followed(going, shown(13, 14, 15, 16, 17)) == walk(
        low=17, calls=2, way=Way.AFTER_DATE, page_ids=("a13", "a14", "a15", "a16", "a17"), low_keys=("a17",), start_date_ignored=True
    )


def test_where_start_date_is_ignored_and_nothing_else_leads_on_the_customer_cannot_be_followed() -> None:
    assert stuck(after_first(way=Way.AFTER_DATE, start_date_ignored=True)) == End(gap=True, followable=False)


# Pages that are too large.


def test_a_page_that_is_too_large_is_asked_for_with_half_as_many_activities_down_to_two() -> None:
    going: Walk | None = after_first()
    limits = []
    while going is not None:
        limits.append(query_of(going).limit)
        going = fewer(going)

    assert limits == [100, 50, 25, 12, 6, 3, 2]


def test_a_page_of_as_many_as_were_asked_for_is_full_though_others_were_longer() -> None:
    assert followed(after_first(limit=2), shown(14, 15), longest=100) == walk(
        low=15, calls=2, page_ids=("a14", "a15"), low_keys=("a15",), limit=2
    )
    assert followed(after_first(limit=2), shown(14), longest=100) == End()


def test_a_full_page_of_few_that_does_not_ascend_shows_that_the_order_is_ignored() -> None:
    assert followed(walk(low=10, limit=2), shown(12, 11), longest=100) == End(gap=True, followable=False)


# Limits.


def test_a_read_of_very_many_calls_ends_where_it_is() -> None:
    assert followed(after_first(calls=CALLS_MAX - 1), shown(14, 15, 16, 17, 18)) == End(shown_to_ms=18_000)


def test_a_read_of_very_many_calls_that_got_stuck_ends_where_it_is() -> None:
    assert followed(after_first(calls=CALLS_MAX - 1), shown(15, 16, 17, 18, 19)) == End(shown_to_ms=14_000)


def test_a_read_that_ends_in_the_midst_of_ties_steps_over_them_in_the_next() -> None:
    going = replace(TIED, calls=CALLS_MAX - 1, way=Way.AFTER_ID)

    assert followed(going, tied("t5", "t6", "t7", "t8", "t9")) == End(shown_to_ms=14_000, gap=True, stepped_ms=14_000)


def test_entries_without_a_date_count_for_the_length_of_a_page() -> None:
    assert isinstance(followed(FRESH, shown(10, 11, 12, length=5)), Walk)
