"""What `make test` shows: which suite begins, and at the end what each took."""

import time
from collections import Counter
from pathlib import Path

import pytest

COVERED = ("unit", "property")
"""The core's coverage counts what these run. A simulated day passes the same lines a million times over, and counting them doubles its time."""


def suite_of(path: Path) -> str:
    """The folder under `tests`."""
    parts = path.parts
    return parts[parts.index("tests") + 1] if "tests" in parts else "other"


class Suites:
    """A pytest plugin."""

    def __init__(self) -> None:
        self.current: str | None = None
        self.began = 0.0
        self.seconds: dict[str, float] = {}
        self.outcomes: dict[str, Counter[str]] = {}
        self.sizes: Counter[str] = Counter()

    @pytest.hookimpl(trylast=True)  # what was deselected is not counted
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            suite = suite_of(item.path)
            self.sizes[suite] += 1
            if suite not in COVERED:
                item.add_marker("no_cover")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> None:
        suite = suite_of(item.path)
        if suite != self.current:
            self._begin(suite)
            reporter = item.config.pluginmanager.get_plugin("terminalreporter")
            if reporter is not None:
                reporter.write_sep("=", f"{suite}: {self.sizes[suite]} tests", bold=True)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            self.outcomes.setdefault(self.current or "other", Counter())[report.outcome] += 1

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        self._begin(None)
        if len(self.seconds) > 1:
            terminalreporter.write_sep("=", "suites")
        for suite, seconds in self.seconds.items():
            outcomes = ", ".join(f"{count} {outcome}" for outcome, count in self.outcomes.get(suite, {}).items())
            terminalreporter.write_line(f"{suite:<12} {seconds:6.1f} s  {outcomes}")

    def _begin(self, suite: str | None) -> None:
        now = time.monotonic()
        if self.current is not None:
            self.seconds[self.current] = self.seconds.get(self.current, 0.0) + now - self.began
        self.current, self.began = suite, now
