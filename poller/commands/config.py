"""`poller config`."""

from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter

from poller.commands.output import say, say_json, say_table
from poller.errors import SettingsError
from poller.reference import stale, write
from poller.settings_reference import TITLES, rows


def config(
    *,
    json: Annotated[bool, Parameter(negative="", show_default=False, help="As JSON.")] = False,
    write_files: Annotated[
        bool,
        Parameter(
            name="--write",
            negative="",
            show_default=False,
            help="Write what is generated from the code: the references in docs/, config/poller.env and config/watch-entry.schema.json.",
        ),
    ] = False,
    check_files: Annotated[
        bool, Parameter(name="--check", negative="", show_default=False, help="Exit with 1 if one of these files is not current.")
    ] = False,
    directory: Annotated[
        Path | None, Parameter(help="Where these files are. Default: the working directory, where it is the root of the repository.")
    ] = None,
) -> int:
    if check_files:
        return _check(directory or Path(), json)
    if write_files:
        _say_paths("written", write(directory or _repository(Path())), json)
    elif json:
        say_json(rows())
    else:
        _show()
    return 0


def _repository(directory: Path) -> Path:
    """Nothing is written where nobody may have meant it."""
    if not (directory / "pyproject.toml").is_file():
        raise SettingsError([f"--write: {directory.resolve()} is not the repository (it has no pyproject.toml): pass --directory"])
    return directory


def _check(directory: Path, json: bool) -> int:
    paths = stale(directory)
    _say_paths("not current: run `poller config --write`", paths, json)
    return 1 if paths else 0


def _say_paths(what: str, paths: list[Path], json: bool) -> None:
    if json:
        say_json([str(path) for path in paths])
        return
    for path in paths:
        say(f"{path}: {what}")
    if not paths:
        say("all is current")


def _show() -> None:
    for group, title in TITLES.items():
        say(f"\n{title}")
        say_table(("setting", "default", "what it is"), [_line(msgspec.structs.asdict(row)) for row in rows() if row.group == group])


def _line(row: dict[str, str]) -> tuple[str, str, str]:
    secret = f" Secret; or {row['variable']}_FILE." if row["secret"] else ""
    expected = f" {row['expected'][:1].upper()}{row['expected'][1:]}." if row["expected"] else ""
    return (row["variable"], "required" if row["required"] else row["default"] or "–", row["help"] + expected + secret)
