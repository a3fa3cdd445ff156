"""`/metrics`: every metric of the table in `poller/telemetry.py`, in Prometheus' text format, or in OpenMetrics' where that is asked for.

    exposition = Exposition(telemetry.metrics, measure)     # measure: () -> Gauges
    body, content_type = exposition.render(accept)          # accept: the request's header, or ""
    Route("/metrics", metrics_route(exposition))

Counters and histograms are read as they stand; gauges are measured at each scrape. A gauge that is not known is absent, not 0: its alert then
says that it is absent. It runs on the loop, and takes a few milliseconds.
"""

import math
import platform
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import get_args

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry
from starlette.requests import Request
from starlette.responses import Response

from poller.core.overview import CustomerState, Overview, Surveyed
from poller.metrics import Metric, Metrics
from poller.telemetry import METRICS

Series = tuple[str, ...]
"""A metric's name, and the values of its labels in the table's order."""


class Gauges(msgspec.Struct, frozen=True, kw_only=True):
    """What is measured when somebody asks."""

    at: float
    """Now, Unix time in seconds."""
    version: str
    ready: bool
    tasks: int
    last_success: Mapping[str, float]
    """By kind, Unix time in seconds."""
    overview: Overview


class Exposition:
    """The metrics of one process, with those that every Prometheus client shows of the process itself (`process_…`)."""

    def __init__(self, metrics: Metrics, measure: Callable[[], Gauges]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Table(metrics, measure))
        ProcessCollector(registry=self._registry)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The body, and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type


def metrics_route(exposition: Exposition) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        body, content_type = exposition.render(request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type, "cache-control": "no-store"})

    return answer


class _Table(Collector):
    """All metrics of the table, in its order."""

    def __init__(self, metrics: Metrics, measure: Callable[[], Gauges]) -> None:
        self._metrics = metrics
        self._measure = measure

    def describe(self) -> list[Family]:
        """Asked when it is registered, before anything can be measured."""
        return []

    def collect(self) -> Iterator[Family]:
        measured = {series: value for series, value in gauges_of(self._measure()) if value is not None}
        counters = self._metrics.counters()
        for name, metric in METRICS.items():
            match metric.kind:
                case "counter":
                    yield _counter(name, metric, counters)
                case "histogram":
                    yield self._histogram(name, metric)
                case _:
                    yield from _gauge(name, metric, measured)

    def _histogram(self, name: str, metric: Metric) -> Family:
        family = HistogramMetricFamily(name, metric.help, labels=tuple(metric.labels))
        for values in metric.label_values:
            found = self._metrics.histogram(name, *values)
            below, buckets = 0, []
            for bound, count in zip((*found.bounds, math.inf), found.counts, strict=True):
                below += count
                buckets.append(("+Inf" if bound == math.inf else str(float(bound)), below))
            family.add_metric(values, buckets, found.total)
        return family


def _counter(name: str, metric: Metric, counters: Mapping[Series, float]) -> Family:
    family = CounterMetricFamily(name, metric.help, labels=tuple(metric.labels))
    for values in metric.label_values:
        family.add_metric(values, counters[(name, *values)])
    return family


def _gauge(name: str, metric: Metric, measured: Mapping[Series, float]) -> Iterator[Family]:
    """Nothing where nothing of it is known."""
    family = GaugeMetricFamily(name, metric.help, labels=tuple(metric.labels))
    for series, value in measured.items():
        if series[0] == name:
            family.add_metric(series[1:], value)
    if family.samples:
        yield family


def gauges_of(gauges: Gauges) -> Iterator[tuple[Series, float | None]]:
    """Every gauge of the table; `None`: not known."""
    overview = gauges.overview
    yield ("poller_build_info", gauges.version, platform.python_version()), 1
    yield ("poller_ready",), gauges.ready
    yield ("poller_tasks",), gauges.tasks
    for kind, at in gauges.last_success.items():
        yield ("poller_last_success_timestamp_seconds", kind), at
    yield ("poller_calls_in_flight",), overview.in_flight
    yield ("poller_customers_watched",), overview.watched
    yield ("poller_records_waiting",), overview.records_waiting
    yield ("poller_bytes_waiting",), overview.bytes_waiting
    yield ("poller_partitions",), overview.partitions
    yield ("poller_partitions_owned",), len(overview.owned)
    yield from _budget(overview)
    yield ("poller_staleness_objective_seconds",), overview.staleness_objective_seconds
    yield ("poller_schedule_lateness_seconds",), lateness_seconds(overview, gauges.at)
    if overview.surveyed is not None:
        yield from _surveyed(overview.surveyed, gauges.at)


def _budget(overview: Overview) -> Iterator[tuple[Series, float | None]]:
    rate, cycle = overview.rate, overview.cycle
    if rate is not None:
        yield ("poller_budget_calls_limit", "rate"), rate.calls
        yield ("poller_budget_calls_remaining", "rate"), rate.left
        yield ("poller_budget_calls_per_second",), rate.calls_per_second
    if cycle is not None:
        yield ("poller_budget_calls_limit", "cycle"), cycle.calls
        yield ("poller_budget_calls_remaining", "cycle"), cycle.left
        yield ("poller_budget_reset_timestamp_seconds", "cycle"), cycle.ends
    yield ("poller_quota_calls_remaining",), overview.quota_remaining


def lateness_seconds(overview: Overview, now: float) -> float | None:
    """By how much the customer that was called longest ago is over the objective."""
    if overview.oldest_called_at is None or overview.staleness_objective_seconds is None:
        return None
    return max(0.0, now - overview.oldest_called_at - overview.staleness_objective_seconds)


def _surveyed(surveyed: Surveyed, now: float) -> Iterator[tuple[Series, float | None]]:
    """What the last survey found grows older until the next."""
    for state in get_args(CustomerState):
        yield ("poller_customers", state), surveyed.states.get(state, 0)
    instants = (("p50", surveyed.last_read_p50), ("p95", surveyed.last_read_p95), ("max", surveyed.last_read_first))
    for statistic, read_at in instants:
        yield ("poller_staleness_seconds", statistic), None if read_at is None else max(0.0, now - read_at)
    yield ("poller_recent_ids",), surveyed.recent_ids
