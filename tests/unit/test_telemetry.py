"""The tables of events and of metrics, and what is generated from them."""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from poller.activity_types import DOCUMENTED_TYPES
from poller.telemetry import ALL_SETTINGS, EVENTS, METRICS, SERIES_MAX
from poller.telemetry_reference import QUERIES, events_text, metrics_text
from tests.deploy import tools

ROOT = Path(__file__).parents[2]
SAYING = {"event", "_wait_for_log", "_tell_refusal"}
"""Functions whose first argument names an event."""
PROMTOOL = tools.found(tools.PROMTOOL)


def sources() -> Iterator[Path]:
    return (path for path in sorted((ROOT / "poller").rglob("*.py")) if path.name != "telemetry.py")


def names_said(tree: ast.AST) -> Iterator[str]:
    """The events that are named where something is said."""
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in SAYING and call.args:
            yield from (one.value for one in ast.walk(call.args[0]) if isinstance(one, ast.Constant) and isinstance(one.value, str))


def test_every_event_of_the_table_is_said_somewhere_and_nothing_else_is() -> None:
    said = {name for path in sources() for name in names_said(ast.parse(path.read_text(encoding="utf-8")))}

    assert said == EVENTS.keys()


def test_every_event_says_what_it_means_and_its_fields_are_words() -> None:
    for event in EVENTS.values():
        assert event.help.endswith(".")
        fields = [] if event.fields == ALL_SETTINGS else event.fields.split()
        assert all(field.isidentifier() and field.islower() for field in fields)
        assert len(set(fields)) == len(fields)


def test_every_metric_says_what_it_is_and_what_each_label_holds() -> None:
    for name, metric in METRICS.items():
        assert name.startswith("poller_")
        assert metric.help.endswith(".")
        assert name.endswith("_total") is (metric.kind == "counter")
        assert bool(metric.bounds) is (metric.kind == "histogram")
        assert list(metric.bounds) == sorted(set(metric.bounds))
        assert all(len(set(values)) == len(values) for values in metric.labels.values())


def test_every_counter_and_every_histogram_is_counted_somewhere_and_nothing_else_is() -> None:
    tree = ast.parse((ROOT / "poller" / "counts.py").read_text(encoding="utf-8"))
    named = {one.value for one in ast.walk(tree) if isinstance(one, ast.Constant) and str(one.value).startswith("poller_")}

    assert named == {name for name, metric in METRICS.items() if metric.kind != "gauge"}


def test_a_pod_shows_fewer_series_than_promised_and_none_by_customer() -> None:
    assert sum(metric.series for metric in METRICS.values()) < SERIES_MAX
    assert {label for metric in METRICS.values() for label in metric.labels}.isdisjoint({"customer", "customer_id", "id"})


def test_activity_types_are_counted_apart_where_they_are_documented() -> None:
    assert len(set(DOCUMENTED_TYPES)) == len(DOCUMENTED_TYPES) == 74
    assert METRICS["poller_activities_published_total"].labels["type"] == (*DOCUMENTED_TYPES, "other")


def test_the_references_name_everything_once() -> None:
    assert [line.split("`")[1] for line in metrics_text().splitlines() if line.startswith("| `")] == list(METRICS)
    assert [line.split("`")[1] for line in events_text().splitlines() if line.startswith("| `")] == list(EVENTS)


def test_queries_ask_for_metrics_that_are_there() -> None:
    series = {name + suffix for name, metric in METRICS.items() for suffix in _suffixes(metric.kind)}
    for query in QUERIES.values():
        asked = {word for word in _words(query) if word.startswith("poller_")}
        assert asked
        assert asked <= series


def _suffixes(kind: str) -> tuple[str, ...]:
    return ("_bucket", "_count", "_sum") if kind == "histogram" else ("",)


def _words(query: str) -> Iterator[str]:
    return iter("".join(letter if letter.isalnum() or letter == "_" else " " for letter in query).split())


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian's package prometheus)")
def test_prometheus_understands_the_queries(tmp_path: Path) -> None:
    rules = [f"  - record: q:{number}\n    expr: {query!r}" for number, query in enumerate(QUERIES.values())]
    file = tmp_path / "rules.yaml"
    file.write_text("groups:\n- name: queries\n  rules:\n" + "\n".join(rules) + "\n", encoding="utf-8")

    checked = subprocess.run([str(PROMTOOL), "check", "rules", str(file)], capture_output=True, text=True, check=False)

    assert (checked.returncode, f"{len(QUERIES)} rules found" in checked.stdout) == (0, True), checked.stderr
