"""That the judge of the soak sees a leak, and takes nothing else for one; that its faults are drawn from the seed; that its page says what was found."""

import math
from collections import Counter
from random import Random
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from poller.demo.api import Call, Simulator
from poller.demo.options import SimulatorOptions
from tests.soak import report
from tests.soak.levels import SAMPLES_MIN, Bound, faults_of
from tests.soak.mischief import FAULTS, STREAMS
from tests.soak.plan import Stream, drawn
from tests.soak.sampling import Sample, least_of
from tests.soak.soak import BOUNDS, CALLS_PER_MINUTE, Outcome, not_given_back, risen, spent_too_much
from tests.support.drawing import Line, Marks, Panel, svg, ticks

SAMPLES = 300
MEMORY = BOUNDS["rss_mb"]
FILES = BOUNDS["files"]


def noise(seed: int, size: float) -> list[float]:
    random = Random(seed)
    return [random.gauss(0, size) for _ in range(SAMPLES)]


def kinds_of(series: list[float], bound: Bound) -> list[str]:
    """`goes` on rising, `rose` too high, or nothing."""
    return [fault.removeprefix(f"{bound.name}: ").split()[0] for fault in faults_of(series, bound)]


LEVEL: dict[str, list[float]] = {
    "flat": [100.0] * SAMPLES,
    "flat, with noise": [100 + drawn for drawn in noise(1, 3)],
    "warms up": [100 - 40 * math.exp(-i / 30) for i in range(SAMPLES)],
    "a sawtooth": [100 + i % 20 for i in range(SAMPLES)],
    "a slow sawtooth": [90 + i % 60 / 2 for i in range(SAMPLES)],
    "a peak now and then": [130.0 if i % 37 < 3 else 100.0 for i in range(SAMPLES)],
    "falls": [130 - i / 10 for i in range(SAMPLES)],
    **{f"a step at {at}": [115.0 if i >= at else 100.0 for i in range(SAMPLES)] for at in (20, 90, 150, 200, 230, 250, 280, 299)},
}
RISING: dict[str, list[float]] = {
    "a leak": [100 + i / 10 for i in range(SAMPLES)],
    "a leak, with noise": [100 + i / 10 + drawn for i, drawn in enumerate(noise(2, 3))],
    "a leak in a sawtooth": [100 + i / 10 + i % 20 for i in range(SAMPLES)],
    "a staircase": [100.0 + 3 * (i // 25) for i in range(SAMPLES)],
    "a leak that begins late": [100 + max(0, i - 150) / 4 for i in range(SAMPLES)],
    "a leak beside a step": [100 + i / 10 + (20 if i >= 230 else 0) for i in range(SAMPLES)],
    "a leak after it had warmed up": [100 - 40 * math.exp(-i / 20) + i / 8 for i in range(SAMPLES)],
}


@pytest.mark.parametrize("name", LEVEL)
def test_what_is_level_is_taken_for_level(name: str) -> None:
    assert faults_of(LEVEL[name], MEMORY) == []


@pytest.mark.parametrize("name", RISING)
def test_what_goes_on_rising_is_seen(name: str) -> None:
    assert "goes" in kinds_of(RISING[name], MEMORY)


def test_a_leak_is_seen_from_the_bound_on_and_named_with_its_figures() -> None:
    bound = Bound("open files", "", share=0.0, amount=10.0, peak_share=2.0)
    below, above = ([50 + slope * i / 100 for i in range(SAMPLES)] for slope in (7.4, 7.7))  # four steps of five, over 5/6 of 200 samples

    assert faults_of(below, bound) == []
    assert faults_of(above, bound) == [
        "open files: goes on rising, by 10.2 without its largest step where 10.0 are allowed; its thirds are 53.8, 61.5 and 69.2"
    ]


def test_what_is_level_but_far_too_high_for_a_while_is_seen() -> None:
    once = [100.0] * (SAMPLES - 1) + [151.0]

    assert kinds_of(once, MEMORY) == ["rose"]


def test_too_few_samples_pass_nothing() -> None:
    assert faults_of([100.0] * (SAMPLES_MIN - 1), MEMORY) == ["memory: 35 samples are too few to judge"]
    assert faults_of([100.0] * SAMPLES_MIN, MEMORY) == []


def sample(i: int, **held: float | None) -> Sample:
    given: dict[str, Any] = {"rss_mb": 80.0, "files": 30, "threads": 3, "tasks": 40, **held}
    return Sample(minutes=i / 30, **given)


@pytest.mark.parametrize("leaking", BOUNDS)
def test_each_of_what_is_measured_is_judged(leaking: str) -> None:
    samples = [sample(i, **{leaking: 80 + i}) for i in range(SAMPLES)]

    assert {fault.split(": ")[0] for fault in risen(samples)} == {BOUNDS[leaking].name}


def test_a_replica_that_does_not_answer_is_judged_by_what_it_said_between() -> None:
    assert risen([sample(i, tasks=None if i % 3 else 40) for i in range(SAMPLES)]) == []
    assert risen([sample(i, tasks=None) for i in range(SAMPLES)]) == ["tasks: 0 samples are too few to judge"]


def test_what_is_not_given_back_at_rest_is_seen() -> None:
    before = sample(0)

    assert not_given_back(before, sample(0, rss_mb=90, files=32, threads=3, tasks=0)) == []
    assert not_given_back(before, sample(0, rss_mb=91, files=33, threads=5, tasks=43)) == [
        "memory: at rest 91 where there were 80 before the faults, and 10 more are allowed",
        "open files: at rest 33 where there were 30 before the faults, and 2 more are allowed",
        "threads: at rest 5 where there were 3 before the faults, and 1 more are allowed",
        "tasks: at rest 43 where there were 40 before the faults, and 2 more are allowed",
    ]
    assert not_given_back(before, sample(0, tasks=None)) == ["tasks: at rest it does not say how many"]


def test_at_rest_counts_the_least_of_each() -> None:
    samples = [
        sample(0, files=31, tasks=40, threads=3),
        sample(1, files=30, tasks=41, rss_mb=79.0),
        sample(2, files=34, tasks=None, threads=2),
    ]

    assert least_of(samples) == sample(2, files=30, tasks=40, threads=2, rss_mb=79.0)


def test_more_calls_than_the_budget_allows_are_seen() -> None:
    simulator = Simulator(SimulatorOptions(customers=1), lambda: 0.0)
    simulator.calls.extend(Call(i * 60 / CALLS_PER_MINUTE, "accepted") for i in range(3000))
    within = spent_too_much(simulator)
    simulator.calls.append(Call(59.99, "accepted"))

    assert (within, spent_too_much(simulator)) == ([], ["3001 calls in a minute"])


# ----------------------------------------------------------------------------------------------------------------------- plan


def test_the_same_seed_draws_the_same_faults_and_another_others() -> None:
    assert drawn(STREAMS, 7, 600) == drawn(STREAMS, 7, 600)
    assert drawn(STREAMS, 7, 600) != drawn(STREAMS, 8, 600)


@pytest.mark.parametrize("seed", range(20))
def test_in_ten_minutes_each_fault_comes_and_none_after_the_end(seed: int) -> None:
    plan = drawn(STREAMS, seed, 600)
    blows = [blow for blows in plan.values() for blow in blows]

    assert {blow.fault for blow in blows} == FAULTS.keys()
    assert all(0 < blow.at_seconds <= 600 for blow in blows)
    assert all([blow.at_seconds for blow in blows] == sorted(blow.at_seconds for blow in blows) for blows in plan.values())


def test_faults_are_dealt_like_cards() -> None:
    (blows,) = drawn([Stream("s", ("a", "b", "c"), (1.0, 1.0))], 1, 12).values()

    assert [Counter(blow.fault for blow in blows[i : i + 3]) for i in range(0, 12, 3)] == [Counter("abc")] * 4
    assert len({blow.seed for blow in blows}) == 12


# ----------------------------------------------------------------------------------------------------------------------- page


def outcome(lost: int = 0, wrong: tuple[str, ...] = ()) -> Outcome:
    return Outcome(
        minutes=10.0,
        seed=7,
        customers=3000,
        calls=25_000,
        calls_in_minute_max=2_950,
        statuses={0: 12, 200: 24_000, 429: 988},
        activities=40_000,
        lost=lost,
        twice=0,
        injected={"429": 4, "broker hangs": 3},
        began=[(30.0, "broker"), (45.5, "API")],
        rebalances=40,
        samples=[sample(i) for i in range(SAMPLES)],
        before=sample(0),
        after=sample(0, files=31),
        wrong=wrong,
    )


def rows(page: str, name: str) -> list[list[str]]:
    """The other cells of the table rows that begin so."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("| ")]
    return [line[1:] for line in cells if line[0] == name]


def test_a_soak_passes_only_without_a_fault() -> None:
    assert [outcome().passed, outcome(lost=1).passed, outcome(wrong=("memory rises",)).passed] == [True, False, False]


def test_the_page_says_what_was_found_and_names_every_fault() -> None:
    page = report.document(outcome())

    assert rows(page, "open files") == [["30", "30", "30", "30", "30", "31"]]
    assert rows(page, "memory") == [["80 MB"] * 6]
    assert rows(page, "10") == [["3,000", "25,000", "2,950 of 3,000", "40,000", "0", "0"]]
    assert {fault: rows(page, fault) for fault in FAULTS} == {
        fault: [[{"429": "4", "broker hangs": "3"}.get(fault, "0")]] for fault in FAULTS
    }


def test_the_plot_shows_every_sample_and_every_fault() -> None:
    drawn_plot = ET.fromstring(report.plot(outcome()))
    name = "{http://www.w3.org/2000/svg}"
    lines = [line.attrib["points"].split() for line in drawn_plot.iter(f"{name}polyline")]

    assert [len(points) for points in lines] == [SAMPLES] * 4
    assert len([line for line in drawn_plot.iter(f"{name}line") if line.attrib["class"] == "mark"]) == 2


# -------------------------------------------------------------------------------------------------------------------- drawing


@pytest.mark.parametrize(
    ("top", "expected"),
    [
        (10, [0, 2, 4, 6, 8, 10]),
        (10.1, [0, 5, 10, 15]),
        (0.3, [0, 0.1, 0.2, 0.3]),
        (94, [0, 20, 40, 60, 80, 100]),
        (1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
    ],
)
def test_an_axis_counts_in_round_steps_up_to_what_it_has_to_hold(top: float, expected: list[float]) -> None:
    assert ticks(top) == pytest.approx(expected)


@pytest.mark.parametrize("top", [0.0, 1e-6, 0.7, 3.0, 99.0, 123_456.0])
def test_an_axis_holds_everything_with_few_steps(top: float) -> None:
    values = ticks(top)

    assert values[-1] >= top
    assert 2 <= len(values) <= 6


def test_a_drawing_lies_within_its_frame_and_quotes_what_it_is_told() -> None:
    drawing = ET.fromstring(
        svg("a <b> & c", "x", 5, [Panel("p", [Line("q", [(0, 0), (5, 10)]), Line("r & s", [(1, 3)])])], [Marks("m", [2.5])])
    )
    name = "{http://www.w3.org/2000/svg}"
    points = [tuple(map(float, point.split(","))) for line in drawing.iter(f"{name}polyline") for point in line.attrib["points"].split()]
    texts = [text.text for text in drawing.iter(f"{name}text")]

    assert drawing.findtext(f"{name}title") == "a <b> & c"
    assert points == [(56.0, 156.0), (844.0, 26.0), (213.6, 117.0)]
    assert {"p", "q", "r & s", "m", "x", "0", "10", "5"} <= set(texts)
