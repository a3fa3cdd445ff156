"""Hypothesis is seeded by each test, so that a run says the same everywhere; what the readings came to is told at the end."""

import pytest
from hypothesis import HealthCheck, settings

from tests.support.judge import RUNS

settings.register_profile(
    "steady",
    derandomize=True,
    deadline=None,
    database=None,
    print_blob=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
settings.load_profile("steady")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if RUNS:
        terminalreporter.section("readings of the API")
        for kind, runs in sorted(RUNS.items()):
            terminalreporter.write_line(f"{runs:6} runs: {kind}")
