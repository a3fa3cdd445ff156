"""What one call lists: a pure function of what is stored, what was asked, how the API is to be read, and the time.

The API's documentation leaves much open (is `start_date` inclusive? which way does `starting_after` go?). Each of these unknowns is a
field of `Readings`; its default is the plausible one. Instants are whole microseconds since the Unix epoch (`…_us`): the API shows
milliseconds, and may compare something finer.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Annotated, Any, Literal, NamedTuple
from zlib import crc32

import msgspec
from cyclopts import Group, Parameter

MILLISECOND_US = 1_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Bound = Literal["inclusive", "exclusive", "ignored"]
Truthfulness = Literal["right", "wrong", "absent"]
Defect = Literal["no_id", "no_type", "no_created_at", "bad_created_at", "bad_utf8", "not_an_object", "odd_created_at"]

READINGS = Group("Readings of the API (what its documentation leaves open)", sort_key=4)


def knob(text: str) -> Parameter:
    return Parameter(help=text, group=READINGS)


@dataclass(frozen=True, slots=True)
class Readings:
    """How the API's open questions are answered."""

    start_date: Annotated[Bound, knob("Whether an activity created exactly at start_date is listed.")] = "inclusive"
    end_date: Annotated[Bound, knob("Whether an activity created exactly at end_date is listed.")] = "inclusive"
    starting_after: Annotated[Bound, knob("Whether an activity created exactly at starting_after is listed.")] = "exclusive"
    starting_after_direction: Annotated[
        Literal["order", "newer", "older"],
        knob("Which side of starting_after is listed: onwards in the list's order, always newer, always older."),
    ] = "order"
    starting_after_id: Annotated[
        Literal["honoured", "by_created_at", "ignored", "empty_when_vanished", "refused_when_vanished", "refused"],
        knob(
            "What starting_after_id does: by_created_at skips the ties of that activity; a vanished id is ignored, ends the list or gets a 400."
        ),
    ] = "honoured"
    order: Annotated[
        Literal["honoured", "newest_first", "oldest_first"], knob("Whether order is honoured, or ignored and always this one.")
    ] = "honoured"
    order_default: Annotated[Literal["-created_at", "created_at"], knob("The order where none is asked for.")] = "-created_at"
    ties: Annotated[Literal["stable", "unstable"], knob("Whether activities of one instant come in the same order in every call.")] = (
        "stable"
    )
    resolution: Annotated[
        Literal["milliseconds", "microseconds"], knob("What created_at is compared by; milliseconds are shown in either case.")
    ] = "milliseconds"
    page_activities_max: Annotated[int, knob("The most activities on a page, whatever limit asks for.")] = 100
    date: Annotated[Literal["right", "absent"], knob("Whether responses have a Date header.")] = "right"
    date_offset_seconds: Annotated[float, knob("How far the Date header is ahead of the clock.")] = 0.0
    payload: Annotated[
        Literal["nested", "flat", "mixed"], knob("The shape of an activity's data; flat has no event_source and no group_id.")
    ] = "nested"
    total: Annotated[Truthfulness, knob("The body's total; wrong: the number on this page.")] = "right"
    has_more: Annotated[Truthfulness, knob("The successor endpoint's has_more; wrong: the opposite.")] = "right"
    unknown_customer: Annotated[
        Literal["not_found", "empty"], knob("What a customer that does not exist gets: 404, or 200 with an empty list.")
    ] = "not_found"
    limited_code: Annotated[Literal["number", "text"], knob("How a 429's body writes its code.")] = "number"


class Stored(msgspec.Struct, frozen=True, gc=False):
    """One activity as the API keeps it."""

    id: str
    type: str
    created_at_us: int
    shown_at: float
    """Unix time in seconds from which calls list it; later than created_at where it is late."""
    gone_at: float = inf
    """Unix time in seconds from which calls list it no more."""
    group_id: str | None = None
    campaign_id: str | None = None
    campaign_type: str | None = None
    product_id: str | None = None
    category: str = "ACTION"
    defect: Defect | None = None
    pad_bytes: int = 0
    raw: bytes | None = None
    """Its JSON, where that is not to be made from the fields above."""

    @property
    def created_at_ms(self) -> int:
        return self.created_at_us // MILLISECOND_US


class ListQuery(msgspec.Struct, frozen=True, gc=False):
    """The parameters of a call, understood and within their bounds."""

    limit: int = 10
    order: str | None = None
    starting_after_us: int | None = None
    starting_after_id: str | None = None
    start_date_us: int | None = None
    end_date_us: int | None = None
    campaign_type: str | None = None
    campaign_id: str | None = None
    product_id: str | None = None
    category: str | None = None
    type: str | None = None


class Listing(msgspec.Struct, frozen=True, gc=False):
    """What a call gets; `None` where the API says nothing."""

    activities: tuple[Stored, ...] = ()
    total: int | None = 0
    has_more: bool | None = False
    more_starting_after: str | None = None


class Refused(Exception):
    """The call gets a 400; the argument says why."""


def list_activities(stored: Sequence[Stored], query: ListQuery, readings: Readings, now: float, call: int = 0) -> Listing:
    """The page that a call at `now` gets. `stored` is one customer's activities, ascending by `created_at_us`.

    `call` tells calls apart: unstable ties are in another order for each. Raises `Refused`.
    """
    ranking = ranking_of(query, readings, call)
    matching = [activity for activity in between_dates(stored, query, readings) if shown(activity, now) and matches(activity, query)]
    following = after_id(after_instant(matching, query, readings, ranking), find_anchor(stored, query, now), query, readings, ranking)
    following.sort(key=ranking.rank, reverse=ranking.descending)
    page = tuple(following[: min(query.limit, readings.page_activities_max)])
    more = len(following) > len(page)
    return Listing(
        activities=page,
        total={"right": len(matching), "wrong": len(page), "absent": None}[readings.total],
        has_more={"right": more, "wrong": not more, "absent": None}[readings.has_more],
        more_starting_after=page[-1].id if more and page else None,
    )


def shown(activity: Stored, now: float) -> bool:
    return activity.shown_at <= now < activity.gone_at


def matches(activity: Stored, query: ListQuery) -> bool:
    return (
        (query.type is None or activity.type == query.type)
        and (query.campaign_id is None or activity.campaign_id == query.campaign_id)
        and (query.campaign_type is None or activity.campaign_type == query.campaign_type)
        and (query.product_id is None or activity.product_id == query.product_id)
        and (query.category is None or activity.category == query.category)
    )


def step_us(readings: Readings) -> int:
    return MILLISECOND_US if readings.resolution == "milliseconds" else 1


def between_dates(stored: Sequence[Stored], query: ListQuery, readings: Readings) -> Sequence[Stored]:
    """Those within start_date and end_date, found by bisection: a customer may have very many."""
    step = step_us(readings)
    low, high = 0, len(stored)
    if query.start_date_us is not None and readings.start_date != "ignored":
        first = floor(query.start_date_us, step) + (step if readings.start_date == "exclusive" else 0)
        low = bisect_left(stored, first, key=lambda activity: activity.created_at_us)
    if query.end_date_us is not None and readings.end_date != "ignored":
        end = floor(query.end_date_us, step) + (step if readings.end_date == "inclusive" else 0)
        high = bisect_left(stored, end, key=lambda activity: activity.created_at_us)
    return stored[low:high]


def after_instant(activities: list[Stored], query: ListQuery, readings: Readings, ranking: "Ranking") -> list[Stored]:
    if query.starting_after_us is None or readings.starting_after == "ignored":
        return activities
    step, inclusive = step_us(readings), readings.starting_after == "inclusive"
    cursor = floor(query.starting_after_us, step)
    older = ranking.descending if readings.starting_after_direction == "order" else readings.starting_after_direction == "older"
    sign = -1 if older else 1
    return [
        activity
        for activity in activities
        if (ahead := sign * (floor(activity.created_at_us, step) - cursor)) > 0 or (inclusive and ahead == 0)
    ]


def find_anchor(stored: Sequence[Stored], query: ListQuery, now: float) -> Stored | None:
    """The activity that starting_after_id names, if it is shown."""
    if query.starting_after_id is None:
        return None
    return next((activity for activity in stored if activity.id == query.starting_after_id and shown(activity, now)), None)


def after_id(activities: list[Stored], anchor: Stored | None, query: ListQuery, readings: Readings, ranking: "Ranking") -> list[Stored]:
    if query.starting_after_id is None or readings.starting_after_id == "ignored":
        return activities
    if readings.starting_after_id == "refused":
        raise Refused("starting_after_id is not supported")
    if anchor is None:
        return after_vanished(activities, query.starting_after_id, readings)
    parts = 1 if readings.starting_after_id == "by_created_at" else 2
    return [activity for activity in activities if ranking.is_beyond(activity, anchor, parts)]


def after_vanished(activities: list[Stored], vanished: str, readings: Readings) -> list[Stored]:
    if readings.starting_after_id == "refused_when_vanished":
        raise Refused(f"Cannot find event with id {vanished}")
    return [] if readings.starting_after_id == "empty_when_vanished" else activities


ORDER_FIELDS: dict[str, Callable[[Stored], str]] = {
    "type": lambda activity: activity.type,
    "code": lambda activity: activity.group_id or "",
    "campaign": lambda activity: activity.campaign_id or "",
    "category": lambda activity: activity.category,
}
"""What the orders other than by time go by; `updated_at` is `created_at`, as an activity is never updated."""


class Ranking(NamedTuple):
    """The order of a list."""

    rank: Callable[[Stored], tuple[Any, ...]]
    """An instant or a text, then what breaks ties."""
    descending: bool

    def is_beyond(self, activity: Stored, anchor: Stored, parts: int) -> bool:
        """Whether it comes after the anchor, by the first `parts` of the rank."""
        one, other = self.rank(activity)[:parts], self.rank(anchor)[:parts]
        return one < other if self.descending else one > other


def ranking_of(query: ListQuery, readings: Readings, call: int) -> Ranking:
    order = {"honoured": query.order or readings.order_default, "newest_first": "-created_at", "oldest_first": "created_at"}[readings.order]
    step, field = step_us(readings), ORDER_FIELDS.get(order.lstrip("-"))

    def rank(activity: Stored) -> tuple[Any, ...]:
        tie = activity.id if readings.ties == "stable" else crc32(f"{call}/{activity.id}".encode())
        return (floor(activity.created_at_us, step) if field is None else field(activity)), tie

    return Ranking(rank, order.startswith("-"))


def floor(instant_us: int, step: int) -> int:
    return instant_us // step * step


def parse_instant_us(text: str) -> int:
    """Microseconds of an ISO 8601 date or date-time; UTC where it names no zone. Raises `ValueError`."""
    instant = datetime.fromisoformat(text)
    return ((instant if instant.tzinfo else instant.replace(tzinfo=UTC)) - EPOCH) // timedelta(microseconds=1)


def format_instant(instant_us: int, zone: str = "Z", fraction: Literal["milliseconds", "microseconds", "seconds"] = "milliseconds") -> str:
    """`YYYY-MM-DDTHH:MM:SS.mmmZ`, or with another zone or fraction (cut, not rounded)."""
    return (EPOCH + timedelta(microseconds=instant_us)).replace(tzinfo=None).isoformat(timespec=fraction) + zone
