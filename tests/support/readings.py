"""What is not known of the API, and whose clock may be wrong how: the values that a case is drawn from."""

from dataclasses import replace
from typing import Any

from poller.demo.readings import Readings
from tests.support.judge import Case, Start

HOUR = 3600.0

UNKNOWNS: dict[str, tuple[Any, ...]] = {
    "start_date": ("inclusive", "exclusive", "ignored"),
    "starting_after": ("inclusive", "exclusive", "ignored"),
    "starting_after_direction": ("order", "newer", "older"),
    "starting_after_id": ("honoured", "by_created_at", "ignored", "empty_when_vanished", "refused_when_vanished", "refused"),
    "order": ("honoured", "oldest_first", "newest_first"),
    "ties": ("stable", "unstable"),
    "resolution": ("milliseconds", "microseconds"),
}

PAGES = ((100, 100), (30, 30), (7, 7), (100, 7), (7, 100))
"""The most activities on a page, at first and from the middle of the run on."""

# `Date`, how far it is ahead at first and from the middle of the run on, and how far our own clock is ahead. That both are an hour ahead is
# not among them: whatever they are compared with, nothing that we know would tell that it is not yet that late, and what an idle customer
# does within that hour lies in the past.
CLOCKS: tuple[tuple[str, float, float, float], ...] = (
    *(("right", date, date, ours) for date in (0, HOUR, -HOUR) for ours in (0, HOUR, -HOUR) if not date == ours == HOUR),
    *(("right", 0, later, 0) for later in (HOUR, -HOUR)),
    *(("absent", 0, 0, ours) for ours in (0, HOUR, -HOUR)),
)


def possible(start: Start, date: str, ours: float) -> bool:
    """A customer that starts now has nothing but our own clock to say when that is, where no response says it: ahead, it loses what happens next."""
    return not (start == "now" and date == "absent" and ours > 0)


def case_of(
    scenario: str, unknowns: dict[str, Any], page: tuple[int, int], clocks: tuple[str, float, float, float], start: Start, **struck: Any
) -> Case:
    """`struck`: when it is killed and restarted, see `Case`."""
    date, ahead, ahead_later, ours = clocks
    readings = Readings(**unknowns, page_activities_max=page[0], date=date, date_offset_seconds=ahead)  # type: ignore[arg-type]
    later = replace(readings, page_activities_max=page[1], date_offset_seconds=ahead_later)
    return Case(scenario, readings, None if later == readings else later, start=start, clock_offset=ours, **struck)
