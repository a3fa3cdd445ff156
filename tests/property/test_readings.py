"""Every reading of the API that we could think of: nothing twice, nothing lost in silence, no loop, and complete wherever that can be had.

What is drawn here is tried in full by `make readings`.
"""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.judge import RUNS, SCENARIOS, Case, Start, run
from tests.support.readings import CLOCKS, PAGES, UNKNOWNS, case_of, possible

RUNS_PER_SCENARIO = 120

DRAWN: dict[str, tuple[Any, ...]] = UNKNOWNS | {
    "start_date": ("inclusive", "inclusive", "exclusive", "exclusive", "ignored"),
    "order": ("honoured", "honoured", "oldest_first", "newest_first"),
}
"""What can be followed is drawn more often."""


@st.composite
def cases(draw: st.DrawFn, scenario: str) -> Case:
    start: Start = draw(st.sampled_from(("earliest", "now", "instant")))
    clocks = draw(st.sampled_from([CLOCKS[0], CLOCKS[0], *(one for one in CLOCKS if possible(start, one[0], one[3]))]))
    calls = st.frozensets(st.integers(1, 40), max_size=3)
    return case_of(
        scenario,
        {name: draw(st.sampled_from(values)) for name, values in DRAWN.items()},
        draw(st.sampled_from(PAGES)),
        clocks,
        start,
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
