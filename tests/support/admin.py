"""An admin server whose answers are made by hand, on a real port."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import httpx
import msgspec
from anyio.abc import TaskStatus

from poller.admin.events import Pace, Streams
from poller.admin.exposition import Exposition, Gauges
from poller.admin.http import Admin, Impatient, make_app, serve
from poller.admin.orders import LogLevels, Orders
from poller.core.overview import Overview
from poller.core.standing import Standing
from poller.metrics import Metrics
from poller.model import CustomerId, Whose
from poller.secret import Secret
from poller.telemetry import METRICS

TOKEN = "a-token-of-at-least-sixteen"


def overview(**fields: object) -> Overview:
    """Of a replica that stands by."""
    nothing: dict[str, object] = {
        "owner": "here/1",
        "partitions": 1,
        "owned": (),
        "restoring": (),
        "in_flight": 0,
        "records_waiting": 0,
        "bytes_waiting": 0,
        "watched": 0,
        "rate": None,
        "cycle": None,
        "parts": {},
        "quota_remaining": None,
        "paused_until": None,
        "paused_why": "",
        "staleness_objective_seconds": None,
        "oldest_called_at": None,
        "surveyed": None,
    }
    return msgspec.convert({**nothing, **fields}, Overview)


class Process:
    """What the admin server is asked about."""

    def __init__(self, token: str | None = None, pace: Pace = Pace(), connection: type[Impatient] = Impatient) -> None:
        self.live = (True, "the loop turns")
        self.ready = (False, "waiting for Kafka")
        self.status = b'{"at":1.5}'
        self.whose: tuple[Whose, bool] = ("ours", True)
        self.hinted: list[CustomerId] = []
        self.levels: list[str] = []
        self.told: list[tuple[str, CustomerId | None]] = []
        self.refused = 0
        self.now = 1000.0
        self.log_levels = LogLevels("info", self.levels.append, lambda: self.now)
        self.streams = Streams(lambda: self.status, lambda: self.ready, pace)
        self.connection = connection
        self._token = None if token is None else Secret(token)

    def admin(self) -> Admin:
        return Admin(
            live=lambda: self.live,
            ready=lambda: self.ready,
            standing=self._standing,
            status=lambda: self.status,
            exposition=Exposition(Metrics(METRICS), self._gauges),
            streams=self.streams,
            orders=Orders(self._token, self.log_levels, self._hinted, self._told, self._order_refused),
        )

    def _told(self, what: str, customer: CustomerId | None) -> None:
        self.told.append((what, customer))

    def _order_refused(self) -> None:
        self.refused += 1

    def _standing(self, customer: CustomerId) -> Standing:
        return Standing(partition=0, owner=customer, state="not watched")

    def _gauges(self) -> Gauges:
        return Gauges(at=1.0, version="1", ready=self.ready[0], tasks=1, last_success={}, overview=overview())

    def _hinted(self, customer: CustomerId) -> tuple[Whose, bool]:
        self.hinted.append(customer)
        return self.whose


@asynccontextmanager
async def running(process: Process) -> AsyncIterator[int]:
    """Its port, until the end of the block."""

    async def serve_then_tell(*, task_status: TaskStatus[int]) -> None:
        await serve(
            make_app(process.admin()),
            "127.0.0.1",
            0,
            started=task_status.started,
            connection=process.connection,
            ending=process.streams.end,
        )

    async with anyio.create_task_group() as tasks:
        yield await tasks.start(serve_then_tell)
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def client_of(process: Process) -> AsyncIterator[httpx.AsyncClient]:
    async with running(process) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        yield client


def direct_client_of(process: Process) -> httpx.AsyncClient:
    """Without a port: quicker, where it is not about connections."""
    return httpx.AsyncClient(base_url="http://localhost", transport=httpx.ASGITransport(make_app(process.admin())))


async def turned(condition: Callable[[], bool]) -> None:
    """Until it is so, letting the others run."""
    with anyio.fail_after(5):
        while not condition():
            await anyio.lowlevel.checkpoint()
