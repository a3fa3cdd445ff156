"""The wiring: one function puts the program together, top to bottom. The order of its blocks is the order of shutdown, reversed."""

import os
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from zoneinfo import ZoneInfo

import anyio
from anyio import TASK_STATUS_IGNORED
from anyio.abc import TaskStatus

from poller.admin import http, webhooks
from poller.allocator import give_back_large_blocks
from poller.config import BudgetSettings, Settings
from poller.core.budget import Cycle
from poller.core.engine import Engine
from poller.core.policy import Policy
from poller.customers import CustomersFile, Entries
from poller.errors import PollerError, SettingsError
from poller.journal import Journal
from poller.kafka.hints import KafkaHints
from poller.kafka.log import KafkaLog
from poller.kafka.watch import KafkaWatch
from poller.model import CustomerId, WatchEntry
from poller.operations import Office, make_voice
from poller.secret import Secret
from poller.settings_report import start_report, warnings
from poller.telemetry import Telemetry
from poller.voucherify.client import VoucherifySource
from poller.voucherify.inbox import Inbox
from poller.worker import Clock, Worker

CUSTOMERS_FILE_SECONDS = 1.0
"""How often the customers file is looked at."""

LOOP_SECONDS = 0.5
"""How often the event loop's lag is measured."""

CHANGES_AT_ONCE_MAX = 5_000
"""Of the customers file, between two turns of the loop."""


async def run(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; the exit code. Raises `PollerError` where the program cannot start at all."""
    give_back_large_blocks()
    engine = make_engine(settings)
    clock = make_clock()
    voice = make_voice(settings, secrets_of(settings), clock)
    journal = make_journal(settings, voice.telemetry)

    log = KafkaLog(settings.kafka, settings.voucherify.url, clock)
    async with VoucherifySource(settings.voucherify, on_ending=journal.endpoint_ends) as source:
        worker = Worker(engine, source, log, clock, journal, settings.drain_seconds)
        hints = KafkaHints(settings.kafka, journal)
        worker.forward_by(hints.send)
        async with one_error(), anyio.create_task_group() as services:
            services.start_soon(drain_on_signal, worker)
            services.start_soon(watch_the_loop, clock, journal)
            watch = KafkaWatch(settings.kafka, journal)
            worker.enter_by(watch.put)
            services.start_soon(watch.follow, worker.watch_changed)
            if settings.customers_file is not None:
                services.start_soon(follow_customers_file, settings.customers_file, settings.listed, worker, journal)
            if settings.admin_port:
                await services.start(Office(settings, worker, voice, journal, hints, clock).open)
            if settings.webhook.port or settings.change_feed == "on":
                services.start_soon(share_hints, settings, hints, worker)
            if settings.webhook.port:
                await services.start(serve_webhooks, settings, make_inbox(settings, worker, hints, clock, journal))
            await worker.run()
            services.cancel_scope.cancel()
    journal.event("stopped")
    return 0


@asynccontextmanager
async def one_error() -> AsyncIterator[None]:
    """A task group wraps what its tasks raise; whoever called us wants the one error that says what to do."""
    try:
        yield
    except BaseExceptionGroup as group:
        expected = _first(group.subgroup((PollerError, OSError)))
        if expected is None:
            raise
        raise expected from None


def _first(error: BaseException | None) -> BaseException | None:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def make_clock() -> Clock:
    """The wall clock as it is now, carried on by the monotonic one: it never jumps, and lives of a process can be compared."""
    ahead = time.time() - time.monotonic()
    return lambda: ahead + time.monotonic()


def make_engine(settings: Settings) -> Engine:
    """Raises `SettingsError` where the budget cannot be divided over as many partitions as would be created; an old topic may have another number."""
    engine = Engine(policy_of(settings))
    engine.partitioned(settings.kafka.checkpoint_partitions)
    engine.expect("topic")
    engine.watch(settings.customers, "setting")
    engine.watch(settings.listed, "file")
    return engine


def policy_of(settings: Settings) -> Policy:
    """What the settings decide about the core."""
    budget = settings.budget
    limit, window_seconds = budget.rate
    return Policy(
        start=settings.start,
        lookback_ms=round(settings.lookback_seconds * 1000),
        calls_limit=limit,
        calls_window_seconds=window_seconds,
        cycle=cycle_of(budget),
        calls_in_flight_max=budget.calls_in_flight_max,
        staleness_seconds_max=settings.staleness_seconds_max,
        checkpoint_retention_seconds=settings.checkpoint_retention_days * 86_400,
        change_feed=settings.change_feed == "on",
        watch_all=settings.watch_all,
        commit_seconds=settings.kafka.commit_seconds,
        lease_seconds=settings.kafka.session_seconds / 2,
        application_id=settings.kafka.application_id,
        url=settings.voucherify.url,
        endpoint=settings.voucherify.endpoint,
        owner=f"{socket.gethostname()}/{os.getpid()}",
        customers_shown=settings.log_customers,
    )


def cycle_of(budget: BudgetSettings) -> Cycle | None:
    if budget.calls_per_cycle is None:
        return None
    return Cycle(calls=budget.calls_per_cycle, reset_day=budget.cycle_reset_day, zone=ZoneInfo(budget.cycle_time_zone))


def secrets_of(settings: Settings) -> list[Secret]:
    given = (
        settings.voucherify.app_id,
        settings.voucherify.app_token,
        settings.kafka.sasl_password,
        settings.webhook.secret,
        settings.admin_token,
    )
    return [secret for secret in given if secret is not None]


def make_journal(settings: Settings, telemetry: Telemetry) -> Journal:
    journal = Journal(telemetry, settings.kafka.checkpoint_partitions)
    tell_settings(settings, journal)
    for secret in secrets_of(settings):
        secret.tell(journal.secret_reread)
    return journal


def tell_settings(settings: Settings, journal: Journal) -> None:
    journal.event("starting", pid=os.getpid())
    journal.event("settings", **dict(start_report(settings)))
    for warning in warnings(settings):
        journal.event("settings_doubtful", warning=warning)


def make_inbox(settings: Settings, worker: Worker, hints: KafkaHints, clock: Clock, journal: Journal) -> Inbox:
    assert settings.webhook.secret is not None, "required with the port"
    return Inbox(settings.webhook.secret, clock, worker.hinted, hints.send, journal)


async def share_hints(settings: Settings, hints: KafkaHints, worker: Worker) -> None:
    """A webhook may reach any replica; of what the change feed tells, its reader leaves to others only what another partition holds."""
    if settings.webhook.port or await worker.partitions() > 1:
        await hints.share(worker.hinted)


async def serve_webhooks(settings: Settings, inbox: Inbox, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
    host, port = settings.webhook.host, settings.webhook.port
    try:
        app = webhooks.make_app(inbox.take)
        await http.serve(app, host, port, started=lambda _: task_status.started(), connection=webhooks.BoundedConnection)
    except OSError as error:
        raise SettingsError([f"POLLER_WEBHOOK_HOST={host}, POLLER_WEBHOOK_PORT={port}: {error.strerror}: choose others"]) from error


async def drain_on_signal(worker: Worker) -> None:
    """The first SIGTERM or SIGINT drains; any further one changes nothing until it is over, as draining is bounded in time."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            worker.drain()


async def watch_the_loop(clock: Clock, journal: Journal) -> None:
    """Measure how late the event loop wakes whoever waits."""
    while True:
        wanted_at = clock() + LOOP_SECONDS
        await anyio.sleep(LOOP_SECONDS)
        journal.loop_lagged(max(0.0, clock() - wanted_at))


async def follow_customers_file(path: Path, named: Entries, worker: Worker, journal: Journal) -> None:
    """Watch whom the file names; it has named these. One that is broken, or gone for a moment while it is replaced, changes nothing."""
    file, known = CustomersFile(path), named
    while True:
        await anyio.sleep(CUSTOMERS_FILE_SECONDS)
        try:
            found = await anyio.to_thread.run_sync(file.look)
        except SettingsError as error:
            journal.customers_file_broken(error)
            continue
        if found is not None:
            changes = list((await anyio.to_thread.run_sync(differences, known, found)).items())  # of a million it takes a second
            if changes:
                journal.reloaded("customers_file", done=True)
            for begin in range(0, len(changes), CHANGES_AT_ONCE_MAX):
                worker.watch_changed(dict(changes[begin : begin + CHANGES_AT_ONCE_MAX]), True, "file")
                await anyio.lowlevel.checkpoint()
            # Of those who are named as before, the ids that are known stay, and not those that have just been read.
            known = {customer: entry for customer, entry in {**known, **dict(changes)}.items() if entry is not None}


def differences(known: Entries, found: Entries) -> dict[CustomerId, WatchEntry | None]:
    """From the one to the other; `None`: no longer."""
    gone = dict.fromkeys(customer for customer in known if customer not in found)
    return {**gone, **{customer: entry for customer, entry in found.items() if known.get(customer) != entry}}
