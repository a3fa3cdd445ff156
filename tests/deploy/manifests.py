"""Manifests as they are parsed, and what the checks ask of them again and again."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUSTOMIZE = DEPLOY / "kustomize"
NAME = "voucherify-activity-poller"

Manifest = dict[str, Any]
Manifests = Sequence[Manifest]
Check = Callable[[Manifests], Iterator[str]]
"""What is wrong with them, each in a line that names the manifest."""
Labels = Mapping[str, str]

LABELS = ("app.kubernetes.io/name", "app.kubernetes.io/component")
"""Say to which workload a manifest belongs."""


def parse(text: str) -> list[Manifest]:
    return [one for one in yaml.safe_load_all(text) if one]


def read(path: Path) -> list[Manifest]:
    return parse(path.read_text())


def of_kind(manifests: Manifests, *kinds: str) -> list[Manifest]:
    return [one for one in manifests if one["kind"] in kinds]


def called(one: Manifest) -> str:
    return f"{one['kind']}/{one['metadata']['name']}"


def named(manifests: Manifests, kind: str, name: str) -> Manifest | None:
    return next((one for one in of_kind(manifests, kind) if one["metadata"]["name"] == name), None)


def workloads(manifests: Manifests) -> list[Manifest]:
    return of_kind(manifests, "Deployment", "StatefulSet", "DaemonSet", "Job")


def poller(manifests: Manifests) -> Manifest:
    """Every build has one."""
    found = named(manifests, "Deployment", NAME)
    assert found is not None, f"no Deployment {NAME}"
    return found


def pod(workload: Manifest) -> Any:
    return workload["spec"]["template"]["spec"]


def pod_labels(workload: Manifest) -> Labels:
    labels: Labels = workload["spec"]["template"]["metadata"].get("labels") or {}
    return labels


def containers(workload: Manifest) -> list[Any]:
    return [*pod(workload).get("initContainers", []), *pod(workload)["containers"]]


def container_ports(workload: Manifest) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for container in containers(workload) for port in container.get("ports", [])}


def labels_of(selector: Any) -> Labels:
    """Of a `matchLabels`; the checks know no `matchExpressions`, and take them for none."""
    labels: Labels = (selector or {}).get("matchLabels") or {}
    return labels


def matches(selector: Labels, labels: Labels) -> bool:
    """What Kubernetes takes an empty selector for, everything or nothing, depends on the kind: here it matches nothing."""
    return bool(selector) and selector.items() <= labels.items()


def selected(manifests: Manifests, selector: Labels) -> list[str]:
    return [called(one) for one in workloads(manifests) if matches(selector, pod_labels(one))]
