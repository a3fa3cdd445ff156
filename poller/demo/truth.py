"""What must be in the topics: the one truth that a judge asks for."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import msgspec

from poller.demo.objects import Customer
from poller.demo.readings import Stored, format_instant

Start = Literal["earliest", "first_call"] | float | Mapping[str, float]
"""From when on a customer's activities are wanted: always; when it was called first; Unix seconds for all; Unix seconds for each.

`first_call` is for `POLLER_START=now` without a kill before the first commit: a poller that had to start anew starts later.
"""

RECORDED_IN_SPITE = {None, "odd_created_at"}


class Expected(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One activity that may be in a topic by now, as no other may."""

    id: str
    customer: str
    type: str
    created_at: str
    created_at_ms: int
    shown_at: float
    must: bool
    """It must be there. False: it may, but nothing is promised of it (shown after the lookback, before the start, too recently)."""
    topic: Literal["activities", "dead-letters"]
    defect: str | None = None
    raw: bytes | None = None
    """Its JSON as it was sent (base64 in JSON), where it was asked for."""


class Truth(msgspec.Struct, frozen=True):
    """All of them, and what they were judged by."""

    now: float
    by: float
    lookback_seconds: float
    activities: tuple[Expected, ...]

    @property
    def must(self) -> tuple[Expected, ...]:
        return tuple(expected for expected in self.activities if expected.must)


class Measure(msgspec.Struct, frozen=True):
    """What an activity is judged by."""

    now: float
    by: float
    """What was shown up to this instant must be there."""
    lookback_seconds: float
    starts_at: Callable[[Customer], float]
    erased_at: Callable[[Customer], float]


def expected(
    measure: Measure, customer: Customer, name: str, activities: Iterable[Stored], raw: Callable[[Stored], bytes | None]
) -> list[Expected]:
    """What of one customer's activities can have been read."""
    starts_at, erased_at = measure.starts_at(customer), measure.erased_at(customer)
    return [
        Expected(
            id=activity.id,
            customer=name,
            type=activity.type,
            created_at=format_instant(activity.created_at_us),
            created_at_ms=activity.created_at_ms,
            shown_at=activity.shown_at,
            must=(
                activity.created_at_us / 1e6 >= starts_at
                and activity.shown_at - activity.created_at_us / 1e6 <= measure.lookback_seconds
                and activity.shown_at <= measure.by
                and math.isinf(min(activity.gone_at, erased_at))
            ),
            topic="activities" if activity.defect in RECORDED_IN_SPITE else "dead-letters",
            defect=activity.defect,
            raw=raw(activity),
        )
        for activity in activities
        if activity.shown_at <= measure.now and activity.shown_at < min(activity.gone_at, erased_at)
    ]
