"""The listing finds everybody whatever the API makes of bounds, ties and resolution, or says that there is a gap; and it never loops."""

from collections.abc import Sequence
from typing import NamedTuple

from hypothesis import event, given
from hypothesis import strategies as st

from poller.core import listing
from poller.demo.readings import ListQuery, Readings, Stored, list_activities
from poller.model import CustomerId, ListCall, Listed, Listing, ListPage
from tests.support.fuzzing import examples

LOOKBACK_MS = 2_000
NOW_MS = 1_000_000


class Person(NamedTuple):
    created_at_us: int
    shown_at_ms: int


class Project:
    """Its customers, and the API that lists them."""

    def __init__(self, readings: Readings) -> None:
        self.readings = readings
        self.stored: list[Stored] = []
        self.calls = 0

    def add(self, people: Sequence[Person]) -> None:
        for person in people:
            name = f"c{len(self.stored)}"
            self.stored.append(Stored(name, "customer", person.created_at_us, person.shown_at_ms / 1000))
        self.stored.sort(key=lambda one: one.created_at_us)

    def page(self, call: ListCall, now_ms: int) -> ListPage:
        self.calls += 1
        after_us = None if call.after_ms is None else call.after_ms * 1000
        query = ListQuery(limit=call.limit, order="created_at", starting_after_us=after_us)
        shown = list_activities(self.stored, query, self.readings, now_ms / 1000, self.calls).activities
        return ListPage(tuple(Listed(CustomerId(one.id), created_at_ms=one.created_at_us // 1000) for one in shown), len(shown))


def look(project: Project, stands: Listing, now_ms: int) -> tuple[Listing, set[str]]:
    """To the end, and whom it shows."""
    found: set[str] = set()
    for calls in range(4 * len(project.stored) + 10):
        stands = listing.called(stands, now_ms, now_ms / 1000)
        call = ListCall(0, stands.after_ms, now_ms / 1000)
        page = project.page(call, now_ms)
        found |= {one.id for one in page.customers}
        stands = listing.advanced(stands, call, page, LOOKBACK_MS, now_ms)
        if stands.ended:
            event(f"calls {min(calls, 20) // 5 * 5}+")
            return stands, found
    raise AssertionError(f"it does not end: {stands}")


readings = st.builds(
    Readings,
    starting_after=st.sampled_from(["inclusive", "exclusive"]),
    ties=st.sampled_from(["stable", "unstable"]),
    resolution=st.sampled_from(["milliseconds", "microseconds"]),
    page_activities_max=st.integers(10, 30),
)
odd_readings = st.builds(
    Readings,
    starting_after=st.sampled_from(["inclusive", "exclusive"]),
    starting_after_direction=st.sampled_from(["order", "older"]),
    order=st.sampled_from(["honoured", "newest_first"]),
    page_activities_max=st.integers(10, 30),
)
instants_us = st.integers(0, NOW_MS - 10_000).map(lambda ms: ms * 1000) | st.integers(0, 3_000) | st.sampled_from([5_000, 7_001, 7_999])


@examples(200)
@given(readings, st.lists(instants_us, max_size=80), st.data())
def test_everybody_is_found_or_a_gap_is_told_and_it_ends(readings: Readings, created: list[int], data: st.DataObject) -> None:
    project = Project(readings)
    project.add([Person(at, 0) for at in created])
    stands, found = look(project, Listing(), NOW_MS)

    missing = {one.id for one in project.stored} - found
    event(f"gap {stands.gap}")
    assert not missing or stands.gap
    most = max((sum(at // 1000 == other // 1000 for other in created) for at in created), default=0)
    assert not stands.gap or most >= listing.PAGE_SHORT, "no gap where no instant holds so many"
    assert stands.whole

    now_ms, known = NOW_MS, set(found)
    for _ in range(3):
        before_ms, now_ms = now_ms, now_ms + data.draw(st.integers(1, 20_000))
        shown_ms, late_ms = st.integers(before_ms + 1, now_ms + LOOKBACK_MS), st.integers(0, LOOKBACK_MS)
        new = st.builds(lambda shown_ms, late_ms: Person((shown_ms - late_ms) * 1000, shown_ms), shown_ms, late_ms)
        project.add(data.draw(st.lists(new, max_size=8)))
        stands, found = look(project, stands, now_ms)
        known |= found
    stands, found = look(project, stands, now_ms + LOOKBACK_MS)

    assert {one.id for one in project.stored} - known - found == missing or stands.gap


@examples(100)
@given(odd_readings, st.lists(instants_us, max_size=60))
def test_an_api_that_ignores_what_it_is_asked_is_noticed_and_ends(readings: Readings, created: list[int]) -> None:
    project = Project(readings)
    project.add([Person(at, 0) for at in created])
    stands, found = look(project, Listing(), NOW_MS)

    assert {one.id for one in project.stored} <= found or stands.gap
    assert look(project, stands, NOW_MS + 1)[0].ended
