"""OAuth: one token a process, one renewal at a time, each call for a token in place of a read. On asyncio and on trio."""

import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import msgspec
import pytest

from poller.config import VoucherifySettings
from poller.core.backoff import REFUSED, customer_wait_seconds, source_wait_seconds
from poller.demo.api import Simulator
from poller.demo.options import SimulatorOptions
from poller.demo.transport import SimulatorTransport
from poller.errors import (
    Forbidden,
    Limited,
    PlanExceeded,
    SourceError,
    TokenRefused,
    TokenRenewed,
    TokenUnavailable,
    Unauthorized,
    Unreachable,
)
from poller.journal import ONE_CUSTOMERS
from poller.secret import Secret
from poller.voucherify.client import VoucherifySource
from poller.voucherify.oauth import (
    LIFE_SECONDS,
    LIFE_SECONDS_MAX,
    LIFE_SECONDS_MIN,
    WAITED_SECONDS_MAX,
    OAuth,
    TokenAnswer,
    decode_token,
    life,
    unanswered,
)
from tests.support.builders import order

pytestmark = pytest.mark.anyio

BASE = "https://api.example"
CANARY = "canary-token"
Flow = AsyncGenerator[httpx.Request, httpx.Response]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    backend: str = request.param
    return backend


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def auth(clock: Clock) -> OAuth:
    return OAuth(BASE, Secret("the-id"), Secret("the-secret"), clock)


def request() -> httpx.Request:
    return httpx.Request("GET", f"{BASE}/v1/customers/c/activities", headers={"Accept": "application/json"})


def token(value: str = CANARY, **said: Any) -> httpx.Response:
    answer = httpx.Response(200, content=msgspec.json.encode({"access_token": value, "expires_in": 900, "token_type": "Bearer", **said}))
    return unread(answer)


def unread(answer: httpx.Response) -> httpx.Response:
    """As it comes from a connection: its body is still to be received."""
    headers = {name: value for name, value in answer.headers.items() if name not in ("content-length", "transfer-encoding")}
    return httpx.Response(answer.status_code, headers=headers, stream=httpx.ByteStream(answer.content))


async def end(flow: Flow, answer: httpx.Response) -> SourceError | None:
    """Hand the flow its last answer: what it ends in."""
    try:
        await flow.asend(answer)
    except StopAsyncIteration:
        return None
    except SourceError as error:
        return error
    raise AssertionError("it asks for more")


async def with_token(oauth: OAuth, value: str = CANARY) -> None:
    """One call that goes into a token."""
    flow = oauth.async_auth_flow(request())
    assert (await anext(flow)).method == "POST"
    assert isinstance(await end(flow, token(value)), TokenRenewed)


async def bearer(oauth: OAuth, status: int = 200) -> tuple[str | None, SourceError | None]:
    """One call that reads: the token that it carries, and what it ends in."""
    flow = oauth.async_auth_flow(request())
    sent = await anext(flow)
    return sent.headers.get("Authorization"), await end(flow, httpx.Response(status))


@asynccontextmanager
async def waiting_for_a_token(oauth: OAuth, *reads: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[Flow]:
    """One call asks for a token, and these others wait for it. The block ends that call, and so these."""
    renewing = oauth.async_auth_flow(request())
    await anext(renewing)
    async with anyio.create_task_group() as tasks:
        for read in reads:
            tasks.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        yield renewing


async def test_a_call_that_finds_no_token_asks_for_one_and_reads_nothing() -> None:
    flow = auth(Clock()).async_auth_flow(request())
    asking = await anext(flow)

    assert (asking.method, str(asking.url), asking.content) == (
        "POST",
        f"{BASE}/v1/oauth/token",
        b"grant_type=client_credentials&scope=customers",
    )
    assert asking.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert (asking.headers["X-App-Id"], asking.headers["X-App-Token"]) == ("the-id", "the-secret")
    assert isinstance(await end(flow, token()), TokenRenewed)


async def test_the_next_call_carries_the_token_and_none_of_the_credentials() -> None:
    oauth = auth(Clock())
    await with_token(oauth)
    flow = oauth.async_auth_flow(request())
    sent = await anext(flow)

    assert sent.headers["Authorization"] == f"Bearer {CANARY}"
    assert not {"x-app-id", "x-app-token"} & set(sent.headers)
    assert await end(flow, httpx.Response(200)) is None


async def test_a_token_is_renewed_at_three_quarters_of_its_life_and_not_before() -> None:
    clock = Clock()
    oauth = auth(clock)
    await with_token(oauth, "first")
    clock.now += 0.75 * 900 - 1
    assert await bearer(oauth) == ("Bearer first", None)

    clock.now += 1
    await with_token(oauth, "second")
    assert await bearer(oauth) == ("Bearer second", None)


async def test_a_token_that_nobody_has_read_with_serves_until_it_dies() -> None:
    clock = Clock()
    oauth = auth(clock)
    await with_token(oauth, "first")
    clock.now += 899
    assert await bearer(oauth) == ("Bearer first", None)

    await with_token(oauth, "second")
    clock.now += 899
    assert await bearer(oauth) == ("Bearer second", None)

    await with_token(oauth, "third")
    clock.now += 900
    await with_token(oauth, "fourth")
    assert await bearer(oauth) == ("Bearer fourth", None)


async def test_while_one_call_renews_a_token_that_still_lives_the_others_read_with_it() -> None:
    clock = Clock()
    oauth = auth(clock)
    await with_token(oauth, "first")
    await bearer(oauth)
    clock.now += 700
    renewing = oauth.async_auth_flow(request())
    assert (await anext(renewing)).method == "POST"

    assert await bearer(oauth) == ("Bearer first", None)
    assert isinstance(await end(renewing, token("second")), TokenRenewed)
    assert await bearer(oauth) == ("Bearer second", None)


async def test_without_a_token_one_call_asks_and_the_others_wait_for_it_and_read() -> None:
    oauth, carried = auth(Clock()), list[object]()

    async def read() -> None:
        carried.append(await bearer(oauth))

    async with waiting_for_a_token(oauth, read, read) as renewing:
        assert carried == []
        await end(renewing, token())

    assert carried == [(f"Bearer {CANARY}", None)] * 2


@pytest.mark.parametrize(("seconds", "late"), [(WAITED_SECONDS_MAX, False), (WAITED_SECONDS_MAX + 0.1, True)])
async def test_a_call_that_has_waited_long_for_a_token_is_asked_for_again_and_not_made_late(seconds: float, late: bool) -> None:
    clock, ended = Clock(), list[str]()
    oauth = auth(clock)

    async def read() -> None:
        try:
            ended.append(f"{(await bearer(oauth))[0]}")
        except TokenRenewed as error:
            ended.append(str(error.explanation))

    async with waiting_for_a_token(oauth, read, read) as renewing:
        clock.now += seconds
        await end(renewing, token())

    assert ended == ["the call has waited too long for another's" if late else f"Bearer {CANARY}"] * 2
    assert await bearer(oauth) == (f"Bearer {CANARY}", None)


async def test_a_call_that_has_waited_for_a_token_is_about_its_customer_from_then_on() -> None:
    oauth, waiting = auth(Clock()), request()
    meant = list[type[SourceError]]()

    async def read() -> None:
        flow = oauth.async_auth_flow(waiting)
        await anext(flow)
        meant.append(type(unanswered(waiting, "reset")))
        await flow.aclose()

    async with waiting_for_a_token(oauth, read) as renewing:
        meant.append(type(unanswered(waiting, "reset")))
        await end(renewing, token())

    assert meant == [TokenUnavailable, Unreachable]


async def test_calls_that_wait_for_a_token_that_is_not_given_do_not_ask_again_but_the_next_one_does() -> None:
    oauth, ended = auth(Clock()), list[str]()

    async def read() -> None:
        with pytest.raises(TokenUnavailable) as caught:
            await anext(oauth.async_auth_flow(request()))
        ended.append(str(caught.value))

    async with waiting_for_a_token(oauth, read, read) as renewing:
        assert isinstance(await end(renewing, unread(httpx.Response(429))), Limited)

    assert ended == ["Voucherify gave no OAuth token: another call asked for it in vain"] * 2
    await with_token(oauth)


async def test_a_renewal_that_is_cancelled_leaves_the_way_free_for_the_next() -> None:
    oauth = auth(Clock())
    renewing = oauth.async_auth_flow(request())
    await anext(renewing)
    await renewing.aclose()

    await with_token(oauth)
    assert await bearer(oauth) == (f"Bearer {CANARY}", None)


async def test_a_token_that_was_accepted_and_is_refused_is_renewed_once() -> None:
    oauth = auth(Clock())
    await with_token(oauth)
    await bearer(oauth)
    _, refused = await bearer(oauth, status=401)

    assert isinstance(refused, TokenRenewed)
    await with_token(oauth, "second")
    assert await bearer(oauth, status=401) == ("Bearer second", None)  # its answer tells: a new one would do no better


async def test_calls_under_way_with_a_token_that_was_given_up_are_asked_for_again() -> None:
    oauth = auth(Clock())
    await with_token(oauth, "first")
    flows = [oauth.async_auth_flow(request()) for _ in range(3)]
    for flow in flows:
        await anext(flow)

    assert await end(flows[0], httpx.Response(200)) is None
    assert isinstance(await end(flows[1], httpx.Response(401)), TokenRenewed)
    await with_token(oauth, "second")
    assert isinstance(await end(flows[2], httpx.Response(401)), TokenRenewed)
    assert await bearer(oauth) == ("Bearer second", None)  # the newer one is not given up for what the older one met


async def test_an_answer_to_an_older_token_does_not_prove_the_newer_one() -> None:
    clock = Clock()
    oauth = auth(clock)
    await with_token(oauth, "first")
    slow = oauth.async_auth_flow(request())
    await anext(slow)
    clock.now += 700
    await with_token(oauth, "second")
    await end(slow, httpx.Response(200))

    assert await bearer(oauth, status=401) == ("Bearer second", None)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(400, json={"code": 400, "key": "invalid_scope", "message": "Invalid scope"}), TokenRefused),
        (httpx.Response(400, json={"code": 400, "key": "invalid_grant_type", "message": "Invalid grant type"}), TokenRefused),
        (httpx.Response(401, json={"code": 401, "key": "unauthorized", "message": "Unauthorized"}), Unauthorized),
        (httpx.Response(402), PlanExceeded),
        (httpx.Response(403, json={"code": 403, "key": "forbidden", "message": "Forbidden"}), Forbidden),
        (httpx.Response(404, json={"code": 404, "key": "not_found", "message": "Resource not found"}), TokenRefused),
        (httpx.Response(404, html="<h1>Not Found</h1>"), TokenRefused),
        (httpx.Response(307, headers={"location": "https://elsewhere.example/"}), TokenRefused),
        (httpx.Response(429, headers={"retry-after": "7"}), Limited),
        (httpx.Response(408), TokenUnavailable),
        (httpx.Response(502, html="<h1>Bad Gateway</h1>"), TokenUnavailable),
        (httpx.Response(204), TokenUnavailable),
        (httpx.Response(200, html="<h1>Hello</h1>"), TokenUnavailable),
        (httpx.Response(200, json={"token_type": "Bearer"}), TokenUnavailable),
        (httpx.Response(200, json={"access_token": None}), TokenUnavailable),
        (httpx.Response(200, json={"access_token": f"{CANARY}\n"}), TokenUnavailable),
        (httpx.Response(200, json={"access_token": ""}), TokenUnavailable),
        (httpx.Response(200, json={"access_token": CANARY * 10_000}), TokenUnavailable),
    ],
    ids=lambda value: f"{value.status_code}" if isinstance(value, httpx.Response) else value.__name__,
)
async def test_an_answer_without_a_token_says_so_and_blames_no_customer(answer: httpx.Response, error: type[SourceError]) -> None:
    flow = auth(Clock()).async_auth_flow(request())
    await anext(flow)
    caught = await end(flow, unread(answer))

    assert type(caught) is error
    assert str(caught).endswith("while asking for an OAuth token")
    assert CANARY not in f"{caught} {caught!r}"
    assert not isinstance(caught, ONE_CUSTOMERS)
    assert source_wait_seconds(caught, 1) > 0
    assert customer_wait_seconds(caught, 1, "c") <= REFUSED.first_seconds  # no longer than all calls wait


async def test_a_credential_that_no_header_can_carry_asks_for_no_token() -> None:
    oauth = OAuth(BASE, Secret("the-id"), Secret("no\x00header"), Clock())

    with pytest.raises(Unauthorized, match="application token"):
        await anext(oauth.async_auth_flow(request()))


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ({"expires_in": 600}, 600),
        ({"expires_in": 600, "expires_at": 2_000_900}, 600),
        ({"expires_at": 2_000_300}, 300),
        ({}, LIFE_SECONDS),
        ({"expires_in": math.nan}, LIFE_SECONDS),
        ({"expires_in": "soon"}, LIFE_SECONDS),
        ({"expires_in": True}, LIFE_SECONDS),
        ({"expires_in": []}, LIFE_SECONDS),
        ({"expires_in": 10**400}, LIFE_SECONDS),
        ({"expires_in": "600"}, 600),
        ({"expires_in": "soon", "expires_at": 2_000_300}, 300),
        ({"expires_in": 0, "expires_at": 2_000_300}, 300),
        ({"expires_in": 0}, LIFE_SECONDS_MIN),
        ({"expires_in": -5}, LIFE_SECONDS_MIN),
        ({"expires_at": 1}, LIFE_SECONDS_MIN),
        ({"expires_in": 1e12}, LIFE_SECONDS_MAX),
    ],
)
async def test_a_life_is_taken_as_said_within_bounds(said: dict[str, Any], seconds: float) -> None:
    assert life(TokenAnswer(CANARY, **said), server_time=2_000_000) == seconds


async def test_an_instant_of_expiry_says_nothing_without_the_time_of_the_server() -> None:
    assert life(TokenAnswer(CANARY, expires_at=2_000_300), server_time=None) == LIFE_SECONDS


async def test_a_life_may_be_said_as_text() -> None:
    assert decode_token(b'{"access_token":"t","expires_in":"600"}', 0, None).dies_at == 600


async def test_a_token_is_not_shown() -> None:
    assert CANARY not in repr(decode_token(msgspec.json.encode({"access_token": CANARY}), 0, None))


# ------------------------------------------------------------------------------------------------------- through the real client


class Endpoint(httpx.AsyncBaseTransport):
    """Issues tokens, or fails to in a given way; refuses each read and quotes what it was sent."""

    def __init__(self, value: str = CANARY, fails: Exception | None = None, hangs: bool = False) -> None:
        self.value, self.fails, self.hangs = value, fails, hangs

    async def handle_async_request(self, asked: httpx.Request) -> httpx.Response:
        if self.hangs:
            await anyio.sleep_forever()
        if self.fails is not None:
            raise self.fails
        if asked.method == "POST":
            return token(self.value)
        said = msgspec.json.encode({"code": 401, "message": asked.headers["Authorization"], "details": "x" * 250 + self.value})
        return unread(httpx.Response(401, content=said.replace(b"/", b"\\/")))


def settings(**given: Any) -> VoucherifySettings:
    plausible: dict[str, Any] = {"url": BASE, "auth": "oauth", "app_id": Secret("the-id"), "app_token": Secret("the-secret")}
    return VoucherifySettings(**(plausible | given))


async def failure_of(endpoint: Endpoint, calls: int = 1, **given: Any) -> SourceError:
    """What the last of so many calls ends in."""
    caught: SourceError | None = None
    async with VoucherifySource(settings(**given), endpoint) as reading:
        for _ in range(calls):
            with pytest.raises(SourceError) as raised:
                await reading.fetch(order())
            caught = raised.value
    assert caught is not None
    return caught


@pytest.mark.parametrize("endpoint", [Endpoint(fails=httpx.ConnectError("refused")), Endpoint(fails=OSError()), Endpoint(hangs=True)])
async def test_a_token_that_cannot_be_asked_for_is_no_customers_fault(endpoint: Endpoint) -> None:
    caught = await failure_of(endpoint, timeout_seconds=0.02)

    assert type(caught) is TokenUnavailable
    assert str(caught).endswith("while asking for an OAuth token")


async def test_a_read_with_a_token_that_is_not_answered_is_about_its_customer() -> None:
    endpoint = Endpoint()
    async with VoucherifySource(settings(), endpoint) as reading:
        with pytest.raises(TokenRenewed):
            await reading.fetch(order())
        endpoint.fails = httpx.ReadError("reset")

        with pytest.raises(Unreachable, match="ReadError: reset$"):
            await reading.fetch(order())


@pytest.mark.parametrize("value", [CANARY, "canary/with+slashes==", 'canary"quoted\\', "canary" * 100])
async def test_what_an_api_quotes_of_the_token_is_not_passed_on(value: str) -> None:
    caught = await failure_of(Endpoint(value), calls=2)

    assert type(caught) is Unauthorized
    assert "<secret>" in str(caught) and "canary" not in f"{caught} {caught!r}"


async def test_a_very_short_token_does_not_blot_out_what_an_api_says() -> None:
    assert "HTTP 401 message='Bearer x'" in str(await failure_of(Endpoint("x"), calls=2))


def source(transport: SimulatorTransport) -> VoucherifySource:
    given = settings(url="http://api.test", app_id=Secret("simulator-app-id"), app_token=Secret("simulator-app-token"))
    return VoucherifySource(given, transport)


def simulator() -> Simulator:
    return Simulator(SimulatorOptions(customers=1, history_seconds=86_400, calls_per_window=None), lambda: 1_800_000_000.0)


async def outcomes(reading: VoucherifySource, customer: str, calls: int) -> list[str]:
    """What so many calls end in."""
    seen = list[str]()
    for _ in range(calls):
        try:
            seen.append(f"{len(reading.decode(await reading.fetch(order(customer))).entries) > 0}")
        except SourceError as error:
            seen.append(type(error).__name__)
    return seen


async def test_the_api_takes_the_token_and_a_revoked_one_costs_two_calls() -> None:
    api = simulator()
    (customer,) = api.customers
    async with source(SimulatorTransport(api)) as reading:
        assert await outcomes(reading, customer, 3) == ["TokenRenewed", "True", "True"]

        api.tokens.revoke_all()
        assert await outcomes(reading, customer, 3) == ["TokenRenewed", "TokenRenewed", "True"]
    assert len(api.calls) == 6


async def test_an_api_that_refuses_every_token_is_not_asked_hotly() -> None:
    """Each second call ends in `Unauthorized`, upon which every call waits."""
    api = simulator()

    class Refusing(SimulatorTransport):
        async def handle_async_request(self, asked: httpx.Request) -> httpx.Response:
            api.tokens.revoke_all()
            return await super().handle_async_request(asked)

    (customer,) = api.customers
    async with source(Refusing(api)) as reading:
        assert await outcomes(reading, customer, 4) == ["TokenRenewed", "Unauthorized"] * 2
