"""The embedded broker is a real Kafka: transactions, data that outlives kill -9, and no process left behind."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from poller.demo.broker import STARTED, Broker, BrokerFailed, broker, free_port, serve
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


async def create_topic(bootstrap_servers: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()


@asynccontextmanager
async def producer(bootstrap_servers: str, transactional_id: str) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers, transactional_id=transactional_id)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def publish(bootstrap_servers: str, topic: str, values: Sequence[bytes], *, commit: bool = True) -> None:
    async with producer(bootstrap_servers, f"{topic}-writer") as writer:
        await writer.begin_transaction()
        for value in values:
            await writer.send_and_wait(topic, value)
        await (writer.commit_transaction() if commit else writer.abort_transaction())


async def read(bootstrap_servers: str, topic: str, count: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap_servers, isolation_level="read_committed", auto_offset_reset="earliest")
    await consumer.start()
    try:
        with anyio.fail_after(20):
            return [(await consumer.getone()).value or b"" for _ in range(count)]
    finally:
        await consumer.stop()


def is_listening(running: Broker) -> bool:
    host, _, port = running.bootstrap_servers.partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A child of a process that was killed stays as a zombie where nobody reaps it.
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


async def test_a_transaction_is_seen_when_committed_and_not_when_aborted(kafka: str) -> None:
    await create_topic(kafka, "broker-transactions")
    await publish(kafka, "broker-transactions", [b"aborted"], commit=False)
    await publish(kafka, "broker-transactions", [b"one", b"two"])

    assert await read(kafka, "broker-transactions", 2) == [b"one", b"two"]


async def test_what_was_committed_outlives_kill_9_and_a_restart_on_the_same_port(tmp_path: Path) -> None:
    async with broker(data_dir=tmp_path, log=print) as running:
        await create_topic(running.bootstrap_servers, "kept")
        await publish(running.bootstrap_servers, "kept", [b"before the kill"])

        await running.kill()
        assert (running.running, is_listening(running)) == (False, False)
        await running.start()
        await publish(running.bootstrap_servers, "kept", [b"after the kill"])
        await running.restart()
        first_pid = running.pid

        assert await read(running.bootstrap_servers, "kept", 2) == [b"before the kill", b"after the kill"]
    assert first_pid is not None
    assert not is_alive(first_pid)
    async with broker(data_dir=tmp_path, log=print) as another:
        assert await read(another.bootstrap_servers, "kept", 2) == [b"before the kill", b"after the kill"]


async def test_a_start_that_fails_says_what_kafka_said_and_leaves_nothing_running(tmp_path: Path) -> None:
    with pytest.raises(BrokerFailed, match=r"no\.such\.Class"):
        async with broker(data_dir=tmp_path, properties={"authorizer.class.name": "no.such.Class"}, log=print):
            raise AssertionError("it started")

    assert not lives_on(tmp_path)


async def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()

        with pytest.raises(BrokerFailed, match="Address already in use"):
            await serve(taken.getsockname()[1], tmp_path, print)


async def test_serve_says_when_it_serves_and_ends_its_broker_when_cancelled(tmp_path: Path) -> None:
    said: list[str] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve, free_port(), tmp_path, said.append)
        await until(lambda: any("serves 127.0.0.1:" in line for line in said), within_seconds=60)
        alive = lives_on(tmp_path)
        tasks.cancel_scope.cancel()

    assert len(alive) == 1
    assert not lives_on(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")
async def test_a_broker_does_not_outlive_a_parent_that_was_killed(tmp_path: Path) -> None:
    program = "import sys, anyio, pathlib; from poller.demo.broker import serve; anyio.run(serve, 0, pathlib.Path(sys.argv[1]), print)"
    parent = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.DEVNULL)  # noqa: ASYNC220 - it returns at once
    try:
        log = tmp_path / "kafka.log"
        await until(lambda: log.exists() and STARTED in log.read_text(), within_seconds=60)
        (java,) = lives_on(tmp_path)
        parent.send_signal(signal.SIGKILL)
        parent.wait()

        await until(lambda: not is_alive(java), within_seconds=10)
    finally:
        parent.kill()
        parent.wait()
        for java in lives_on(tmp_path):
            os.kill(java, signal.SIGKILL)


def lives_on(data_dir: Path) -> list[int]:
    """The Java processes that were started on this data directory."""
    wanted = str(data_dir / "server.properties").encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:  # ended meanwhile
            continue
        if wanted in words and words[0].endswith(b"java") and is_alive(int(process.name)):
            found.append(int(process.name))
    return found
