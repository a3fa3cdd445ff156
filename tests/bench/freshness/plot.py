"""Lines over logarithmic axes, as an SVG that a document can show on light and dark ground; `tests.support.drawing` draws over time instead."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT = 860, 56, 16
PANEL_HEIGHT, PANEL_HEAD, PANEL_GAP = 190, 26, 26
LEGEND_ROW = 18
ROUND = (1, 2, 5)
"""Where an axis has its ticks, times a power of ten."""

STYLE = """
text { font: 11px ui-sans-serif, system-ui, sans-serif; fill: #57606a }
.title { font-weight: 600; fill: #24292f }
.grid { stroke: #8b949e; stroke-opacity: .3; stroke-width: 1 }
.line { fill: none; stroke-width: 1.5; stroke-linejoin: round }
.a { stroke: #0969da; stroke-width: 2.5 } .b { stroke: #0969da; stroke-dasharray: 4 3 } .c { stroke: #1a7f37 } .d { stroke: #bc4c00 } .e { stroke: #8250df }
@media (prefers-color-scheme: dark) {
text { fill: #9198a1 } .title { fill: #f0f6fc }
.a, .b { stroke: #4493f8 } .c { stroke: #3fb950 } .d { stroke: #f0883e } .e { stroke: #ab7df8 }
}
"""
CLASSES = "abcde"


class Line(NamedTuple):
    name: str
    points: Sequence[tuple[float, float]]
    """Above zero, both ways."""


class Panel(NamedTuple):
    title: str
    lines: Sequence[Line]
    """The same in each panel, in the same order."""


class Axis(NamedTuple):
    """From `low` at pixel `start` to `high` at pixel `stop`."""

    low: float
    high: float
    start: float
    stop: float

    @classmethod
    def around(cls, values: Sequence[float], start: float, stop: float) -> "Axis":
        """As far as the ticks around the values, which may all be one."""
        low = _tick(min(values), -1)
        return cls(low, max(_tick(max(values), 1), 2 * low), start, stop)

    def pixel(self, value: float) -> float:
        return self.start + math.log(value / self.low) / math.log(self.high / self.low) * (self.stop - self.start)

    def ticks(self) -> list[float]:
        powers = range(math.floor(math.log10(self.low)) - 1, math.ceil(math.log10(self.high)) + 1)
        return [tick for power in powers for digit in ROUND if self.low <= (tick := float(f"{digit}e{power}")) <= self.high]


def svg(title: str, across: str, panels: Sequence[Panel]) -> str:
    """The whole file. `across`: what the common axis counts."""
    names = [line.name for line in panels[0].lines]
    assert len(names) <= len(CLASSES) and all([line.name for line in panel.lines] == names for panel in panels)
    horizontal = Axis.around([x for panel in panels for line in panel.lines for x, _ in line.points], LEFT, WIDTH - RIGHT)
    top = len(names) * LEGEND_ROW + 8
    height = top + len(panels) * (PANEL_HEAD + PANEL_HEIGHT + PANEL_GAP) + 16
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">', f"<title>{escape(title)}</title>"]
    parts += [f"<style>{STYLE}</style>", *_legend(names)]
    for panel in panels:
        parts += _panel(panel, horizontal, top + PANEL_HEAD)
        top += PANEL_HEAD + PANEL_HEIGHT + PANEL_GAP
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{height - 8}" text-anchor="end">{escape(across)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _legend(names: Sequence[str]) -> Iterator[str]:
    for row, name in enumerate(names):
        y = LEGEND_ROW * (row + 1)
        yield f'<path class="line {CLASSES[row]}" d="M{LEFT} {y - 4}H{LEFT + 28}"/><text x="{LEFT + 36}" y="{y}">{escape(name)}</text>'


def _panel(panel: Panel, horizontal: Axis, top: float) -> Iterator[str]:
    bottom = top + PANEL_HEIGHT
    vertical = Axis.around([y for line in panel.lines for _, y in line.points], bottom, top)
    yield f'<text class="title" x="{LEFT}" y="{top - 8}">{escape(panel.title)}</text>'
    for tick in vertical.ticks():
        y = vertical.pixel(tick)
        yield f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/><text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>'
    for tick in horizontal.ticks():
        x = horizontal.pixel(tick)
        yield f'<path class="grid" d="M{x:.1f} {top}V{bottom}"/><text x="{x:.1f}" y="{bottom + 14}" text-anchor="middle">{tick:g}</text>'
    for line, name in zip(panel.lines, CLASSES, strict=False):
        path = "L".join(f"{horizontal.pixel(x):.1f} {vertical.pixel(y):.1f}" for x, y in line.points)
        yield f'<path class="line {name}" d="M{path}"/>'


def _tick(value: float, direction: int) -> float:
    """The nearest tick at or beyond the value."""
    power = math.floor(math.log10(value))
    ticks = [float(f"{digit}e{exponent}") for exponent in (power - 1, power, power + 1) for digit in ROUND]
    return max(tick for tick in ticks if tick <= value) if direction < 0 else min(tick for tick in ticks if tick >= value)
