"""The manifests pass every check, and each check refuses the mistake that it is for, alone."""

import shutil
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tests.deploy import builds, examples, rules
from tests.deploy import settings as settings_of_image
from tests.deploy.checks import CHECKS, findings
from tests.deploy.manifests import DEPLOY, KUSTOMIZE, NAME, Manifest, containers, named, of_kind, parse, pod, poller, read

EVERYTHING = builds.rendered("everything")
DEV = builds.rendered("dev")

Mistake = Callable[[list[Manifest]], object]


def mistaken(mistake: Mistake, build: list[Manifest] = EVERYTHING) -> list[Manifest]:
    broken = deepcopy(build)
    mistake(broken)
    assert broken != build, "this is no mistake"
    return broken


def get(build: list[Manifest], kind: str, name: str = NAME) -> Any:
    found = named(build, kind, name)
    assert found is not None
    return found


def container(build: list[Manifest]) -> Any:
    return containers(poller(build))[0]


def settings(build: list[Manifest]) -> dict[str, str]:
    found: dict[str, str] = next(one for one in of_kind(build, "ConfigMap") if "POLLER_ADMIN_PORT" in one["data"])["data"]
    return found


def policy(build: list[Manifest], suffix: str) -> Any:
    return get(build, "NetworkPolicy", f"{NAME}-{suffix}")["spec"]


def leave_out(build: list[Manifest], kind: str, name: str = NAME) -> None:
    build.remove(get(build, kind, name))


def add_a_workload(build: list[Manifest]) -> None:
    """Which is as it should be, but for the policy that it would need."""
    other = deepcopy(poller(build))
    spec = other["spec"]
    other["metadata"]["name"], spec["replicas"] = "other", 1
    constraints = (constraint["labelSelector"]["matchLabels"] for constraint in pod(other)["topologySpreadConstraints"])
    for labels in (other["metadata"]["labels"], spec["selector"]["matchLabels"], spec["template"]["metadata"]["labels"], *constraints):
        labels["app.kubernetes.io/component"] = "other"
    build.append(other)


def rename_component(service: Any, component: str) -> None:
    for labels in (service["metadata"]["labels"], service["spec"]["selector"]):
        labels["app.kubernetes.io/component"] = component


def mount(build: list[Manifest], **volume: object) -> None:
    pod(poller(build))["volumes"].append({"name": "other", **volume})
    container(build)["volumeMounts"].append({"name": "other", "mountPath": "/other"})


OWN_PODS = "selectors select the pods that they are meant for"
MISTAKES: list[tuple[str, str, Mistake]] = [
    ("a mount of no ConfigMap", "what is mounted is there", lambda b: mount(b, configMap={"name": "absent"})),
    ("a Service of pods that are not there", OWN_PODS, lambda b: rename_component(get(b, "Service", f"{NAME}-admin"), "pollr")),
    ("a PodDisruptionBudget without a selector", OWN_PODS, lambda b: get(b, "PodDisruptionBudget")["spec"].pop("selector")),
    ("a PodDisruptionBudget with an empty selector", OWN_PODS, lambda b: get(b, "PodDisruptionBudget")["spec"].update(selector={})),
    (
        "a PodDisruptionBudget of other pods",
        OWN_PODS,
        lambda b: get(b, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"].update(app="x"),
    ),
    ("a Service without a selector", OWN_PODS, lambda b: get(b, "Service", f"{NAME}-admin")["spec"].pop("selector")),
    ("a Service whose selector is misspelt", OWN_PODS, lambda b: get(b, "Service", f"{NAME}-admin")["spec"]["selector"].update(app="x")),
    ("a PodMonitor with an empty selector", OWN_PODS, lambda b: get(b, "PodMonitor")["spec"]["selector"].update(matchLabels={})),
    ("a NetworkPolicy for all pods", OWN_PODS, lambda b: policy(b, "webhooks").update(podSelector={})),
    (
        "a Deployment that selects other pods",
        "workloads select their own pods",
        lambda b: poller(b)["spec"]["selector"]["matchLabels"].update(app="x"),
    ),
    (
        "a spread of other pods",
        "workloads select their own pods",
        lambda b: pod(poller(b))["topologySpreadConstraints"][0].pop("labelSelector"),
    ),
    ("a policy's rule for everybody", "peers of policies are named", lambda b: policy(b, "admin")["ingress"][0].pop("from")),
    (
        "a policy's rule for all namespaces",
        "peers of policies are named",
        lambda b: policy(b, "admin")["ingress"][0]["from"][0].update(namespaceSelector={}),
    ),
    ("no PodDisruptionBudget", "replicas have a PodDisruptionBudget", lambda b: leave_out(b, "PodDisruptionBudget")),
    ("a setting that does not exist", "settings exist", lambda b: settings(b).update(POLLER_CALS_PER_MINUTE="100")),
    (
        "a setting of a container that does not exist",
        "settings exist",
        lambda b: container(b).update(env=[{"name": "POLLER_LOG_LEVL", "value": "info"}]),
    ),
    ("a value that cannot be used", "settings can be used", lambda b: settings(b).update(POLLER_CYCLE_TIME_ZONE="Mars")),
    ("settings that contradict each other", "settings can be used", lambda b: settings(b).update(POLLER_CALLS_PER_HOUR="100")),
    ("a required setting left out", "settings can be used", lambda b: settings(b).pop("POLLER_VOUCHERIFY_APP_ID_FILE")),
    (
        "a file of a secret that is not mounted",
        "settings can be used",
        lambda b: settings(b).update(POLLER_KAFKA_SASL_PASSWORD_FILE="/etc/poller/secrets/password"),
    ),
    (
        "a secret in a ConfigMap",
        "secrets are files",
        lambda b: get(b, "ConfigMap", f"{NAME}-customers")["data"].update(POLLER_KAFKA_SASL_PASSWORD="x"),
    ),
    (
        "a secret in an environment",
        "secrets are files",
        lambda b: container(b).update(env=[{"name": "POLLER_WEBHOOK_SECRET", "value": ""}]),
    ),
    ("a probe's path misspelt", "probes ask what answers", lambda b: container(b)["livenessProbe"]["httpGet"].update(path="/livezz")),
    ("liveness asked of readiness", "the poller has its probes", lambda b: container(b)["livenessProbe"]["httpGet"].update(path="/readyz")),
    ("a probe's port misspelt", "probes ask what answers", lambda b: container(b)["readinessProbe"]["httpGet"].update(port="adm")),
    ("a probe left out", "the poller has its probes", lambda b: container(b).pop("startupProbe")),
    (
        "a monitor's path misspelt",
        "probes ask what answers",
        lambda b: get(b, "PodMonitor")["spec"]["podMetricsEndpoints"][0].update(path="/metric"),
    ),
    ("a drain as long as the grace", "grace outlasts the drain", lambda b: settings(b).update(POLLER_DRAIN_SECONDS="45")),
    ("no grace", "grace outlasts the drain", lambda b: pod(poller(b)).pop("terminationGracePeriodSeconds")),
    ("a pod that may be root", "pods are restricted", lambda b: pod(poller(b))["securityContext"].pop("runAsNonRoot")),
    ("a container that may be root", "pods are restricted", lambda b: container(b)["securityContext"].update(runAsNonRoot=False)),
    ("a user that the image does not have", "pods are restricted", lambda b: pod(poller(b))["securityContext"].update(runAsUser=1000)),
    ("no seccomp profile", "pods are restricted", lambda b: pod(poller(b))["securityContext"].pop("seccompProfile")),
    ("capabilities", "pods are restricted", lambda b: container(b)["securityContext"].pop("capabilities")),
    ("privilege escalation", "pods are restricted", lambda b: container(b)["securityContext"].pop("allowPrivilegeEscalation")),
    (
        "a root file system that can be written",
        "pods are restricted",
        lambda b: container(b)["securityContext"].pop("readOnlyRootFilesystem"),
    ),
    ("a folder of the node", "pods are restricted", lambda b: mount(b, hostPath={"path": "/"})),
    ("the node's network", "pods are restricted", lambda b: pod(poller(b)).update(hostNetwork=True)),
    ("the token in the pod", "nobody talks to Kubernetes", lambda b: pod(poller(b)).pop("automountServiceAccountToken")),
    ("the token in the account", "nobody talks to Kubernetes", lambda b: get(b, "ServiceAccount").pop("automountServiceAccountToken")),
    ("an account that is not there", "nobody talks to Kubernetes", lambda b: leave_out(b, "ServiceAccount")),
    ("service links", "nobody talks to Kubernetes", lambda b: pod(poller(b)).pop("enableServiceLinks")),
    ("no limit of memory", "resources are set", lambda b: container(b)["resources"]["limits"].pop("memory")),
    ("no requests", "resources are set", lambda b: container(b)["resources"].pop("requests")),
    ("the latest image", "images are pinned", lambda b: container(b).update(image=f"{NAME}:latest")),
    ("an image without a tag", "images are pinned", lambda b: container(b).update(image=NAME)),
    ("another version's image", "images are pinned", lambda b: container(b).update(image=f"{NAME}:0.0.9")),
    (
        "a mount of no volume",
        "what is mounted is there",
        lambda b: container(b)["volumeMounts"].append({"name": "cache", "mountPath": "/cache"}),
    ),
    (
        "a volume that nobody mounts",
        "what is mounted is there",
        lambda b: pod(poller(b))["volumes"].append({"name": "tmp", "emptyDir": {}}),
    ),
    ("a single replica", "a rollout takes nobody away", lambda b: poller(b)["spec"].update(replicas=1)),
    (
        "a rollout that takes the standby",
        "a rollout takes nobody away",
        lambda b: poller(b)["spec"]["strategy"]["rollingUpdate"].update(maxUnavailable=1),
    ),
    ("the same name twice", "names are told apart", lambda b: b.append(deepcopy(get(b, "ServiceAccount")))),
    ("another namespace", "names are told apart", lambda b: get(b, "PodMonitor")["metadata"].update(namespace="default")),
    (
        "a Service's port misspelt",
        "ports are there",
        lambda b: get(b, "Service", f"{NAME}-admin")["spec"]["ports"][0].update(targetPort="http"),
    ),
    (
        "a Service's port that nobody listens on",
        "ports are there",
        lambda b: get(b, "Service", f"{NAME}-admin")["spec"]["ports"][0].update(targetPort=80),
    ),
    (
        "a monitor's port misspelt",
        "ports are there",
        lambda b: get(b, "PodMonitor")["spec"]["podMetricsEndpoints"][0].update(port="metrics"),
    ),
    ("a policy's port misspelt", "ports are there", lambda b: policy(b, "webhooks")["ingress"][0]["ports"][0].update(port="hooks")),
    ("a port beside the settings", "ports are those of the settings", lambda b: settings(b).update(POLLER_WEBHOOK_PORT="8082")),
    ("the admin server on loopback", "ports are those of the settings", lambda b: settings(b).update(POLLER_ADMIN_HOST="127.0.0.1")),
    ("pods that no policy closes", "pods are closed", add_a_workload),
    ("a policy's rule for every port", "pods are closed", lambda b: policy(b, "webhooks")["ingress"][0].pop("ports")),
    ("a policy that is not for what it allows", "pods are closed", lambda b: policy(b, "webhooks").update(policyTypes=["Egress"])),
    ("no way to the API", "what is called is allowed", lambda b: leave_out(b, "NetworkPolicy", f"{NAME}-api")),
    ("an API that is not outside", "what is called is allowed", lambda b: settings(b).update(POLLER_VOUCHERIFY_URL="https://simulator")),
    ("no way to names", "what is called is allowed", lambda b: leave_out(b, "NetworkPolicy", f"{NAME}-dns")),
    ("brokers at another port", "what is called is allowed", lambda b: policy(b, "kafka")["egress"][0]["ports"][0].update(port=9094)),
    (
        "brokers in another namespace",
        "what is called is allowed",
        lambda b: settings(b).update(POLLER_KAFKA_BOOTSTRAP_SERVERS="kafka.infra.svc:9093"),
    ),
]


DEV_MISTAKES: list[tuple[str, str, Mistake]] = [
    (
        "a NetworkPolicy of the simulator's pods too",
        OWN_PODS,
        lambda b: policy(b, "dns")["podSelector"]["matchLabels"].pop("app.kubernetes.io/component"),
    ),
    (
        "a peer that nobody is",
        "peers of policies are named",
        lambda b: peers(b, "ingress", "kafka")[1]["podSelector"]["matchLabels"].update(app="x"),
    ),
    ("a broker that does not let the poller in", "what is called is allowed", lambda b: peers(b, "ingress", "kafka").pop(0)),
    (
        "a way to brokers of another namespace",
        "what is called is allowed",
        lambda b: peers(b, "egress", f"{NAME}-kafka")[0].update(
            namespaceSelector={"matchLabels": {"kubernetes.io/metadata.name": "kafka"}}
        ),
    ),
    (
        "a Kafka that the tests do not run on",
        "images are pinned",
        lambda b: containers(get(b, "Deployment", "kafka"))[0].update(image="apache/kafka:3.0.0"),
    ),
    ("a pod of whatever user", "pods are restricted", lambda b: pod(get(b, "Deployment", "kafka"))["securityContext"].pop("runAsUser")),
]


def peers(build: list[Manifest], way: str, name: str) -> Any:
    return get(build, "NetworkPolicy", name)["spec"][way][0]["from" if way == "ingress" else "to"]


@pytest.mark.parametrize("name", [one.name for one in builds.WHOLE])
def test_the_manifests_pass_every_check(name: str) -> None:
    assert findings(builds.rendered(name)) == {}


@pytest.mark.parametrize(("check", "mistake"), [pytest.param(check, mistake, id=says) for says, check, mistake in MISTAKES])
def test_a_mistake_is_refused_by_its_check_alone(check: str, mistake: Mistake) -> None:
    assert list(findings(mistaken(mistake))) == [check]


@pytest.mark.parametrize(("check", "mistake"), [pytest.param(check, mistake, id=says) for says, check, mistake in DEV_MISTAKES])
def test_a_mistake_beside_the_simulator_is_refused_by_its_check_alone(check: str, mistake: Mistake) -> None:
    assert list(findings(mistaken(mistake, DEV))) == [check]


def test_every_check_has_a_mistake_that_it_refuses() -> None:
    assert {check for _, check, _ in MISTAKES} == CHECKS.keys()


EXAMPLE_MISTAKES: list[tuple[str, str, Mistake]] = [
    (
        "strimzi.yaml",
        "KafkaTopic voucherify.activities: is",
        lambda e: topic(e, "voucherify.activities").update({"cleanup.policy": "compact"}),
    ),
    (
        "strimzi.yaml",
        "KafkaTopic voucherify.activities.watch: is",
        lambda e: get(e, "KafkaTopic", "voucherify.activities.watch")["spec"].update(partitions=3),
    ),
    (
        "strimzi.yaml",
        "KafkaTopic voucherify.activities.checkpoints: is",
        lambda e: topic(e, "voucherify.activities.checkpoints").pop("segment.ms"),
    ),
    (
        "strimzi.yaml",
        "KafkaTopic voucherify.activities.hints: is None",
        lambda e: leave_out(e, "KafkaTopic", "voucherify.activities.hints"),
    ),
    (
        "strimzi.yaml",
        "KafkaUser/voucherify-activity-poller: may not Write topic voucherify.activities ",
        lambda e: acls(e)[0]["operations"].remove("Write"),
    ),
    ("strimzi.yaml", "KafkaUser/voucherify-activity-poller: need not Create", lambda e: acls(e)[0]["operations"].append("Create")),
    ("strimzi.yaml", "there is no KafkaUser", lambda e: leave_out(e, "KafkaUser")),
    (
        "secret.yaml",
        "Secret/voucherify-activity-poller: as it is, POLLER_VOUCHERIFY_APP_ID_FILE is taken",
        lambda e: filled(e, "voucherify-app-id"),
    ),
    ("secret.yaml", "Secret/voucherify-activity-poller: no setting names password", lambda e: filled(e, "password")),
    (
        "ingress.yaml",
        "Ingress/voucherify-activity-poller-webhooks: there is no port admin",
        lambda e: backend(e)["port"].update(name="admin"),
    ),
    ("ingress.yaml", "Ingress/voucherify-activity-poller-webhooks: lets / in", lambda e: ingress_path(e).update(path="/")),
    (
        "keda.yaml",
        "ScaledObject/voucherify-activity-poller: there is no Deployment poller",
        lambda e: scaled(e)["scaleTargetRef"].update(name="poller"),
    ),
    ("keda.yaml", "ScaledObject/voucherify-activity-poller: minReplicaCount", lambda e: scaled(e).update(minReplicaCount=0)),
]


def topic(example: list[Manifest], name: str) -> Any:
    return get(example, "KafkaTopic", name)["spec"]["config"]


def acls(example: list[Manifest]) -> Any:
    return get(example, "KafkaUser")["spec"]["authorization"]["acls"]


def filled(example: list[Manifest], key: str) -> None:
    get(example, "Secret")["stringData"][key] = "filled-in"


def ingress_path(example: list[Manifest]) -> Any:
    return get(example, "Ingress", f"{NAME}-webhooks")["spec"]["rules"][0]["http"]["paths"][0]


def backend(example: list[Manifest]) -> Any:
    return ingress_path(example)["backend"]["service"]


def scaled(example: list[Manifest]) -> Any:
    return get(example, "ScaledObject")["spec"]


def test_the_examples_fit_the_program_and_the_manifests() -> None:
    assert [fault for name in examples.CHECKS for fault in examples.faults(name, examples.parsed(name), EVERYTHING)] == []


@pytest.mark.parametrize(("name", "fault", "mistake"), EXAMPLE_MISTAKES)
def test_a_mistake_in_an_example_is_refused(name: str, fault: str, mistake: Mistake) -> None:
    found = examples.faults(name, mistaken(mistake, examples.parsed(name)), EVERYTHING)

    assert [one.startswith(fault) for one in found] == [True]


def test_every_example_is_checked() -> None:
    assert {path.name for path in examples.EXAMPLES.glob("*.yaml")} == examples.CHECKS.keys()


def test_what_is_rendered_is_what_the_manifests_say_now() -> None:
    assert builds.out_of_date() == []


@pytest.mark.parametrize("changed", ["base/poller.env", "components/webhooks/service.yaml", "overlays/dev/namespace.yaml"])
def test_a_change_of_any_source_is_noticed_without_kustomize(changed: str, tmp_path: Path) -> None:
    shutil.copytree(KUSTOMIZE, tmp_path, dirs_exist_ok=True)
    before = builds.out_of_date(tmp_path)
    (tmp_path / changed).write_text((tmp_path / changed).read_text() + "# changed\n")

    assert before == []
    assert len(builds.out_of_date(tmp_path)) == len(builds.WHOLE)


def test_the_prometheus_rule_holds_the_alerts_word_for_word() -> None:
    (rule,) = read(rules.RULES)
    (alerts,) = read(rules.ALERTS)

    assert rules.differing() == []
    assert rule["spec"] == alerts


def test_a_rules_file_is_put_below_the_resource_with_its_comments() -> None:
    text = rules.prometheus_rule(
        "---\n# why\ngroups:\n  - name: a\n    rules:\n      - expr: |\n          a\n\n          or b\n        record: c\n"
    )

    (rule,) = parse(text)
    assert rule["spec"] == {"groups": [{"name": "a", "rules": [{"expr": "a\n\nor b\n", "record": "c"}]}]}
    assert "  # why\n" in text


def test_an_alert_that_changed_is_noticed(tmp_path: Path) -> None:
    changed = tmp_path / "alerts.yaml"
    changed.write_text(rules.ALERTS.read_text() + "# changed\n")

    assert len(rules.differing(changed)) == 1


def test_the_image_sets_only_settings_that_exist() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text()

    assert settings_of_image.dockerfile_faults(dockerfile) == []
    assert settings_of_image.dockerfile_faults(dockerfile.replace("POLLER_ADMIN_HOST=", "POLLER_ADMN_HOST=")) == [
        "deploy/Dockerfile: POLLER_ADMN_HOST is no setting"
    ]
