"""The verdict: what stands in the activities topic, compared with the truth of the simulated API. Pure.

An activity is known by its customer and its id. Its value must be what the API sent, byte for byte, and its key its type. Freshness runs from
the moment when the API showed an activity (for most of them their created_at) to the moment when a read_committed reader had it.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from poller.demo.truth import Expected


class Identity(NamedTuple):
    """Which activity, in whose list."""

    customer: str
    id: str


class Seen(msgspec.Struct, frozen=True, gc=False):
    """A record of the activities topic; of its value only the digest is kept."""

    identity: Identity
    type: str
    digest: bytes
    at: float
    """When the reader had it; Unix time in seconds."""


class Freshness(msgspec.Struct, frozen=True):
    """Seconds, over so many activities."""

    activities: int
    seconds_p50: float
    seconds_p95: float


class Comparison(msgspec.Struct, frozen=True):
    """What was to be published, and what became of it."""

    expected: int
    published: int
    """Records in the topic, whatever they are."""
    lost: tuple[Identity, ...]
    twice: tuple[Identity, ...]
    changed: tuple[Identity, ...]
    """Value or key is not what the API sent."""
    invented: tuple[Identity, ...]
    """The API never showed such an activity."""
    freshness: Freshness | None
    """`None`: of nothing."""

    @property
    def faultless(self) -> bool:
        return not (self.lost or self.twice or self.changed or self.invented)


class Calls(msgspec.Struct, frozen=True):
    """What the API counted."""

    made: int
    refused: int
    in_window_max: int
    """The most in any window of the limit's length."""
    limit: int

    @property
    def within_limit(self) -> bool:
        return self.refused == 0 and self.in_window_max <= self.limit


def digest(value: bytes) -> bytes:
    return blake2b(value, digest_size=16).digest()


def compare(truth: Iterable[Expected], seen: Sequence[Seen], measured_from: float) -> Comparison:
    """Judge the topic by a truth that holds the bytes; freshness counts what was shown from `measured_from` on."""
    may = {Identity(one.customer, one.id): one for one in truth if one.topic == "activities"}
    count = Counter(record.identity for record in seen)
    must = [identity for identity, one in may.items() if one.must]
    return Comparison(
        expected=len(must),
        published=len(seen),
        lost=tuple(identity for identity in must if identity not in count),
        twice=tuple(identity for identity, times in count.items() if times > 1),
        changed=tuple(record.identity for record in seen if record.identity in may and not is_as_sent(record, may[record.identity])),
        invented=tuple(identity for identity in count if identity not in may),
        freshness=freshness([record.at - may[record.identity].shown_at for record in seen if counts(record, may, measured_from)]),
    )


def is_as_sent(record: Seen, sent: Expected) -> bool:
    assert sent.raw is not None, "the truth is asked for with its bytes"
    return record.digest == digest(sent.raw) and record.type == sent.type


def counts(record: Seen, may: dict[Identity, Expected], measured_from: float) -> bool:
    return record.identity in may and may[record.identity].shown_at >= measured_from


def freshness(seconds: Sequence[float]) -> Freshness | None:
    return Freshness(len(seconds), quantile(seconds, 0.5), quantile(seconds, 0.95)) if seconds else None


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least that share of them do not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
