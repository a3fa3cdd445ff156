"""The habits that no linter checks."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILE_LINES_MAX = 600

CLOCKS = {
    "now",
    "utcnow",
    "today",
    "time",
    "time_ns",
    "monotonic",
    "monotonic_ns",
    "perf_counter",
    "perf_counter_ns",
    "localtime",
    "gmtime",
}
RANDOM = {
    "random",
    "randint",
    "randrange",
    "choice",
    "choices",
    "shuffle",
    "sample",
    "uniform",
    "urandom",
    "uuid1",
    "uuid4",
    "token_hex",
    "token_bytes",
}
IMPURE_MODULES = {
    "time",
    "random",
    "secrets",
    "os",
    "socket",
    "asyncio",
    "anyio",
    "trio",
    "threading",
    "subprocess",
    "logging",
    "uuid",
    "pathlib",
    "io",
}
IMPURE_BUILTINS = {"open", "print", "input", "__import__", "exec", "eval"}
DOUBLES = {"mock", "patch", "monkeypatch", "mocker", "Mock", "MagicMock", "AsyncMock", "sleep", "sleep_ms"}

SUPPRESSION = re.compile(r"#\s*(?:noqa|pragma:)")
SUPPRESSION_WITH_REASON = re.compile(r"#\s*(?:noqa: *[A-Z]+[0-9]+(?:, *[A-Z]+[0-9]+)*|pragma: no (?:cover|branch)) *[-#:–—] *\S")


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def imported(node: ast.AST) -> Iterator[str]:
    """The modules, and the names taken from them, that an import statement brings in."""
    if isinstance(node, ast.Import):
        yield from (part for alias in node.names for part in alias.name.split("."))
    elif isinstance(node, ast.ImportFrom):
        yield from (node.module or "").split(".")
        yield from (alias.name for alias in node.names)


def impurities(source: str) -> list[str]:
    """What asks for time, chance or the world outside, with its line. Values of `datetime` may be computed with; `now` may not be asked."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import() | ast.ImportFrom():
                names = [name for name in imported(node) if name in IMPURE_MODULES]
            case ast.Call(func=ast.Attribute(attr=name)):
                names = [name] if name in CLOCKS | RANDOM else []
            case ast.Call(func=ast.Name(id=name)):
                names = [name] if name in IMPURE_BUILTINS else []
            case _:
                names = []
        found += [f"{getattr(node, 'lineno', 0)}: {name}" for name in names]
    return found


def doubles(source: str) -> list[str]:
    """What replaces a part of the program or waits in real time, with its line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import() | ast.ImportFrom():
                names = list(imported(node))
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                names = [name]
            case _:
                names = []
        found += [f"{getattr(node, 'lineno', 0)}: {name}" for name in names if name in DOUBLES]
    return found


def suppressions_without_reason(source: str) -> list[str]:
    lines = enumerate(source.splitlines(), start=1)
    return [f"{number}: {line.strip()}" for number, line in lines if SUPPRESSION.search(line) and not SUPPRESSION_WITH_REASON.search(line)]


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "from os import path",
        "from datetime import datetime\ndatetime.now()",
        "import datetime\ndatetime.datetime.now(tz=None)",
        "date.today()",
        "rng.random()",
        "open('x')",
    ],
)
def test_an_impurity_is_found(source: str) -> None:
    assert impurities(source)


@pytest.mark.parametrize(
    "source",
    [
        "from unittest import mock",
        "from unittest.mock import patch",
        "def test(monkeypatch): ...",
        "await anyio.sleep(1)",
        "from time import sleep\nsleep(1)",
    ],
)
def test_a_double_is_found(source: str) -> None:
    assert doubles(source)


@pytest.mark.parametrize(
    ("comment", "count"),
    [("noqa: S603", 1), ("noqa", 1), ("pragma: no cover", 1), ("noqa: S603 - ours", 0), ("noqa: S603, D301  # why", 0)],
)
def test_a_suppression_without_its_reason_is_found(comment: str, count: int) -> None:
    assert len(suppressions_without_reason(f"x = 1  # {comment}")) == count


@pytest.mark.parametrize("path", python_files("poller/core"), ids=str)
def test_the_core_is_told_the_time_and_never_asks(path: Path) -> None:
    assert impurities(path.read_text()) == []


@pytest.mark.parametrize("path", python_files("tests/unit"), ids=str)
def test_no_unit_test_mocks_patches_or_sleeps(path: Path) -> None:
    assert doubles(path.read_text()) == []


@pytest.mark.parametrize("path", python_files("poller"), ids=str)
def test_a_file_opens_with_what_it_owns(path: Path) -> None:
    tree = ast.parse(path.read_text())

    assert not tree.body or ast.get_docstring(tree)


def test_every_suppression_has_its_reason_beside_it() -> None:
    # This file quotes suppressions, as data.
    files = [path for path in python_files("poller", "tests") if path != Path(__file__)]

    assert {str(path.relative_to(ROOT)): found for path in files if (found := suppressions_without_reason(path.read_text()))} == {}


def test_no_file_of_the_program_is_too_long_to_read() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in python_files("poller")}

    assert {name: length for name, length in lengths.items() if length > FILE_LINES_MAX} == {}


def test_the_pinned_packages_come_from_wherever_pip_looks_and_each_has_its_hashes() -> None:
    for path in (ROOT / "requirements").glob("*.txt"):
        lines = [line for line in path.read_text().splitlines() if line and not line.lstrip().startswith("#")]
        pins = [line for line in lines if not line.startswith(" ")]

        assert [line for line in lines if "://" in line or line.startswith("-")] == [], path.name
        assert [pin for pin in pins if not re.match(r"[a-z0-9._-]+==\S+ .*\\$", pin)] == [], path.name
        assert all(line.startswith("    --hash=sha256:") for line in lines if line not in pins), path.name
