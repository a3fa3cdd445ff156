"""What is granted."""

from poller.demo.options import SimulatorOptions
from poller.demo.quota import Granted, calls_in_window_max


def outcomes(options: SimulatorOptions, times: list[float]) -> list[tuple[str | None, int, float]]:
    granted = Granted(0.0)
    return [(verdict.limited_by, verdict.remaining, verdict.retry_at) for verdict in (granted.take(options, at) for at in times)]


def test_a_sliding_window_counts_the_seconds_past() -> None:
    options = SimulatorOptions(calls_per_window=2, window="sliding")

    assert outcomes(options, [50, 59, 61, 109.9, 110, 118, 119]) == [
        (None, 1, 50),
        (None, 0, 110),
        ("api_calls", 0, 110),
        ("api_calls", 0, 110),
        (None, 0, 119),
        ("api_calls", 0, 119),
        (None, 0, 170),
    ]


def test_a_fixed_window_begins_anew_with_the_clock() -> None:
    options = SimulatorOptions(calls_per_window=2, window="fixed")

    assert outcomes(options, [50, 59, 59.9, 60, 61, 119]) == [
        (None, 1, 50),
        (None, 0, 60),
        ("api_calls", 0, 60),
        (None, 1, 60),
        (None, 0, 120),
        ("api_calls", 0, 120),
    ]


def test_a_call_is_granted_at_the_very_instant_that_was_named() -> None:
    options = SimulatorOptions(calls_per_window=1, window_seconds=60.1)
    granted = Granted(0.0)
    at = 1_800_000_000.1234567
    granted.take(options, at)

    assert granted.take(options, granted.look(options, at).retry_at).limited_by is None


def test_a_cycle_ends_and_begins_anew() -> None:
    options = SimulatorOptions(calls_per_window=None, calls_per_cycle=2, cycle_seconds=1_000)

    assert [(limited, at) for limited, _, at in outcomes(options, [1, 2, 3, 999, 1_000, 1_001, 1_002])] == [
        (None, 1),
        (None, 2),
        ("api_calls_cycle", 1_000),
        ("api_calls_cycle", 1_000),
        (None, 1_000),
        (None, 1_001),
        ("api_calls_cycle", 2_000),
    ]


def test_other_clients_spend_of_the_same_window() -> None:
    sliding = SimulatorOptions(calls_per_window=100, other_calls_per_minute=99)
    fixed = SimulatorOptions(calls_per_window=100, window="fixed", other_calls_per_minute=60)

    assert [limited for limited, _, _ in outcomes(sliding, [1, 2])] == [None, "api_calls"]
    assert [remaining for _, remaining, _ in outcomes(fixed, [0, 30])] == [99, 68]


def test_the_most_calls_in_any_window_are_found() -> None:
    assert calls_in_window_max([0, 10, 59.9, 60, 61, 200], 60) == 4
    assert calls_in_window_max([0, 60, 120], 60) == 1
    assert calls_in_window_max([], 60) == 0
