"""What may be done with the topic of hints, and what stands in it."""

import pytest

from poller.config import KafkaSettings
from poller.journal import Journal
from poller.kafka.hints import UNSENT_MAX, KafkaHints, hint_of, record_of
from poller.kafka.permissions import hints_needs
from poller.kafka.topics import faults_of, wanted_hints_topic
from poller.model import CustomerId, Hint
from poller.telemetry import Telemetry
from tests.support.acls import Acl, documented_acls
from tests.support.world import Told

SETTINGS = KafkaSettings(bootstrap_servers="kafka:9092")
HINT = Hint(CustomerId("anna@example.com"), 1_714_564_800_000)


def test_the_documented_permissions_are_those_that_are_needed() -> None:
    needed = [Acl("User:poller", need.operation, need.resource, need.name) for need in hints_needs(SETTINGS)]

    assert documented_acls("A poller that takes webhooks") == needed


def test_the_topic_follows_the_activities_and_is_kept_for_minutes() -> None:
    wanted = wanted_hints_topic(SETTINGS)

    assert (wanted.name, wanted.partitions) == ("voucherify.activities.hints", 1)
    assert wanted.configs == {"cleanup.policy": "delete", "retention.ms": "600000"}
    assert faults_of(wanted, {**wanted.configs, "max.message.bytes": "1000"}, 1) == []


def test_a_hint_is_its_customer_and_a_readable_value() -> None:
    assert record_of(HINT) == (b"anna@example.com", b'{"format":1,"at_ms":1714564800000}')
    assert hint_of(*record_of(HINT)) == HINT


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (None, b'{"format":1}'),
        (b"cust_1", None),
        (b"cust_1", b""),
        (b"cust_1", b'{"format":2}'),
        (b"cust_1", b'{"format":1,"at_ms":"x"}'),
        (b"..", b'{"format":1}'),
        (b"\xff", b'{"format":1}'),
        (b"cust_1", b'{"format":1}' + b" " * 2000),
    ],
    ids=["no key", "no value", "empty", "of a later version", "no instant", "no id", "no text", "too long"],
)
def test_what_is_no_hint_is_passed_over(key: bytes | None, value: bytes | None) -> None:
    assert hint_of(key, value) is None


def test_more_than_wait_to_be_sent_are_dropped() -> None:
    hints = KafkaHints(SETTINGS, Journal(Telemetry(Told())))

    assert [hints.send(HINT) for _ in range(UNSENT_MAX + 2)] == [True] * UNSENT_MAX + [False] * 2
