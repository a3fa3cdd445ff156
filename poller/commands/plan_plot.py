"""The drawing of `poller plan`: delays over the budget, on logarithmic axes, as an SVG for light and dark ground."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from poller.core.plan import Plan

WIDTH, LEFT, RIGHT = 760, 64, 16
PANEL_HEIGHT, PANEL_HEAD, PANEL_FOOT, LEGEND = 200, 28, 26, 28
HEIGHT = LEGEND + 2 * (PANEL_HEAD + PANEL_HEIGHT + PANEL_FOOT) + 18
ROUND = (1, 2, 5)
"""Where an axis has its ticks, times a power of ten."""

STYLE = """
text { font: 11px ui-sans-serif, system-ui, sans-serif; fill: #57606a }
.title { font-weight: 600; fill: #24292f }
.grid { stroke: #8b949e; stroke-opacity: .3 }
.line { fill: none; stroke-width: 2; stroke-linejoin: round }
.rule { stroke: #0969da } .turn { stroke: #8250df; stroke-dasharray: 4 3 } .now { stroke: #bc4c00; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
text { fill: #9198a1 } .title { fill: #f0f6fc }
.rule { stroke: #4493f8 } .turn { stroke: #ab7df8 } .now { stroke: #f0883e }
}
"""
LINES = (("rule", "the poller"), ("turn", "everybody in turn"), ("now", "this budget"))


class Axis(NamedTuple):
    """From `low` at pixel `start` to `high` at pixel `stop`."""

    low: float
    high: float
    start: float
    stop: float

    @classmethod
    def around(cls, values: Sequence[float], start: float, stop: float) -> "Axis":
        """As far as the ticks around the values, all above 0."""
        low, high = min(values), max(values)
        around = _ticks(low / 10, high * 10)
        return cls(max(tick for tick in around if tick <= low), min(tick for tick in around if tick > high), start, stop)

    def pixel(self, value: float) -> float:
        return self.start + math.log(value / self.low) / math.log(self.high / self.low) * (self.stop - self.start)


def _ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    return [tick for power in powers for digit in ROUND if low <= (tick := float(f"{digit}e{power}")) <= high]


def svg(plans: Sequence[Plan], present: Plan) -> str:
    """The whole file: these plans, one for each budget in ascending order, and where the present one is."""
    budgets = [_calls_a_minute(plan) for plan in plans]
    across = Axis.around([*budgets, _calls_a_minute(present)], LEFT, WIDTH - RIGHT)
    panels: tuple[tuple[str, Callable[[Plan], float], Callable[[Plan], float]], ...] = (
        ("mean delay, minutes", lambda plan: plan.rule.mean_seconds / 60, lambda plan: plan.in_turn.mean_seconds / 60),
        ("95th percentile of the delay, minutes", lambda plan: plan.rule.p95_seconds / 60, lambda plan: plan.in_turn.p95_seconds / 60),
    )

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">']
    parts += ["<title>Delay by budget</title>", f"<style>{STYLE}</style>", *_legend()]
    for number, (title, rule, turn) in enumerate(panels):
        top = LEGEND + number * (PANEL_HEAD + PANEL_HEIGHT + PANEL_FOOT) + PANEL_HEAD
        lines = [list(zip(budgets, map(figure, plans), strict=True)) for figure in (rule, turn)]
        parts += _panel(title, lines, across, top, across.pixel(_calls_a_minute(present)))
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 6}" text-anchor="end">calls a minute to read with</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _calls_a_minute(plan: Plan) -> float:
    return plan.offer.calls_per_second * 60


def _legend() -> Iterator[str]:
    for number, (name, label) in enumerate(LINES):
        x = LEFT + number * 170
        yield f'<path class="line {name}" d="M{x} 14H{x + 28}"/><text x="{x + 36}" y="18">{label}</text>'


def _panel(title: str, lines: Sequence[Sequence[tuple[float, float]]], across: Axis, top: float, now: float) -> Iterator[str]:
    bottom = top + PANEL_HEIGHT
    up = Axis.around([delay for line in lines for _, delay in line], bottom, top)
    yield f'<text class="title" x="{LEFT}" y="{top - 8}">{title}</text>'
    for tick in _ticks(up.low, up.high):
        y = up.pixel(tick)
        yield f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/><text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>'
    for tick in _ticks(across.low, across.high):
        x = across.pixel(tick)
        yield f'<path class="grid" d="M{x:.1f} {top}V{bottom}"/><text x="{x:.1f}" y="{bottom + 14}" text-anchor="middle">{tick:g}</text>'
    yield f'<path class="line now" d="M{now:.1f} {top}V{bottom}"/>'
    for line, (name, _) in zip(lines, LINES, strict=False):
        yield f'<path class="line {name}" d="M{"L".join(f"{across.pixel(calls):.1f} {up.pixel(delay):.1f}" for calls, delay in line)}"/>'
