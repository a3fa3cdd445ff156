"""Whom a selector selects. An empty one is all pods to some kinds and none to others, and is applied without a word in either case."""

from collections.abc import Iterator
from typing import Any

from tests.deploy.manifests import (
    LABELS,
    Labels,
    Manifest,
    Manifests,
    called,
    labels_of,
    matches,
    of_kind,
    pod,
    pod_labels,
    selected,
    workloads,
)

SPREAD_OVER = ("kubernetes.io/hostname", "topology.kubernetes.io/zone")


def selector_of(one: Manifest) -> Labels | None:
    """`None`: the kind selects no pods."""
    match one["kind"]:
        case "Service":
            return one["spec"].get("selector") or {}
        case "PodDisruptionBudget" | "PodMonitor":
            return labels_of(one["spec"].get("selector"))
        case "NetworkPolicy":
            return labels_of(one["spec"].get("podSelector"))
    return None


def select_the_pods_they_are_meant_for(manifests: Manifests) -> Iterator[str]:
    """Those of the workload that bears the same name and component as the manifest itself."""
    for one in manifests:
        selector = selector_of(one)
        if selector is None:
            continue
        own = belongs_to(one["metadata"].get("labels") or {})
        meant = [called(other) for other in workloads(manifests) if belongs_to(pod_labels(other)) == own]
        if not selector:
            yield f"{called(one)}: selects no pods by their labels: its selector is missing or empty"
        elif selected(manifests, selector) != meant or not meant:
            yield f"{called(one)}: is meant for {meant}, but selects {selected(manifests, selector)}"


def workloads_select_their_own_pods(manifests: Manifests) -> Iterator[str]:
    for one in workloads(manifests):
        selector = labels_of(one["spec"].get("selector"))
        if selected(manifests, selector) != [called(one)]:
            yield f"{called(one)}: its selector {dict(selector)} selects {selected(manifests, selector)}"
        for constraint in pod(one).get("topologySpreadConstraints", []):
            if not matches(labels_of(constraint.get("labelSelector")), pod_labels(one)):
                yield f"{called(one)}: a topologySpreadConstraint does not select its pods"


def peers_are_named(manifests: Manifests) -> Iterator[str]:
    """An empty peer of a NetworkPolicy is everybody: all pods, all namespaces."""
    for one in of_kind(manifests, "NetworkPolicy"):
        for way, rule in rules_of(one):
            if not peers_of(way, rule):
                yield f"{called(one)}: a rule without `{'from' if way == 'ingress' else 'to'}` is for everybody"
            for peer in peers_of(way, rule):
                yield from (f"{called(one)}: {fault}" for fault in _peer_faults(manifests, peer))


def _peer_faults(manifests: Manifests, peer: Any) -> Iterator[str]:
    yield from (f"an empty {name} is everybody" for name in _empty(peer))
    inside = "podSelector" in peer and "namespaceSelector" not in peer
    if inside and labels_of(peer["podSelector"]) and not selected(manifests, labels_of(peer["podSelector"])):
        yield f"no pod has the labels {peer['podSelector']['matchLabels']}"


def is_everybody(peer: Any) -> bool:
    return bool(_empty(peer))


def _empty(peer: Any) -> list[str]:
    return [name for name in ("podSelector", "namespaceSelector") if name in peer and not labels_of(peer[name])]


def rules_of(policy: Manifest) -> list[tuple[str, Any]]:
    return [(way, rule) for way in ("ingress", "egress") for rule in policy["spec"].get(way) or []]


def peers_of(way: str, rule: Any) -> list[Any]:
    return rule.get("from" if way == "ingress" else "to") or []


def replicas_have_a_budget(manifests: Manifests) -> Iterator[str]:
    """A PodDisruptionBudget is meant for each workload that has somebody to take over."""
    meant = [belongs_to(one["metadata"].get("labels") or {}) for one in of_kind(manifests, "PodDisruptionBudget")]
    for one in workloads(manifests):
        if one["spec"].get("replicas", 1) > 1 and belongs_to(pod_labels(one)) not in meant:
            yield f"{called(one)}: there is no PodDisruptionBudget for it"


def belongs_to(labels: Labels) -> list[str | None]:
    return [labels.get(name) for name in LABELS]


def a_node_can_be_drained(manifests: Manifests) -> Iterator[str]:
    """A PodDisruptionBudget lets one pod go, and never all; and one that is not ready, which might never be, holds nothing up."""
    for budget in of_kind(manifests, "PodDisruptionBudget"):
        own = belongs_to(budget["metadata"].get("labels") or {})
        for one in (one for one in workloads(manifests) if belongs_to(pod_labels(one)) == own):
            replicas = one["spec"].get("replicas", 1)
            may_go = disruptions(budget["spec"], replicas)
            if may_go < 1:
                yield f"{called(budget)}: lets none of the {replicas} pods of {called(one)} go: its nodes can never be drained"
            elif may_go >= replicas > 1:
                yield f"{called(budget)}: lets all {replicas} pods of {called(one)} go at once"
        if budget["spec"].get("unhealthyPodEvictionPolicy") != "AlwaysAllow":
            yield f"{called(budget)}: unhealthyPodEvictionPolicy should be AlwaysAllow"


def disruptions(spec: Any, replicas: int) -> int:
    """How many pods may be away at once. Kubernetes rounds up what is given in percent. One that says nothing is not relied on: none."""
    if "maxUnavailable" in spec:
        return _number(spec["maxUnavailable"], replicas)
    return replicas - _number(spec.get("minAvailable", replicas), replicas)


def _number(value: int | str, replicas: int) -> int:
    return value if isinstance(value, int) else -(-int(value.removesuffix("%")) * replicas // 100)


def replicas_are_spread(manifests: Manifests) -> Iterator[str]:
    """Over nodes and zones where that can be; where it cannot, a standby on the owner's node is better than none."""
    for one in (one for one in workloads(manifests) if one["spec"].get("replicas", 1) > 1):
        found = {constraint["topologyKey"]: constraint for constraint in pod(one).get("topologySpreadConstraints") or []}
        yield from (f"{called(one)}: is not spread over {key}" for key in SPREAD_OVER if key not in found)
        for key, constraint in found.items():
            if (constraint.get("maxSkew"), constraint.get("whenUnsatisfiable")) != (1, "ScheduleAnyway"):
                yield f"{called(one)}: its spread over {key} should have maxSkew 1 and ScheduleAnyway"
