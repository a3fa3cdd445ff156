"""The workload: when each of N customers acts, the same everywhere, from the standard library's random numbers alone. Times are minutes.

Customers' rates follow Zipf's law, 12 activities a customer and day on average. They act in visits, and by day more than by night: a
visit starts by a Poisson process thinned to 1 + amp·cos(2π(t − 840)/1440); each activity is followed by another with probability p,
after an exponential gap of mean g.
"""

import math
import random
from array import array
from collections.abc import Callable
from typing import NamedTuple

Draw = Callable[[], float]

DAY_MINUTES = 1440
ACTIVITIES_A_DAY = 12
BUSIEST_MINUTE = 840


class Workload(NamedTuple):
    customers: int
    exponent: float
    days: int
    seed: int
    chance: float = 0.75
    """p."""
    gap: float = 10 / 3
    """g."""
    amplitude: float = 0.8

    @property
    def minutes(self) -> int:
        return self.days * DAY_MINUTES


class Population(NamedTuple):
    """By customer."""

    rates: list[float]
    """Activities a minute."""
    times: list["array[float]"]
    """When they are created, ascending."""


def population(workload: Workload) -> Population:
    draw = random.Random(workload.seed).random
    rates = _rates(workload, draw)
    return Population(rates, [_times(workload, rate, draw) for rate in rates])


def checksum(drawn: Population) -> tuple[int, float]:
    """How many activities, and the sum of their times."""
    return sum(map(len, drawn.times)), math.fsum(time for times in drawn.times for time in times)


def _rates(workload: Workload, draw: Draw) -> list[float]:
    weights = [(rank + 1) ** -workload.exponent for rank in range(workload.customers)]
    scale = ACTIVITIES_A_DAY / DAY_MINUTES * workload.customers / sum(weights)  # before the shuffle: floats add up otherwise after it
    for last in range(workload.customers - 1, 0, -1):
        other = int(draw() * (last + 1))
        weights[last], weights[other] = weights[other], weights[last]
    return [weight * scale for weight in weights]


def _times(workload: Workload, rate: float, draw: Draw) -> "array[float]":
    top = (1 - workload.chance) * rate * (1 + workload.amplitude)
    times: list[float] = []
    start = _exponential(1 / top, draw)
    while start < workload.minutes:
        if draw() * (1 + workload.amplitude) < 1 + workload.amplitude * math.cos(2 * math.pi * (start - BUSIEST_MINUTE) / DAY_MINUTES):
            times += _visit(workload, start, draw)
        start += _exponential(1 / top, draw)
    return array("d", sorted(times))


def _visit(workload: Workload, start: float, draw: Draw) -> list[float]:
    times = [start]
    while draw() < workload.chance:
        time = times[-1] + _exponential(workload.gap, draw)
        if time >= workload.minutes:
            break
        times.append(time)
    return times


def _exponential(mean: float, draw: Draw) -> float:
    return -mean * math.log(1 - draw())
