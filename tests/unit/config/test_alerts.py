"""The rules ask for what there is, say what to do, and are tested; promtool's part is skipped where that tool is absent."""

import re
import subprocess
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from poller.telemetry import METRICS
from tests.deploy import tools
from tests.support.promql import TARGET_LABELS, faults, grouped, labels_of, selectors

ROOT = Path(__file__).parents[3]
CONFIG = ROOT / "config"
RUNBOOK = ROOT / "docs" / "runbook.md"
GROUPS = yaml.safe_load((CONFIG / "alerts.yaml").read_text())["groups"]
TESTS = yaml.safe_load((CONFIG / "alerts.test.yaml").read_text())["tests"]
RULES: list[dict[str, Any]] = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDED = {rule["record"]: grouped(rule["expr"]) | {"namespace", "job"} for rule in RULES if "record" in rule}

PROMTOOL = tools.found(tools.PROMTOOL)
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed: `make deploy-check` installs it")

SEVERITIES = {"page", "ticket"}
TEMPLATE_LABEL = re.compile(r"\$labels\.(\w+)")


def rule_faults(rule: dict[str, Any]) -> list[str]:
    """What of one rule is not as it should be."""
    found = faults(rule["expr"], RECORDED)
    if "record" in rule:
        return found if rule["record"].startswith("poller:") else [*found, "its name does not begin with poller:"]
    return found + alert_faults(rule)


def alert_faults(rule: dict[str, Any]) -> list[str]:
    name, annotations = rule["alert"], rule.get("annotations", {})
    found = [] if re.fullmatch(r"Poller[A-Z][A-Za-z]+", name) else [f"its name is not Poller…: {name}"]
    if rule.get("labels", {}).get("severity") not in SEVERITIES:
        found.append(f"its severity is none of {sorted(SEVERITIES)}")
    if annotations.get("runbook_url") != f"docs/runbook.md#{name.lower()}":
        found.append("its runbook_url is not that of its entry")
    found += [f"it has no {text}" for text in ("summary", "description") if not annotations.get(text, "").strip()]
    used = {label for text in annotations.values() for label in TEMPLATE_LABEL.findall(text)}
    return found + [f"it tells of a label that it has not: {label}" for label in sorted(used - result_labels(rule["expr"]))]


def result_labels(expression: str) -> set[str]:
    """At most these are left when it fires."""
    asked = [set(labels_of(selector.metric, RECORDED) or ()) for selector in selectors(expression)]
    groups = grouped(expression)
    return (groups | TARGET_LABELS) if groups else set().union(*asked)


def broken(name: str, /, **changes: Any) -> dict[str, Any]:
    return deepcopy(ALERTS[name]) | changes


def promtool(*arguments: str | Path) -> str:
    """What it says, where it finds fault."""
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert", rule.get("record")))
def test_a_rule_asks_for_what_there_is_and_says_what_to_do(rule: dict[str, Any]) -> None:
    assert rule_faults(rule) == []


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        (broken("PollerDeadLetters", expr="increase(poller_dead_letter_total[1h]) > 0"), "no such metric: poller_dead_letter_total"),
        (
            broken("PollerKafkaRefuses", expr='poller_kafka_errors_total{kind="denied"} > 0'),
            "poller_kafka_errors_total is never kind=denied",
        ),
        (broken("PollerKafkaRefuses", expr='poller_kafka_errors_total{type="refused"} > 0'), "poller_kafka_errors_total has no label type"),
        (broken("PollerDown", expr="max by (namespace, job, cluster_id) (poller_ready) == 0"), "no metric of it has the label cluster_id"),
        (broken("PollerLoopLag", expr="poller_loop_lag_seconds > 1"), "no such metric: poller_loop_lag_seconds"),
        (broken("PollerLoopLag", expr="sum by (job, le) (poller_tasks_bucket) > 1"), "no such metric: poller_tasks_bucket"),
        (broken("PollerPartitionsUnowned", expr="poller:partitions_unknown > 0"), "no such metric: poller:partitions_unknown"),
        (broken("PollerDown", expr="vector(1)"), "it asks for no metric"),
        (broken("PollerDown", labels={"severity": "critical"}), "its severity is none of ['page', 'ticket']"),
        (broken("PollerDown", annotations={"summary": "s", "description": "d"}), "its runbook_url is not that of its entry"),
        (broken("PollerDown", annotations=ALERTS["PollerDown"]["annotations"] | {"description": " "}), "it has no description"),
        (
            broken("PollerDown", annotations=ALERTS["PollerDown"]["annotations"] | {"summary": "{{ $labels.topic }}"}),
            "it tells of a label that it has not: topic",
        ),
        (broken("PollerDown", alert="Down"), "its name is not Poller…: Down"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistake_in_a_rule_is_found(rule: dict[str, Any], fault: str) -> None:
    assert fault in rule_faults(rule)


def test_no_two_rules_have_one_name() -> None:
    names = [str(rule.get("alert") or rule["record"]) for rule in RULES]

    assert sorted(names) == sorted(set(names))


def test_every_recorded_series_is_used_by_an_alert_or_the_dashboard() -> None:
    used = (CONFIG / "dashboard.json").read_text() + "".join(rule["expr"] for rule in ALERTS.values())

    assert [name for name in RECORDED if name not in used] == []


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_is_seen_to_fire_to_say_what_it_should_and_to_clear(alert: str) -> None:
    tests = [test for test in TESTS if test["name"] == alert]
    said = [
        minutes(one["eval_time"]) for test in tests for one in test["alert_rule_test"] if one["alertname"] == alert and one["exp_alerts"]
    ]
    silent = [minutes(one["eval_time"]) for test in tests for one in test["promql_expr_test"] if not one["exp_samples"]]

    assert said
    assert min(silent) < max(said) < max(silent), "silent before, and silent again"


def minutes(duration: str) -> int:
    assert duration.endswith("m")
    return int(duration.removesuffix("m"))


@pytest.mark.skipif(not RUNBOOK.exists(), reason="there is no docs/runbook.md")
@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_its_entry_in_the_runbook(alert: str) -> None:
    assert re.search(rf"^#+ {alert}$", RUNBOOK.read_text(), re.MULTILINE)


def test_what_promises_nothing_else_tells_of_has_an_alert() -> None:
    asked = {selector.metric for rule in RULES for selector in selectors(rule["expr"])}
    promises = {
        "poller_gaps_suspected_total",
        "poller_recent_ids_dropped_total",
        "poller_dead_letters_total",
        "poller_commits_undone_total",
        "poller_listing_gaps_total",
    }

    assert promises <= METRICS.keys()
    assert promises <= asked


@needs_promtool
def test_promtool_takes_the_rules() -> None:
    assert promtool("check", "rules", CONFIG / "alerts.yaml") == ""


@needs_promtool
def test_the_alerts_fire_and_clear_and_keep_silent_where_it_is_well() -> None:
    assert promtool("test", "rules", CONFIG / "alerts.test.yaml") == ""


@needs_promtool
def test_promtool_finds_an_alert_that_never_fires(tmp_path: Path) -> None:
    """That its test can fail: see that `promtool test rules` reads these very rules."""
    rules = (CONFIG / "alerts.yaml").read_text()
    tests = yaml.safe_load((CONFIG / "alerts.test.yaml").read_text())
    tests["tests"] = [test for test in tests["tests"] if test["name"] == "PollerPartitionsUnowned"]
    (tmp_path / "alerts.test.yaml").write_text(yaml.safe_dump(tests))
    (tmp_path / "alerts.yaml").write_text(rules.replace("poller:partitions_unowned > 0", "poller:partitions_unowned > 9"))

    assert "alertname: PollerPartitionsUnowned" in promtool("test", "rules", tmp_path / "alerts.test.yaml")
