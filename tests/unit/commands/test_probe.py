"""`poller probe` through the real client: what is found, what is counted, what stops it, and that its report holds nothing personal."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import msgspec
import pytest

from poller.cli import UNUSABLE, run_command
from poller.commands.probe import announcement, encoded, gap, load_api, refuse, report_of
from poller.commands.probe_calls import Prober
from poller.config import Settings
from poller.demo.api import Simulator
from poller.demo.options import SimulatorOptions
from poller.demo.population import Scripted
from poller.demo.readings import Readings, Stored
from poller.demo.transport import SimulatorTransport
from poller.errors import CustomerUnknown, SettingsError, SourceError, Unauthorized, Undecodable
from poller.probe.answers import CALLS_MAX
from poller.probe.report import Report
from tests.support.probing import CUSTOMER, NOW, POPULATIONS, apart, stored, tied
from tests.support.virtual_time import run_in_virtual_time

TOKEN = "canary-token-71"
APP_ID = "canary-app-id-72"
ENVIRON = {"POLLER_VOUCHERIFY_URL": "https://api.example", "POLLER_VOUCHERIFY_APP_ID": APP_ID, "POLLER_VOUCHERIFY_APP_TOKEN": TOKEN}


def settings(**given: str) -> Settings:
    return load_api({**ENVIRON, **given})


def clock() -> float:
    return NOW + anyio.current_time()


class Probed:
    """What came of one probe of a simulated account."""

    def __init__(
        self,
        activities: list[Stored],
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        customer: str = CUSTOMER,
        environ: Any = None,
        **options: Any,
    ) -> None:
        self.settings = settings(**environ or {})
        self.prober = Prober(self.settings.voucherify, customer, gap(self.settings), clock)
        self.error: SourceError | None = None
        run_in_virtual_time(self._run, activities, transport, options)

    async def _run(self, activities: list[Stored], transport: httpx.AsyncBaseTransport | None, options: dict[str, Any]) -> None:
        played = SimulatorOptions(app_id=APP_ID, app_token=options.pop("app_token", TOKEN), **options)
        self.simulator = Simulator(played, clock, Scripted({CUSTOMER: activities}))
        try:
            await self.prober.run(transport or SimulatorTransport(self.simulator))
        except SourceError as error:
            self.error = error
        self.seconds = anyio.current_time()

    @property
    def report(self) -> Report:
        return report_of(self.settings, self.prober)

    @property
    def found(self) -> dict[str, str | None]:
        return {one.name: one.value for one in self.report.findings}

    @property
    def advised(self) -> dict[str, str]:
        return {one.setting: one.says for one in self.report.settings}


def test_a_usual_account_is_settled_whole_within_the_calls_announced() -> None:
    probed = Probed(POPULATIONS["ties within a page"]())

    assert probed.found == {
        "order": "honoured",
        "order_default": "newest_first",
        "default_limit": "10",
        "start_date": "inclusive",
        "end_date": "inclusive",
        "resolution": "milliseconds",
        "starting_after": "exclusive",
        "starting_after_direction": "order",
        "starting_after_id": "honoured",
        "unknown_id": "ignored",
        "starting_after_id_ties": "one_by_one",
        "ties": "stable",
        "limit": "refused",
        "longest_page": "100",
        "total": "right",
        "unknown_customer": "not_found",
        "data": "nested",
        "instants": "YYYY-MM-DDTHH:MM:SS.fffZ",
        "ids": "evcus_ and 18 hexadecimal digits",
        "envelope": "object, data_ref, data, total",
        "has_more": "right",
        "other_endpoint": "yes",
        "date": probed.found["date"],
        "quota": "x-rate-limit-limit, x-rate-limit-remaining, x-rate-limit-retry",
        "ending": "none",
        "encoding": "identity",
        "lateness": None,
    }
    assert abs(float((probed.found["date"] or "").removesuffix(" s"))) <= 1
    assert probed.prober.stopped is None
    assert probed.prober.calls == len(probed.simulator.calls) == 12 <= CALLS_MAX
    assert "can be followed" in probed.advised["POLLER_VOUCHERIFY_ENDPOINT"]
    assert "the quota is 100 calls" in probed.advised["POLLER_CALLS_PER_MINUTE"]


def test_the_calls_are_made_at_the_budgets_rate_and_some_seconds_apart_at_most() -> None:
    usual = Probed(apart(30))
    slow = Probed(apart(30), environ={"POLLER_CALLS_PER_HOUR": "10"})

    assert usual.seconds == pytest.approx(usual.prober.calls - 1)
    assert slow.seconds == pytest.approx(5 * (slow.prober.calls - 1))


def test_flat_data_the_successors_envelope_and_its_lies_are_told() -> None:
    probed = Probed(
        apart(130), environ={"POLLER_VOUCHERIFY_ENDPOINT": "activity"}, readings=Readings(payload="flat", has_more="wrong"), gzip=True
    )

    expected = {
        "data": "flat",
        "has_more": "wrong",
        "starting_after": "ignored",
        "encoding": "gzip",
        "envelope": "object, data_ref, data, total, has_more, more_starting_after",
    }
    assert {name: probed.found[name] for name in expected} == expected


def test_another_endpoint_that_is_absent_is_told() -> None:
    assert Probed(apart(30), endpoints="activities").found["other_endpoint"] == "no"


@pytest.mark.parametrize("readings", [Readings(order="newest_first"), Readings(start_date="ignored")])
def test_an_endpoint_that_ignores_order_or_start_date_cannot_be_followed(readings: Readings) -> None:
    assert "cannot be followed" in Probed(apart(130), readings=readings).advised["POLLER_VOUCHERIFY_ENDPOINT"]


def test_an_endpoint_that_announces_its_end_and_a_clock_that_is_off_are_told() -> None:
    probed = Probed(apart(30), sunset="Tue, 01 Dec 2026 00:00:00 GMT", readings=Readings(date_offset_seconds=-90.0))

    assert probed.found["ending"] == "deprecation, sunset"
    assert float((probed.found["date"] or "").removesuffix(" s")) == pytest.approx(-90, abs=1)
    assert "announces its end" in probed.advised["POLLER_VOUCHERIFY_ENDPOINT"] and "(this host's clock)" in probed.advised


def test_an_activity_that_is_shown_late_is_noticed() -> None:
    late = stored("evcus_fff", 400_000, shown_at=NOW + 1.5)

    probed = Probed([*apart(30, first=960), late])

    assert float((probed.found["lateness"] or "0").removesuffix(" s")) == pytest.approx(401, abs=2)
    assert "raise it" in probed.advised["POLLER_LOOKBACK_SECONDS"]


def test_a_429_midway_stops_it_with_a_partial_report() -> None:
    probed = Probed(apart(130), calls_per_window=4)

    assert probed.prober.stopped == "Voucherify's quota is used up (HTTP 429)"
    assert len(probed.simulator.calls) == probed.prober.calls == 5
    assert probed.found["order"] == "honoured" and probed.found["starting_after_id"] is None and probed.found["limit"] is None
    assert probed.report.stopped == probed.prober.stopped


@pytest.mark.parametrize(
    ("options", "kind"),
    [({"app_token": "another"}, Unauthorized), ({"garbage_rate": 1.0}, Undecodable), ({"customer": "cust_2"}, CustomerUnknown)],
)
def test_a_probe_that_reads_not_even_one_page_fails_as_a_check_does(options: dict[str, Any], kind: type[SourceError]) -> None:
    probed = Probed(apart(30), **options)

    assert isinstance(probed.error, kind)
    assert probed.prober.calls == 1


def streamed(response: httpx.Response) -> httpx.Response:
    """As it comes from a connection: not read yet."""
    return httpx.Response(response.status_code, headers=response.headers, stream=httpx.ByteStream(response.content))


class Web(httpx.AsyncBaseTransport):
    """Answers the first so many calls with a page, and those after with something else."""

    def __init__(self, pages: int, *others: httpx.Response | SourceError | None) -> None:
        self.calls, self.pages, self.others = 0, pages, list(others)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        other = self.others.pop(0) if self.calls > self.pages and self.others else None
        if isinstance(other, SourceError):
            raise other
        return streamed(other or httpx.Response(200, json={"object": "list", "data_ref": "data", "data": []}))


def test_html_after_the_first_page_settles_nothing_and_stops_nothing() -> None:
    html = httpx.Response(200, text="<html></html>")

    probed = Probed([], transport=Web(2, html))

    assert probed.prober.stopped is None
    assert probed.found["order_default"] is None
    assert "no page" in next(one.evidence for one in probed.report.findings if one.name == "order_default")


def test_what_fails_once_is_asked_again_and_what_fails_twice_stops_it() -> None:
    once = Probed([], transport=Web(1, httpx.Response(503)))
    twice = Probed([], transport=Web(1, httpx.Response(503), httpx.Response(503)))

    assert (once.prober.stopped, once.prober.calls) == (None, 1 + len(once.prober.seen))
    assert (twice.prober.stopped, twice.prober.calls) == ("Voucherify failed (HTTP 503)", 3)


class Renewed(SourceError):
    """A kind of failure that is not known here: such as that of a token that was renewed."""


def test_a_failure_of_another_kind_is_asked_again() -> None:
    probed = Probed([], transport=Web(1, Renewed()))

    assert (probed.prober.stopped, probed.prober.calls) == (None, 1 + len(probed.prober.seen))


@pytest.mark.parametrize("status", [401, 402, 403, 429])
def test_what_no_asking_mends_is_not_asked_again(status: int) -> None:
    web = Web(1, httpx.Response(status))

    probed = Probed([], transport=web)

    assert web.calls == probed.prober.calls == 2
    assert f"HTTP {status}" in (probed.prober.stopped or "")


class Flaky(httpx.AsyncBaseTransport):
    """A simulated account of which every other call fails."""

    def __init__(self, activities: list[Stored], first: int) -> None:
        self.first = first
        simulator = Simulator(SimulatorOptions(app_id=APP_ID, app_token=TOKEN), lambda: NOW, Scripted({CUSTOMER: activities}))
        self.transport, self.calls = SimulatorTransport(simulator), 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        if self.calls % 2 == self.first:
            raise httpx.ConnectError("the connection broke", request=request)
        return await self.transport.handle_async_request(request)


@pytest.mark.parametrize("first", [0, 1])
def test_never_more_calls_than_announced_whatever_fails(first: int) -> None:
    flaky = Flaky(apart(130), first)

    probed = Probed([], transport=flaky)

    assert flaky.calls == probed.prober.calls == CALLS_MAX
    assert probed.found["order"] == "honoured" and probed.found["limit"] is None
    assert probed.prober.stopped is not None


# ------------------------------------------------------------------------------------------------------------- privacy


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, one in value.items():
            yield key
            yield from strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from strings(one)


PUBLIC = {"id", "type", "data", "created_at", "group_id", "event_source"}
"""The keys of an activity that every account has: the report may speak of them."""


def personal(n: int) -> Stored:
    """An activity of which each key within the data and each value is like no other."""
    at = stored(f"evcus_c0ffee{n:012x}", 60_000 * (900 - n), 500 * (n % 2))
    data = {
        f"key-canary-{n}": {
            f"key-in-canary-{n}": f"name-canary-{n}",
            f"list-canary-{n}": [f"deep-canary-{n}", {f"a-canary-{n}": f"object-canary-{n}"}],
        }
    }
    raw = {
        "id": at.id,
        "type": f"customer.canary-type-{n}",
        "data": {"data": data, "event_source": {"channel": f"channel-canary-{n}"}},
        "created_at": msgspec.json.decode(msgspec.json.encode(f"2023-11-14T{n // 60:02}:{n % 60:02}:00.123Z")),
        "group_id": f"v-canary-{n}",
    }
    return msgspec.structs.replace(at, raw=msgspec.json.encode(raw))


def test_nothing_of_the_customer_or_the_credentials_is_in_the_report() -> None:
    activities = [personal(n) for n in range(120)]

    probed = Probed(activities)

    said = encoded(probed.report).decode()
    secrets = {text for one in activities for text in strings(json.loads(one.raw or b""))} - PUBLIC
    assert len(secrets) > 7 * 120
    assert [text for text in (*sorted(secrets), CUSTOMER, TOKEN, APP_ID) if text in said] == []
    assert probed.found["data"] == "nested"


def test_a_header_an_envelope_or_an_id_that_tells_something_does_not_tell_it_in_the_report() -> None:
    entry = {"id": "jane.doe@example.com", "type": "t", "created_at": "2023-11-14T00:00:00Z", "data": {}}
    body = {"object": "canary-object", "data_ref": "data", "data": [entry], "jane@example.com": "canary-value"}
    headers = {"x-owner": "canary-owner", "sunset": "canary-sunset", "x-rate-limit-limit": "canary-limit", "set-cookie": "canary=cookie"}

    probed = Probed([], transport=Web(0, *[httpx.Response(200, json=body, headers=headers) for _ in range(CALLS_MAX)]))

    said = encoded(probed.report).decode()
    assert "canary" not in said and "jane" not in said
    assert {"x-owner", "sunset"} <= set(probed.report.headers)
    assert probed.found["ending"] == "sunset"


# --------------------------------------------------------------------------------------------------------- the command


def test_the_announcement_counts_the_calls_and_warns_of_a_running_poller() -> None:
    said = announcement(settings(), 1.0)

    counted = [int(line.split()[0]) for line in said.splitlines() if line.startswith("  ")]
    assert sum(counted) == CALLS_MAX and f"At most {CALLS_MAX} calls" in said
    assert "quota" in said and "running poller does not know" in said


@pytest.mark.parametrize("customer", ["", ".", "a\nb"])
def test_an_id_that_cannot_be_asked_for_is_refused_before_any_call(customer: str) -> None:
    with pytest.raises(SettingsError, match="CUSTOMER"):
        refuse(customer, None)


def test_a_report_that_cannot_be_written_is_refused_before_any_call(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--report"):
        refuse(CUSTOMER, tmp_path / "none" / "report.json")


def test_a_probe_needs_neither_brokers_nor_a_list_of_customers_but_credentials(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SettingsError) as refused:
        load_api({"POLLER_KAFKA_BOOTSTRAP_SERVERS": "not a server"})

    assert [fault.split()[0] for fault in refused.value.faults] == ["POLLER_VOUCHERIFY_APP_ID", "POLLER_VOUCHERIFY_APP_TOKEN"]
    assert run_command(["probe"]) == UNUSABLE
    assert "CUSTOMER" in capsys.readouterr().err.upper()


def test_ties_are_walked_or_skipped_as_found() -> None:
    probed = Probed([*apart(3), *tied(1, 20, 4), *apart(90, 30)], readings=Readings(starting_after_id="by_created_at"))

    assert (probed.found["starting_after_id_ties"], probed.found["ties"]) == ("skipped", "stable")
