"""Every reading of the API that we could think of: nothing twice, nothing lost in silence, no loop, and complete wherever that can be had."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poller.demo.readings import Readings
from tests.support.judge import RUNS, SCENARIOS, Case, Start, run

RUNS_PER_SCENARIO = 120

UNKNOWNS: dict[str, tuple[Any, ...]] = {
    "start_date": ("inclusive", "inclusive", "exclusive", "exclusive", "ignored"),
    "starting_after": ("inclusive", "exclusive", "ignored"),
    "starting_after_direction": ("order", "newer", "older"),
    "starting_after_id": ("honoured", "by_created_at", "ignored", "empty_when_vanished", "refused_when_vanished", "refused"),
    "order": ("honoured", "honoured", "oldest_first", "newest_first"),
    "ties": ("stable", "unstable"),
    "resolution": ("milliseconds", "microseconds"),
    "page_activities_max": (100, 30, 7),
}

HOUR = 3600.0

# The Date header, how far it is ahead, how far our own clock is ahead. Both an hour ahead is not among them: whatever they are compared
# with, nothing that we know would tell that it is not yet that late, and what an idle customer does within that hour lies in the past.
CLOCKS: tuple[tuple[str, float, float], ...] = (
    ("right", 0, 0),
    ("right", 0, 0),
    ("absent", 0, 0),
    *(("right", date, ours) for date in (0, HOUR, -HOUR) for ours in (0, HOUR, -HOUR) if not date == ours == HOUR),
    ("absent", 0, HOUR),
    ("absent", 0, -HOUR),
)


def possible(start: Start, date: str, ours: float) -> bool:
    """A customer that starts now has nothing but our own clock to say when that is, where no response says it: ahead, it loses what happens next."""
    return not (start == "now" and date == "absent" and ours > 0)


@st.composite
def cases(draw: st.DrawFn, scenario: str) -> Case:
    start: Start = draw(st.sampled_from(("earliest", "now", "instant")))
    date, ahead, ours = draw(st.sampled_from([clocks for clocks in CLOCKS if possible(start, clocks[0], clocks[2])]))
    unknowns = {name: draw(st.sampled_from(values)) for name, values in UNKNOWNS.items()}
    calls = st.frozensets(st.integers(1, 40), max_size=3)
    return Case(
        scenario=scenario,
        readings=Readings(**unknowns, date=date, date_offset_seconds=ahead),  # type: ignore[arg-type]
        start=start,
        clock_offset=ours,
        killed_at=draw(calls),
        restarted_at=draw(calls),
        resumed_old=draw(st.booleans()),
    )


@pytest.mark.no_cover  # counting branches takes three times as long as the runs, and the unit tests reach them all
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_whatever_the_api_means_nothing_is_published_twice_or_lost_in_silence(scenario: str) -> None:
    @settings(max_examples=RUNS_PER_SCENARIO)
    @given(cases(scenario))
    def claims_hold(case: Case) -> None:
        verdict = run(case)
        RUNS[verdict.kind] += 1

        assert verdict.faults == []

    claims_hold()
