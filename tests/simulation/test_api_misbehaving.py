"""The API misbehaves for a while, in every way that we know of, in the midst of the whole program; then it is well again.

Each row says what the API does, to whom and for how long, and what is to be seen: how many calls are spent on it, what is told, and how soon each
customer is read again. Whatever it is, nothing is lost, nothing comes twice, no window holds more calls than allowed, and whom it does not concern
is read as always.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from anyio.abc import TaskGroup

from poller.config import Secret, VoucherifySettings
from poller.core import backoff
from poller.core.policy import Policy
from poller.demo.answers import Answer, Request
from poller.demo.options import SimulatorOptions
from poller.demo.transport import SimulatorTransport
from poller.journal import Journal
from poller.telemetry import Telemetry
from poller.voucherify.client import VoucherifySource
from poller.voucherify.failures import failure
from poller.voucherify.headers import server_time
from poller.worker import Worker
from tests.support.plan import CALM, Plan, options_of
from tests.support.virtual_time import run_in_virtual_time
from tests.support.world import EPOCH, URL, Process, World

BEGINS = 60.0
LASTS = 300.0
MINUTE, HOUR, DAY, YEAR = 60.0, 3600.0, 86_400.0, 365 * 86_400.0

PLAN = replace(CALM, seed=31, calls_per_minute=30, activities_per_customer_day=1200, exponent=0.0, duplicate_rate=0)
ROUND = PLAN.customers / PLAN.calls_per_minute * MINUTE

OUTAGE_CALLS = (6, 16)
"""In five minutes, with waits that double from one second to one minute, three calls in the first of them."""
OUTAGE_SECONDS = backoff.OUTAGE.longest_seconds + 2 * ROUND
REFUSED_CALLS = (4, 5)
"""In five minutes, with waits that double from half a minute on."""
REFUSED_SECONDS = 240 + 2 * ROUND
"""The wait that is under way when five minutes are over."""
ALL_CALLS = (57, 61)
"""In two minutes, where nothing holds them back."""
AT_ONCE = 2 * ROUND

Instead = Callable[[Request, Answer, float], Answer]
"""What is sent instead of an answer, at an instant of the server."""


@dataclass(frozen=True)
class Misbehaviour:
    """One row."""

    name: str
    calls: tuple[int, int]
    """How many are made while it lasts, to whom it concerns: at least, at most."""
    again_seconds: float
    """How long after its end each customer has been asked for again."""
    options: dict[str, Any] = field(default_factory=dict)
    """What it changes of the simulator's; and what it sends instead of answers:"""
    instead: Instead | None = None
    one: bool = False
    """It concerns one customer, the others nothing of it."""
    lasts: float = LASTS
    told: str = ""
    """What an event says of it; empty: nothing is told."""
    skew_seconds: float = 0.0
    """How far our own clock is ahead, all the time."""
    unread_seconds: float = 2 * ROUND
    """How long each of the others is not asked for at most."""

    def __str__(self) -> str:
        return self.name


def said(status: int, body: bytes = b"", *headers: tuple[str, str], content_type: bytes = b"application/json") -> Instead:
    """A status, a body, and headers beside those that tell the time."""
    given = [(name.lower().encode(), value.encode()) for name, value in headers]
    return lambda _request, answer, _now: Answer(status, body, content_type, [*only(answer, b"date"), *given])


def only(answer: Answer, *names: bytes) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in answer.headers if name in names]


def without(answer: Answer, *names: bytes) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in answer.headers if name not in names]


def page_with(headers: Callable[[float], dict[str, str]], *removed: bytes) -> Instead:
    """The page that it is, with other headers, which may depend on the server's time."""

    def changed(_request: Request, answer: Answer, now: float) -> Answer:
        given = {name.lower().encode(): value.encode() for name, value in headers(now).items()}
        return Answer(answer.status, answer.body, answer.content_type, [*without(answer, *removed, *given), *given.items()])

    return changed


def limited(kind: str | None, headers: Callable[[float], dict[str, str]], *, date: bool = True) -> Instead:
    """A 429 of one type, with headers that may depend on the server's time."""

    def changed(_request: Request, answer: Answer, now: float) -> Answer:
        said = headers(now) | ({} if kind is None else {"X-Rate-Limit-Type": kind})
        given = [(name.lower().encode(), value.encode()) for name, value in said.items()]
        body = b'{"code":429,"message":"Too many requests hit the API too quickly."}'
        return Answer(429, body, b"application/json", [*(only(answer, b"date") if date else ()), *given])

    return changed


def cut(_request: Request, answer: Answer, _now: float) -> Answer:
    return Answer(answer.status, answer.body[: len(answer.body) * 2 // 3], answer.content_type, answer.headers)


def in_turns(*misbehaviours: Instead) -> Instead:
    """Each answer in the next of these ways."""
    endless = cycle(misbehaviours)

    def changed(request: Request, answer: Answer, now: float) -> Answer:
        return next(endless)(request, answer, now)

    return changed


def nothing(_now: float) -> dict[str, str]:
    return {}


HTML = b"<!DOCTYPE html><html><body><h1>We will be back soon</h1></body></html>"
UNKNOWN = b'{"code":404,"key":"not_found","message":"Resource not found","resource_type":"customer"}'
INVALID = b'{"code":400,"key":"invalid_query_params","message":"Invalid query params"}'
TOO_LARGE = b" " * (8 * 2**20 + 1)
REDIRECT = said(302, b"", ("Location", "https://elsewhere.example/"))


def until(seconds: float) -> Callable[[float], dict[str, str]]:
    """So long after whenever it is asked."""
    return lambda now: {"X-Rate-Limit-Retry": str(int(now + seconds))}


def until_instant(at: float) -> Callable[[float], dict[str, str]]:
    return lambda _now: {"X-Rate-Limit-Retry": str(int(at))}


def of_everybody() -> list[Misbehaviour]:
    def row(name: str, calls: tuple[int, int], again_seconds: float, told: str, **given: Any) -> Misbehaviour:
        return Misbehaviour(name, calls, again_seconds, told=told, **given)

    def refused(name: str, told: str, **given: Any) -> Misbehaviour:
        return row(name, REFUSED_CALLS, REFUSED_SECONDS, told, **given)

    def down(name: str, told: str, instead: Instead | None = None, **options: Any) -> Misbehaviour:
        return row(name, OUTAGE_CALLS, OUTAGE_SECONDS, told, instead=instead, options=options)

    return [
        refused("401", "does not accept the credentials", options={"app_token": "another"}),
        refused("402", "plan's limit is exceeded", options={"plan": "exceeded"}),
        refused("403 for want of a permission", "permission to read customers", options={"permission": "missing"}),
        refused("403 in another region", "check the region", options={"permission": "wrong_region"}),
        refused("404 for the endpoint", "no longer serves", options={"endpoints": "none"}),
        refused("410 for the endpoint", "no longer serves", options={"endpoints": "none", "endpoint_gone_status": 410}),
        down("500, 502, 503 and 504 in turns", "Voucherify failed", in_turns(*(said(status, HTML) for status in (500, 502, 503, 504)))),
        row("500, 502 and 503 for half of all calls", (15, 149), OUTAGE_SECONDS, "Voucherify failed", options={"error_rate": 0.5}),
        down("HTML instead of JSON", "not a page of activities", said(200, HTML, content_type=b"text/html")),
        down("JSON cut off", "not a page of activities", cut),
        down("a coding that was not asked for", "unknown content coding", said(200, HTML, ("Content-Encoding", "br"))),
        down("nothing, null, lists, bad text and what else is no page", "not a page of activities", garbage_rate=1.0),
        down("broken connections", "did not answer", disconnect_rate=1.0),
        row("no answer", (10, 30), OUTAGE_SECONDS + 30, "did not answer", options={"hang_rate": 1.0}),
        refused("a redirect", "redirects", instead=REDIRECT),
    ]


def of_one() -> list[Misbehaviour]:
    def row(name: str, calls: tuple[int, int], again_seconds: float, told: str, instead: Instead, **given: Any) -> Misbehaviour:
        return Misbehaviour(name, calls, again_seconds + ROUND, told=told, instead=instead, one=True, lasts=LASTS / 2, **given)

    slow, transient, one = ((2, 3), 120), ((6, 8), 128), ((2, 4), 120)
    return [
        row("404 for one customer", *slow, "does not know this customer", said(404, UNKNOWN)),
        row("400 for one customer", *slow, "will not answer this request", said(400, INVALID)),
        row("404 of the route for one customer", *one, "no longer serves", said(404, HTML), unread_seconds=40 + 2 * ROUND),
        row("403 for one customer", *one, "permission to read customers", said(403, HTML), unread_seconds=40 + 2 * ROUND),
        row("a redirect for one customer", *one, "redirects", REDIRECT, unread_seconds=40 + 2 * ROUND),
        row("500 for one customer", *transient, "Voucherify failed", said(500, HTML)),
        row("JSON cut off for one customer", *transient, "not a page", cut),
        # It is asked for in halves first, which are pages of a read that has begun: they go before the others.
        row("a body over the limit for one customer", (10, 15), 128, "more than 8388608", said(200, TOO_LARGE), unread_seconds=3 * ROUND),
    ]


def of_limits() -> list[Misbehaviour]:
    def row(name: str, calls: tuple[int, int], again_seconds: float, instead: Instead, lasts: float = LASTS) -> Misbehaviour:
        return Misbehaviour(f"429 {name}", calls, again_seconds + AT_ONCE, told="quota is used up", instead=instead, lasts=lasts)

    usual, ends, caught_up = ((5, 5), MINUTE), until_instant(EPOCH + BEGINS + 2 * HOUR), 6 * ROUND
    return [
        row("that says nothing", *usual, limited(None, nothing)),
        row("of calls, with Retry-After", (3, 3), 101, limited("api_calls", lambda _now: {"Retry-After": "100"})),
        row("of calls, with X-Rate-Limit-Retry", (3, 3), 101, limited("api_calls", until(100))),
        row("of calls, with X-Rate-Limit-Retry but no Date", *usual, limited("api_calls", until(100), date=False)),
        row("with garbage in its headers", *usual, limited("ü\t", lambda _now: {"Retry-After": "soon", "X-Rate-Limit-Retry": "\t-1e9"})),
        row("until years ahead", *usual, limited("api_calls", until(YEAR))),
        row("of calls, until a month ahead", (1, 1), HOUR + MINUTE + 1, limited("api_calls", until(30 * DAY))),
        row("of calls, that may be retried at once", OUTAGE_CALLS, MINUTE, limited("api_calls", lambda _now: {"Retry-After": "0"})),
        row("of calls, until the past", OUTAGE_CALLS, MINUTE, limited("api_calls", until(-HOUR))),
        row("of the cycle, until the past", (8, 15), HOUR, limited("api_calls_cycle", until(-HOUR)), 2 * HOUR),
        row("of the cycle, that says nothing", (2, 3), HOUR, limited("api_calls_cycle", nothing), 2 * HOUR),
        row("of the cycle, until it ends", (1, 1), 1 + caught_up, limited("api_calls_cycle", ends), 2 * HOUR),
    ]


def of_headers() -> list[Misbehaviour]:
    """Pages that come with odd headers."""

    def nothing_remains(name: str, calls: tuple[int, int], again_seconds: float, **said: str) -> Misbehaviour:
        headers = {"X-Rate-Limit-Remaining": "0"} | {key.replace("_", "-"): value for key, value in said.items()}
        instead = page_with(lambda _now: headers, b"x-rate-limit-retry")
        return Misbehaviour(f"nothing remains, {name}", calls, again_seconds + AT_ONCE, instead=instead)

    def clocks(name: str, skew_seconds: float = 0.0, instead: Instead | None = None) -> Misbehaviour:
        return Misbehaviour(name, ALL_CALLS, AT_ONCE, instead=instead, skew_seconds=skew_seconds, lasts=2 * MINUTE)

    def date(seconds: float) -> Instead:
        return page_with(lambda now: {"Date": formatdate(now + seconds, usegmt=True)})

    no_date, hours = page_with(nothing, b"date"), 10 * HOUR
    return [
        nothing_remains("and until when is not said", (5, 5), MINUTE),
        nothing_remains("until garbage", (5, 5), MINUTE, X_Rate_Limit_Retry="soon"),
        nothing_remains("until the past", (90, 149), 1, X_Rate_Limit_Retry=str(int(EPOCH - DAY))),
        nothing_remains("until years ahead", (5, 5), MINUTE, X_Rate_Limit_Retry=str(int(EPOCH + YEAR))),
        clocks("Date is absent", instead=no_date),
        clocks("Date is garbage", instead=page_with(lambda _now: {"Date": "\t yesterday"})),
        clocks("Date is ten hours ahead and behind in turns", instead=in_turns(date(hours), date(-hours))),
        clocks("Date jumps ten hours ahead", instead=date(hours)),
        clocks("Date jumps ten hours back", instead=date(-hours)),
        clocks("our clock is ten hours ahead", hours),
        clocks("our clock is ten hours behind", -hours),
        clocks("our clock is ten hours ahead and Date is absent", hours, no_date),
        clocks("our clock is ten hours behind and Date is absent", -hours, no_date),
        clocks("our clock is ten hours behind and Date ten ahead", -hours, date(hours)),
    ]


ROWS = [*of_everybody(), *of_one(), *of_limits(), *of_headers()]


class Misbehaving(World):
    """Misbehaves from `BEGINS` on, and is then well again."""

    def __init__(self, plan: Plan, row: Misbehaviour) -> None:
        super().__init__(plan, options_of(plan))
        self.row = row
        self.ends = BEGINS + row.lasts

    @property
    def concerned(self) -> list[str]:
        customers = list(self.simulator.customers)
        return customers[:1] if self.row.one else customers

    def process(self) -> Process:
        return Process(self, self.policy(), self.row.skew_seconds)

    def start(self, tasks: TaskGroup) -> Process:
        self.lives += 1
        process = self.process()
        self.processes.append(process)
        self.all_processes.append(process)
        tasks.start_soon(process.run_guarded)
        return process

    async def live(self) -> None:
        calm = self.simulator.options
        async with anyio.create_task_group() as tasks:
            self.start(tasks)
            await anyio.sleep_until(BEGINS)
            self.simulator.change(**self.row.options)
            self.simulator.instead = self._instead
            await anyio.sleep_until(self.ends)
            self.end(calm)
            for _ in range(math.ceil(self.row.again_seconds / ROUND)):
                if self.again_seconds() < math.inf:
                    break
                await anyio.sleep(ROUND)
            self._look()
            await self.settle()
            for process in self.processes:
                process.worker.drain()
        self._ended_at = self.clock()

    def end(self, calm: SimulatorOptions) -> None:
        """The API is well again."""
        self.simulator.set_options(calm)
        self.simulator.instead = None

    async def settle(self) -> None:
        """No new activities; every customer is read twice more."""
        await anyio.sleep(3 * ROUND)
        self.disturbed.append((BEGINS, self.seconds))
        self.simulator.freeze()
        await anyio.sleep(self.plan.late_seconds_max + 3 * ROUND)

    def _instead(self, request: Request, answer: Answer) -> Answer:
        if self.row.instead is None or (len(request.segments) == 4 and request.segments[2] not in self.concerned):
            return answer
        return self.row.instead(request, answer, self.clock())

    # What there is to judge.

    def calls(self, since: float, until: float, customers: list[str] | None = None) -> list[float]:
        """When calls arrived, in seconds since the beginning."""
        times = [(call.at - EPOCH, call.customer) for call in self.simulator.calls]
        return [at for at, customer in times if since <= at < until and (customers is None or customer in customers)]

    def again_seconds(self) -> float:
        """How long after the end the last customer was first asked for again; `inf`: it was not yet."""
        first = [min(self.calls(self.ends, math.inf, [customer]), default=math.inf) for customer in self.simulator.customers]
        return max(first) - self.ends

    def unread_seconds_max(self) -> float:
        """The longest that a customer whom it does not concern was not asked for, while it lasted."""
        others = [customer for customer in self.simulator.customers if customer not in self.concerned]
        reads = [[BEGINS, *self.calls(BEGINS, self.ends, [customer]), self.ends] for customer in others]
        return max((later - earlier for times in reads for earlier, later in pairwise(times)), default=0.0)

    def told(self) -> str:
        events = [told for process in self.all_processes for told in process.told.events]
        return "\n".join(str(fields["error"]) for name, fields in events if name in {"calls_paused", "customer_failed", "customer_unknown"})


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_an_api_that_misbehaves_costs_few_calls_and_no_activity_and_is_read_again_in_time(row: Misbehaviour) -> None:
    world = run_in_virtual_time(live, Misbehaving, PLAN, row)

    world.judge()
    spent = len(world.calls(BEGINS, world.ends, world.concerned))
    print(f"{row}: {spent} calls, again after {world.again_seconds():.0f} s, others unread for {world.unread_seconds_max():.0f} s")
    assert len(world.published()) > 15
    assert row.calls[0] <= spent <= row.calls[1]
    assert world.again_seconds() <= row.again_seconds
    assert world.unread_seconds_max() <= row.unread_seconds
    assert (row.told in world.told()) if row.told else (world.told() == "")


async def live(world_class: type[Misbehaving], *given: Any) -> Misbehaving:
    world = world_class(*given)
    await world.live()
    return world


# ------------------------------------------------------------------------------------------------------------------- rotation


class FromFile(Process):
    """One whose key is kept in a file."""

    def __init__(self, world: World, policy: Policy, key: Path) -> None:
        super().__init__(world, policy)
        settings = VoucherifySettings(url=URL, auth=world.plan.auth, app_id=Secret("simulator-app-id"), app_token=Secret.from_file(key))
        self._source = VoucherifySource(settings, SimulatorTransport(world.simulator))
        self.worker = Worker(self.engine, self._source, self.log, self.clock, Journal(Telemetry(self.told)))


class Rotating(Misbehaving):
    """The API takes another key from `BEGINS` on; the file holds it in the end."""

    def __init__(self, plan: Plan, row: Misbehaviour, key: Path) -> None:
        super().__init__(plan, row)
        self.key = key
        self.key.write_text("simulator-app-token\n")

    def process(self) -> Process:
        return FromFile(self, self.policy(), self.key)

    def end(self, calm: SimulatorOptions) -> None:
        self.key.write_text(f"{self.simulator.options.app_token}\n")


@pytest.mark.parametrize(("auth", "calls"), [("token", REFUSED_CALLS), ("oauth", (10, 30))])
def test_a_key_that_is_exchanged_while_it_runs_is_read_from_its_file_and_nothing_is_started_anew(
    auth: Any, calls: tuple[int, int], tmp_path: Path
) -> None:
    row = Misbehaviour("rotation", calls, REFUSED_SECONDS, options={"app_token": "the-new-key"}, told="does not accept the credentials")
    plan = replace(PLAN, auth=auth, token_seconds=120)
    world = run_in_virtual_time(live, Rotating, plan, row, tmp_path / "key")

    world.judge()
    spent = len(world.calls(BEGINS, world.ends))
    print(f"{row} {auth}: {spent} calls, again after {world.again_seconds():.0f} s")
    assert (world.lives, row.told in world.told()) == (1, True)
    assert row.calls[0] <= spent <= row.calls[1]
    assert world.again_seconds() <= row.again_seconds


# ------------------------------------------------------------------------------------------------------------------ each 429

NOW = 1_800_000_000
DATE = {"Date": formatdate(NOW, usegmt=True)}
RETRY, AFTER = "X-Rate-Limit-Retry", "Retry-After"
WAITS: list[tuple[dict[str, str], float, float]] = [
    (DATE, 60, 3600),
    ({}, 60, 3600),
    (DATE | {AFTER: "30"}, 31, 31),
    ({AFTER: "30"}, 31, 31),
    (DATE | {AFTER: formatdate(NOW + 30, usegmt=True)}, 31, 31),
    ({AFTER: formatdate(NOW + 30, usegmt=True)}, 60, 3600),
    (DATE | {RETRY: str(NOW + 30)}, 31, 31),
    ({RETRY: str(NOW + 30)}, 60, 3600),
    (DATE | {RETRY: str(NOW + 30), AFTER: "7"}, 8, 8),
    (DATE | {RETRY: str(NOW + 30), AFTER: "soon"}, 31, 31),
    (DATE | {RETRY: "soon", AFTER: "-1"}, 60, 3600),
    ({"Date": "today", RETRY: str(NOW + 30)}, 60, 3600),
    (DATE | {RETRY: str(NOW * 1000)}, 60, 3600),
    (DATE | {RETRY: "30"}, 60, 3600),
    (DATE | {RETRY: str(NOW - 30)}, 1, 1),
    (DATE | {AFTER: "0"}, 1, 1),
    (DATE | {RETRY: str(NOW + int(YEAR))}, 60, 3600),
    (DATE | {AFTER: str(int(YEAR))}, 60, 3600),
    (DATE | {AFTER: str(int(30 * DAY))}, 3661, 30 * DAY + 1),
    (DATE | {RETRY: str(NOW + int(30 * DAY))}, 3661, 30 * DAY + 1),
]
"""Headers of a 429, and how many seconds every call waits, the first time: for a limit of the rate, and for the cycle's."""


@pytest.mark.parametrize("kind", [None, "api_calls", "bulk_api_calls", "webhook_calls", "of another kind", "api_calls_cycle"])
def test_a_429_of_each_type_waits_as_each_header_says_or_as_long_as_is_usual(kind: str | None) -> None:
    typed = {} if kind is None else {"X-Rate-Limit-Type": kind}
    errors = [failure(429, httpx.Headers(said | typed), b"", server_time(httpx.Headers(said))) for said, _, _ in WAITS]

    assert [backoff.source_wait_seconds(error, 1) for error in errors] == [
        of_cycle if kind == "api_calls_cycle" else usual for _, usual, of_cycle in WAITS
    ]
