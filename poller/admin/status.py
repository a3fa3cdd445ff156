"""`/status`: how this replica stands, as JSON. The page shows it, and `/events` sends it anew as it changes.

What the worker's engine knows comes as an `Overview`, what was counted from the `Metrics`, and the last hour from the `History`.
"""

from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Literal, Protocol

import msgspec
from msgspec.structs import replace

from poller.admin.history import Counted, History, Stretch, quantile
from poller.core.overview import Oldest, Overview
from poller.hashed import hashed, without_ids
from poller.metrics import Metrics
from poller.model import CustomerId
from poller.telemetry import METRICS, SECONDS_OF_FRESHNESS

BUDGET_TOLERANCE = 0.02
"""The pace of an hour swings by so much: a budget that would end so little before its cycle is taken to last."""


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One stretch of the last hour. The last one is under way."""

    at: float
    """Its end, Unix time in seconds."""
    seconds: float
    """How long it is."""
    published: int
    calls: int
    freshness_p50_seconds: float | None
    """Below which half, and 95 %, of its activities were committed, as reckoned from a histogram; `None`: there were none."""
    freshness_p95_seconds: float | None
    staleness_max_seconds: float | None


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """A warning or an error that was logged lately; said again, it is counted."""

    at: float
    """When it was said last."""
    first_at: float
    event: str
    level: Literal["warning", "error"]
    means: str
    """The event's line in the table."""
    said: str
    """What it said itself, in short."""
    see: str
    """Where the documentation says what to do."""
    times: int


class Freshness(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds from `created_at` to commit over the last hour, as reckoned from a histogram; `None`: nothing was published in its turn."""

    p50: float | None
    p95: float | None
    published: int
    """Activities in the last hour."""
    calls: int
    """Calls in the last hour, of every purpose."""
    since: float
    """When that hour began: the process may be younger."""


class Throughput(msgspec.Struct, frozen=True, kw_only=True):
    """Activities of one type."""

    type: str
    published: int
    """Since the process began."""
    last_hour: int


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """See the top of this file."""

    at: float
    """Now, by this process's clock."""
    version: str
    started_at: float
    ready: bool
    reason: str
    """Why it is ready, or is not."""
    url: str
    endpoint: str
    topic: str
    overview: Overview
    owners: dict[int, str]
    """Who owns each partition, as far as it was heard."""
    budget_ends_at: float | None
    """When what is left of the cycle is spent, at the pace of the last hour; `None`: not before the cycle ends, or no cycle is configured."""
    freshness: Freshness
    hour: tuple[Point, ...]
    """The oldest first."""
    throughput: tuple[Throughput, ...]
    """Those that were published, the most first."""
    troubles: tuple[Trouble, ...]
    """The last first."""
    last_success: dict[str, float]
    """By kind, Unix time in seconds."""
    activities_per_call: float | None
    """Published since the process began, replays aside, for each call made; `None`: none was made."""
    hints_recall: float | None
    """What part of what was published hints had announced."""
    tasks: int
    counters: dict[str, float]
    """Every counter that is not zero, by its name and label values."""


class Replica(Protocol):
    """Who is asked: the worker."""

    def ready(self) -> tuple[bool, str]: ...

    def overview(self) -> Overview: ...

    def stands(self) -> Overview: ...

    def owners(self) -> dict[int, str]: ...


class Deployed(msgspec.Struct, frozen=True, kw_only=True):
    """What does not change while the process lives."""

    url: str
    endpoint: str
    topic: str
    started_at: float
    hashes: bool
    """Whether customers are shown by the hashes of their ids."""
    version: str = ""


def own_version() -> str:
    """Of the installed package; empty where it is not installed."""
    try:
        return version("voucherify-activity-poller")
    except PackageNotFoundError:
        return ""


class Reporter:
    """Puts the status together whenever somebody asks; `sample` keeps the history, and is to be called every few seconds."""

    def __init__(
        self, deployed: Deployed, replica: Replica, metrics: Metrics, clock: Callable[[], float], scrubbed: Callable[[str], str]
    ) -> None:
        """`scrubbed` takes out of a text what must not be shown: an error may quote what was sent."""
        self._scrubbed = scrubbed
        self._deployed = deployed
        self._replica = replica
        self._metrics = metrics
        self._clock = clock
        self._history = History(begun=clock())

    def sample(self) -> None:
        now = self._clock()
        self._history = self._history.sampled(counted(self._metrics), staleness(self._replica.stands(), now), now)

    def status(self, troubles: tuple[Trouble, ...], last_success: Mapping[str, float], tasks: int) -> Status:
        now, overview, so_far = self._clock(), self._replica.overview(), counted(self._metrics)
        stretches = self._history.until(so_far, staleness(overview, now), now)
        hour = hour_of(stretches)
        ready, reason = self._replica.ready()
        published = so_far.published
        new = published - self._metrics.counted("poller_activities_replayed_total")
        return Status(
            at=now,
            version=self._deployed.version,
            started_at=self._deployed.started_at,
            ready=ready,
            reason=self._scrubbed(reason),
            url=self._deployed.url,
            endpoint=self._deployed.endpoint,
            topic=self._deployed.topic,
            overview=presentable(overview, self._deployed.hashes, self._scrubbed),
            owners=self._replica.owners(),
            budget_ends_at=budget_ends_at(overview, hour, now),
            freshness=freshness_of(hour),
            hour=tuple(map(point_of, stretches)),
            throughput=throughput_of(so_far, hour.counted),
            troubles=troubles,
            last_success=dict(last_success),
            activities_per_call=round(new / so_far.calls, 3) if so_far.calls else None,
            hints_recall=round(self._metrics.counted("poller_activities_announced_total") / new, 4) if new else None,
            tasks=tasks,
            counters={series_name(key): count for key, count in self._metrics.counters().items() if count},
        )


def counted(metrics: Metrics) -> Counted:
    """Since the process began."""
    series = metrics.counters()
    by_type = {key[1]: round(count) for key, count in series.items() if key[0] == "poller_activities_published_total" and count}
    calls = sum(count for key, count in series.items() if key[0] == "poller_calls_total")
    return Counted(calls=round(calls), by_type=by_type, freshness=tuple(metrics.histogram("poller_freshness_seconds").counts))


def staleness(overview: Overview, now: float) -> float | None:
    """Since the customer was called that was called longest ago."""
    return None if overview.oldest_called_at is None else max(0.0, now - overview.oldest_called_at)


def hour_of(stretches: tuple[Stretch, ...]) -> Stretch:
    """All of them as one."""
    whole, *others = stretches
    for stretch in others:
        whole = whole.joined(stretch)
    return whole


def point_of(stretch: Stretch) -> Point:
    freshness = stretch.counted.freshness
    return Point(
        at=round(stretch.ended, 2),
        seconds=round(stretch.ended - stretch.begun, 2),
        published=stretch.counted.published,
        calls=stretch.counted.calls,
        freshness_p50_seconds=_rounded(quantile(SECONDS_OF_FRESHNESS, freshness, 0.5)),
        freshness_p95_seconds=_rounded(quantile(SECONDS_OF_FRESHNESS, freshness, 0.95)),
        staleness_max_seconds=_rounded(stretch.staleness_max_seconds),
    )


def freshness_of(hour: Stretch) -> Freshness:
    return Freshness(
        p50=_rounded(quantile(SECONDS_OF_FRESHNESS, hour.counted.freshness, 0.5)),
        p95=_rounded(quantile(SECONDS_OF_FRESHNESS, hour.counted.freshness, 0.95)),
        published=hour.counted.published,
        calls=hour.counted.calls,
        since=round(hour.begun, 2),
    )


def throughput_of(so_far: Counted, hour: Counted) -> tuple[Throughput, ...]:
    found = [Throughput(type=type, published=count, last_hour=hour.by_type.get(type, 0)) for type, count in so_far.by_type.items()]
    return tuple(sorted(found, key=lambda one: (-one.published, one.type)))


def budget_ends_at(overview: Overview, hour: Stretch, now: float) -> float | None:
    """See `Status.budget_ends_at`."""
    cycle, seconds = overview.cycle, hour.ended - hour.begun
    if cycle is None:
        return None
    if cycle.left == 0:
        return now
    if seconds <= 0 or not hour.counted.calls:
        return None
    ends = now + cycle.left * seconds / hour.counted.calls
    return ends if ends < cycle.ends - BUDGET_TOLERANCE * (cycle.ends - now) else None


def presentable(overview: Overview, hashes: bool, scrubbed: Callable[[str], str]) -> Overview:
    """As in the log: without secrets, and with the hashes of customers' ids instead of them where that is asked for."""
    surveyed = overview.surveyed
    if surveyed is not None:
        surveyed = replace(surveyed, oldest=tuple(_presentable(one, hashes, scrubbed) for one in surveyed.oldest))
    return replace(overview, paused_why=scrubbed(overview.paused_why), surveyed=surveyed)


def _presentable(one: Oldest, hashes: bool, scrubbed: Callable[[str], str]) -> Oldest:
    if hashes:
        one = replace(one, customer=CustomerId(hashed(one.customer)), error=without_ids(one.error, [one.customer]))
    return replace(one, error=scrubbed(one.error))


def series_name(key: tuple[str, ...]) -> str:
    """As Prometheus writes it: `poller_calls_total{purpose="read"}`."""
    name, *values = key
    labels = ",".join(f'{label}="{value}"' for label, value in zip(METRICS[name].labels, values, strict=True))
    return f"{name}{{{labels}}}" if labels else name


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
