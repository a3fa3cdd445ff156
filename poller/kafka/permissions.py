"""What the poller must be allowed to do, and which of it the brokers do not allow.

A denied request says little: often not which operation, sometimes nothing until a time has run out. So whoever was denied asks the brokers
what this user may do, and names what is missing in one line, the same from `poller check` and from `poller run`. Nothing is changed by asking.

    topics              the operations that are authorized, by metadata; `Read`, `Write` and `Describe` are all missing where it is refused
    topics' settings    by asking for them
    missing topics      by having their creation validated, not done
    group               by a heartbeat of nobody, which takes `Read` like any other and is then not known
    transactional id    by looking for its coordinator, which takes `Describe`; only who may `Write` has been given that
"""

import shlex
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

import anyio
import msgspec
from aiokafka import errors
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from poller.config import KafkaSettings
from poller.errors import LogError, LogRefused
from poller.kafka import clients
from poller.kafka.failures import denied, translated
from poller.kafka.topics import new_topic, wanted_topics
from poller.kafka.workarounds import authorized_topic_operations, heartbeat_of_nobody

ASK_SECONDS_MAX = 10.0
PARTITIONS_MAX = 100
"""Transactional ids that are asked for."""

TRANSACTION = 1
"""The kind of coordinator."""

Operation = Literal["Read", "Write", "Create", "Describe", "DescribeConfigs"]
BITS: Mapping[str, int] = {"Read": 3, "Write": 4, "Create": 5, "Describe": 8, "DescribeConfigs": 10}
"""Kafka's numbers of the operations (`AclOperation`), which are their bits in what is authorized."""


class Need(msgspec.Struct, frozen=True):
    """One operation on one resource; `why`: what for."""

    operation: Operation
    resource: Literal["topic", "group", "transactional-id"]
    name: str
    why: str
    prefixed: bool = False

    def line(self, settings: KafkaSettings) -> str:
        """What is missing, and what to grant."""
        user = f"User:{settings.sasl_username if settings.security_protocol.startswith('SASL') else '…'}"
        asked = f"kafka-acls --bootstrap-server {settings.bootstrap_servers} --command-config admin.properties --add"
        pattern = " --resource-pattern-type prefixed" if self.prefixed else ""
        kind = f"{self.resource.replace('-', ' ')}{'s that begin with' if self.prefixed else ''}"
        grant = f"{asked} --allow-principal {shlex.quote(user)} --operation {self.operation} --{self.resource} {self.name}{pattern}"
        return (
            f"{'this user' if user.endswith('…') else user} may not {self.operation} the {kind} {self.name}, {self.why}: grant it ({grant})"
        )


def needs(settings: KafkaSettings) -> tuple[Need, ...]:
    """All, the creation of topics first; `Describe` only where nothing that is listed includes it."""
    checkpoints, watch = settings.checkpoints_topic, settings.watch_topic
    topics = [one.name for one in wanted_topics(settings)]
    written = (settings.activities_topic, checkpoints, settings.dead_letters_topic)
    return (
        *(Need("Create", "topic", name, "which is missing") for name in topics),
        *(Need("DescribeConfigs", "topic", name, "whose settings must be known") for name in topics),
        *(Need("Write", "topic", name, "to which it publishes") for name in written),
        Need("Read", "topic", checkpoints, "from which it goes on after a restart"),
        Need("Read", "topic", watch, "which says whom to watch"),
        Need("Read", "group", settings.application_id, "by which replicas share the work"),
        Need("Write", "transactional-id", f"{settings.application_id}-", "by which it publishes once", prefixed=True),
    )


def hints_needs(settings: KafkaSettings) -> tuple[Need, ...]:
    """Beside these, where webhooks are taken. Without them everything goes on, but for hints to other replicas."""
    topic = settings.hints_topic
    return (
        Need("Create", "topic", topic, "which is missing"),
        Need("DescribeConfigs", "topic", topic, "which must be known to be there"),
        Need("Read", "topic", topic, "from which it hears of others' webhooks"),
        Need("Write", "topic", topic, "to which it writes what concerns others"),
    )


def watch_needs(settings: KafkaSettings, *operations: Operation) -> tuple[Need, ...]:
    """What `poller watch` needs, and nothing else: these operations, or all."""
    topic = settings.watch_topic
    of_all = (
        Need("Create", "topic", topic, "which is missing"),
        Need("DescribeConfigs", "topic", topic, "whose settings must be known"),
        Need("Read", "topic", topic, "which says whom to watch"),
        Need("Write", "topic", topic, "which is how customers are added and removed"),
    )
    return tuple(need for need in of_all if not operations or need.operation in operations)


def published_needs(settings: KafkaSettings) -> tuple[Need, ...]:
    """Beside `needs`, where a customer is rewound with `--missing-only`."""
    return (Need("Read", "topic", settings.activities_topic, "which tells what of a rewound customer is missing"),)


async def missing_permissions(admin: AIOKafkaAdminClient, settings: KafkaSettings, wanted: Sequence[Need] | None = None) -> list[Need]:
    """Those of `wanted` (by default of `needs`) that this user has not. What a topic that is missing needs is known only in part. Raises what aiokafka raises.

    Brokers that cannot tell are taken to permit everything: whoever tries will see.
    """
    try:
        with anyio.fail_after(ASK_SECONDS_MAX):
            return await _lacking(admin, settings, needs(settings) if wanted is None else wanted)
    except (NotImplementedError, errors.IncompatibleBrokerVersion):
        return []


async def _lacking(admin: AIOKafkaAdminClient, settings: KafkaSettings, wanted: Sequence[Need]) -> list[Need]:
    topics = [one.name for one in wanted_topics(settings)]
    described = await authorized_topic_operations(admin, topics)
    lacking = {
        "topic": {
            "Create": await _not_to_create(admin, settings, [name for name in topics if described[name].missing]),
            "DescribeConfigs": await _not_to_describe_configs(admin, topics),
            **{one: {name for name in topics if not described[name].allows(BITS[one])} for one in ("Read", "Write", "Describe")},
        },
        "group": {"Read": await _groups_not_to_read(admin, settings.application_id)},
        "transactional-id": {"Write": await _ids_not_to_write(admin, settings, described[settings.checkpoints_topic].partitions)},
    }
    return [need for need in wanted if need.name in lacking[need.resource][need.operation]]


async def _not_to_create(admin: AIOKafkaAdminClient, settings: KafkaSettings, names: Sequence[str]) -> set[str]:
    wanted = [one for one in wanted_topics(settings) if one.name in names]
    if not wanted:
        return set()
    response: Any = await admin.create_topics([new_topic(one, settings.replication_factor) for one in wanted], validate_only=True)
    return {name for name, code, _ in response.topic_errors if denied(errors.for_code(code))}


async def _not_to_describe_configs(admin: AIOKafkaAdminClient, names: Sequence[str]) -> set[str]:
    responses: list[Any] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
    return {resource[3] for response in responses for resource in response.resources if denied(errors.for_code(resource[0]))}


async def _groups_not_to_read(admin: AIOKafkaAdminClient, group: str) -> set[str]:
    return {group} if denied(errors.for_code(await heartbeat_of_nobody(admin, group))) else set()


async def _ids_not_to_write(admin: AIOKafkaAdminClient, settings: KafkaSettings, partitions: int) -> set[str]:
    for partition in range(min(partitions or settings.checkpoint_partitions, PARTITIONS_MAX)):
        try:
            await admin.find_coordinator(f"{settings.application_id}-{partition}", TRANSACTION)
        except errors.TransactionalIdAuthorizationFailed:
            return {f"{settings.application_id}-"}
        except errors.KafkaError as error:
            if not error.retriable:  # in a new cluster nobody coordinates yet
                raise
    return set()


def refusal_of(missing: Sequence[Need], settings: KafkaSettings, doing: str) -> LogRefused:
    return LogRefused(doing, "; ".join(need.line(settings) for need in missing))


@asynccontextmanager
async def explained(doing: str, settings: KafkaSettings, wanted: Sequence[Need] | None = None) -> AsyncIterator[None]:
    """As `translated`; whoever was denied something is told what of `wanted` (by default of `needs`) is missing. Asking is bounded in time."""
    try:
        with translated(doing):
            yield
    except LogError as error:
        raise await explain(doing, settings, error, wanted) from error.__cause__


async def explain(doing: str, settings: KafkaSettings, error: LogError, wanted: Sequence[Need] | None = None) -> LogError:
    """The error as it is, but where it is a denial: then one that names what is missing, if the brokers tell."""
    if not denied(error):
        return error
    missing: list[Need] = []
    with anyio.move_on_after(ASK_SECONDS_MAX):
        try:
            async with clients.admin(settings) as admin:
                missing = await missing_permissions(admin, settings, wanted)
        except Exception:  # noqa: BLE001  # then the denial itself is what is told
            return error
    return refusal_of(missing, settings, doing) if missing else error
