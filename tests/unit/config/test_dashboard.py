"""The dashboard asks for what there is, and everything that there is can be seen on it; promtool's part is skipped where that tool is absent."""

import json
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from poller.telemetry import METRICS
from tests.deploy import tools
from tests.support.promql import faults, grouped, selectors

CONFIG = Path(__file__).parents[3] / "config"
TEXT = (CONFIG / "dashboard.json").read_text()
DASHBOARD = json.loads(TEXT)
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
ROWS = [panel for panel in DASHBOARD["panels"] if panel["type"] == "row"]
RULES = [rule for group in yaml.safe_load((CONFIG / "alerts.yaml").read_text())["groups"] for rule in group["rules"]]
RECORDED = {rule["record"]: grouped(rule["expr"]) | {"namespace", "job"} for rule in RULES if "record" in rule}

PROMTOOL = tools.found(tools.PROMTOOL)
WIDTH = 24
SELECTED = {("namespace", "=~", "$namespace"), ("job", "=", "$job")}
VARIABLES = {"$__rate_interval": "5m", "$namespace": ".*", "$job": "poller"}


def expressions(panel: Mapping[str, Any]) -> list[str]:
    return [target["expr"] for target in panel["targets"]]


def panel_faults(panel: Mapping[str, Any]) -> Iterator[str]:
    """What of a panel is not as it should be."""
    for expression in expressions(panel):
        yield from faults(expression, RECORDED)
        for selector in selectors(expression):
            if not set(selector.matchers) >= SELECTED:
                yield f"{selector.metric} is asked for of every deployment"
    defaults = panel["fieldConfig"]["defaults"]
    if not panel.get("description", "").strip():
        yield "no description"
    if not defaults.get("unit"):
        yield "no unit"
    if panel["type"] != "heatmap" and not defaults.get("thresholds", {}).get("steps"):
        yield "no thresholds"
    if any(not target.get("legendFormat") for target in panel["targets"]):
        yield "no legend"
    if panel["datasource"]["uid"] != "${datasource}" or any(target["datasource"] != panel["datasource"] for target in panel["targets"]):
        yield "not of the data source that is chosen"


def overlap(one: Mapping[str, int], other: Mapping[str, int]) -> bool:
    beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
    apart = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    return not (beside or apart)


def filled(expression: str) -> str:
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    return expression


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_asks_for_what_there_is_and_explains_itself(panel: dict[str, Any]) -> None:
    assert list(panel_faults(panel)) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"targets": [{"expr": "sum(poller_call_total)"}]}, "no such metric: poller_call_total"),
        ({"targets": [{"expr": 'poller_reads_total{outcome="found"}'}]}, "poller_reads_total is never outcome=found"),
        ({"targets": [{"expr": 'poller_ready{job="$job"}'}]}, "poller_ready is asked for of every deployment"),
        ({"description": ""}, "no description"),
        ({"fieldConfig": {"defaults": {}}}, "no unit"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistake_in_a_panel_is_found(change: dict[str, Any], fault: str) -> None:
    panel = PANELS[0] | change
    panel["targets"] = [{"datasource": panel["datasource"]} | target for target in panel["targets"]]

    assert fault in list(panel_faults(panel))


def test_everything_that_is_measured_is_shown() -> None:
    shown = {selector.metric for panel in PANELS for expression in expressions(panel) for selector in selectors(expression)}
    shown |= {selector.metric for rule in RULES if rule.get("record") in shown for selector in selectors(rule["expr"])}

    assert [name for name in METRICS if not shown & {name, f"{name}_bucket", f"{name}_count"}] == []


def test_the_rows_are_in_the_order_in_which_an_operator_asks() -> None:
    assert [row["title"] for row in ROWS] == ["Is it well?", "Freshness", "Budget", "Outcomes", "Data", "Kafka", "Fleet"]


def test_the_first_row_is_seen_without_scrolling() -> None:
    second = ROWS[1]["gridPos"]["y"]
    first = [panel for panel in PANELS if panel["gridPos"]["y"] < second]

    assert {panel["type"] for panel in first} == {"stat"}
    assert second <= 6


def test_no_panel_has_another_ones_id_or_title_in_its_row_or_lies_over_it() -> None:
    everything = DASHBOARD["panels"]

    assert {name: count for name, count in Counter(panel["id"] for panel in everything).items() if count > 1} == {}
    assert [(one["title"], two["title"]) for one, two in combinations(everything, 2) if overlap(one["gridPos"], two["gridPos"])] == []
    assert [panel["title"] for panel in everything if panel["gridPos"]["x"] + panel["gridPos"]["w"] > WIDTH] == []


def test_two_panels_that_lie_over_each_other_are_found() -> None:
    assert overlap({"x": 0, "y": 0, "w": 8, "h": 8}, {"x": 7, "y": 7, "w": 8, "h": 8})
    assert not overlap({"x": 0, "y": 0, "w": 8, "h": 8}, {"x": 8, "y": 0, "w": 8, "h": 8})


def test_data_source_namespace_and_job_can_be_chosen() -> None:
    assert [variable["name"] for variable in DASHBOARD["templating"]["list"]] == ["datasource", "namespace", "job"]


def test_the_file_is_formatted_as_always_so_that_a_change_is_a_small_difference() -> None:
    assert json.dumps(DASHBOARD, indent=2, ensure_ascii=False) + "\n" == TEXT


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed: `make deploy-check` installs it")
def test_promtool_takes_every_expression(tmp_path: Path) -> None:
    asked = [filled(expression) for panel in PANELS for expression in expressions(panel)]
    rules = [{"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(asked)]
    (tmp_path / "panels.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))

    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, "check", "rules", tmp_path / "panels.yaml"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
