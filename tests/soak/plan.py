"""When what goes wrong: drawn in advance from one seed, so that a run can be told before it begins, and repeated.

Three streams run at once, so that faults of processes, of the broker and of the API meet. Within a stream one ends before the next begins. Each stream
deals its faults like cards: all of them in some order, then all again, so that none is left out.
"""

from collections.abc import Iterator, Mapping, Sequence
from random import Random

import msgspec


class Blow(msgspec.Struct, frozen=True):
    """One fault to come."""

    at_seconds: float
    """Not before; later, where the one before it has not ended."""
    fault: str
    seed: str
    """Of whatever is drawn while it happens."""


class Stream(msgspec.Struct, frozen=True):
    """What befalls one part of the world."""

    name: str
    faults: Sequence[str]
    between_seconds: tuple[float, float]
    """From one's beginning to the next one's."""


def drawn(streams: Sequence[Stream], seed: int, seconds: float) -> Mapping[str, Sequence[Blow]]:
    """By stream, in order of time; none begins after `seconds`."""
    return {stream.name: tuple(_blows(stream, seed, seconds)) for stream in streams}


def _blows(stream: Stream, seed: int, seconds: float) -> Iterator[Blow]:
    random = Random(f"{seed}/{stream.name}")
    dealt, at = _dealt(stream.faults, random), 0.0
    while (at := at + random.uniform(*stream.between_seconds)) <= seconds:
        yield Blow(round(at, 2), next(dealt), f"{seed}/{stream.name}/{random.getrandbits(32)}")


def _dealt(faults: Sequence[str], random: Random) -> Iterator[str]:
    while True:
        yield from random.sample(faults, len(faults))
