"""What `poller check` makes of answers."""

import anyio
import pytest

from poller.commands.check import (
    STEPS,
    Finding,
    _api_findings,
    findings_of_failure,
    listing_findings,
    ownership_finding,
    replication_findings,
    topic_finding,
)
from poller.config import KafkaSettings, Secret, Settings, VoucherifySettings
from poller.errors import (
    CustomerUnknown,
    Explanation,
    Forbidden,
    Limited,
    NotOurs,
    PlanExceeded,
    Rejected,
    RouteGone,
    ServerFault,
    SourceError,
    TokenRefused,
    TokenUnavailable,
    Unauthorized,
    Undecodable,
    Unreachable,
)
from poller.kafka.topics import Wanted
from poller.matching import Match


@pytest.mark.parametrize(
    ("error", "step"),
    [
        (Unreachable("ConnectError"), "api"),
        (ServerFault(Explanation(status=500)), "api"),
        (Undecodable(), "api"),
        (Limited(Explanation(status=429)), "api"),
        (PlanExceeded(Explanation(status=402)), "api"),
        (RouteGone(Explanation(status=404)), "api"),
        (TokenUnavailable(Explanation(status=502)), "api"),
        (Unauthorized(Explanation(status=401)), "credentials"),
        (TokenRefused(Explanation(status=400)), "credentials"),
        (Forbidden(Explanation(status=403)), "permission"),
        (CustomerUnknown(Explanation(status=404)), "customer"),
        (Rejected(Explanation(status=400)), "customer"),
    ],
)
def test_a_failed_call_passes_the_steps_before_and_leaves_those_behind_open(error: SourceError, step: str) -> None:
    findings = findings_of_failure(error)
    failed = STEPS.index(step)

    assert [finding.check for finding in findings] == list(STEPS)
    assert [finding.ok for finding in findings] == [True] * failed + [False] + [None] * (len(STEPS) - failed - 1)
    assert (
        "check" in findings[failed].said
        or "try" in findings[failed].said
        or "see" in findings[failed].said
        or "set" in findings[failed].said
    )


def test_a_missing_topic_is_no_fault() -> None:
    wanted = Wanted("t", 6, compacted=False)

    assert topic_finding(wanted, None, 0) == Finding("topic", True, "t: is missing; it will be created with 6 partitions")


def test_a_topic_that_would_lose_data_is_a_fault_and_a_good_one_is_not() -> None:
    wanted = Wanted("t", 6, compacted=False)

    bad = topic_finding(wanted, {"cleanup.policy": "compact", "max.message.bytes": "1048588"}, 6)
    good = topic_finding(wanted, {"cleanup.policy": "delete", "max.message.bytes": "1048588"}, 1)

    assert (bad.ok, bad.mark) == (False, "✗")
    assert "set it to delete" in bad.said
    assert good == Finding("topic", True, "t: is there, with 1 partition")


def test_a_checkpoint_topic_with_another_number_of_partitions_is_told_and_no_fault() -> None:
    configs = {"cleanup.policy": "compact", "max.message.bytes": "1048588"}

    found = topic_finding(Wanted("c", 3, compacted=True), configs, 1, "POLLER_KAFKA_CHECKPOINT_PARTITIONS")

    said = "c: is there, with 1 partition (POLLER_KAFKA_CHECKPOINT_PARTITIONS=3 counts only when it is created)"
    assert found == Finding("topic", True, said)


def test_checkpoints_of_another_deployment_are_a_fault_that_says_what_to_do() -> None:
    found = ownership_finding(KafkaSettings(bootstrap_servers="kafka:9092"), NotOurs("its checkpoints are of another URL"))

    assert (found.check, found.ok) == ("ownership", False)
    assert "another URL" in found.said and "change it back" in found.said and "POLLER_KAFKA_ACTIVITIES_TOPIC" in found.said


def described(name: str, *replicas: int) -> dict[str, object]:
    return {"topic": name, "partitions": [{"replicas": list(range(count))} for count in replicas]}


def test_a_topic_with_a_single_replica_is_doubted_where_there_are_more_brokers() -> None:
    topics = [described("a", 3, 1), described("b", 3, 3), described("c", 1)]

    (doubt,) = replication_findings(topics, 3)
    assert doubt.ok
    assert doubt.said.startswith("but is it meant? a, c: one replica only, in a cluster of 3 brokers")
    assert replication_findings(topics[1:2], 3) == replication_findings(topics, 1) == []


def test_where_the_settings_name_nobody_the_api_is_not_asked() -> None:
    voucherify = VoucherifySettings(app_id=Secret("id"), app_token=Secret("token"))
    settings = Settings(voucherify=voucherify, kafka=KafkaSettings(bootstrap_servers="127.0.0.1:9"))

    (finding,) = anyio.run(_api_findings, settings)
    assert (finding.check, finding.ok, finding.said.split(":")[0]) == ("api", None, "not asked")


def test_where_customers_cannot_be_listed_it_is_told_for_what_that_is_needed() -> None:
    voucherify = VoucherifySettings(url="http://127.0.0.1:9", app_id=Secret("id"), app_token=Secret("token"))
    settings = Settings(voucherify=voucherify, kafka=KafkaSettings(bootstrap_servers="127.0.0.1:9"), watch="all")

    (finding,) = anyio.run(listing_findings, settings, Match())
    assert (finding.check, finding.ok) == ("listing", False)
    assert finding.said.startswith("POLLER_WATCH=all: customers cannot be listed: ")
