"""The wiring of what operators see: the admin server, and what it answers from. Part of `app.py`, apart because it is long."""

import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import anyio
import msgspec
from anyio import TASK_STATUS_IGNORED
from anyio.abc import TaskStatus
from msgspec.structs import replace

from poller.admin import http
from poller.admin.events import Streams
from poller.admin.exposition import Exposition, Gauges
from poller.admin.history import STRETCH_SECONDS_MIN
from poller.admin.orders import LogLevels, Orders
from poller.admin.status import Deployed, Reporter, own_version
from poller.admin.troubles import Troubles
from poller.config import Settings
from poller.core.standing import Standing
from poller.errors import SettingsError
from poller.journal import Journal
from poller.kafka.hints import KafkaHints
from poller.log_output import configure, scrubber, set_level
from poller.model import CustomerId, Hint, Whose
from poller.secret import Secret
from poller.telemetry import Telemetry
from poller.worker import Clock, Worker


@dataclass(frozen=True)
class Voice:
    """How the process tells of itself: its log, and the troubles that it remembers."""

    telemetry: Telemetry
    troubles: Troubles
    levels: LogLevels
    scrubbed: Callable[[str], str]
    """A text without what must not be shown."""


def make_voice(settings: Settings, secrets: list[Secret], clock: Clock) -> Voice:
    shown = settings.log_customers
    telemetry = Telemetry(configure(settings.log_format, settings.log_level, clock=clock, secrets=secrets, customers=shown), shown)

    def scrubbed(text: str) -> str:
        return scrubber(tuple(secrets), hashes=shown == "hashed")(text)  # anew each time: a secret may have been read again

    troubles = Troubles(clock, scrubbed)
    telemetry.heard_by(troubles.hear)
    return Voice(telemetry, troubles, LogLevels(settings.log_level, set_level, clock), scrubbed)


class Office:
    """What the admin server is asked, and who knows the answer."""

    def __init__(self, settings: Settings, worker: Worker, voice: Voice, journal: Journal, hints: KafkaHints, clock: Clock) -> None:
        self._settings = settings
        self._worker = worker
        self._voice = voice
        self._journal = journal
        self._hints = hints
        self._clock = clock
        deployed = Deployed(
            url=settings.voucherify.url,
            endpoint=settings.voucherify.endpoint,
            topic=settings.kafka.activities_topic,
            started_at=clock(),
            hashes=settings.log_customers == "hashed",
            version=own_version(),
        )
        self._version = deployed.version
        self._reporter = Reporter(deployed, worker, voice.telemetry.metrics, clock, voice.scrubbed)
        self._streams = Streams(self._status, worker.ready)

    async def open(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled. Raises `SettingsError` where the address cannot be had."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._keep_history)
            tasks.start_soon(self._voice.levels.go_back)
            await self._serve(task_status)

    async def _serve(self, task_status: TaskStatus[None]) -> None:
        host, port = self._settings.admin_host, self._settings.admin_port
        started = partial(_started, task_status)
        try:
            await http.serve(http.make_app(self._admin()), host, port, started=started, ending=self._streams.end)
        except OSError as error:
            raise SettingsError([admin_fault(host, port, error)]) from error

    def _admin(self) -> http.Admin:
        return http.Admin(
            live=self._worker.live,
            ready=self._ready,
            standing=self._standing,
            status=self._streams.last,
            exposition=Exposition(self._voice.telemetry.metrics, self._gauges),
            streams=self._streams,
            orders=Orders(self._settings.admin_token, self._voice.levels, self._hinted, self._ordered, self._order_refused),
        )

    async def _keep_history(self) -> None:
        while True:
            self._reporter.sample()
            await anyio.sleep(STRETCH_SECONDS_MIN)

    def _ready(self) -> tuple[bool, str]:
        ready, reason = self._worker.ready()
        return ready, self._voice.scrubbed(reason)

    def _standing(self, customer: CustomerId) -> Standing:
        """Whoever asks knows the id; its errors may quote what was sent."""
        stands = self._worker.standing(customer)
        return replace(stands, error=self._voice.scrubbed(stands.error), paused_why=self._voice.scrubbed(stands.paused_why))

    def _status(self) -> bytes:
        tasks = len(anyio.get_running_tasks())
        return msgspec.json.encode(self._reporter.status(self._voice.troubles.last, self._last_success(), tasks))

    def _gauges(self) -> Gauges:
        return Gauges(
            at=self._clock(),
            version=self._version,
            ready=self._worker.ready()[0],
            tasks=len(anyio.get_running_tasks()),
            last_success=self._last_success(),
            overview=self._worker.overview(),
        )

    def _last_success(self) -> dict[str, float]:
        return {str(kind): at for kind, at in self._journal.last_success.items()}

    def _hinted(self, customer: CustomerId) -> tuple[Whose, bool]:
        """Whose it is, and whether whoever reads it hears of it: where webhooks are taken, hints are passed on."""
        hint = Hint(customer, None)
        whose = self._worker.hinted(hint)
        if whose != "another's":
            return whose, True
        passed_on = bool(self._settings.webhook.port) and self._hints.send(hint)
        self._journal.hint("forwarded" if passed_on else "dropped")
        return whose, passed_on

    def _ordered(self, what: str, customer: CustomerId | None) -> None:
        self._journal.event("ordered", what=what, customer=customer)

    def _order_refused(self) -> None:
        self._journal.order_refused(self._clock())


def _started(task_status: TaskStatus[None], _port: int) -> None:
    task_status.started()


def admin_fault(host: str, port: int, error: OSError) -> str:
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return (
            f"POLLER_ADMIN_HOST={host}: {error.strerror}: name an address of this machine, or set POLLER_ADMIN_PORT=0 for no admin server"
        )
    return f"POLLER_ADMIN_PORT={port}: {error.strerror} on {host}: choose another port, or 0 for no admin server"
