"""What every pod must be: probed where something answers, without privileges, bounded, pinned, and with what it mounts."""

import ast
import tomllib
from collections.abc import Iterator
from functools import cache
from typing import Any

from poller.cli import COMMANDS
from poller.demo.broker import KAFKA_VERSION
from tests.deploy.manifests import (
    NAME,
    ROOT,
    Manifest,
    Manifests,
    called,
    container_ports,
    containers,
    named,
    of_kind,
    pod,
    poller,
    workloads,
)

PATHS = {"startupProbe": "/startupz", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
PATIENCE_SECONDS_MIN = {"startupProbe": 60, "livenessProbe": 30}
"""A million customers are restored in half a minute; by 30 s a standby reads, so that a restart takes nothing more away."""
SESSION_SECONDS = 10
SIMULATOR = "/simulator/"
"""The simulator routes by hand; tests/integration ask it for its state."""


def probes_ask_what_answers(manifests: Manifests) -> Iterator[str]:
    routes = admin_routes()
    for one in workloads(manifests):
        for name, (path, port) in probes_of(one).items():
            if path is not None and path not in routes and not path.startswith(SIMULATOR):
                yield f"{called(one)}: {name} asks {path}, where nothing answers"
            if port not in container_ports(one) and port not in container_ports(one).values():
                yield f"{called(one)}: {name} asks port {port}, which the container does not have"
    for one in of_kind(manifests, "PodMonitor"):
        paths = [endpoint["path"] for endpoint in one["spec"]["podMetricsEndpoints"]]
        yield from (f"{called(one)}: asks {path}, where nothing answers" for path in paths if path not in routes)


def the_poller_has_its_probes(manifests: Manifests) -> Iterator[str]:
    """All three, each asking its own question: liveness asked of readiness would restart whoever only stands by."""
    one = poller(manifests)
    found = probes_of(one)
    yield from (f"{called(one)}: has no {name}" for name in PATHS if name not in found)
    for name, (path, _) in found.items():
        if path in PATHS.values() and path != PATHS[name]:
            yield f"{called(one)}: {name} asks {path}, which is another probe's"


def probes_of(workload: Manifest) -> dict[str, tuple[str | None, str | int | None]]:
    """The path, where there is one, and the port of each."""
    found: dict[str, tuple[str | None, str | int | None]] = {}
    for container in pod(workload)["containers"]:
        for name in PATHS:
            asks = container.get(name, {}).get("httpGet") or container.get(name, {}).get("tcpSocket")
            if asks is not None:
                found[name] = (asks.get("path"), asks.get("port"))
    return found


def probes_are_patient(manifests: Manifests) -> Iterator[str]:
    """What restarts a container does so after a time in which it would have come back by itself, were it to."""
    for one in workloads(manifests):
        for container in pod(one)["containers"]:
            for name, seconds_min in PATIENCE_SECONDS_MIN.items():
                seconds = patience_seconds(container[name]) if name in container else seconds_min
                if seconds < seconds_min:
                    yield f"{called(one)}: {name} restarts it after {seconds} s, should bear {seconds_min} s"


def patience_seconds(probe: Any) -> int:
    """Kubernetes' own defaults where nothing is said."""
    seconds: int = probe.get("failureThreshold", 3) * probe.get("periodSeconds", 10)
    return seconds


@cache
def admin_routes() -> frozenset[str]:
    """The paths that the admin server routes, as its source says."""
    calls = [
        node
        for path in (ROOT / "poller/admin").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Route" and node.args
    ]
    return frozenset(call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str))


def grace_outlasts_the_drain(manifests: Manifests, drain_seconds: float, needed_seconds: float = 10) -> Iterator[str]:
    one = poller(manifests)
    grace_seconds = pod(one).get("terminationGracePeriodSeconds", 30)
    if grace_seconds < drain_seconds + needed_seconds:
        yield (
            f"{called(one)}: terminationGracePeriodSeconds is {grace_seconds}: POLLER_DRAIN_SECONDS is {drain_seconds:g}, "
            f"and ending takes up to {needed_seconds:g} more"
        )


def pods_are_restricted(manifests: Manifests) -> Iterator[str]:
    """The Pod Security standard `restricted`, and a root file system that cannot be written where the image is ours."""
    for one in of_kind(manifests, "Namespace"):
        if (one["metadata"].get("labels") or {}).get("pod-security.kubernetes.io/enforce") != "restricted":
            yield f"{called(one)}: does not enforce `restricted`"
    for one in workloads(manifests):
        yield from (
            f"{called(one)}: {name} should be {wanted!r}, is {found!r}" for name, wanted, found in _security(one) if found != wanted
        )
        if pod(one).get("securityContext", {}).get("runAsUser", 0) < 1:
            yield f"{called(one)}: runAsUser should be a number above 0"
        yield from (f"{called(one)}: {name} is not allowed" for name in ("hostNetwork", "hostPID", "hostIPC") if pod(one).get(name))
        yield from (
            f"{called(one)}: volume {volume['name']} is on the node" for volume in pod(one).get("volumes", []) if "hostPath" in volume
        )


def _security(one: Manifest) -> Iterator[tuple[str, object, object]]:
    context = pod(one).get("securityContext", {})
    yield "runAsNonRoot", True, context.get("runAsNonRoot")
    yield "seccompProfile", {"type": "RuntimeDefault"}, context.get("seccompProfile")
    for container in containers(one):
        own = container.get("securityContext", {})
        yield "runAsNonRoot of the container", True, own.get("runAsNonRoot")
        yield "allowPrivilegeEscalation", False, own.get("allowPrivilegeEscalation")
        yield "privileged", False, own.get("privileged")
        yield "capabilities", {"drop": ["ALL"]}, own.get("capabilities")
        if is_ours(container["image"]):
            yield "readOnlyRootFilesystem", True, own.get("readOnlyRootFilesystem")
            yield "runAsUser of our image", 65532, context.get("runAsUser")
            yield "runAsGroup of our image", 65532, context.get("runAsGroup")


def nobody_talks_to_kubernetes(manifests: Manifests) -> Iterator[str]:
    for one in workloads(manifests):
        if pod(one).get("automountServiceAccountToken") is not False:
            yield f"{called(one)}: automountServiceAccountToken should be false"
        if pod(one).get("enableServiceLinks") is not False:
            yield f"{called(one)}: enableServiceLinks should be false: a Service's variables would look like settings"
        account = pod(one).get("serviceAccountName")
        found = named(manifests, "ServiceAccount", account) if account else None
        if account and (found is None or found.get("automountServiceAccountToken") is not False):
            yield f"{called(one)}: ServiceAccount {account} is missing, or mounts its token"


def resources_are_set(manifests: Manifests) -> Iterator[str]:
    wanted = {"cpu", "memory", "ephemeral-storage"}
    for one in workloads(manifests):
        for container in containers(one):
            for kind in ("requests", "limits"):
                missing = wanted - (container.get("resources") or {}).get(kind, {}).keys()
                if missing:
                    yield f"{called(one)}: container {container['name']} has no {kind} of {', '.join(sorted(missing))}"


def is_ours(image: str) -> bool:
    return image.rpartition(":")[0].rpartition("/")[2] == NAME or image == NAME


@cache
def version() -> str:
    found: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return found


def images_are_pinned(manifests: Manifests) -> Iterator[str]:
    for one in workloads(manifests):
        for container in containers(one):
            image = container["image"]
            yield from (f"{called(one)}: image {image}: {fault}" for fault in image_faults(image))
            if container.get("imagePullPolicy") != "IfNotPresent":
                yield f"{called(one)}: imagePullPolicy should be IfNotPresent: a start would depend on where {image} is kept"


def image_faults(image: str) -> Iterator[str]:
    tag = image.rpartition(":")[2] if ":" in image.rpartition("/")[2] else ""
    if tag in ("", "latest"):
        yield "names no version: what runs would depend on when it was pulled"
    elif is_ours(image) and tag != version():
        yield f"this is version {version()}"
    elif image.startswith("apache/kafka:") and tag != KAFKA_VERSION:
        yield f"the tests run on {KAFKA_VERSION}"


def commands_exist(manifests: Manifests) -> Iterator[str]:
    """The image's entry point is the program, and the first argument its command; the Deployment's of the poller is `run`."""
    for one in workloads(manifests):
        for container in (container for container in containers(one) if is_ours(container["image"])):
            arguments = container.get("args") or []
            if "command" in container:
                yield f"{called(one)}: command is instead of the image's entry point"
            if not arguments or arguments[0] not in COMMANDS:
                yield f"{called(one)}: poller has no command {' '.join(arguments) or 'without a name'}"
            elif one is poller(manifests) and arguments != ["run"]:
                yield f"{called(one)}: should be `run`, is `{' '.join(arguments)}`"


def what_is_mounted_is_there(manifests: Manifests) -> Iterator[str]:
    for one in workloads(manifests):
        volumes = {volume["name"]: volume for volume in pod(one).get("volumes", [])}
        mounted = {mount["name"] for container in containers(one) for mount in container.get("volumeMounts", [])}
        yield from (f"{called(one)}: mounts {name}, which is no volume" for name in sorted(mounted - volumes.keys()))
        yield from (f"{called(one)}: volume {name} is mounted nowhere" for name in sorted(volumes.keys() - mounted))
        wanted = [volume["configMap"]["name"] for volume in volumes.values() if "configMap" in volume]
        wanted += [
            source["configMapRef"]["name"]
            for container in containers(one)
            for source in container.get("envFrom", [])
            if "configMapRef" in source
        ]
        yield from (f"{called(one)}: there is no ConfigMap {name}" for name in wanted if named(manifests, "ConfigMap", name) is None)


def a_rollout_takes_nobody_away(manifests: Manifests) -> Iterator[str]:
    """Of the poller: an owner and a standby, and another one before either of them goes."""
    one = poller(manifests)
    if one["spec"].get("replicas", 1) < 2:
        yield f"{called(one)}: replicas should be 2 or more: one reads, one stands by"
    if one["spec"].get("minReadySeconds", 0) < SESSION_SECONDS:
        yield f"{called(one)}: minReadySeconds should be {SESSION_SECONDS} or more: a Kafka session, in which its joining disturbs the others"
    rolling = one["spec"].get("strategy", {}).get("rollingUpdate", {})
    if (rolling.get("maxUnavailable"), rolling.get("maxSurge")) != (0, 1):
        yield f"{called(one)}: a rollout should have maxUnavailable 0 and maxSurge 1, has {rolling}"


def names_are_told_apart(manifests: Manifests) -> Iterator[str]:
    names = [called(one) for one in manifests]
    yield from (f"{name}: stands there {names.count(name)} times" for name in sorted({name for name in names if names.count(name) > 1}))
    spaces = {one["metadata"].get("namespace") for one in manifests if one["kind"] != "Namespace"}
    declared = {one["metadata"]["name"] for one in manifests if one["kind"] == "Namespace"}
    if spaces != declared:
        yield f"the manifests are for the namespaces {sorted(map(str, spaces))}, and make {sorted(declared)}"
