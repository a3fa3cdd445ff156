"""What commands write: tables on a terminal, plain lines or JSON elsewhere. Imports rich only for a terminal."""

import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from poller.terminal import printable

KEY_CHARACTERS_MAX = 24
"""A first column of longer texts than these leaves no room for the others: then it is broken into lines like them."""


def to_terminal() -> bool:
    return sys.stdout.isatty()


def say(line: str = "") -> None:
    sys.stdout.write(line + "\n")


def say_json(value: Any) -> None:
    """One value, indented; control characters are escapes in JSON anyhow, but for a few that `ensure_ascii` takes as well."""
    import json

    say(json.dumps(msgspec.to_builtins(value), indent=2, ensure_ascii=True))


def say_table(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """A rich table on a terminal; elsewhere columns of plain text, the last one as long as it is."""
    safe = [[printable(cell) for cell in line] for line in lines]
    if to_terminal():
        _rich_table(columns, safe)
    else:
        widths = [max(len(line[index]) for line in [columns, *safe]) for index in range(len(columns) - 1)]
        for line in safe:
            say("  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[-1]]).rstrip())


def _rich_table(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE, pad_edge=False)
    for index, column in enumerate(columns):
        keys = index == 0 and all(len(line[0]) <= KEY_CHARACTERS_MAX for line in lines)
        table.add_column(column, overflow="fold", no_wrap=keys, ratio=None if keys else 1)
    for line in lines:
        table.add_row(*(Text(cell) for cell in line))
    Console(markup=False, highlight=False).print(table)
