"""`docs/reliability.md`: what a command has found is put between that command's marks; what stands around stays."""

from collections.abc import Sequence
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"


def put(target: str, text: str) -> None:
    """Between `<!-- make target: begin -->` and `<!-- make target: end -->`."""
    begin, end = f"<!-- make {target}: begin -->", f"<!-- make {target}: end -->"
    before, rest = DOCUMENT.read_text().split(begin)
    _, after = rest.split(end)
    DOCUMENT.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In Markdown, aligned so that it reads well as it is; columns that begin with a number to the right."""
    lines = [headings, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    left = [not (rows and rows[0][column][:1].isdigit()) for column in range(len(headings))]
    rule = ["-" * width if to_left else f"{'-' * (width - 1)}:" for width, to_left in zip(widths, left, strict=True)]
    return "\n".join(_line(line, widths, left) for line in (headings, rule, *rows))


def _line(cells: Sequence[str], widths: Sequence[int], left: Sequence[bool]) -> str:
    padded = [cell.ljust(width) if to_left else cell.rjust(width) for cell, width, to_left in zip(cells, widths, left, strict=True)]
    return f"| {' | '.join(padded)} |"
