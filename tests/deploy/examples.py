"""What the examples say, against the program and against the manifests that they go with."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from poller.admin.webhooks import PATH
from poller.config import KafkaSettings
from poller.errors import SettingsError
from poller.kafka.permissions import hints_needs, needs
from poller.kafka.topics import wanted_hints_topic, wanted_topics
from tests.deploy.manifests import KUSTOMIZE, NAME, Manifest, Manifests, called, named, of_kind, pod, poller, read
from tests.deploy.settings import loaded
from tests.support.promql import selectors

EXAMPLES = KUSTOMIZE / "examples"
IN_SYNC = {"min.insync.replicas": "2"}
"""Beyond what the poller asks for: of three replicas, one may be away, and a commit is on two."""


def parsed(name: str) -> list[Manifest]:
    return read(EXAMPLES / name)


def faults(name: str, example: Manifests, build: Manifests) -> list[str]:
    """Of one example, by its file's name, beside the build of everything."""
    return list(CHECKS[name](example, build))


def strimzi_faults(manifests: Manifests, build: Manifests) -> Iterator[str]:
    """The topics as the poller would create them, the permissions as it would ask for them."""
    kafka = loaded(build).kafka
    wanted = {
        one.name: {"partitions": one.partitions, "replicas": kafka.replication_factor, "config": one.configs | IN_SYNC}
        for one in (*wanted_topics(kafka), wanted_hints_topic(kafka))
    }
    found = {one["spec"]["topicName"]: _without_name(one["spec"]) for one in of_kind(manifests, "KafkaTopic")}
    for name in sorted(wanted.keys() | found.keys()):
        if found.get(name) != wanted.get(name):
            yield f"KafkaTopic {name}: is {found.get(name)}, should be {wanted.get(name)}"
    user = named(manifests, "KafkaUser", kafka.sasl_username or "")
    if user is None:
        yield f"there is no KafkaUser {kafka.sasl_username}"
        return
    if user["spec"]["authentication"]["type"] != kafka.sasl_mechanism.casefold():
        yield f"{called(user)}: logs in by {user['spec']['authentication']['type']}, the settings say {kafka.sasl_mechanism}"
    yield from _permission_faults(user, kafka)


def _without_name(spec: Any) -> dict[str, Any]:
    return {name: value for name, value in spec.items() if name != "topicName"}


def _permission_faults(user: Manifest, kafka: KafkaSettings) -> Iterator[str]:
    wanted = {
        (one.operation, one.resource, one.name, one.prefixed) for one in (*needs(kafka), *hints_needs(kafka)) if one.operation != "Create"
    }
    found = {permission for acl in user["spec"]["authorization"]["acls"] for permission in _permissions(acl)}
    yield from (f"{called(user)}: may not {' '.join(map(str, one))}" for one in sorted(wanted - found))
    yield from (f"{called(user)}: need not {' '.join(map(str, one))}" for one in sorted(found - wanted))


def _permissions(acl: Any) -> list[tuple[str, str, str, bool]]:
    resource = acl["resource"]
    kind = {"transactionalId": "transactional-id"}.get(resource["type"], resource["type"])
    return [(operation, kind, resource["name"], resource["patternType"] == "prefix") for operation in acl["operations"]]


def secret_faults(secrets: Manifests, build: Manifests) -> Iterator[str]:
    """It has what is mounted, and nothing that could be used as it is: the program refuses it by name."""
    secret = named(secrets, "Secret", NAME)
    mounted = {volume["secret"]["secretName"] for volume in pod(poller(build))["volumes"] if "secret" in volume}
    if secret is None or mounted != {NAME}:
        yield f"the pods mount {sorted(mounted)}, the example has {[called(one) for one in secrets]}"
        return
    try:
        loaded([*build, secret])
    except SettingsError as error:
        said = str(error)
        names = ("POLLER_VOUCHERIFY_APP_ID_FILE", "POLLER_VOUCHERIFY_APP_TOKEN_FILE")
        yield from (f"{called(secret)}: as it is, {name} is taken" for name in names if name not in said)
    else:
        yield f"{called(secret)}: is taken as it is, before anything is filled in"
    unused = secret["stringData"].keys() - files_named(build)
    yield from (f"{called(secret)}: no setting names {name}" for name in sorted(unused))


def files_named(build: Manifests) -> set[str]:
    """The last parts of all `_FILE` settings."""
    config_maps = [one for one in of_kind(build, "ConfigMap") if "POLLER_ADMIN_PORT" in one["data"]]
    return {value.rpartition("/")[2] for one in config_maps for name, value in one["data"].items() if name.endswith("_FILE")}


def ingress_faults(manifests: Manifests, build: Manifests) -> Iterator[str]:
    for one in of_kind(manifests, "Ingress"):
        for path in (path for rule in one["spec"]["rules"] for path in rule["http"]["paths"]):
            target = path["backend"]["service"]
            service = named(build, "Service", target["name"])
            ports = [port["name"] for port in service["spec"]["ports"]] if service is not None else []
            if target["port"]["name"] not in ports:
                yield f"{called(one)}: there is no port {target['port']['name']} of Service {target['name']}"
            if (path["path"], path["pathType"]) != (PATH, "Exact"):
                yield f"{called(one)}: lets {path['path']} in, should let in exactly {PATH}"


def keda_faults(manifests: Manifests, build: Manifests) -> Iterator[str]:
    for one in of_kind(manifests, "ScaledObject"):
        target = one["spec"]["scaleTargetRef"]
        if named(build, target["kind"], target["name"]) is None:
            yield f"{called(one)}: there is no {target['kind']} {target['name']}"
        if one["spec"]["minReplicaCount"] < 2:
            yield f"{called(one)}: minReplicaCount should be 2 or more: one reads, one stands by"
        for trigger in one["spec"]["triggers"]:
            yield from (f"{called(one)}: {fault}" for fault in _trigger_faults(trigger, build))


def _trigger_faults(trigger: Any, build: Manifests) -> Iterator[str]:
    """More pods help where one is full, so the fullest one counts; the triggers `cpu` and `memory` go by all of them together."""
    if trigger["type"] != "prometheus":
        yield f"a trigger `{trigger['type']}` goes by the average of all pods: those that stand by hide the one that is full"
        return
    if trigger.get("metricType") != "Value":
        yield "the trigger's value should be taken as it is, not divided by the number of pods: metricType Value"
    if trigger["metadata"].get("ignoreNullValues") != "false":
        yield "without an answer of Prometheus all would seem empty: ignoreNullValues should be false"
    yield from _query_faults(trigger["metadata"]["query"], build)


def _query_faults(query: str, build: Manifests) -> Iterator[str]:
    if not re.match(r"100 \* max\(", query):
        yield "the query is not of the fullest pod, in percent"
    namespace = poller(build)["metadata"]["namespace"]
    wanted = {("namespace", "=", namespace), *(("container", "=", one["name"]) for one in pod(poller(build))["containers"])}
    for selector in selectors(query):
        if not wanted <= set(selector.matchers):
            yield f"the query asks {selector.metric} of {selector.matchers}, should be of {sorted(wanted)}"


CHECKS: Mapping[str, Callable[[Manifests, Manifests], Iterator[str]]] = {
    "strimzi.yaml": strimzi_faults,
    "secret.yaml": secret_faults,
    "ingress.yaml": ingress_faults,
    "keda.yaml": keda_faults,
}
