"""`/metrics`: every metric of the table, and nothing that is not known."""

import re
import subprocess
from collections.abc import Mapping
from typing import Any, get_args

import httpx
import pytest
from msgspec.structs import replace
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.routing import Route

from poller.admin.exposition import Exposition, Gauges, lateness_seconds, metrics_route
from poller.core.budget import CycleStands
from poller.core.overview import CustomerState, Overview, RateStands, Surveyed
from poller.metrics import Metrics
from poller.telemetry import METRICS, SERIES_MAX, Success
from tests.deploy import tools
from tests.support.admin import overview

PROMTOOL = tools.found(tools.PROMTOOL)
NOW = 1_800_000_000.0
STANDBY = overview(owner="poller-1/7", partitions=0, watched=3)
OWNER = replace(
    STANDBY,
    partitions=2,
    owned=(0, 1),
    in_flight=4,
    records_waiting=5,
    bytes_waiting=6,
    rate=RateStands(calls=60, window_seconds=60, left=12.5, calls_per_second=0.75),
    cycle=CycleStands(begun="2027-01-01", ends=NOW + 86_400, calls=1000, spent=400, left=550, calls_per_minute=3),
    parts={0: 0.5, 1: 0.5},
    quota_remaining=77,
    staleness_objective_seconds=600.0,
    oldest_called_at=NOW - 700,
    surveyed=Surveyed(
        at=NOW - 20,
        states={"read": 2, "failing": 1},
        last_read_p50=NOW - 100,
        last_read_p95=NOW - 200,
        last_read_first=NOW - 650,
        recent_ids=8,
    ),
)
SUCCESSES: Mapping[str, float] = {kind: NOW - number for number, kind in enumerate(get_args(Success))}


def gauges(overview: Overview, last_success: Mapping[str, float] = SUCCESSES) -> Gauges:
    return Gauges(at=NOW, version="1.2.3", ready=True, tasks=9, last_success=last_success, overview=overview)


def text(overview: Overview = OWNER, metrics: Metrics | None = None, **given: Any) -> str:
    body, content_type = Exposition(metrics or Metrics(METRICS), lambda: gauges(overview, **given)).render()
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    return body.decode()


def values(exposed: str, prefix: str = "poller_") -> dict[str, float]:
    """Each series as it is written, and its value."""
    lines = [line.rsplit(" ", 1) for line in exposed.splitlines() if line.startswith(prefix)]
    return {series: float(value) for series, value in lines}


def types(exposed: str) -> dict[str, str]:
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", exposed, re.MULTILINE))


def test_every_metric_of_the_table_is_shown_and_nothing_else_but_the_process() -> None:
    shown = types(text())

    assert {name: kind for name, kind in shown.items() if not name.startswith("process_")} == {
        name: metric.kind for name, metric in METRICS.items()
    }
    assert "process_resident_memory_bytes" in shown


def test_every_series_that_the_table_promises_is_shown_and_all_of_them_are_few() -> None:
    exposed = text()
    series = [line for line in exposed.splitlines() if not line.startswith("#")]

    assert len(values(exposed)) == sum(metric.series for metric in METRICS.values())
    assert len(series) <= SERIES_MAX


def test_a_parser_reads_both_formats_alike() -> None:
    metrics = Metrics(METRICS)
    metrics.observe_all("poller_freshness_seconds", [0.5, 3.0, 100_000.0])
    metrics.count("poller_reads_total", "new", by=3)
    exposition = Exposition(metrics, lambda: gauges(OWNER))

    plain, _ = exposition.render()
    open_metrics, content_type = exposition.render("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5")

    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    read, read_as_open = (
        {(sample.name, *sorted(sample.labels.items())): sample.value for family in families for sample in family.samples}
        for families in (text_string_to_metric_families(plain.decode()), openmetrics_families(open_metrics.decode()))
    )
    assert {key: value for key, value in read.items() if not key[0].startswith("process_")} == {
        key: value for key, value in read_as_open.items() if not key[0].startswith("process_")
    }
    assert read[("poller_freshness_seconds_bucket", ("le", "5.0"))] == 2
    assert read[("poller_freshness_seconds_bucket", ("le", "+Inf"))] == read[("poller_freshness_seconds_count",)] == 3
    assert read[("poller_freshness_seconds_sum",)] == 100_003.5


def test_gauges_are_what_is_measured_now() -> None:
    shown = values(text())

    measured = {series: shown[series] for series in shown if METRICS.get(series.partition("{")[0], METRICS["poller_ready"]).kind == "gauge"}
    expected = {
        "poller_ready": 1,
        "poller_tasks": 9,
        "poller_calls_in_flight": 4,
        'poller_budget_calls_limit{window="rate"}': 60,
        'poller_budget_calls_limit{window="cycle"}': 1000,
        'poller_budget_calls_remaining{window="rate"}': 12.5,
        'poller_budget_calls_remaining{window="cycle"}': 550,
        'poller_budget_reset_timestamp_seconds{window="cycle"}': NOW + 86_400,
        "poller_budget_calls_per_second": 0.75,
        "poller_quota_calls_remaining": 77,
        'poller_staleness_seconds{statistic="p50"}': 100,
        'poller_staleness_seconds{statistic="p95"}': 200,
        'poller_staleness_seconds{statistic="max"}': 650,
        "poller_staleness_objective_seconds": 600,
        "poller_schedule_lateness_seconds": 100,
        "poller_customers_watched": 3,
        **{f'poller_customers{{state="{state}"}}': {"read": 2, "failing": 1}.get(state, 0) for state in get_args(CustomerState)},
        "poller_recent_ids": 8,
        "poller_records_waiting": 5,
        "poller_bytes_waiting": 6,
        "poller_partitions": 2,
        "poller_partitions_owned": 2,
        **{f'poller_last_success_timestamp_seconds{{kind="{kind}"}}': at for kind, at in SUCCESSES.items()},
    }
    assert expected.items() <= measured.items()
    assert [series for series in shown if series.startswith("poller_build_info") and 'version="1.2.3"' in series] != []


def test_what_is_not_known_is_absent_and_not_zero() -> None:
    shown = {series.partition("{")[0] for series in values(text(STANDBY, last_success={"heartbeat": NOW}))}

    absent = {name for name, metric in METRICS.items() if metric.kind == "gauge"} - shown
    assert absent == {
        "poller_budget_calls_limit",
        "poller_budget_calls_remaining",
        "poller_budget_reset_timestamp_seconds",
        "poller_budget_calls_per_second",
        "poller_quota_calls_remaining",
        "poller_staleness_seconds",
        "poller_staleness_objective_seconds",
        "poller_schedule_lateness_seconds",
        "poller_customers",
        "poller_recent_ids",
    }


def test_staleness_ages_while_nobody_looks_again() -> None:
    at = [NOW]
    exposition = Exposition(Metrics(METRICS), lambda: replace(gauges(OWNER), at=at[0]))
    seen = []
    for at[0] in (NOW, NOW + 50):
        shown = values(exposition.render()[0].decode())
        seen.append((shown['poller_staleness_seconds{statistic="max"}'], shown["poller_schedule_lateness_seconds"]))

    assert seen == [(650, 100), (700, 150)]


@pytest.mark.parametrize(
    ("called_at", "objective", "late"), [(NOW - 700, 600.0, 100.0), (NOW - 500, 600.0, 0.0), (None, 600.0, None), (NOW, None, None)]
)
def test_a_schedule_is_late_by_what_exceeds_the_objective(called_at: float | None, objective: float | None, late: float | None) -> None:
    overview = replace(OWNER, oldest_called_at=called_at, staleness_objective_seconds=objective)

    assert lateness_seconds(overview, NOW) == late


@pytest.mark.asyncio
async def test_the_route_answers_in_the_format_that_is_asked_for() -> None:
    app = Starlette(routes=[Route("/metrics", metrics_route(Exposition(Metrics(METRICS), lambda: gauges(OWNER))))])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://poller") as client:
        plain = await client.get("/metrics")
        open_metrics = await client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})

    assert [answer.headers["content-type"].partition(";")[0] for answer in (plain, open_metrics)] == [
        "text/plain",
        "application/openmetrics-text",
    ]
    assert plain.headers["content-type"].count("charset") == 1
    assert open_metrics.text.endswith("# EOF\n")
    assert plain.headers["cache-control"] == "no-store"


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian's package prometheus)")
def test_prometheus_has_nothing_to_say_against_names_and_help() -> None:
    checked = subprocess.run([str(PROMTOOL), "check", "metrics"], input=text(), capture_output=True, text=True, check=False)

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
