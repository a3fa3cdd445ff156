"""What the wiring says of faults that it finds itself."""

import errno
import socket

import anyio

from poller.app import LOOP_SECONDS, differences, watch_the_loop
from poller.journal import Journal
from poller.model import PLAIN, CustomerId, WatchEntry
from poller.operations import admin_fault
from poller.telemetry import Telemetry
from tests.support.virtual_time import run_in_virtual_time
from tests.support.world import Told


def test_an_address_that_cannot_be_had_is_told_in_one_sentence_that_names_the_setting() -> None:
    taken = admin_fault("127.0.0.1", 8080, OSError(errno.EADDRINUSE, "Address already in use"))
    unknown = admin_fault("nowhere", 8080, socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
    foreign = admin_fault("192.0.2.1", 8080, OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address"))

    assert taken == "POLLER_ADMIN_PORT=8080: Address already in use on 127.0.0.1: choose another port, or 0 for no admin server"
    for said, host in ((unknown, "nowhere"), (foreign, "192.0.2.1")):
        assert said.startswith(f"POLLER_ADMIN_HOST={host}: ") and "POLLER_ADMIN_PORT=0" in said


def test_a_file_that_changes_tells_who_came_who_went_and_who_is_watched_otherwise() -> None:
    a, b, c, d = (CustomerId(name) for name in "abcd")
    heavy = WatchEntry(weight=2)

    assert differences({a: PLAIN, b: PLAIN, c: heavy}, {b: PLAIN, c: PLAIN, d: heavy}) == {a: None, c: PLAIN, d: heavy}
    assert differences({a: PLAIN}, {a: PLAIN}) == {}


def test_the_loops_lag_is_what_passes_beyond_what_was_asked_for() -> None:
    telemetry = Telemetry(Told())

    async def watch(pace: float) -> None:
        with anyio.move_on_after(10.1 * LOOP_SECONDS):
            await watch_the_loop(lambda: pace * anyio.current_time(), Journal(telemetry))

    run_in_virtual_time(watch, 1.0)
    in_time = telemetry.metrics.histogram("poller_loop_lag_seconds").total
    run_in_virtual_time(watch, 1.5)

    lags = telemetry.metrics.histogram("poller_loop_lag_seconds")
    assert (lags.count, in_time, lags.total) == (20, 0.0, 10 * 0.5 * LOOP_SECONDS)
