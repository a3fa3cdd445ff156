"""`poller run` as child processes around a simulated API: what a test starts, ends, stops and asks.

A child never outlives the test: its deployment ends it, and on Linux the kernel does where the test's own process is killed.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self
from uuid import uuid4

import anyio
import httpx

from poller.demo.api import Simulator
from poller.demo.broker import EXEC_BOUND_TO_PARENT, free_port
from poller.demo.options import SimulatorOptions
from poller.demo.readings import Readings
from poller.demo.serve import bind, serve_simulator
from tests.support.waiting import POLL_SECONDS, until

CANARY = "canary-4f1d9c27b8e35a60"
"""The app token of every deployment: where it shows, a secret would."""

SESSION_SECONDS = 6
"""The shortest that is allowed."""

DRAIN_SECONDS = 5
START_SECONDS_MAX = 20.0
END_SECONDS_MAX = 10.0


class Answered(NamedTuple):
    """What an admin server says; status 0: nobody listens."""

    status: int
    reason: str


class Poller:
    """One `poller run`, and what it says."""

    def __init__(self, settings: Mapping[str, str], log_path: Path) -> None:
        self.settings = settings
        self.log_path = log_path
        self.heard: list[str] = []
        """Whatever its admin server answered."""
        bound = [sys.executable, "-I", "-S", "-c", EXEC_BOUND_TO_PARENT, str(os.getpid())]
        with log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [*bound, sys.executable, "-m", "poller", "run"],
                env={**inherited(), **settings},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __repr__(self) -> str:
        """With the end of its log, as this is what a failed wait shows."""
        return f"<Poller {self._process.pid}, exit code {self.exit_code}>\n{self.output()[-4000:]}"

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """As kill -9 does; returns when it is gone."""
        self._process.kill()
        self._process.wait()

    async def ended(self, within_seconds: float = END_SECONDS_MAX) -> int:
        """Its exit code."""
        with anyio.move_on_after(within_seconds):
            while self.exit_code is None:  # noqa: ASYNC110 - a process that ends sets no event of ours
                await anyio.sleep(POLL_SECONDS)
        assert self.exit_code is not None, f"it does not end: {self!r}"
        return self.exit_code

    def output(self) -> str:
        return self.log_path.read_text(errors="replace")

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """What it has logged, a complete line each."""
        lines = self.output().split("\n")[:-1]
        logged = [json.loads(line) for line in lines if line.startswith("{")]
        return [event for event in logged if name is None or event["event"] == name]

    def count(self, name: str) -> int:
        return len(self.events(name))

    async def has_said(self, name: str, times: int = 1, within_seconds: float = START_SECONDS_MAX) -> None:
        """Until it has logged so many of these events."""
        await until(lambda: self.count(name) >= times, within_seconds)

    async def ask(self, path: str) -> Answered:
        """`livez` or `readyz`."""
        async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
            try:
                answer = await client.get(f"http://127.0.0.1:{self.settings['POLLER_ADMIN_PORT']}/{path}")
            except httpx.TransportError:
                return Answered(0, "nobody listens")
        self.heard.append(f"{answer.headers!r} {answer.text}")
        return Answered(answer.status_code, answer.json()["reason"])

    async def says(self, path: str, status: int, reason: str = "") -> bool:
        answered = await self.ask(path)
        return answered.status == status and reason in answered.reason

    async def active(self, within_seconds: float = START_SECONDS_MAX) -> None:
        """Until it owns partitions, and these are restored."""
        await self.is_ready("owning", within_seconds)

    async def standing_by(self, within_seconds: float = START_SECONDS_MAX) -> None:
        await self.is_ready("standing by", within_seconds)

    async def is_ready(self, reason: str, within_seconds: float = START_SECONDS_MAX) -> None:
        try:
            await until(lambda: self.says("readyz", 200, reason), within_seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{await self.ask('readyz')}\n{self!r}") from None


def inherited() -> dict[str, str]:
    """What a child needs of our environment, and none of our settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith("POLLER_")}


class Deployment:
    """Replicas of one deployment: they share settings and topics, which are its own."""

    def __init__(self, bootstrap_servers: str, url: str, customers: Iterable[str], directory: Path, **settings: object) -> None:
        self.name = f"test-{uuid4().hex[:8]}"
        self.bootstrap_servers = bootstrap_servers
        self.directory = directory
        self.pollers: list[Poller] = []
        listed = directory / f"{self.name}.customers"
        listed.write_text("".join(f"{customer}\n" for customer in customers))
        self.settings: dict[str, object] = {
            "voucherify_url": url,
            "voucherify_app_id": "simulator-app-id",
            "voucherify_app_token": CANARY,
            "voucherify_timeout_seconds": 5,
            "customers_file": listed,
            "start": "earliest",
            "lookback_seconds": 30,
            "calls_per_minute": 1200,
            "kafka_bootstrap_servers": bootstrap_servers,
            "kafka_application_id": self.name,
            "kafka_activities_topic": self.name,
            "kafka_activities_partitions": 3,
            "kafka_session_seconds": SESSION_SECONDS,
            "kafka_commit_seconds": 0.05,
            "log_level": "debug",
            "drain_seconds": DRAIN_SECONDS,
            **settings,
        }

    def start(self, **settings: object) -> Poller:
        """One more replica. A setting that is `None` is left out."""
        merged = {**self.settings, "admin_port": free_port(), **settings}
        environment = {f"POLLER_{name.upper()}": str(value) for name, value in merged.items() if value is not None}
        self.pollers.append(Poller(environment, self.directory / f"{self.name}-{len(self.pollers)}.log"))
        return self.pollers[-1]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for poller in self.pollers:
            poller.kill()
        for poller in self.pollers:
            assert CANARY not in poller.output(), f"a secret is in the log: {poller.log_path}"
            assert "Traceback" not in poller.output(), f"an error that nobody expected: {poller!r}"
            assert not any(CANARY in answer for answer in poller.heard), "a secret is in what the admin server answers"


def busy(**options: Any) -> Simulator:
    """Customers with a past who go on acting: ties, late activities, both shapes; no limit on calls."""
    given: dict[str, Any] = {
        "customers": 12,
        "activities_per_customer_minute": 30.0,
        "history_seconds": 60.0,
        "tie_rate": 0.2,
        "late_rate": 0.2,
        "late_seconds_mean": 1.0,
        "late_seconds_max": 3.0,
        "calls_per_window": None,
        "readings": Readings(payload="mixed"),
        **options,
    }
    return Simulator(SimulatorOptions(**given, app_token=CANARY), time.time)


class Api(NamedTuple):
    """A simulated API that is being served."""

    simulator: Simulator
    url: str


@asynccontextmanager
async def served(simulator: Simulator, port: int = 0) -> AsyncIterator[Api]:
    """Serve it from here to the end of the block."""
    listening = bind("127.0.0.1", port)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve_simulator, simulator, listening)
        try:
            yield Api(simulator, f"http://127.0.0.1:{listening.getsockname()[1]}")
        finally:
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def one_error() -> AsyncIterator[None]:
    """A task group wraps what a test raises; pytest shows it better as it was."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        raise error from None
