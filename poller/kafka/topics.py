"""The four topics: created where missing, verified where present, refused where something would be lost."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import anyio
import msgspec
from aiokafka import errors
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from poller.config import KafkaSettings
from poller.errors import LogRefused, LogUnavailable
from poller.kafka.record import CHECKPOINT_BYTES_MAX, HEADER_BYTES_MAX, Limits

RETENTION_MS = 30 * 24 * 3600 * 1000
"""Of activities and dead letters: how long a consumer may be away."""

# A restore reads the partition: what compaction has not reached yet is its length. The active segment is never compacted, so it is short.
SEGMENT_BYTES = 16 * 1024 * 1024
SEGMENT_MS = 10 * 60 * 1000
DIRTY_RATIO = 0.1

COMPACTION_LAG_MS = 24 * 3600 * 1000
"""What a tombstone covers is gone from disk after so long, and a segment: Kafka itself sets no end to it, and a forgotten person's id should have one."""

CHECKPOINT_RECORD_BYTES_MAX = CHECKPOINT_BYTES_MAX + 8 * 1024
"""An encoded checkpoint, with its key and what Kafka adds."""

DEAD_LETTER_RECORD_BYTES_MIN = 16 * HEADER_BYTES_MAX
"""Room for a dead letter's key and headers, and for some of what it is about."""

HINTS_RETENTION_MS = 10 * 60 * 1000
"""Nobody reads a hint that was written before they began."""

EVERYWHERE_SECONDS_MAX = 15.0
"""A new topic is known to all brokers after a moment."""
AGAIN_SECONDS = 0.2


class Wanted(msgspec.Struct, frozen=True):
    """One topic as we create it and as we accept it."""

    name: str
    partitions: int
    compacted: bool
    bytes_min: int = 0
    """The least `max.message.bytes`."""
    partitions_exactly: bool = False
    retention_ms: int = RETENTION_MS

    @property
    def configs(self) -> dict[str, str]:
        if not self.compacted:
            return {"cleanup.policy": "delete", "retention.ms": str(self.retention_ms)}
        return {
            "cleanup.policy": "compact",
            "segment.bytes": str(SEGMENT_BYTES),
            "segment.ms": str(SEGMENT_MS),
            "min.cleanable.dirty.ratio": str(DIRTY_RATIO),
            "max.compaction.lag.ms": str(COMPACTION_LAG_MS),
        }


class Topics(msgspec.Struct, frozen=True):
    """What was found out about them."""

    checkpoint_partitions: int
    limits: Limits
    activities_partitions: int = 1


Configs = Mapping[str, str]


def wanted_topics(settings: KafkaSettings) -> tuple[Wanted, Wanted, Wanted, Wanted]:
    """Activities, checkpoints, watch, dead letters."""
    return (
        Wanted(settings.activities_topic, settings.activities_partitions, compacted=False),
        Wanted(settings.checkpoints_topic, settings.checkpoint_partitions, compacted=True, bytes_min=CHECKPOINT_RECORD_BYTES_MAX),
        Wanted(settings.watch_topic, 1, compacted=True, partitions_exactly=True),
        Wanted(settings.dead_letters_topic, 1, compacted=False, bytes_min=DEAD_LETTER_RECORD_BYTES_MIN),
    )


def wanted_hints_topic(settings: KafkaSettings) -> Wanted:
    """Only where webhooks are taken. However it is made, nothing can be lost by it."""
    return Wanted(settings.hints_topic, 1, compacted=False, retention_ms=HINTS_RETENTION_MS)


async def prepare_hints_topic(admin: AIOKafkaAdminClient, settings: KafkaSettings) -> int:
    """Create it where it is missing; the number of its partitions. Raises what aiokafka raises, and `LogUnavailable`."""
    wanted = [wanted_hints_topic(settings)]
    if not await describe(admin, wanted):
        await create(admin, wanted, settings.replication_factor)
        await _describe_all(admin, wanted)
    return (await _count_partitions(admin, wanted))[settings.hints_topic]


async def prepare_watch_topic(admin: AIOKafkaAdminClient, settings: KafkaSettings, *, create_missing: bool) -> int:
    """Verify it, created first where that is wanted; its `max.message.bytes`. Raises `LogRefused`, or what aiokafka raises."""
    wanted = [one for one in wanted_topics(settings) if one.name == settings.watch_topic]
    found = await describe(admin, wanted)
    if not found:
        if not create_missing:
            raise LogRefused(f"topic {settings.watch_topic} is missing, and was there before: restore it; a restart creates it anew")
        await create(admin, wanted, settings.replication_factor)
        found = await _describe_all(admin, wanted)
    configs = found[settings.watch_topic]
    faults = faults_of(wanted[0], configs, (await _count_partitions(admin, wanted))[settings.watch_topic])
    if faults:
        raise LogRefused(*faults)
    return int(configs["max.message.bytes"])


async def watch_topic_exists(admin: AIOKafkaAdminClient, settings: KafkaSettings) -> bool:
    """Raises what aiokafka raises."""
    return bool(await describe(admin, [one for one in wanted_topics(settings) if one.name == settings.watch_topic]))


def faults_of(wanted: Wanted, configs: Configs, partitions: int) -> list[str]:
    """Why a topic that is there will not do, and what to do about it; empty: it will."""
    faults = [*_policy_faults(wanted, configs["cleanup.policy"])]
    if int(configs["max.message.bytes"]) < wanted.bytes_min:
        faults.append(f"topic {wanted.name}: max.message.bytes is {configs['max.message.bytes']}: set it to {wanted.bytes_min} or more")
    if wanted.partitions_exactly and partitions != wanted.partitions:
        faults.append(f"topic {wanted.name}: has {partitions} partitions: it must have {wanted.partitions}, so use another topic")
    return faults


def _policy_faults(wanted: Wanted, policy: str) -> list[str]:
    policies = {one.strip() for one in policy.split(",")}
    if wanted.compacted and policies != {"compact"}:
        return [f"topic {wanted.name}: cleanup.policy is {policy!r}, which would forget customers: set it to compact"]
    if not wanted.compacted and "compact" in policies:
        return [f"topic {wanted.name}: cleanup.policy is {policy!r}, which would keep one record a key: set it to delete"]
    return []


async def prepare_topics(admin: AIOKafkaAdminClient, settings: KafkaSettings) -> Topics:
    """Create what is missing, then verify all. Two replicas may do so at once. Raises `LogRefused` with every fault, or what aiokafka raises."""
    wanted = wanted_topics(settings)
    found = await describe(admin, wanted)
    missing = [one for one in wanted if one.name not in found]
    if missing:
        await create(admin, missing, settings.replication_factor)
        found = await _describe_all(admin, wanted)
    partitions = await _count_partitions(admin, wanted)
    faults = [fault for one in wanted for fault in faults_of(one, found[one.name], partitions[one.name])]
    if faults:
        raise LogRefused(*faults)
    return Topics(
        checkpoint_partitions=partitions[settings.checkpoints_topic],
        limits=limits_of(settings, found),
        activities_partitions=partitions[settings.activities_topic],
    )


async def retentions(admin: AIOKafkaAdminClient, settings: KafkaSettings) -> dict[str, float]:
    """How many seconds the topics of activities and dead letters keep what is written there (`inf`: for ever). Raises what aiokafka raises."""
    found = await describe(admin, [one for one in wanted_topics(settings) if not one.compacted])
    kept_ms = {name: int(configs["retention.ms"]) for name, configs in found.items()}
    return {name: math.inf if ms < 0 else ms / 1000 for name, ms in kept_ms.items()}


async def verify_topics(admin: AIOKafkaAdminClient, settings: KafkaSettings) -> None:
    """Once more, for what may have happened since: raises `LogRefused` where a topic is missing by now, or has come back as one that would lose something.

    A broker may create a topic that was deleted as soon as somebody asks for it, with settings of its own. Nothing is created here.
    """
    wanted = wanted_topics(settings)
    found = await describe(admin, wanted)
    missing = [one.name for one in wanted if one.name not in found]
    faults = [
        f"topic {name} is missing, and was there when this process started: restore it; a restart creates it anew" for name in missing
    ]
    faults += [fault for one in wanted if one.name in found for fault in faults_of(one, found[one.name], one.partitions)]
    if faults:
        raise LogRefused(*faults)


def limits_of(settings: KafkaSettings, found: Mapping[str, Configs]) -> Limits:
    return Limits(
        activities_bytes_max=int(found[settings.activities_topic]["max.message.bytes"]),
        dead_letters_bytes_max=int(found[settings.dead_letters_topic]["max.message.bytes"]),
        checkpoints_bytes_max=int(found[settings.checkpoints_topic]["max.message.bytes"]),
    )


async def describe(admin: AIOKafkaAdminClient, wanted: Sequence[Wanted]) -> dict[str, Configs]:
    """The settings of those topics that are there. Asked first because, unlike asking for metadata, it never creates a topic by itself."""
    found: dict[str, Configs] = {}
    for response in await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, one.name) for one in wanted]):
        # The admin client returns error codes instead of raising them; its responses have their fields from a schema.
        for code, message, _, name, entries in response.resources:  # type: ignore[attr-defined]
            if errors.for_code(code) is errors.UnknownTopicOrPartitionError:
                continue
            _raise(code, f"topic {name}: {message}")
            found[name] = {entry[0]: entry[1] or "" for entry in entries}
    return found


async def _describe_all(admin: AIOKafkaAdminClient, wanted: Sequence[Wanted]) -> dict[str, Configs]:
    with anyio.fail_after(EVERYWHERE_SECONDS_MAX):
        while True:
            found = await describe(admin, wanted)
            if len(found) == len(wanted):
                return found
            await anyio.sleep(AGAIN_SECONDS)


async def create(admin: AIOKafkaAdminClient, missing: Sequence[Wanted], replication_factor: int) -> None:
    """A topic that another replica created meanwhile is as good as ours: it is verified like any other."""
    response = await admin.create_topics([new_topic(one, replication_factor) for one in missing])
    for name, code, message in response.topic_errors:  # type: ignore[attr-defined]
        if errors.for_code(code) is not errors.TopicAlreadyExistsError:
            _raise(code, f"topic {name} is missing and cannot be created: {message}")


def new_topic(wanted: Wanted, replication_factor: int) -> NewTopic:
    # With −1 (as the brokers say) NewTopic wants replica assignments to be given too, if only none.
    assignments: dict[int, list[int]] | None = {} if replication_factor == -1 else None
    return NewTopic(wanted.name, wanted.partitions, replication_factor, assignments, wanted.configs)


async def _count_partitions(admin: AIOKafkaAdminClient, wanted: Sequence[Wanted]) -> dict[str, int]:
    with anyio.fail_after(EVERYWHERE_SECONDS_MAX):
        while True:
            topics: list[dict[str, Any]] = await admin.describe_topics([one.name for one in wanted])
            if not any(topic["error_code"] for topic in topics) and len(topics) == len(wanted):
                return {topic["topic"]: len(topic["partitions"]) for topic in topics}
            for topic in topics:
                if not errors.for_code(topic["error_code"]).retriable:
                    _raise(topic["error_code"], f"topic {topic['topic']}")
            await anyio.sleep(AGAIN_SECONDS)


def _raise(code: int, message: str) -> None:
    if code == 0:
        return
    error = errors.for_code(code)
    if error is errors.UnknownError:
        raise LogUnavailable(f"{message} (error code {code})")
    raise error(message)
