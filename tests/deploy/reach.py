"""Whom the policies let the poller call, and who may call it: what the settings name and what the table here says, and nothing else."""

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import Any
from urllib.parse import urlsplit

import msgspec

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
from tests.deploy.selectors import is_everybody, peers_of, rules_of, selector_of
from tests.deploy.settings import poller_environment

NAMESPACE = "kubernetes.io/metadata.name"
DNS_PORT = 53
DNS_PODS: Labels = {"k8s-app": "kube-dns"}
DNS_NAMESPACE = "kube-system"
CALLERS: Mapping[str, str] = {"admin": "monitoring", "webhooks": "ingress-nginx"}
"""By port: the one namespace that it is open to."""

PRIVATE = tuple(
    ip_network(one) for one in ("10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10")
)
"""The cluster's own addresses, the network's around it, and the node's metadata service, which gives credentials to whoever asks."""
LINK_LOCAL = tuple(one for one in PRIVATE if one.is_link_local)

Network = IPv4Network | IPv6Network


class Destination(msgspec.Struct, frozen=True):
    """Whom the settings say that the poller calls."""

    host: str
    port: int
    public: bool = False
    """Whether it is on the public internet for sure."""


class Permission(msgspec.Struct, frozen=True):
    """One port of one peer in an egress rule."""

    policy: str
    protocol: str
    port: int | str
    peer: Any


def what_is_called_is_allowed_and_nothing_else(manifests: Manifests) -> Iterator[str]:
    """DNS, the API and the brokers, where the settings say that they are; and those of them that are here let the poller in."""
    one = poller(manifests)
    given = list(permissions(manifests, one))
    wanted = destinations(poller_environment(manifests))
    if not any(is_dns(each) and each.protocol == "UDP" for each in given):
        yield f"{called(one)}: no NetworkPolicy lets it ask for names"
    for each in wanted:
        if not any(permits(manifests, given_one, each) for given_one in given):
            yield f"{called(one)}: no NetworkPolicy lets it call {each.host}:{each.port}"
        target = _behind(manifests, each.host)
        if target is not None and not _admits(manifests, target, pod_labels(one), each.port):
            yield f"{called(target)}: no NetworkPolicy lets the poller in at {each.port}"
    for given_one in given:
        if not is_dns(given_one) and not any(permits(manifests, given_one, each) for each in wanted):
            yield f"{given_one.policy}: lets it call {given_one.protocol} {given_one.port} of {given_one.peer}, which no setting names"


def permissions(manifests: Manifests, one: Manifest) -> Iterator[Permission]:
    """Of all policies together. Rules without a port or for everybody are for other checks to find."""
    for policy, rule in _rules_for(manifests, one, "egress"):
        for port in (port for port in rule.get("ports") or [] if "port" in port):
            for peer in (peer for peer in peers_of("egress", rule) if not is_everybody(peer)):
                yield Permission(called(policy), port.get("protocol", "TCP"), port["port"], peer)


def _rules_for(manifests: Manifests, one: Manifest, wanted: str) -> list[tuple[Manifest, Any]]:
    """Of the policies that select its pods, those for this way."""
    return [(policy, rule) for policy in policies_of(manifests, pod_labels(one)) for way, rule in rules_of(policy) if way == wanted]


def is_dns(permission: Permission) -> bool:
    """By both protocols, as a long answer comes by TCP; to the cluster's own pods alone, as names asked elsewhere are a way out for data."""
    peer = permission.peer
    there = labels_of(peer.get("namespaceSelector")).get(NAMESPACE) == DNS_NAMESPACE and labels_of(peer.get("podSelector")) == DNS_PODS
    return there and permission.port == DNS_PORT and permission.protocol in ("UDP", "TCP")


def destinations(environ: Mapping[str, str]) -> list[Destination]:
    """The API, or the proxy before it, and each broker."""
    proxy = environ.get("POLLER_VOUCHERIFY_PROXY_URL", "")
    url = urlsplit(proxy or environ.get("POLLER_VOUCHERIFY_URL", "https://api.voucherify.io"))
    api = Destination(url.hostname or "", url.port or (443 if url.scheme == "https" else 80), public=not proxy)
    servers = [server.rpartition(":") for server in environ.get("POLLER_KAFKA_BOOTSTRAP_SERVERS", "").split(",") if server]
    return [api, *(Destination(host, int(port)) for host, _, port in servers)]


def permits(manifests: Manifests, permission: Permission, wanted: Destination) -> bool:
    if (permission.protocol, permission.port) != ("TCP", wanted.port):
        return False
    return _is_peer(permission.peer, wanted, _behind(manifests, wanted.host))


def _is_peer(peer: Any, wanted: Destination, target: Manifest | None) -> bool:
    """Whether it may be who has this name: a Service of this namespace (`kafka`), pods of another (`kafka.infra.svc`), or an address outside."""
    if target is not None:
        return "namespaceSelector" not in peer and matches(labels_of(peer.get("podSelector")), pod_labels(target))
    if ".svc" in wanted.host:
        there = labels_of(peer.get("namespaceSelector")).get(NAMESPACE) == wanted.host.split(".")[1]
        return there and bool(labels_of(peer.get("podSelector")))
    return "." in wanted.host and "ipBlock" in peer and not (wanted.public and _is_private(_cidr(peer)))


def _behind(manifests: Manifests, host: str) -> Manifest | None:
    """The workload here whose Service has this name."""
    service = named(manifests, "Service", host)
    selector = {} if service is None else selector_of(service) or {}
    return next((one for one in workloads(manifests) if matches(selector, pod_labels(one))), None)


def _admits(manifests: Manifests, target: Manifest, caller: Labels, port: int) -> bool:
    """Where no policy is for what comes in, everybody is let in."""
    closed = any("Ingress" in policy["spec"]["policyTypes"] for policy in policies_of(manifests, pod_labels(target)))
    return not closed or any(
        _has_port(rule, port) and any(matches(labels_of(peer.get("podSelector")), caller) for peer in peers_of("ingress", rule))
        for _, rule in _rules_for(manifests, target, "ingress")
    )


def _has_port(rule: Any, port: int) -> bool:
    return any(one.get("port") == port and one.get("protocol", "TCP") == "TCP" for one in rule.get("ports") or [])


def policies_of(manifests: Manifests, labels: Labels) -> list[Manifest]:
    return [policy for policy in of_kind(manifests, "NetworkPolicy") if matches(selector_of(policy) or {}, labels)]


def private_addresses_stay_out(manifests: Manifests) -> Iterator[str]:
    """Of whatever is called by address: a public block leaves out all private ones, and no block is link-local."""
    blocks = [
        (called(policy), peer)
        for policy in of_kind(manifests, "NetworkPolicy")
        for way, rule in rules_of(policy)
        for peer in peers_of(way, rule)
        if way == "egress" and "ipBlock" in peer
    ]
    for name, peer in blocks:
        yield from (f"{name}: {_cidr(peer)} lets {one} be called" for one in let_in(peer))


def let_in(peer: Any) -> list[Network]:
    """The private ranges that an `ipBlock` reaches and should not: of one that is private itself, the link-local ones."""
    block, left_out = _cidr(peer), _left_out(peer)
    forbidden = LINK_LOCAL if _is_private(block) else PRIVATE
    reached = [_within(one, block) for one in forbidden if one.version == block.version and one.overlaps(block)]
    return [one for one in reached if not any(_contains(other, one) for other in left_out)]


def _cidr(peer: Any) -> Network:
    return ip_network(peer["ipBlock"]["cidr"])


def _left_out(peer: Any) -> list[Network]:
    """Joined, so that two halves count as the whole."""
    networks = [ip_network(one) for one in peer["ipBlock"].get("except") or []]
    v4, v6 = [one for one in networks if isinstance(one, IPv4Network)], [one for one in networks if isinstance(one, IPv6Network)]
    return [*collapse_addresses(v4), *collapse_addresses(v6)]


def _is_private(network: Network) -> bool:
    return any(_contains(one, network) for one in PRIVATE)


def _contains(outer: Network, inner: Network) -> bool:
    """`subnet_of` refuses to compare the versions with each other."""
    return outer.version == inner.version and outer.overlaps(inner) and outer.prefixlen <= inner.prefixlen


def _within(one: Network, other: Network) -> Network:
    """What two that overlap have in common: the narrower one."""
    return max(one, other, key=lambda network: network.prefixlen)


def ports_are_open_to_their_callers_alone(manifests: Manifests) -> Iterator[str]:
    """Each port of the poller to one namespace, by its name."""
    one = poller(manifests)
    names = {str(number): name for name, number in container_ports(one).items()}
    for policy, rule in _rules_for(manifests, one, "ingress"):
        ports = {names.get(str(port["port"]), str(port["port"])) for port in rule.get("ports") or [] if "port" in port}
        for name in sorted(ports & CALLERS.keys()):
            strangers = [peer for peer in peers_of("ingress", rule) if not is_everybody(peer) and not _is_of(peer, CALLERS[name])]
            yield from (f"{called(policy)}: opens {name} to {peer}, not to {CALLERS[name]} alone" for peer in strangers)


def _is_of(peer: Any, namespace: str) -> bool:
    return labels_of(peer.get("namespaceSelector")).get(NAMESPACE) == namespace
