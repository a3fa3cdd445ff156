"""`docs/reliability.md`: what a command has found is put between that command's marks; what stands around stays."""

from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"


def put(target: str, text: str) -> None:
    """Between `<!-- make target: begin -->` and `<!-- make target: end -->`."""
    begin, end = f"<!-- make {target}: begin -->", f"<!-- make {target}: end -->"
    before, rest = DOCUMENT.read_text().split(begin)
    _, after = rest.split(end)
    DOCUMENT.write_text(f"{before}{begin}\n{text}\n{end}{after}")
