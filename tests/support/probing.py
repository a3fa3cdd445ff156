"""A probe of the pure model of the API: readings and a population in, what was asked and answered out; and what should be found."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from poller.demo.parameters import Endpoint, list_query
from poller.demo.readings import Listing, Readings, Refused, Stored, format_instant, list_activities
from poller.probe.answers import Answer, Ask, Entry, Name
from poller.probe.questions import next_question

NOW = 1_700_000_000.0
CUSTOMER = "cust_1"


def stored(id: str, before_ms: int, micros: int = 0, shown_at: float = 0.0) -> Stored:
    """An activity created so many milliseconds before `NOW`."""
    return Stored(id=id, type="customer.created", created_at_us=(int(NOW) * 1000 - before_ms) * 1000 + micros, shown_at=shown_at)


def apart(count: int, first: int = 0) -> list[Stored]:
    """Activities a minute from each other, at odd microseconds."""
    return [stored(f"evcus_{first + n + 1:018x}", 60_000 * (1000 - first - n), (37 * n) % 997 + 1) for n in range(count)]


def tied(count: int, size: int, first: int = 0, micros: int = 500) -> list[Stored]:
    """So many instants of so many activities each; those of one instant are at the same microsecond."""
    return [
        stored(f"evcus_{(first + n) * 1000 + size - k:018x}", 60_000 * (1000 - first - n), micros)
        for n in range(count)
        for k in range(size)
    ]


POPULATIONS: dict[str, Callable[[], list[Stored]]] = {
    "many": lambda: apart(130),
    "few": lambda: apart(3),
    "some": lambda: apart(9),
    "none": list,
    "one instant": lambda: tied(1, 5),
    "ties within a page": lambda: [*apart(2), *tied(6, 4, 2), *tied(1, 14, 9), *apart(120, 20)],
    "a small tie": lambda: [*apart(2), *tied(1, 2, 2), *apart(30, 20)],
    "a tie across the page's end": lambda: [*apart(4), *tied(1, 140, 4), *apart(60, 20)],
    "ties of a millisecond alone": lambda: [*apart(2), *(stored(f"evcus_b{k:x}", 60_000 * 990, 10 * k) for k in range(30)), *apart(60, 20)],
    "ties at the start": lambda: [*tied(2, 3), *apart(30, 20)],
}


@dataclass
class Model:
    """One account, seen through one reading."""

    activities: list[Stored]
    readings: Readings = field(default_factory=Readings)
    endpoint: Endpoint = "activities"
    asked: list[Ask] = field(default_factory=list)
    seen: dict[Name, Answer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.activities.sort(key=lambda activity: activity.created_at_us)

    def probe(self, calls_max: int = 100) -> "Model":
        while len(self.asked) < calls_max and (ask := next_question(self.endpoint, CUSTOMER, self.seen)):
            self.asked.append(ask)
            self.seen[ask.name] = self.answer(ask)
        return self

    def answer(self, ask: Ask) -> Answer:
        at = NOW + len(self.asked)
        of_successor = ask.endpoint == "activity"
        try:
            query = list_query("activity" if of_successor else "activities", dict(ask.parameters))
            if ask.customer == CUSTOMER:
                listing = list_activities(self.activities, query, self.readings, at, len(self.asked))
            elif self.readings.unknown_customer == "empty":
                listing = Listing()
            else:
                return Answer(status=404, page=False, fields=("code", "message"))
        except Refused:
            return Answer(status=400, page=False)
        return Answer(
            entries=entries(listing.activities),
            fields=("object", "data_ref", "data", "total"),
            total=listing.total,
            has_more=listing.has_more if of_successor else None,
            sent=at,
            received=at + 0.1,
            server_time=at,
        )


def entries(activities: Sequence[Stored]) -> tuple[Entry, ...]:
    return tuple(Entry(one.id, one.created_at_ms, format_instant(one.created_at_us)) for one in activities)


def tells_finer(activities: Sequence[Stored]) -> bool:
    """Whether there is anything finer than milliseconds to see."""
    return any(one.created_at_us % 1000 for one in activities)


def faults(model: Model, found: dict[str, str | None]) -> list[str]:
    """What is settled, and wrong."""
    told = {name: value for name, value in found.items() if value is not None}
    return [
        f"{name}: {value}, is {truth}"
        for name, value in told.items()
        if (truth := truths(model).get(name, (value,))) and value not in truth
    ]


def truths(model: Model) -> dict[str, tuple[str, ...]]:
    """For each finding what may be found. What an order that is not honoured hides, and what nothing shows, may be read either way."""
    r = model.readings
    effective = {"honoured": {"created_at": "oldest_first", "-created_at": "newest_first"}[r.order_default]}.get(r.order, r.order)
    honoured = r.starting_after_id if r.starting_after_id in {"ignored", "refused"} else "honoured"
    vanished = {"empty_when_vanished": "empty", "refused_when_vanished": "refused", "refused": "refused"}.get(
        r.starting_after_id, "ignored"
    )
    instants = {one.created_at_us for one in model.activities}
    ties_at_all = r.resolution == "milliseconds" or len(instants) < len(model.activities)
    finer = "finer" if r.resolution == "microseconds" and tells_finer(model.activities) else "milliseconds"
    return {
        "order": (r.order,),
        "order_default": (effective,),
        "default_limit": (str(min(10, r.page_activities_max)),),
        "start_date": (r.start_date,),
        "end_date": (r.end_date,),
        "resolution": (finer,),
        "starting_after": (r.starting_after,),
        "starting_after_direction": (r.starting_after_direction,),
        "starting_after_id": (honoured,),
        "unknown_id": (vanished,),
        "starting_after_id_ties": ("skipped" if r.starting_after_id == "by_created_at" else "one_by_one",),
        "ties": (r.ties if ties_at_all else "stable",),
        "limit": ("refused",),
        "longest_page": (str(r.page_activities_max),),
        "total": (r.total,),
        "unknown_customer": (r.unknown_customer,),
        "has_more": (r.has_more,),
    }
