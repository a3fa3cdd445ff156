"""The manifests pass every check, and each check refuses the mistake that it is for, alone."""

import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tests.deploy import builds, reach, rules, selectors
from tests.deploy import settings as settings_of_image
from tests.deploy.checks import CHECKS, findings
from tests.deploy.manifests import DEPLOY, KUSTOMIZE, NAME, Manifest, containers, of_kind, parse, pod, poller, read
from tests.deploy.mistakes import Mistake, get, leave_out, mistaken

EVERYTHING = builds.rendered("everything")
DEV = builds.rendered("dev")


def container(build: list[Manifest]) -> Any:
    return containers(poller(build))[0]


def settings(build: list[Manifest]) -> dict[str, str]:
    found: dict[str, str] = next(one for one in of_kind(build, "ConfigMap") if "POLLER_ADMIN_PORT" in one["data"])["data"]
    return found


def policy(build: list[Manifest], suffix: str) -> Any:
    return get(build, "NetworkPolicy", f"{NAME}-{suffix}")["spec"]


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


def secret_volume(build: list[Manifest]) -> Any:
    return next(volume["secret"] for volume in pod(poller(build))["volumes"] if "secret" in volume)


def budget(build: list[Manifest]) -> Any:
    return get(build, "PodDisruptionBudget")["spec"]


def block(build: list[Manifest], number: int = 0) -> Any:
    """Of the addresses at which the API may be."""
    return peers(build, "egress", f"{NAME}-api")[number]["ipBlock"]


def ssh(build: list[Manifest]) -> Any:
    return {**deepcopy(policy(build, "api")["egress"][0]), "ports": [{"protocol": "TCP", "port": 22}]}


def outside(build: list[Manifest], peer: Any) -> None:
    """Brokers that are not in the cluster."""
    settings(build).update(POLLER_KAFKA_BOOTSTRAP_SERVERS="kafka.example.com:9093")
    policy(build, "kafka")["egress"][0]["to"] = [peer]


def mount(build: list[Manifest], **volume: object) -> None:
    pod(poller(build))["volumes"].append({"name": "other", **volume})
    container(build)["volumeMounts"].append({"name": "other", "mountPath": "/other"})


NOTHING_ELSE = "what is called is allowed, and nothing else"
OPEN = "ports are open to their callers alone"
DRAINED = "a node can be drained"
PRIVATE = "private addresses stay out"
SECRETS_ALONE = "secrets are for the pod alone"
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
    ("no way to the API", NOTHING_ELSE, lambda b: leave_out(b, "NetworkPolicy", f"{NAME}-api")),
    ("an API that is not outside", NOTHING_ELSE, lambda b: settings(b).update(POLLER_VOUCHERIFY_URL="https://simulator")),
    ("no way to names", NOTHING_ELSE, lambda b: leave_out(b, "NetworkPolicy", f"{NAME}-dns")),
    ("brokers at another port", NOTHING_ELSE, lambda b: policy(b, "kafka")["egress"][0]["ports"][0].update(port=9094)),
    (
        "brokers in another namespace",
        NOTHING_ELSE,
        lambda b: settings(b).update(POLLER_KAFKA_BOOTSTRAP_SERVERS="kafka.infra.svc:9093"),
    ),
    ("a Service for the outside", "services stay inside", lambda b: get(b, "Service", f"{NAME}-admin")["spec"].update(type="LoadBalancer")),
    ("a port of the node", "services stay inside", lambda b: container(b)["ports"][0].update(hostPort=8080)),
    (
        "a single file of a Secret",
        "mounts are renewed",
        lambda b: container(b)["volumeMounts"].append(
            {"name": "secrets", "mountPath": "/etc/poller/other/kafka-ca.crt", "subPath": "kafka-ca.crt"}
        ),
    ),
    ("a rollout that hurries", "a rollout takes nobody away", lambda b: poller(b)["spec"].pop("minReadySeconds")),
    ("an image asked for at each start", "images are pinned", lambda b: container(b).update(imagePullPolicy="Always")),
    ("root's group", "pods are restricted", lambda b: pod(poller(b))["securityContext"].update(runAsGroup=0)),
    ("a namespace that allows everything", "pods are restricted", lambda b: get(b, "Namespace")["metadata"].pop("labels")),
    ("no fsGroup", SECRETS_ALONE, lambda b: pod(poller(b))["securityContext"].pop("fsGroup")),
    ("a Secret's files for everybody to write", SECRETS_ALONE, lambda b: secret_volume(b).update(defaultMode=0o777)),
    ("a Secret's files for everybody to read", SECRETS_ALONE, lambda b: secret_volume(b).pop("defaultMode")),
    (
        "one file of a Secret for everybody to read",
        SECRETS_ALONE,
        lambda b: secret_volume(b).update(items=[{"key": key, "path": key, "mode": 0o444} for key in ("kafka-ca.crt",)]),
    ),
    (
        "a Secret as an environment",
        "secrets are files",
        lambda b: container(b)["envFrom"].append({"secretRef": {"name": NAME}}),
    ),
    (
        "a variable from a Secret",
        "secrets are files",
        lambda b: container(b).update(
            env=[{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": NAME, "key": "voucherify-app-token"}}}]
        ),
    ),
    ("a command misspelt", "commands exist", lambda b: container(b).update(args=["runn"])),
    ("no command", "commands exist", lambda b: container(b).pop("args")),
    ("another command", "commands exist", lambda b: container(b).update(args=["check"])),
    ("another entry point", "commands exist", lambda b: container(b).update(command=["sh", "-c"])),
    (
        "liveness that kills after a second",
        "probes are patient",
        lambda b: container(b)["livenessProbe"].update(failureThreshold=1, periodSeconds=1),
    ),
    ("liveness that bears one failure", "probes are patient", lambda b: container(b)["livenessProbe"].update(failureThreshold=1)),
    ("a start that may take six seconds", "probes are patient", lambda b: container(b)["startupProbe"].pop("failureThreshold")),
    ("no spread", "replicas are spread", lambda b: pod(poller(b)).pop("topologySpreadConstraints")),
    ("a spread over nodes alone", "replicas are spread", lambda b: pod(poller(b))["topologySpreadConstraints"].pop()),
    (
        "a spread that leaves a standby unscheduled",
        "replicas are spread",
        lambda b: pod(poller(b))["topologySpreadConstraints"][0].update(whenUnsatisfiable="DoNotSchedule"),
    ),
    ("a budget that lets nobody go", DRAINED, lambda b: budget(b).update(maxUnavailable=0)),
    ("a budget that lets no percent go", DRAINED, lambda b: budget(b).update(maxUnavailable="0%")),
    ("a budget that keeps both", DRAINED, lambda b: budget(b).update(minAvailable=budget(b).pop("maxUnavailable") + 1)),
    ("a budget that lets both go", DRAINED, lambda b: budget(b).update(maxUnavailable="51%")),
    ("a budget for pods that are not ready", DRAINED, lambda b: budget(b).pop("unhealthyPodEvictionPolicy")),
    ("a way to private addresses", PRIVATE, lambda b: block(b).pop("except")),
    ("a way to the metadata service", PRIVATE, lambda b: block(b)["except"].remove("169.254.0.0/16")),
    ("a way to half of a private range", PRIVATE, lambda b: block(b)["except"].__setitem__(0, "10.0.0.0/9")),
    ("a way to private addresses of IPv6", PRIVATE, lambda b: block(b, 1)["except"].remove("fc00::/7")),
    (
        "a way to the metadata service instead of brokers",
        PRIVATE,
        lambda b: outside(b, {"ipBlock": {"cidr": "169.254.169.254/32"}}),
    ),
    ("a way out by ssh", NOTHING_ELSE, lambda b: policy(b, "api")["egress"][0]["ports"].append({"protocol": "TCP", "port": 22})),
    ("another rule, for ssh", NOTHING_ELSE, lambda b: policy(b, "api")["egress"].append(ssh(b))),
    ("the API by UDP", NOTHING_ELSE, lambda b: policy(b, "api")["egress"][0]["ports"][0].update(protocol="UDP")),
    (
        "the API at private addresses",
        NOTHING_ELSE,
        lambda b: policy(b, "api")["egress"][0].update(to=[{"ipBlock": {"cidr": "10.0.0.0/8"}}]),
    ),
    (
        "names asked of anybody",
        NOTHING_ELSE,
        lambda b: policy(b, "dns")["egress"][0].update(to=deepcopy(policy(b, "api")["egress"][0]["to"])),
    ),
    ("names asked of all that is in kube-system", NOTHING_ELSE, lambda b: peers(b, "egress", f"{NAME}-dns")[0].pop("podSelector")),
    (
        "brokers that are any pod of their namespace",
        NOTHING_ELSE,
        lambda b: peers(b, "egress", f"{NAME}-kafka")[0].pop("podSelector"),
    ),
    ("ports up to the last", "pods are closed", lambda b: policy(b, "api")["egress"][0]["ports"][0].update(endPort=65535)),
    (
        "a rule for every port of a protocol",
        "pods are closed",
        lambda b: policy(b, "api")["egress"][0]["ports"].append({"protocol": "TCP"}),
    ),
    (
        "the admin port open to everybody outside",
        OPEN,
        lambda b: policy(b, "admin")["ingress"][0]["from"].append({"ipBlock": {"cidr": "0.0.0.0/0"}}),
    ),
    (
        "the admin port, by number, open to whom the webhooks come from",
        OPEN,
        lambda b: policy(b, "webhooks")["ingress"][0]["ports"].append({"protocol": "TCP", "port": 8080}),
    ),
    (
        "the admin port open to another namespace",
        OPEN,
        lambda b: peers(b, "ingress", f"{NAME}-admin")[0].update(
            namespaceSelector={"matchLabels": {"kubernetes.io/metadata.name": "default"}}
        ),
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
    ("a broker that does not let the poller in", NOTHING_ELSE, lambda b: peers(b, "ingress", "kafka").pop(0)),
    (
        "a way to brokers of another namespace",
        NOTHING_ELSE,
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
    assert list(findings(mistaken(mistake, EVERYTHING))) == [check]


@pytest.mark.parametrize(("check", "mistake"), [pytest.param(check, mistake, id=says) for says, check, mistake in DEV_MISTAKES])
def test_a_mistake_beside_the_simulator_is_refused_by_its_check_alone(check: str, mistake: Mistake) -> None:
    assert list(findings(mistaken(mistake, DEV))) == [check]


@pytest.mark.parametrize("cidr", ["10.1.2.0/24", "203.0.113.0/24", "fd00:1::/64"])
def test_brokers_outside_may_be_at_an_address_of_any_kind(cidr: str) -> None:
    assert findings(mistaken(lambda b: outside(b, {"ipBlock": {"cidr": cidr}}), EVERYTHING)) == {}


def test_the_api_may_be_called_through_a_proxy_alone() -> None:
    def proxied(build: list[Manifest]) -> None:
        settings(build).update(POLLER_VOUCHERIFY_PROXY_URL="http://proxy.egress.svc:3128")
        there = {"matchLabels": {"kubernetes.io/metadata.name": "egress"}}
        policy(build, "api")["egress"] = [
            {"to": [{"namespaceSelector": there, "podSelector": {"matchLabels": {"app": "proxy"}}}], "ports": [{"port": 3128}]}
        ]

    assert findings(mistaken(proxied, EVERYTHING)) == {}


@pytest.mark.parametrize(
    ("spec", "replicas", "may_go"),
    [
        ({"maxUnavailable": 1}, 2, 1),
        ({"maxUnavailable": "1%"}, 2, 1),
        ({"minAvailable": 1}, 2, 1),
        ({"minAvailable": "51%"}, 2, 0),
        ({}, 3, 0),
    ],
)
def test_a_budget_is_counted_as_kubernetes_counts_it(spec: dict[str, Any], replicas: int, may_go: int) -> None:
    assert selectors.disruptions(spec, replicas) == may_go


@pytest.mark.parametrize(
    ("cidr", "left_out", "reached"),
    [
        ("203.0.113.0/24", [], []),
        ("10.0.0.0/7", [], ["10.0.0.0/8"]),
        ("10.0.0.0/7", ["10.0.0.0/9", "10.128.0.0/9"], []),
        ("168.0.0.0/5", ["169.0.0.0/8", "172.16.0.0/12"], []),
        ("169.254.169.254/32", [], ["169.254.169.254/32"]),
        ("fe00::/7", ["fc00::/7"], ["fe80::/10"]),
    ],
)
def test_private_addresses_are_found_in_whatever_block_they_are(cidr: str, left_out: list[str], reached: list[str]) -> None:
    assert [str(one) for one in reach.let_in({"ipBlock": {"cidr": cidr, "except": left_out}})] == reached


def test_every_check_has_a_mistake_that_it_refuses() -> None:
    assert {check for _, check, _ in MISTAKES} == CHECKS.keys()


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
