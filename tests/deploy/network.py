"""Which port is reached from where: Services, monitors and policies against what containers listen on and settings say."""

from collections.abc import Iterator

from tests.deploy.manifests import Manifest, Manifests, called, container_ports, containers, matches, of_kind, pod_labels, poller, workloads
from tests.deploy.selectors import rules_of, selector_of
from tests.deploy.settings import poller_environment


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
    return [port["port"] for way, rule in rules_of(one) if way == "ingress" for port in rule.get("ports") or [] if "port" in port]


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
    """Whatever is not allowed is refused: each pod is in a policy for what comes in, ours in one for what goes out too, and each rule names its ports."""
    policies = of_kind(manifests, "NetworkPolicy")
    for one in workloads(manifests):
        types = {way for policy in policies if matches(selector_of(policy) or {}, pod_labels(one)) for way in policy["spec"]["policyTypes"]}
        yield from (f"{called(one)}: no NetworkPolicy closes its {way}" for way in _closed(manifests, one) if way not in types)
    for policy in policies:
        ports = [port for _, rule in rules_of(policy) for port in rule.get("ports") or [{}]]
        yield from (f"{called(policy)}: a rule is for every port" for port in ports if "port" not in port)
        yield from (f"{called(policy)}: a rule is for ports up to {port['endPort']}" for port in ports if "endPort" in port)
        yield from (
            f"{called(policy)}: has {way} rules, but is not for {way.capitalize()}"
            for way, _ in rules_of(policy)
            if way.capitalize() not in policy["spec"]["policyTypes"]
        )


def _closed(manifests: Manifests, one: Manifest) -> tuple[str, ...]:
    return ("Ingress", "Egress") if one is poller(manifests) else ("Ingress",)


def services_stay_inside(manifests: Manifests) -> Iterator[str]:
    """A port of every node, or an address outside, has no TLS, and no policy names who may come by it."""
    for one in of_kind(manifests, "Service"):
        if one["spec"].get("type", "ClusterIP") != "ClusterIP" or one["spec"].get("externalIPs"):
            yield f"{called(one)}: can be reached from outside of the cluster"
    for one in workloads(manifests):
        ports = [port for container in containers(one) for port in container.get("ports", []) if "hostPort" in port]
        yield from (f"{called(one)}: port {port['name']} is one of the node" for port in ports)
