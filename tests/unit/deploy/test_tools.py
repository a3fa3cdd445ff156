"""A mistake of each kind that the programs of others are for is refused by them. Skipped where they are not installed: `make deploy-check` does that."""

from pathlib import Path

import pytest
import yaml

from tests.deploy import builds, examples, external, tools
from tests.deploy.__main__ import Outcome, shown
from tests.deploy.manifests import DEPLOY, KUSTOMIZE, NAME, parse

PRODUCTION = (builds.RENDERED / "production.yaml").read_text()

RULES = """\
groups:
  - name: poller
    rules:
      - alert: NobodyReads
        expr: sum(up) == 0
"""
RULE_TESTS = """\
rule_files: [rules.yaml]
tests:
  - input_series:
      - {series: up, values: 0x5}
    alert_rule_test:
      - {eval_time: 1m, alertname: NobodyReads, exp_alerts: [{}]}
"""


def program(tool: tools.Tool) -> str:
    """Its path, or the test is skipped with the reason."""
    try:
        return tools.path_of(tool)
    except tools.Absent as absent:
        pytest.skip(str(absent))


def mistaken(text: str, right: str, wrong: str) -> str:
    assert right in text
    return text.replace(right, wrong)


def test_kustomize_builds_what_is_rendered() -> None:
    built = external.build(program(tools.KUSTOMIZE), KUSTOMIZE / "overlays/production")

    assert builds.kept(parse(built)) == builds.rendered("production")


def test_kustomize_refuses_a_resource_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("resources: [deploymnt.yaml]\n")

    with pytest.raises(ValueError, match="deploymnt"):
        external.build(program(tools.KUSTOMIZE), tmp_path)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("terminationGracePeriodSeconds: 45", "terminationGracePeriod: 45"),
        ("replicas: 2", "replicas: two"),
        ("maxUnavailable: 1", "maxUnavailble: 1"),
        ("policyTypes:", "policyType:"),
    ],
)
def test_kubernetes_validate_refuses_what_the_api_does_not_know(right: str, wrong: str, tmp_path: Path) -> None:
    file = tmp_path / "production.yaml"
    file.write_text(mistaken(PRODUCTION, right, wrong))

    assert external.schema_faults(program(tools.KUBERNETES_VALIDATE), file, external.KUBERNETES_VERSIONS[-1:]) != []


@pytest.mark.parametrize(
    ("right", "wrong", "fault"),
    [
        ("readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "writable root filesystem"),
        ("memory: 384Mi", "example.com/memory: 384Mi", "Memory limit is not set"),
        ("path: /livez", "path: /readyz", "same"),
    ],
)
def test_kube_score_refuses_what_is_risky(right: str, wrong: str, fault: str) -> None:
    kube_score = program(tools.KUBE_SCORE)

    assert external.scores(kube_score, PRODUCTION) == []
    assert fault in " ".join(external.scores(kube_score, mistaken(PRODUCTION, right, wrong)))


def test_promtool_refuses_a_query_that_it_cannot_read(tmp_path: Path) -> None:
    promtool, rules = program(tools.PROMTOOL), tmp_path / "rules.yaml"
    rules.write_text(RULES)
    before = external.rule_faults(promtool, rules)
    rules.write_text(mistaken(RULES, "sum(up)", "summ(up)"))

    assert before == []
    assert "unknown function" in " ".join(external.rule_faults(promtool, rules))


def test_promtool_can_read_what_is_asked_for_more_pods(tmp_path: Path) -> None:
    promtool, rules = program(tools.PROMTOOL), tmp_path / "rules.yaml"
    (scaled,) = examples.parsed("keda.yaml")
    (trigger,) = scaled["spec"]["triggers"]
    query = trigger["metadata"]["query"]
    rules.write_text(yaml.safe_dump({"groups": [{"name": "poller", "rules": [{"record": "poller:fullest", "expr": query}]}]}))
    (tmp_path / "rules.test.yaml").write_text(yaml.safe_dump(fullest_test(query)))

    assert external.rule_faults(promtool, rules) == []
    assert external.rule_test_faults(promtool, tmp_path / "rules.test.yaml") == []


def fullest_test(query: str) -> object:
    """An owner that holds 95 % of its limit, after a restart that is still told of, and a standby that holds 20 %."""
    pods = {"a": (f'{NAME}-a", id="/2', 95), "b": (f'{NAME}-b", id="/1', 20), "before": (f'{NAME}-a", id="/1', 40)}
    labels = f'namespace="{NAME}", container="poller"'
    held = [
        {"series": f'container_memory_working_set_bytes{{{labels}, pod="{pod}"}}', "values": f"{bytes_}x5"} for pod, bytes_ in pods.values()
    ]
    limits = [
        {"series": f'kube_pod_container_resource_limits{{{labels}, pod="{NAME}-{pod}", resource="memory"}}', "values": "100x5"}
        for pod in "ab"
    ]
    answered = {"expr": query, "eval_time": "1m", "exp_samples": [{"value": 95}]}
    return {"rule_files": ["rules.yaml"], "tests": [{"input_series": [*held, *limits], "promql_expr_test": [answered]}]}


def test_promtool_refuses_an_alert_that_does_not_fire_when_it_should(tmp_path: Path) -> None:
    promtool, rules, rule_tests = program(tools.PROMTOOL), tmp_path / "rules.yaml", tmp_path / "rules.test.yaml"
    rules.write_text(RULES)
    rule_tests.write_text(RULE_TESTS)
    before = external.rule_test_faults(promtool, rule_tests)
    rules.write_text(mistaken(RULES, "== 0", "== 1"))

    assert before == []
    assert external.rule_test_faults(promtool, rule_tests) != []


@pytest.mark.parametrize(
    ("right", "wrong", "fault"),
    [
        ("ARG BASE=python:3.11-slim-bookworm", "FROM python:latest\nARG BASE=python:3.11-slim-bookworm", "DL3007"),
        ("WORKDIR /build", "WORKDIR build", "DL3000"),
        ("USER 65532:65532", "USR 65532:65532", "unexpected"),
    ],
)
def test_hadolint_refuses_a_bad_dockerfile(right: str, wrong: str, fault: str, tmp_path: Path) -> None:
    hadolint, dockerfile = program(tools.HADOLINT), (DEPLOY / "Dockerfile").read_text()
    file = tmp_path / "Dockerfile"
    file.write_text(mistaken(dockerfile, right, wrong))

    assert external.dockerfile_faults(hadolint, DEPLOY / "Dockerfile") == []
    assert fault in " ".join(external.dockerfile_faults(hadolint, file))


def test_a_program_that_is_not_there_is_said_and_fails_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    absent = tools.Tool("no-such-program")

    def check() -> Outcome:
        return Outcome([tools.path_of(absent)])

    assert shown("a check", check)
    assert capsys.readouterr().out == "SKIPPED  a check: no-such-program is not installed: `make deploy-check` installs it\n"


def test_what_is_found_is_shown_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert not shown("a check", lambda: Outcome(["this is wrong"]))
    assert "this is wrong" in capsys.readouterr().out
