"""Lines over a common axis, as an SVG that a document can show: no library, and readable on light and dark ground.

A drawing is panels, one above the other, of the same width and extent; below them rows of marks say when something happened.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT = 860, 56, 16
PANEL_HEIGHT, PANEL_HEAD, PANEL_GAP = 130, 26, 14
MARKS_HEIGHT, AXIS_HEIGHT = 18, 38
MARKS_LEFT = 4
TICKS_MAX = 5
LINES_MAX = 3
LEGEND_CHARACTER, LEGEND_GAP = 6.2, 34
"""How wide a letter of the legend is, about, and what stands beside each name."""

STYLE = """
text { font: 11px ui-sans-serif, system-ui, sans-serif; fill: #57606a }
.title { font-weight: 600; fill: #24292f }
.grid { stroke: #8b949e; stroke-opacity: .3; stroke-width: 1 }
.mark { stroke: #8b949e; stroke-width: 1.5 }
.line { fill: none; stroke-width: 1.5; stroke-linejoin: round }
.a { stroke: #0969da } .b { stroke: #bc4c00 } .c { stroke: #1a7f37 }
@media (prefers-color-scheme: dark) {
text { fill: #9198a1 } .title { fill: #f0f6fc }
.a { stroke: #4493f8 } .b { stroke: #f0883e } .c { stroke: #3fb950 }
}
"""


class Line(NamedTuple):
    """A series; where there is no point for a while, it goes on straight."""

    name: str
    points: Sequence[tuple[float, float]]


class Panel(NamedTuple):
    """Lines in one unit, from zero up. The title says the unit."""

    title: str
    lines: Sequence[Line]


class Marks(NamedTuple):
    """When something happened."""

    name: str
    at: Sequence[float]


def svg(title: str, across: str, end: float, panels: Sequence[Panel], marks: Sequence[Marks] = ()) -> str:
    """The whole file. `across`: what the common axis counts, from 0 to `end`. Each panel holds at least one point and at most `LINES_MAX` lines."""
    assert end > 0 and panels and all(len(panel.lines) <= LINES_MAX and any(line.points for line in panel.lines) for panel in panels)
    marks_top = len(panels) * (PANEL_HEAD + PANEL_HEIGHT + PANEL_GAP)
    axis_top = marks_top + len(marks) * MARKS_HEIGHT
    height = axis_top + AXIS_HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>",
    ]
    for number, panel in enumerate(panels):
        parts += _panel(panel, number * (PANEL_HEAD + PANEL_HEIGHT + PANEL_GAP), end)
    for number, row in enumerate(marks):
        parts += _marks(row, marks_top + number * MARKS_HEIGHT, end)
    return "\n".join([*parts, *_axis(across, axis_top, end), "</svg>", ""])


def ticks(top: float) -> list[float]:
    """Round values from 0 on; the last is at or above `top`. At most `TICKS_MAX` + 1."""
    rough = max(top, 1e-9) / TICKS_MAX
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    return [step * number for number in range(math.ceil(top / step - 1e-9) + 1)] if top > 0 else [0.0, step]


def _across(x: float, end: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * x / end


def _panel(panel: Panel, top: float, end: float) -> Iterator[str]:
    values = ticks(max(y for line in panel.lines for _, y in line.points))
    base = top + PANEL_HEAD + PANEL_HEIGHT

    def up(y: float) -> float:
        return base - PANEL_HEIGHT * y / values[-1]

    yield f'<text class="title" x="{LEFT}" y="{top + 15}">{escape(panel.title)}</text>'
    for value in values:
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up(value):.1f}" y2="{up(value):.1f}"/>'
        yield f'<text x="{LEFT - 6}" y="{up(value) + 4:.1f}" text-anchor="end">{value:,g}</text>'
    for kind, line in zip("abc", panel.lines, strict=False):
        points = " ".join(f"{_across(x, end):.1f},{up(y):.1f}" for x, y in line.points)
        yield f'<polyline class="line {kind}" points="{points}"/>'
    yield from _legend(panel, top)


def _legend(panel: Panel, top: float) -> Iterator[str]:
    """At the right, where there is something to tell apart."""
    if len(panel.lines) == 1:
        return
    right = float(WIDTH - RIGHT)
    for kind, line in reversed(list(zip("abc", panel.lines, strict=False))):
        left = right - LEGEND_CHARACTER * len(line.name)
        yield f'<line class="line {kind}" x1="{left - 22:.1f}" x2="{left - 5:.1f}" y1="{top + 11}" y2="{top + 11}"/>'
        yield f'<text x="{left:.1f}" y="{top + 15}">{escape(line.name)}</text>'
        right = left - LEGEND_GAP


def _marks(row: Marks, top: float, end: float) -> Iterator[str]:
    yield f'<text x="{MARKS_LEFT}" y="{top + 12}">{escape(row.name)}</text>'
    for at in row.at:
        x = f"{_across(at, end):.1f}"
        yield f'<line class="mark" x1="{x}" x2="{x}" y1="{top + 3}" y2="{top + MARKS_HEIGHT - 3}"/>'


def _axis(across: str, top: float, end: float) -> Iterator[str]:
    for value in ticks(end):
        if value <= end * 1.001:
            yield f'<text x="{_across(value, end):.1f}" y="{top + 14}" text-anchor="middle">{value:,g}</text>'
    yield f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.1f}" y="{top + 31}" text-anchor="middle">{escape(across)}</text>'
