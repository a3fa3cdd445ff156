"""The rule of whom to call, on days of activity: one seed of each small case; `make bench-freshness` plays all of them, and compares."""

import pytest

from tests.bench.freshness.cases import CASES, CHECKSUMS, ROUND_ROBIN, SQUARE_ROOT, THE_RULE, ZIPF, Case, drawn, faults, played

SMALL = [case for case in CASES if case.name.startswith("CI-")]


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)
def test_the_rule_is_as_fresh_as_it_should_be(case: Case) -> None:
    outcome = played(case, THE_RULE)
    print(case.name, outcome)

    assert faults(case, outcome) == []


@pytest.mark.parametrize("name", [ROUND_ROBIN, SQUARE_ROOT])
def test_the_harness_gives_what_theory_says_of_those_of_whom_it_says_something(name: str) -> None:
    assert played(CASES[0], name).mean > 0  # `played` compares it with theory


def test_a_workload_that_comes_out_otherwise_is_refused() -> None:
    assert {workload: len(drawn(workload).times) for workload in CHECKSUMS} == {workload: workload.customers for workload in CHECKSUMS}
    known = CHECKSUMS[ZIPF]
    CHECKSUMS[ZIPF] = (known[0] + 1, known[1])
    try:
        with pytest.raises(AssertionError, match="came out otherwise"):
            drawn(ZIPF)
    finally:
        CHECKSUMS[ZIPF] = known
