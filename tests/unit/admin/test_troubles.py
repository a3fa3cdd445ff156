"""The last warnings and errors."""

import logging
from pathlib import Path
from typing import Any

import pytest

from poller.admin.status import Trouble
from poller.admin.troubles import RUNBOOK, RUNBOOK_OF_ERROR, SAID_CHARACTERS_MAX, TROUBLES_MAX, Troubles, see
from poller.errors import Limited, LogRefused, LogUnavailable, PollerError, Unauthorized, Unreachable
from poller.telemetry import EVENTS, EventName, Telemetry


class Now:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class Silent:
    def log(self, level: int, event: str, /, **fields: Any) -> None: ...


def test_what_is_said_again_is_counted_and_the_last_comes_first() -> None:
    now = Now()
    troubles = Troubles(now, str)
    for at, event, fields in (
        (1.0, "customer_failed", {"customer": "c1", "error": "HTTP 500"}),
        (2.0, "commit_undone", {"partition": 0}),
        (3.0, "customer_failed", {"customer": "c2", "error": "HTTP 503 for c2"}),
        (4.0, "published", {"activities": 3}),
    ):
        now.seconds = at
        troubles.hear(event, fields)  # type: ignore[arg-type]

    failed, undone = EVENTS["customer_failed"].help, EVENTS["commit_undone"].help
    assert troubles.last == (
        Trouble(
            at=3.0,
            first_at=1.0,
            event="customer_failed",
            level="warning",
            means=failed,
            said="HTTP 503 for c2",
            see="docs/runbook.md#pollercustomersfailing",
            times=2,
        ),
        Trouble(
            at=2.0,
            first_at=2.0,
            event="commit_undone",
            level="error",
            means=undone,
            said="partition: 0",
            see="docs/runbook.md#pollercommitundone",
            times=1,
        ),
    )


def test_what_to_do_stands_in_the_runbook() -> None:
    runbook = (Path(__file__).parents[3] / "docs/runbook.md").read_text()
    headings = {line.lstrip("# ").lower() for line in runbook.splitlines() if line.startswith("### ")}

    assert {*RUNBOOK.values(), *RUNBOOK_OF_ERROR.values()} <= headings
    assert all(EVENTS[event].level >= logging.WARNING for event in RUNBOOK)


@pytest.mark.parametrize(
    ("event", "error", "entry"),
    [
        ("calls_paused", Unauthorized("HTTP 401"), "runbook.md#pollerunauthorized"),
        ("calls_paused", Limited(), "runbook.md#pollerquotaspentbyothers"),
        ("calls_paused", Unreachable("timed out"), "runbook.md#pollercallsfailing"),
        ("partition_failed", LogUnavailable("no broker answers"), "runbook.md#pollernothingcommitted"),
        ("partition_failed", LogRefused("no permission"), "runbook.md#pollerkafkarefuses"),
        ("settings_doubtful", Limited(), "events.md"),
    ],
    ids=str,
)
def test_where_to_read_on_goes_by_the_error(event: EventName, error: PollerError, entry: str) -> None:
    assert see(event, str(error)) == f"docs/{entry}"


def test_one_doubtful_setting_hides_no_other() -> None:
    troubles = Troubles(Now(), str)
    for warning in ("A", "B", "A"):
        troubles.hear("settings_doubtful", {"warning": warning})

    assert [(one.said, one.times) for one in troubles.last] == [("A", 2), ("B", 1)]


def test_they_are_few_and_short_and_told_without_secrets() -> None:
    troubles = Troubles(Now(), lambda text: text.replace("hunter2", "<secret>"))
    for number in range(2 * TROUBLES_MAX):
        troubles.hear("settings_doubtful", {"warning": f"{number} hunter2 {'x' * 1000}"})

    assert len(troubles.last) == TROUBLES_MAX
    assert troubles.last[0].said.startswith(f"{2 * TROUBLES_MAX - 1} <secret> x") and len(troubles.last[0].said) == SAID_CHARACTERS_MAX + 1


def test_fields_are_told_by_name_lists_and_tables_in_words() -> None:
    troubles = Troubles(Now(), str)
    troubles.hear("dead_lettered", {"count": 2, "customers": ["a", "b"], "why": {"k": "v"}})

    assert troubles.last[0].said == "count: 2 · customers: a, b · why: k: v"


def test_the_telemetry_is_heard_with_customers_as_they_are_shown() -> None:
    troubles = Troubles(Now(), str)
    telemetry = Telemetry(Silent(), "hashed")
    telemetry.heard_by(troubles.hear)
    event: EventName = "customer_failed"
    telemetry.event(event, customer="anna@example.com", error=str(Unreachable("anna@example.com")), nothing=None)

    assert "anna" not in troubles.last[0].said and "sha256:" in troubles.last[0].said and "nothing" not in troubles.last[0].said
