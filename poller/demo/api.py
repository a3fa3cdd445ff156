"""The simulated API as an ASGI application: credentials, limits, faults, lists; and beside it, under /simulator, the truth.

    arrive (credentials, quota; the call is noted)  →  a fault's first part  →  list  →  its second part  →  headers

It asks the clock that it is given, so it runs in virtual time as well; all randomness follows from the seed.
"""

import gzip
import math
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import replace
from functools import lru_cache, partial
from hashlib import blake2b
from random import Random
from typing import Any, Literal

import anyio
import msgspec

from poller.demo.answers import (
    FORBIDDEN,
    PLAN_EXCEEDED,
    UNAUTHORIZED,
    Answer,
    Headers,
    Problem,
    Request,
    bad_request,
    customer_not_found,
    customers_body,
    date_header,
    limited,
    page_body,
    quota_headers,
    read_request,
    route_not_found,
    sunset_headers,
)
from poller.demo.control import control
from poller.demo.faults import ERRORS, ConnectionBroke, Fault, NoAnswer, draw_fault, garbage, with_duplicate
from poller.demo.oauth import Tokens, token_answer
from poller.demo.objects import Customer
from poller.demo.options import SimulatorOptions, check
from poller.demo.parameters import Endpoint, list_query
from poller.demo.payloads import Shape, render
from poller.demo.population import SECOND_US, Population, Visits
from poller.demo.quota import Granted, Verdict, calls_in_window_max
from poller.demo.readings import Listing, Refused, Stored, list_activities
from poller.demo.truth import Expected, Measure, Start, Truth, expected

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

CALLS_NOTED_MAX = 1_000_000
CACHED_ACTIVITIES_MAX = 8_192
CACHED_ACTIVITY_BYTES_MAX = 65_536
BODY_BYTES_MAX = 1 << 20

cached_render = lru_cache(CACHED_ACTIVITIES_MAX)(render)


class Call(msgspec.Struct, frozen=True, gc=False):
    """One call of the API, when it arrived."""

    at: float
    outcome: Literal["accepted", "limited", "unauthorized"]
    customer: str | None = None


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """A call that has been noted."""

    request_id: str
    number: int
    at: float
    verdict: Verdict
    problem: Problem | None
    """Why it goes no further."""


class Simulator:
    """The API, its customers, and what is known of both. Raises `ValueError` where an option is out of its bounds."""

    def __init__(self, options: SimulatorOptions, clock: Callable[[], float], population: Population | None = None) -> None:
        check(options)
        self.options = options
        self.clock = clock
        self.started_at = clock()
        self.population: Population = population or Visits(options, self.started_at)
        self.calls: deque[Call] = deque(maxlen=CALLS_NOTED_MAX)
        self.statuses: Counter[int] = Counter()
        """Answers by status; a broken connection counts as 0."""
        self.frozen_at = math.inf
        self.tokens = Tokens(options.seed)
        self.instead: Callable[[Request, Answer], Answer] | None = None
        """What is sent instead of each answer of the API, where a test sets it."""
        self._granted = Granted(self.started_at)
        self._arrived = 0
        self._random = Random(f"{options.seed}/faults")
        self._people = {name: customer for customer in self.population.customers for name in (customer.source_id, customer.id)}
        self._erased: dict[str, float] = {}
        self._first_calls: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"<Simulator {len(self.population.customers)} customers, {self._arrived} calls, seed {self.options.seed}>"

    # -- what a judge asks ---------------------------------------------------------------------------------------------

    @property
    def customers(self) -> tuple[str, ...]:
        """The ids to watch, as `customer_ids` says which."""
        return tuple(self.name_of(customer) for customer in self.population.customers)

    def truth(self, lookback_seconds: float = 300.0, start: Start = "earliest", by: float | None = None, raw: bool = False) -> Truth:
        """Which activities may be in the topics by now, and which of them must be (those shown up to `by`; default: now)."""
        now = self.clock()
        measure = Measure(
            now, now if by is None else by, lookback_seconds, self._starts(start), lambda customer: self._erased.get(customer.id, math.inf)
        )
        return Truth(now, measure.by, lookback_seconds, tuple(self._expected(measure, now, raw)))

    def calls_in_window_max(self, window_seconds: float = 60.0) -> int:
        """The most calls that arrived in any window of this length, limited ones included."""
        return calls_in_window_max(sorted(call.at for call in self.calls), window_seconds)

    def all_shown_at(self) -> float:
        """When the last activity created so far is shown: after a freeze nothing new can be read from then on."""
        now = self.clock()
        return max(
            (activity.shown_at for customer in self.population.customers for activity in self.population.activities(customer, now)),
            default=now,
        )

    def raw(self, customer: Customer, activity: Stored) -> bytes:
        """The activity's JSON exactly as it is sent."""
        shape = self._shape(activity)
        return (
            render(customer, activity, shape)
            if activity.pad_bytes > CACHED_ACTIVITY_BYTES_MAX
            else cached_render(customer, activity, shape)
        )

    def find(self, customer_id: str) -> Customer | None:
        """The customer of this id, Voucherify's or the source's; `None` also once erased."""
        customer = self._people.get(customer_id)
        there = customer is not None and customer.id not in self._erased and customer.created_at_us <= self.clock() * SECOND_US
        return customer if there else None

    def name_of(self, customer: Customer) -> str:
        return customer.id if self.options.customer_ids == "voucherify" else customer.source_id

    # -- what a test changes -------------------------------------------------------------------------------------------

    def change(self, **changes: Any) -> None:
        """Change options that concern answers (limits, faults, readings); the customers go on as they were made."""
        self.set_options(replace(self.options, **changes))

    def set_options(self, options: SimulatorOptions) -> None:
        """The same with all options. Raises `ValueError` where one is out of its bounds."""
        check(options)
        self.options = options

    def freeze(self) -> None:
        """Nothing happens any more; what is late is still shown in its time."""
        self.frozen_at = min(self.frozen_at, self.clock())
        self.population.freeze(self.frozen_at)

    def erase(self, customer_id: str) -> None:
        """The customer and all of its activities are gone."""
        self._erased[self._people[customer_id].id] = self.clock()

    # -- one request ---------------------------------------------------------------------------------------------------

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI. Raises `ConnectionBroke` and `NoAnswer` where a fault says so."""
        assert scope["type"] == "http", "only HTTP is served here; turn lifespan off"
        request = read_request(scope, await read_body(scope, receive))
        answer = control(self, request) if request.segments[0] == "simulator" else await self._call(request)
        headers = [(b"content-type", answer.content_type), (b"content-length", str(len(answer.body)).encode()), *answer.headers]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _call(self, request: Request) -> Answer:
        arrival = self._arrive(request)
        fault = Fault() if arrival.problem else draw_fault(self.options, self._random)
        await pause(fault.before_seconds)
        await self._break(fault)
        answer = self._answer(request, arrival, fault)
        await pause(fault.after_seconds)
        answer = self._finished(request, answer, arrival)
        answer = answer if self.instead is None else self.instead(request, answer)
        self.statuses[answer.status] += 1
        return answer

    def _arrive(self, request: Request) -> Arrival:
        at, number = self.clock(), self._arrived
        self._arrived += 1
        authorized = self._authorized(request, at)
        verdict = self._granted.take(self.options, at) if authorized else self._granted.look(self.options, at)
        customer = request.segments[2] if len(request.segments) == 4 else None
        self.calls.append(Call(at, "unauthorized" if not authorized else "limited" if verdict.limited_by else "accepted", customer))
        request_id = f"v-{blake2b(f'{self.options.seed}/call/{number}'.encode(), digest_size=9).hexdigest()}"
        return Arrival(request_id, number, at, verdict, self._problem(request, authorized, verdict, at))

    def _problem(self, request: Request, authorized: bool, verdict: Verdict, at: float) -> Problem | None:
        if not authorized:
            return UNAUTHORIZED
        if verdict.limited_by is not None:
            return limited(verdict, at)
        if self.options.plan == "exceeded":
            return PLAN_EXCEEDED
        if is_token_route(request):
            return route_not_found(request) if self.options.accepts == "token" else None
        return self._route_problem(request) or FORBIDDEN.get(self.options.permission)

    def _customers(self, request: Request, arrival: Arrival) -> Answer:
        """Who was changed, or created, after an instant; all of them are looked through, as nobody asks for it often."""
        query, now = list_query("activities", request.parameters), self.clock()
        since = query.starting_after_us or 0
        there = [customer for customer in self.population.customers if self.find(customer.id) is customer]
        if query.order in {"created_at", "-created_at"}:
            by_id = {customer.id: customer for customer in there}
            created = [Stored(one.id, "customer", one.created_at_us, one.created_at_us / SECOND_US) for one in there]
            created.sort(key=lambda one: one.created_at_us)
            listed = list_activities(created, query, self.options.readings, now, arrival.number).activities
            return Answer(200, customers_body([(self._updated_at_us(by_id[one.id], now), by_id[one.id]) for one in listed], len(there)))
        changed: list[tuple[int | None, Customer]]
        changed = [(at, customer) for customer in there if (at := self._updated_at_us(customer, now)) is not None and at > since]
        changed.sort(key=lambda change: change[0] or 0)
        return Answer(200, customers_body(changed[: query.limit], len(changed)))

    def _updated_at_us(self, customer: Customer, now: float) -> int | None:
        """When an activity of those that move it last did so; `None`: never."""
        for activity in reversed(self.population.activities(customer, now)):
            moved_at = activity.shown_at + self.options.update_seconds
            if moved_at <= now and moves_updated_at(self.options, activity):
                return round(moved_at * 1_000_000)
        return None

    def _route_problem(self, request: Request) -> Problem | None:
        if is_customers_route(request):
            return None if request.method == "GET" else route_not_found(request, 405)
        endpoint = endpoint_of(request)
        if endpoint is None:
            return route_not_found(request)
        if self.options.endpoints not in {"both", endpoint}:
            return route_not_found(request, self.options.endpoint_gone_status)
        return None if request.method == "GET" else route_not_found(request, 405)

    def _authorized(self, request: Request, now: float) -> bool:
        bearer = request.headers.get(b"authorization", b"").decode("latin-1")
        if bearer.startswith("Bearer ") and not is_token_route(request):
            return self.options.accepts != "token" and self.tokens.valid(bearer.removeprefix("Bearer "), now)
        if self.options.accepts == "oauth" and not is_token_route(request):
            return False
        given = (request.headers.get(b"x-app-id", b""), request.headers.get(b"x-app-token", b""))
        return given == (self.options.app_id.encode(), self.options.app_token.encode())

    async def _break(self, fault: Fault) -> None:
        if fault.kind not in {"disconnect", "hang"}:
            return
        self.statuses[0] += 1
        if fault.kind == "disconnect":
            raise ConnectionBroke
        await anyio.sleep(self.options.hang_seconds)
        raise NoAnswer

    def _answer(self, request: Request, arrival: Arrival, fault: Fault) -> Answer:
        try:
            if arrival.problem is not None:
                raise arrival.problem
            if fault.kind == "error":
                raise Problem(*ERRORS[fault.choice % len(ERRORS)])
            if is_token_route(request):
                return token_answer(self.tokens, request, self.options, self.clock())
            return self._customers(request, arrival) if is_customers_route(request) else self._page(request, arrival, fault)
        except Refused as refused:
            return bad_request(str(refused)).answer(arrival.request_id)
        except Problem as problem:
            return problem.answer(
                arrival.request_id, "429" if problem.status == 429 and self.options.readings.limited_code == "text" else None
            )

    def _page(self, request: Request, arrival: Arrival, fault: Fault) -> Answer:
        customer_id, endpoint = request.segments[2], endpoint_of(request)
        assert endpoint is not None, "the route was checked on arrival"
        query = list_query(endpoint, request.parameters)
        customer, now = self.find(customer_id), self.clock()
        if customer is None and self.options.readings.unknown_customer == "not_found":
            raise customer_not_found(customer_id)
        if customer is None:
            return Answer(200, page_body(Listing(), [], endpoint == "activity"))
        self._first_calls.setdefault(customer.id, arrival.at)
        listing = list_activities(self.population.activities(customer, now), query, self.options.readings, now, arrival.number)
        entries = [self.raw(customer, activity) for activity in listing.activities]
        body = page_body(listing, with_duplicate(entries, fault.choice) if fault.duplicate else entries, endpoint == "activity")
        return Answer(200, garbage(body, fault.choice) if fault.kind == "garbage" else body)

    def _finished(self, request: Request, answer: Answer, arrival: Arrival) -> Answer:
        now, options = self.clock(), self.options
        headers: Headers = [*answer.headers, *quota_headers(options, arrival.verdict, arrival.at), *date_header(options, now)]
        if endpoint_of(request) == "activities":
            headers += sunset_headers(options)
        if options.gzip and b"gzip" in request.headers.get(b"accept-encoding", b""):
            return replace_body(answer, gzip.compress(answer.body, 1, mtime=0), [*headers, (b"content-encoding", b"gzip")])
        return replace_body(answer, answer.body, headers)

    # -- the truth, from inside ----------------------------------------------------------------------------------------

    def _expected(self, measure: Measure, now: float, raw: bool) -> Iterable[Expected]:
        for customer in self.population.customers:
            sent = partial(self.raw, customer) if raw else nothing_sent
            yield from expected(measure, customer, self.name_of(customer), self.population.activities(customer, now), sent)

    def _starts(self, start: Start) -> Callable[[Customer], float]:
        if start == "earliest":
            return lambda _customer: -math.inf
        if start == "first_call":
            return lambda customer: self._first_calls.get(customer.id, math.inf)
        if isinstance(start, Mapping):
            return lambda customer: start.get(self.name_of(customer), math.inf)
        return lambda _customer: start

    def _shape(self, activity: Stored) -> Shape:
        payload = self.options.readings.payload
        if payload == "mixed":
            return "flat" if activity.created_at_ms % 2 else "nested"
        return payload


def nothing_sent(_activity: Stored) -> None:
    """Where the bytes are not asked for."""


def endpoint_of(request: Request) -> Endpoint | None:
    match request.segments:
        case ("v1", "customers", _, "activities"):
            return "activities"
        case ("v1", "customers", _, "activity"):
            return "activity"
        case _:
            return None


def is_customers_route(request: Request) -> bool:
    return request.segments == ("v1", "customers")


def moves_updated_at(options: SimulatorOptions, activity: Stored) -> bool:
    """By the activity's type, as it is with the API."""
    drawn = blake2b(f"{options.seed}/updates/{activity.type}".encode(), digest_size=8).digest()
    return int.from_bytes(drawn) < options.update_rate * 2**64


def is_token_route(request: Request) -> bool:
    return request.segments == ("v1", "oauth", "token") and request.method == "POST"


def replace_body(answer: Answer, body: bytes, headers: Headers) -> Answer:
    return Answer(answer.status, body, answer.content_type, headers)


async def pause(seconds: float) -> None:
    if seconds > 0:
        await anyio.sleep(seconds)


async def read_body(scope: Scope, receive: Receive) -> bytes:
    if scope["method"] == "GET":
        return b""
    body, more = b"", True
    while more and len(body) <= BODY_BYTES_MAX:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return body
