"""A pytest plugin for a run on a mutant: it refuses to test another program, and tells how each test ended."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import Phase, settings

import poller

OUTCOMES = "MUTANT_OUTCOMES"
"""The file that is written."""

outcomes: dict[str, str] = {}


def pytest_sessionstart() -> None:
    here = Path.cwd()
    assert poller.__file__ is not None and Path(poller.__file__).is_relative_to(here), f"{poller.__file__} is not the program in {here}"


def pytest_pycollect_makemodule() -> None:
    """Before a module of tests is imported, and with it what Hypothesis shall do: a failure need not be made small, which takes minutes."""
    settings.register_profile("unshrunk", settings(), phases=(Phase.explicit, Phase.generate), report_multiple_bugs=False)
    settings.load_profile("unshrunk")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Passed, failed, skipped; or `error`, where a fixture failed: that proves nothing."""
    if report.when == "call":
        outcomes.setdefault(report.nodeid, report.outcome)
    elif not report.passed:
        outcomes[report.nodeid] = "error" if report.failed else report.outcome


def pytest_sessionfinish() -> None:
    Path(os.environ[OUTCOMES]).write_text(json.dumps(outcomes))
