"""That the runbook speaks of this program: its alerts, exit codes, commands, metrics, events, settings, and what the fault suite has each fault move."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import CycloptsError

from poller import cli
from poller.config import KNOWN
from poller.telemetry import EVENTS, METRICS
from tests.fault.faults import FAULTS, NOT_PROMISED
from tests.fault.moves import MOVES, table

ROOT = Path(__file__).parents[2]
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
ALERTS = re.findall(r"^ *- alert: *(\w+)", (ROOT / "config" / "alerts.yaml").read_text(), re.MULTILINE)

HEADINGS = re.findall(r"^#+ (.+)$", RUNBOOK, re.MULTILINE)
KILLED = 137
"""Not the program's own: 128 and SIGKILL."""

SUFFIXES = ("_count", "_sum", "_bucket")
NO_EVENTS = frozenset(
    {"ce_id", "ce_subject", "created_at", "original_length", "read_committed", "start_date", "stepped_ms", "after_ms", "in_flight"}
)
"""What looks like an event, and is a field, a header, a parameter, or Kafka's."""


def code() -> Iterator[str]:
    """Each piece of code in it, of a line or of a block."""
    for block in re.findall(r"```sh\n(.*?)```", RUNBOOK, re.DOTALL):
        yield from block.replace("\\\n", " ").splitlines()
    yield from re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", RUNBOOK, flags=re.DOTALL))


def command_lines() -> list[str]:
    """All that begin with `poller` and a command, without what they are piped into."""
    found = [re.search(r"(?:^|[ |(;])poller ([a-z].*)$", piece.split("#")[0]) for piece in code()]
    return sorted({re.split(r" \\?\| |;|&&|<|>", one[1])[0].strip() for one in found if one})


def anchor(heading: str) -> str:
    """As the forge makes it of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_each_alert_has_its_section_and_each_section_of_an_alert_an_alert() -> None:
    alerts = RUNBOOK.split("\n## Alerts\n")[1].split("\n## ")[0]

    assert sorted(re.findall(r"^### (.+)$", alerts, re.MULTILINE)) == sorted(ALERTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_is_told_for_the_data_how_to_see_it_what_to_do_and_when_it_is_over(alert: str) -> None:
    section = re.split(rf"^### {alert}$", RUNBOOK, flags=re.MULTILINE)[1].split("\n### ")[0]

    assert [word for word in ("**For the data**", "**See**", "**Do**", "**Over**") if word not in section] == []


def test_each_exit_code_has_its_section() -> None:
    codes = {cli.OK, cli.FAILED, cli.UNUSABLE, cli.INTERRUPTED, cli.TERMINATED, KILLED}

    assert {int(heading.split()[-1]) for heading in HEADINGS if heading.startswith("Exit code ")} == codes


@pytest.mark.parametrize("line", command_lines())
def test_each_command_of_the_program_can_be_given(line: str) -> None:
    words = [word for word in shlex.split(line) if word != "…"]
    app = cli.make_app()
    if words == [words[0]] and words[0] in cli.COMMANDS:
        return  # only named
    if words[0] == "watch" and words[1:] and words[1:2] == [words[-1]] and words[1] in cli.WATCHED:
        return
    try:
        app.parse_args(words, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        pytest.fail(f"poller {line}: {error}")


def test_there_are_commands_in_it() -> None:
    assert {line.split()[0] for line in command_lines()} >= {"check", "inspect", "tail", "watch", "forget", "reshard", "plan"}


def test_each_metric_is_one() -> None:
    named = {name for piece in code() for name in re.findall(r"\bpoller_[a-z_]+", piece)}
    known = {*METRICS, *(f"{name}{suffix}" for name, metric in METRICS.items() if metric.kind == "histogram" for suffix in SUFFIXES)}

    assert named - known == set()
    assert len(named) > 20


def test_each_label_of_a_metric_has_this_value() -> None:
    wrong = []
    for piece in code():
        for name, labels in re.findall(r"\b(poller_[a-z_]+)\{([^}]*)\}", piece):
            metric = METRICS.get(name) or METRICS[name.rsplit("_", 1)[0]]
            wrong += [
                f"{name}{{{labels}}}"
                for label, value in re.findall(r'(\w+)="([^"]*)"', labels)
                if value not in metric.labels.get(label, ())
            ]

    assert wrong == []


def test_what_looks_like_an_event_is_one() -> None:
    """Words with an underscore; metrics have their own test."""
    words = {piece for piece in code() if re.fullmatch(r"[a-z]+(_[a-z]+)+", piece) and not piece.startswith(("poller_", "container_"))}
    labels = {value for metric in METRICS.values() for values in metric.labels.values() for value in values}

    assert words - set(EVENTS) - labels - NO_EVENTS == set()
    assert len(words & set(EVENTS)) > 20


def test_each_setting_is_one() -> None:
    named = set(re.findall(r"\bPOLLER_[A-Z_]+[A-Z]", RUNBOOK))

    assert named - KNOWN == set()


def test_each_link_leads_somewhere() -> None:
    dead = []
    for target in re.findall(r"\]\(([^)]+)\)", RUNBOOK):
        path, _, place = target.partition("#")
        text = RUNBOOK if not path else (ROOT / "docs" / path).read_text() if (ROOT / "docs" / path).exists() else None
        headings = [] if text is None else re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        if text is None or (place and place not in map(anchor, headings)):
            dead.append(target)

    assert dead == []


def test_its_table_of_faults_is_what_the_fault_suite_looks_for() -> None:
    assert table() in RUNBOOK
    assert list(MOVES) == [fault.name for fault in (*FAULTS, *NOT_PROMISED)]
    assert {move.alert for moves in MOVES.values() for move in moves if move.alert} <= set(ALERTS)
