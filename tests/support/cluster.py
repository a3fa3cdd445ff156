"""One Kafka broker or several on one machine, and what can happen to them."""

import os
import resource
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest

from poller.demo.broker import DATA, Broker, free_port, make_broker
from tests.support.topics import administering
from tests.support.waiting import until

LOGIN = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN", "sasl_username": "poller", "sasl_password": "sesame-7c1d9b"}
"""How a deployment comes in by the door where it can be refused."""

DISK_BYTES_LEFT = 64 * 1024

# Of ACLs, as the protocol counts them.
TOPIC, GROUP, TRANSACTIONAL_ID = 2, 3, 5
LITERAL, ALL_OPERATIONS, DENY = 3, 2, 2


class Cluster:
    """Brokers that serve the same topics."""

    def __init__(self, brokers: list[Broker], guarded_servers: str | None = None) -> None:
        self.brokers = brokers
        self.guarded_servers = guarded_servers
        """Where one comes in with `LOGIN`; `None`: there is no such door."""

    @property
    def bootstrap_servers(self) -> str:
        return ",".join(broker.bootstrap_servers for broker in self.brokers)

    async def mend(self) -> None:
        """Whatever happened before: all brokers run, and know of each other."""
        async with anyio.create_task_group() as starting:
            for broker in self.brokers:
                if not broker.running:
                    starting.start_soon(broker.start)
        await until(self._all_known, within_seconds=30)

    async def _all_known(self) -> bool:
        async with administering(self.bootstrap_servers) as admin:
            return len((await admin.describe_cluster())["brokers"]) == len(self.brokers)

    async def leader(self, topic: str, partition: int = 0) -> Broker:
        async with administering(self.bootstrap_servers) as admin:
            (described,) = await admin.describe_topics([topic])
        (found,) = [one for one in described["partitions"] if one["partition"] == partition]
        node: int = found["leader"]
        return self.brokers[node - 1]

    async def in_sync(self, topic: str) -> bool:
        """Whether each partition has all of its replicas again."""
        async with administering(self.bootstrap_servers) as admin:
            (described,) = await admin.describe_topics([topic])
        return all(len(one["isr"]) == len(one["replicas"]) for one in described["partitions"])

    async def configure_topic(self, topic: str, **settings: str) -> None:
        """Exactly these: any other setting of the topic goes back to its default."""
        async with administering(self.bootstrap_servers) as admin:
            configs = {name.replace("_", "."): value for name, value in settings.items()}
            for response in await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs)]):
                assert [one[0] for one in response.resources] == [0], response  # type: ignore[attr-defined]

    async def forbid(self, kind: int, name: str) -> None:
        """Nobody who logged in may do anything with it any more."""
        async with administering(self.bootstrap_servers) as admin:
            await admin._send_request(CreateAclsRequest(kind, name, LITERAL, "User:poller", "*", ALL_OPERATIONS, DENY))

    async def allow(self, kind: int, name: str) -> None:
        """Again."""
        async with administering(self.bootstrap_servers) as admin:
            await admin._send_request(DeleteAclsRequest(kind, name, LITERAL, "User:poller", "*", ALL_OPERATIONS, DENY))


def fill_disk(broker: Broker) -> None:
    """From now on its files can hardly grow: as far as it can tell, the disk is full. A new process is free of it."""
    assert broker.pid is not None
    largest = max(path.stat().st_size for path in (broker.data_dir / DATA).rglob("*.log"))
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.prlimit(broker.pid, resource.RLIMIT_FSIZE, (largest + DISK_BYTES_LEFT, hard))


def send(broker: Broker, number: signal.Signals) -> None:
    assert broker.pid is not None
    os.kill(broker.pid, number)


@asynccontextmanager
async def one_broker(directory: Path) -> AsyncIterator[Cluster]:
    """With an authorizer, and a second door where pollers log in; who comes by the first may do anything."""
    ports = {"PLAINTEXT": free_port(), "SASL_PLAINTEXT": free_port(), "CONTROLLER": free_port()}
    listeners = [f"{name}://127.0.0.1:{port}" for name, port in ports.items()]
    module = "org.apache.kafka.common.security.plain.PlainLoginModule"
    properties = {
        "listeners": ",".join(listeners),
        "advertised.listeners": ",".join(listeners[:2]),
        "controller.quorum.voters": f"1@127.0.0.1:{ports['CONTROLLER']}",
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": f'{module} required user_poller="{LOGIN["sasl_password"]}";',
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "allow.everyone.if.no.acl.found": "true",
        "log.index.size.max.bytes": "65536",  # as it comes, a new index takes ten megabytes at once, which a full disk has not
    }
    (directory / "broker").mkdir()
    broker = await make_broker(port=ports["PLAINTEXT"], data_dir=directory / "broker", properties=properties, log=print)
    async with _running(Cluster([broker], f"127.0.0.1:{ports['SASL_PLAINTEXT']}")) as cluster:
        yield cluster


@asynccontextmanager
async def three_brokers(directory: Path) -> AsyncIterator[Cluster]:
    """Each is a controller too. Everything has three replicas, of which two must be in sync; a missing topic is created by whoever asks for it, as brokers do by default."""
    ports = {node: (free_port(), free_port()) for node in (1, 2, 3)}
    shared = {
        "controller.quorum.voters": ",".join(f"{node}@127.0.0.1:{controller}" for node, (_, controller) in ports.items()),
        "auto.create.topics.enable": "true",
        "default.replication.factor": "3",
        "min.insync.replicas": "2",
        "offsets.topic.replication.factor": "3",
        "transaction.state.log.replication.factor": "3",
        "transaction.state.log.min.isr": "2",
        "share.coordinator.state.topic.replication.factor": "3",
        "share.coordinator.state.topic.min.isr": "2",
    }
    brokers = []
    for node, (port, controller) in ports.items():
        listeners = {
            "node.id": str(node),
            "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        }
        (directory / f"broker-{node}").mkdir()
        brokers.append(await make_broker(port=port, data_dir=directory / f"broker-{node}", properties={**shared, **listeners}, log=print))
    async with _running(Cluster(brokers)) as cluster:
        yield cluster


@asynccontextmanager
async def _running(cluster: Cluster) -> AsyncIterator[Cluster]:
    try:
        await cluster.mend()
        yield cluster
    finally:
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as stopping:
                for broker in cluster.brokers:
                    stopping.start_soon(broker.kill)
