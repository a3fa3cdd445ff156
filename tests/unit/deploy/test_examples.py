"""The examples fit the program and the manifests, and a mistake in one is refused."""

from typing import Any

import pytest

from tests.deploy import builds, examples
from tests.deploy.manifests import NAME, Manifest
from tests.deploy.mistakes import Mistake, get, leave_out, mistaken

EVERYTHING = builds.rendered("everything")

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
    (
        "keda.yaml",
        "ScaledObject/voucherify-activity-poller: a trigger `memory` goes by the average",
        lambda e: scaled(e)["triggers"].append({"type": "memory", "metricType": "Utilization", "metadata": {"value": "80"}}),
    ),
    (
        "keda.yaml",
        "ScaledObject/voucherify-activity-poller: the trigger's value should be taken as it is",
        lambda e: scaled(e)["triggers"][0].pop("metricType"),
    ),
    (
        "keda.yaml",
        "ScaledObject/voucherify-activity-poller: without an answer of Prometheus",
        lambda e: trigger(e).pop("ignoreNullValues"),
    ),
    (
        "keda.yaml",
        "ScaledObject/voucherify-activity-poller: the query asks container_memory_working_set_bytes of",
        lambda e: trigger(e).update(query=trigger(e)["query"].replace('container="poller"', 'container="polller"', 1)),
    ),
    (
        "keda.yaml",
        "ScaledObject/voucherify-activity-poller: the query is not of the fullest pod",
        lambda e: trigger(e).update(query=trigger(e)["query"].replace("max(", "avg(", 1)),
    ),
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


def trigger(example: list[Manifest]) -> Any:
    return scaled(example)["triggers"][0]["metadata"]


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
