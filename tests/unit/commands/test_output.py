"""What commands write: nothing that others said commands the terminal on which it is read."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from poller.commands.output import say_json, say_table

HOSTILE = "a\x1b]0;owned\x07\x9b2J\u202eb"
HARMLESS = "a\\x1b]0;owned\\x07\\x9b2J\\u202eb"


def test_no_cell_of_a_table_commands_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    say_table(("", ""), [("recent ids", HOSTILE)])

    assert capsys.readouterr().out == f"recent ids  {HARMLESS}\n"


def test_no_json_of_a_command_commands_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    say_json({HOSTILE: HOSTILE})

    out = capsys.readouterr().out
    assert out.isascii() and out.replace("\n", "").isprintable()


def test_no_error_commands_a_terminal() -> None:
    hostile = {f"POLLER_{HOSTILE}": "1", "PYTHONIOENCODING": "utf-8"}
    ran = subprocess.run(
        [sys.executable, "-m", "poller", "run"],
        env={**os.environ, **hostile},
        capture_output=True,
        encoding="utf-8",
        check=False,
        cwd=Path(__file__).parents[3],
    )

    assert (ran.returncode, f"POLLER_{HARMLESS} is no setting" in ran.stderr) == (2, True)
