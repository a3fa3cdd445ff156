"""Which port is reached from where: Services, monitors and policies against what containers listen on and settings say."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from tests.deploy.manifests import (
    Labels,
    Manifest,
    Manifests,
    called,
    container_ports,
    labels_of,
    matches,
    named,
    of_kind,
    pod_labels,
    poller,
    workloads,
)
from tests.deploy.selectors import peers_of, rules_of, selector_of
from tests.deploy.settings import poller_environment

NAMESPACE = "kubernetes.io/metadata.name"


def ports_are_there(manifests: Manifests) -> Iterator[str]:
    """Every port that a Service, a monitor or an ingress rule names is one that the selected pods listen on."""
    for one in of_kind(manifests, "Service", "PodMonitor", "NetworkPolicy"):
        for other in workloads(manifests):
            if matches(selector_of(one) or {}, pod_labels(other)):
                yield from (f"{called(one)}: {called(other)} has no port {port}" for port in _ports_of(one) if not _listens(other, port))


def _ports_of(one: Manifest) -> list[str | int]:
    match one["kind"]:
        case "Service":
            return [port.get("targetPort", port["port"]) for port in one["spec"]["ports"]]
        case "PodMonitor":
            return [endpoint["port"] for endpoint in one["spec"]["podMetricsEndpoints"]]
    return [port["port"] for way, rule in rules_of(one) if way == "ingress" for port in rule.get("ports", [])]


def _listens(workload: Manifest, port: str | int) -> bool:
    ports = container_ports(workload)
    return port in ports if isinstance(port, str) else port in ports.values()


def ports_are_those_of_the_settings(manifests: Manifests) -> Iterator[str]:
    """What the poller listens on is what its container says, by name."""
    environ, ports = poller_environment(manifests), container_ports(poller(manifests))
    wanted = {"admin": int(environ.get("POLLER_ADMIN_PORT", "8080")), "webhooks": int(environ.get("POLLER_WEBHOOK_PORT", "0"))}
    if ports != {name: port for name, port in wanted.items() if port}:
        yield f"{called(poller(manifests))}: its ports are {ports}, the settings say {wanted}"
    for name, host in (("admin", "POLLER_ADMIN_HOST"), ("webhooks", "POLLER_WEBHOOK_HOST")):
        if wanted[name] and environ.get(host) != "0.0.0.0":
            yield f"{called(poller(manifests))}: {host} should be 0.0.0.0: the port {name} is asked from outside of the pod"


def pods_are_closed(manifests: Manifests) -> Iterator[str]:
    """Whatever is not allowed is refused: each pod is in a policy for what comes in, ours in one for what goes out too, and nothing is for every port."""
    policies = of_kind(manifests, "NetworkPolicy")
    for one in workloads(manifests):
        types = {way for policy in policies if matches(selector_of(policy) or {}, pod_labels(one)) for way in policy["spec"]["policyTypes"]}
        yield from (f"{called(one)}: no NetworkPolicy closes its {way}" for way in _closed(manifests, one) if way not in types)
    for policy in policies:
        yield from (f"{called(policy)}: a rule is for every port" for _, rule in rules_of(policy) if not rule.get("ports"))
        yield from (
            f"{called(policy)}: has {way} rules, but is not for {way.capitalize()}"
            for way, _ in rules_of(policy)
            if way.capitalize() not in policy["spec"]["policyTypes"]
        )


def _closed(manifests: Manifests, one: Manifest) -> tuple[str, ...]:
    return ("Ingress", "Egress") if one is poller(manifests) else ("Ingress",)


def what_is_called_is_allowed(manifests: Manifests) -> Iterator[str]:
    """DNS, the API and the brokers, where the settings say that they are; and those of them that are here let the poller in."""
    one = poller(manifests)
    rules = [rule for policy in _policies_of(manifests, pod_labels(one)) for way, rule in rules_of(policy) if way == "egress"]
    if not any(_has_port(rule, 53, "UDP") for rule in rules):
        yield f"{called(one)}: no NetworkPolicy lets it ask for names"
    for host, port in destinations(poller_environment(manifests)):
        service = named(manifests, "Service", host)
        target = _behind(manifests, service) if service is not None else None
        if not any(_has_port(rule, port) and any(_is_peer(peer, host, target) for peer in peers_of("egress", rule)) for rule in rules):
            yield f"{called(one)}: no NetworkPolicy lets it call {host}:{port}"
        if target is not None and not _admits(manifests, target, pod_labels(one), port):
            yield f"{called(target)}: no NetworkPolicy lets the poller in at {port}"


def destinations(environ: dict[str, str]) -> list[tuple[str, int]]:
    url = urlsplit(environ.get("POLLER_VOUCHERIFY_URL", "https://api.voucherify.io"))
    api = (url.hostname or "", url.port or (443 if url.scheme == "https" else 80))
    servers = [server.rpartition(":") for server in environ.get("POLLER_KAFKA_BOOTSTRAP_SERVERS", "").split(",") if server]
    return [api, *((host, int(port)) for host, _, port in servers)]


def _policies_of(manifests: Manifests, labels: Labels) -> list[Manifest]:
    return [policy for policy in of_kind(manifests, "NetworkPolicy") if matches(selector_of(policy) or {}, labels)]


def _has_port(rule: Any, port: int, protocol: str = "TCP") -> bool:
    return any(one["port"] == port and one.get("protocol", "TCP") == protocol for one in rule.get("ports", []))


def _behind(manifests: Manifests, service: Manifest) -> Manifest | None:
    return next((one for one in workloads(manifests) if matches(selector_of(service) or {}, pod_labels(one))), None)


def _is_peer(peer: Any, host: str, target: Manifest | None) -> bool:
    """Whether a rule's peer may be who has this name: a Service of this namespace (`kafka`), of another (`kafka.infra.svc`), or an address outside."""
    if target is not None:
        return "namespaceSelector" not in peer and matches(labels_of(peer.get("podSelector")), pod_labels(target))
    if ".svc" in host:
        return labels_of(peer.get("namespaceSelector")).get(NAMESPACE) == host.split(".")[1]
    return "." in host and "ipBlock" in peer


def _admits(manifests: Manifests, target: Manifest, caller: Labels, port: int) -> bool:
    """Where no policy is for what comes in, everybody is let in."""
    policies = [policy for policy in _policies_of(manifests, pod_labels(target)) if "Ingress" in policy["spec"]["policyTypes"]]
    rules = [rule for policy in policies for way, rule in rules_of(policy) if way == "ingress"]
    return not policies or any(
        _has_port(rule, port) and any(matches(labels_of(peer.get("podSelector")), caller) for peer in peers_of("ingress", rule))
        for rule in rules
    )
