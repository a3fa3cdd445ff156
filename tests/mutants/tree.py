"""A copy of the program with its tests, in which something is replaced and some tests are run."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.mutants.table import Mutant
from tests.mutants.told import OUTCOMES

ROOT = Path(__file__).parents[2]
PARTS = ("poller", "tests", "config", "docs", "requirements", "pyproject.toml", "README.md", "Makefile")
RUN_SECONDS_MAX = 180.0
UNMUTATED_SECONDS_MAX = 900.0


class Stale(Exception):
    """The table does not fit the program."""


class Run(NamedTuple):
    """What became of some tests."""

    outcomes: Mapping[str, str]
    seconds: float
    output: str
    """The end of what pytest said."""

    def of(self, test: str) -> str:
        """How a node of the table ended: `failed` if any of its parameters did, `not run` where pytest knows none."""
        ended = {outcome for node, outcome in self.outcomes.items() if node == test or node.startswith(f"{test}[")}
        return next((outcome for outcome in ("error", "failed", "skipped", "passed") if outcome in ended), "not run")


def mutated(mutant: Mutant, program: str) -> str:
    """The text of the mutant's file with the safeguard taken out. Raises `Stale`."""
    times = program.count(mutant.text)
    if times != 1:
        raise Stale(f"{mutant.name}: its text stands {times} times in {mutant.file}, not once")
    if mutant.instead == mutant.text:
        raise Stale(f"{mutant.name}: it changes nothing")
    return program.replace(mutant.text, mutant.instead)


@contextmanager
def copy(mutant: Mutant | None) -> Iterator[Path]:
    """The program in a directory of its own, with the mutant's safeguard taken out of it."""
    with tempfile.TemporaryDirectory(prefix="poller-mutant-") as name:
        to = Path(name)
        for part in PARTS:
            if (ROOT / part).is_dir():
                shutil.copytree(ROOT / part, to / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(ROOT / part, to / part)
        if mutant is not None:
            file = to / mutant.file
            file.write_text(mutated(mutant, file.read_text()))
        yield to


def run(tests: Sequence[str], tree: Path, seconds_max: float = RUN_SECONDS_MAX) -> Run:
    """Run these in the tree, on the program in the tree. Whoever takes longer is ended, and has told nothing."""
    outcomes = tree / "outcomes.json"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.mutants.told", "-p", "no:cacheprovider", "--tb=line", *tests]
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("POLLER_", "PYTEST_"))}
    began = time.monotonic()
    with subprocess.Popen(
        command,
        cwd=tree,
        env={**environ, "PYTHONPATH": str(tree), OUTCOMES: str(outcomes)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        try:
            output, _ = process.communicate(timeout=seconds_max)
        except subprocess.TimeoutExpired:
            process.kill()
            output = f"{process.communicate()[0]}\nended after {seconds_max:g} s"
    told = json.loads(outcomes.read_text()) if outcomes.exists() else {}
    return Run(told, time.monotonic() - began, output[-3000:])
