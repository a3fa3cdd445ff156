import pytest

from poller.config import KafkaSettings
from poller.kafka.record import CHECKPOINT_BYTES_MAX
from poller.kafka.topics import faults_of, wanted_topics

SETTINGS = KafkaSettings(bootstrap_servers="one:9092", activities_topic="t", activities_partitions=7, checkpoint_partitions=5)
ACTIVITIES, CHECKPOINTS, WATCH, DEAD_LETTERS = wanted_topics(SETTINGS)


def test_topics_are_created_with_their_partitions_and_policies() -> None:
    assert [(one.name, one.partitions, one.configs["cleanup.policy"]) for one in (ACTIVITIES, CHECKPOINTS, WATCH, DEAD_LETTERS)] == [
        ("t", 7, "delete"),
        ("t.checkpoints", 5, "compact"),
        ("t.watch", 1, "compact"),
        ("t.dead-letters", 1, "delete"),
    ]
    assert ACTIVITIES.configs["retention.ms"] == str(30 * 24 * 3600 * 1000)


@pytest.mark.parametrize("topic", [ACTIVITIES, CHECKPOINTS, WATCH, DEAD_LETTERS])
def test_a_topic_is_accepted_as_it_would_be_created(topic: object) -> None:
    assert isinstance(topic, type(ACTIVITIES))

    assert faults_of(topic, {**topic.configs, "max.message.bytes": "1048588"}, topic.partitions) == []


@pytest.mark.parametrize(
    ("topic", "policy", "accepted"),
    [
        (ACTIVITIES, "delete", True),
        (ACTIVITIES, "", True),
        (ACTIVITIES, "compact", False),
        (ACTIVITIES, "delete, compact", False),
        (DEAD_LETTERS, "compact,delete", False),
        (CHECKPOINTS, "compact", True),
        (CHECKPOINTS, "delete", False),
        (CHECKPOINTS, "compact,delete", False),
        (CHECKPOINTS, "", False),
        (WATCH, "compact,delete", False),
    ],
)
def test_a_policy_that_would_lose_something_is_refused(topic: object, policy: str, accepted: bool) -> None:
    assert isinstance(topic, type(ACTIVITIES))

    faults = faults_of(topic, {"cleanup.policy": policy, "max.message.bytes": "1048588"}, topic.partitions)

    assert (faults == []) == accepted
    assert all(topic.name in fault and repr(policy) in fault for fault in faults)


def test_the_largest_checkpoint_must_fit() -> None:
    (fault,) = faults_of(CHECKPOINTS, {"cleanup.policy": "compact", "max.message.bytes": str(CHECKPOINT_BYTES_MAX)}, 5)

    assert "max.message.bytes is 900000" in fault


def test_the_checkpoint_topic_keeps_the_partitions_that_it_has_and_the_watch_topic_must_have_one() -> None:
    configs = {"cleanup.policy": "compact", "max.message.bytes": "1048588"}

    assert faults_of(CHECKPOINTS, configs, 2) == []
    assert faults_of(WATCH, configs, 2) == ["topic t.watch: has 2 partitions: it must have 1, so use another topic"]


def test_every_fault_is_told_at_once() -> None:
    assert len(faults_of(CHECKPOINTS, {"cleanup.policy": "delete", "max.message.bytes": "1000"}, 1)) == 2
