"""docs/threats.md and docs/reliability.md name tests: they exist. And what the first says of the layout is so."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.support.named import exists

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "threats.md").read_text()
RELIABILITY = (ROOT / "docs" / "reliability.md").read_text()
ROW = re.compile(r"^\| (?!threat |asset |entry )(?P<threat>[^|]+) \| (?P<decided>[^|]+) \| (?P<tests>[^|]*) \|$", re.MULTILINE)


def named(text: str) -> list[str]:
    return re.findall(r"`(tests/[^`]+::[^`]+)`", text)


@pytest.mark.parametrize(("text", "least"), [(TEXT, 40), (RELIABILITY, 35)], ids=["threats", "reliability"])
def test_every_test_that_a_document_names_exists(text: str, least: int) -> None:
    tests = named(text)

    assert len(tests) > least
    assert [test for test in tests if not exists(test)] == []


def test_every_misbehaviour_names_a_test() -> None:
    table = RELIABILITY.partition("## An API that misbehaves")[2].partition("\nPeak memory")[0]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| ")][1:]

    assert len(rows) > 15
    assert [row[0] for row in rows if len(row) != 3 or not named(row[2])] == []


def test_every_threat_names_a_test() -> None:
    threats = TEXT.partition("## Credentials")[2].partition("## Accepted")[0]
    rows = [row for row in ROW.finditer(threats) if set(row["threat"]) != {"-"}]

    assert len(rows) > 30
    assert [row["threat"] for row in rows if not named(row["tests"])] == []


def test_nothing_that_is_run_for_good_imports_the_demo() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]

    assert [one["allowed_importers"] for one in contracts if one.get("protected_modules") == ["poller.demo"]] == [
        ["poller.cli", "poller.commands"]
    ]


def test_bandits_rules_are_checked() -> None:
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]

    assert ("S" in lint["select"], [rule for rule in lint["ignore"] if rule.startswith("S") and rule[1:].isdigit()]) == (True, ["S101"])
