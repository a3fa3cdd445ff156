"""The status, put together from what is known."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from poller.admin.history import Counted, Stretch
from poller.admin.status import Deployed, Freshness, Point, Reporter, Throughput, budget_ends_at
from poller.core.budget import CycleStands
from poller.core.overview import Oldest, Overview, Surveyed
from poller.metrics import Metrics
from poller.model import CustomerId
from poller.telemetry import METRICS
from tests.support.admin import overview

STARTED = 1_000_000.0
SECRET = "a-secret-of-ours"


class Replica:
    """One, as it says."""

    def __init__(self, reason: str = "owning partitions [0]", **fields: Any) -> None:
        self.reason = reason
        self.fields = fields

    def ready(self) -> tuple[bool, str]:
        return True, self.reason

    def overview(self) -> Overview:
        return overview(**self.fields)

    def stands(self) -> Overview:
        return replace(self.overview(), surveyed=None)

    def owners(self) -> dict[int, str]:
        return {0: "here/1"}


class Now:
    seconds = STARTED

    def __call__(self) -> float:
        return self.seconds


def deployed(*, hashes: bool = False) -> Deployed:
    return Deployed(url="https://api", endpoint="activities", topic="activities", started_at=STARTED, hashes=hashes, version="1.2")


def reporter(replica: Replica, metrics: Metrics, now: Now, *, hashes: bool = False) -> Reporter:
    return Reporter(deployed(hashes=hashes), replica, metrics, now, lambda text: text.replace(SECRET, "<secret>"))


def test_a_process_that_has_just_begun_says_what_it_knows_and_null_for_the_rest() -> None:
    status = reporter(Replica(), Metrics(METRICS), Now()).status((), {}, 7)

    assert (status.version, status.tasks, status.owners, status.counters, status.troubles) == ("1.2", 7, {0: "here/1"}, {}, ())
    assert (status.activities_per_call, status.hints_recall, status.budget_ends_at, status.throughput) == (None, None, None, ())
    assert status.freshness == Freshness(p50=None, p95=None, published=0, calls=0, since=STARTED)
    assert status.hour == (
        Point(
            at=STARTED,
            seconds=0.0,
            published=0,
            calls=0,
            freshness_p50_seconds=None,
            freshness_p95_seconds=None,
            staleness_max_seconds=None,
        ),
    )


def test_what_was_counted_shows_in_the_hour_by_type_and_by_call() -> None:
    metrics, now = Metrics(METRICS), Now()
    report = reporter(Replica(oldest_called_at=STARTED - 2.5), metrics, now)
    metrics.count("poller_calls_total", "read", by=4)
    metrics.count("poller_calls_total", "feed")
    metrics.count("poller_activities_published_total", "customer.created", by=2)
    metrics.count("poller_activities_published_total", "customer.order.paid", by=8)
    metrics.stands_at("poller_activities_announced_total", total=3)
    metrics.count("poller_activities_replayed_total", by=4)
    for _ in range(10):
        metrics.observe("poller_freshness_seconds", 7.0)
    now.seconds += 5
    report.sample()
    now.seconds += 1
    status = report.status((), {"read": now.seconds}, 1)

    assert status.freshness == Freshness(p50=7.5, p95=9.75, published=10, calls=5, since=STARTED)
    assert status.throughput == (
        Throughput(type="customer.order.paid", published=8, last_hour=8),
        Throughput(type="customer.created", published=2, last_hour=2),
    )
    assert (status.activities_per_call, status.hints_recall, status.last_success) == (1.2, 0.5, {"read": now.seconds})
    assert [(point.seconds, point.published, point.staleness_max_seconds) for point in status.hour] == [(5.0, 10, 7.5), (1.0, 0, 8.5)]
    assert status.counters['poller_calls_total{purpose="read"}'] == 4 and status.counters["poller_activities_replayed_total"] == 4


@pytest.mark.parametrize("hashes", [False, True])
def test_customers_are_named_as_in_the_log(hashes: bool) -> None:
    oldest = Oldest(customer=CustomerId("anna"), state="failing", last_read=1.0, error="HTTP 500 for anna")
    replica = Replica(surveyed=Surveyed(at=1.0, states={"failing": 1}, oldest=(oldest,)))
    said = msgspec.json.encode(reporter(replica, Metrics(METRICS), Now(), hashes=hashes).status((), {}, 1)).decode()

    assert ("anna" in said) is not hashes
    assert said.count("sha256:") == (2 if hashes else 0)


def test_no_text_shows_what_an_error_quotes_of_us() -> None:
    oldest = Oldest(customer=CustomerId("anna"), state="failing", last_read=1.0, error=f"no such token: {SECRET}")
    replica = Replica(f"refused: {SECRET}", paused_why=f"401: {SECRET}", surveyed=Surveyed(at=1.0, states={"failing": 1}, oldest=(oldest,)))
    said = msgspec.json.encode(reporter(replica, Metrics(METRICS), Now()).status((), {}, 1)).decode()

    assert (said.count(SECRET), said.count("<secret>")) == (0, 3)


def cycle(left: int) -> CycleStands:
    return CycleStands(begun="2026-11-01", ends=STARTED + 1000, calls=1000, spent=1000 - left, left=left, calls_per_minute=60)


@pytest.mark.parametrize(
    ("left", "calls", "ends"),
    [
        pytest.param(0, 0, STARTED, id="spent"),
        pytest.param(100, 0, None, id="nobody calls"),
        pytest.param(100, 6, None, id="it lasts just so"),
        pytest.param(100, 60, STARTED + 100, id="it ends before"),
    ],
)
def test_the_budget_ends_when_what_is_left_is_spent_at_the_pace_of_the_last_hour(left: int, calls: int, ends: float | None) -> None:
    hour = Stretch(begun=STARTED - 60, ended=STARTED, counted=Counted(calls=calls), staleness_max_seconds=None)

    assert budget_ends_at(overview(cycle=msgspec.to_builtins(cycle(left))), hour, STARTED) == ends
    assert budget_ends_at(overview(), hour, STARTED) is None
