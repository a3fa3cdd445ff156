"""docs/threats.md names tests: they exist. And what it says of the layout is so."""

import re
import tomllib
from pathlib import Path

from tests.support.named import exists

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "threats.md").read_text()
ROW = re.compile(r"^\| (?!threat |asset |entry )(?P<threat>[^|]+) \| (?P<decided>[^|]+) \| (?P<tests>[^|]*) \|$", re.MULTILINE)


def named(text: str) -> list[str]:
    return re.findall(r"`(tests/[^`]+::[^`]+)`", text)


def test_every_test_that_the_threats_name_exists() -> None:
    tests = named(TEXT)

    assert len(tests) > 40
    assert [test for test in tests if not exists(test)] == []


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
