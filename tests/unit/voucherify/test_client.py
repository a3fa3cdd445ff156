"""One call: what is sent, what comes back, and that nothing but a `SourceError` leaves it. On asyncio and on trio."""

import gzip
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest

from poller.config import VoucherifySettings
from poller.errors import Rejected, SettingsError, SourceError, TimedOut, Unauthorized, Undecodable, Unreachable
from poller.model import Activity, ActivityId, Checkpoint, CustomerId, Fetch, Page, Query, Quota, Response, Walk
from poller.secret import Secret
from poller.voucherify.client import VoucherifySource
from poller.voucherify.headers import Ending

pytestmark = pytest.mark.anyio

ENTRY = b'{"id":"evcus_1","type":"customer.confirmed","created_at":"2022-08-30T09:14:07.660Z"}'
PAGE = b'{"object":"list","data_ref":"data","data":[' + ENTRY + b'],"total":1}'
DATE = (b"date", b"Tue, 14 Nov 2023 22:13:20 GMT")

Headers = list[tuple[bytes, bytes]]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    backend: str = request.param
    return backend


class Api:
    """Answers each call alike, and remembers what it was asked."""

    def __init__(self, status: int = 200, body: bytes = PAGE, headers: Headers | None = None) -> None:
        self.status, self.body, self.headers = status, body, headers or []
        self.asked: list[MutableMapping[str, Any]] = []

    async def __call__(self, scope: MutableMapping[str, Any], _receive: object, send: Callable[[Any], Awaitable[None]]) -> None:
        self.asked.append(scope)
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})


class Stream(httpx.AsyncByteStream):
    """A body that ends in an error, or never."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"{"
        if self.error is None:
            await anyio.sleep_forever()
        else:
            raise self.error

    async def aclose(self) -> None:
        self.closed = True


class Wire(httpx.AsyncBaseTransport):
    """A connection on which calls fail, or are answered with one given response."""

    def __init__(self, outcome: Exception | httpx.Response | None) -> None:
        self.outcome = outcome
        self.calls = 0

    async def handle_async_request(self, _request: httpx.Request) -> httpx.Response:
        self.calls += 1
        if self.outcome is None:
            await anyio.sleep_forever()
        if isinstance(self.outcome, httpx.Response):
            return self.outcome
        assert self.outcome is not None
        raise self.outcome


def settings(**given: Any) -> VoucherifySettings:
    usual: dict[str, Any] = {"app_id": Secret("the-app-id"), "app_token": Secret("canary-token"), "url": "https://api.example"}
    return VoucherifySettings(**usual | given)


def fetch(customer: str = "cust_1", query: Query = Query(start_date_ms=1_661_850_847_660)) -> Fetch:
    return Fetch(
        customer=CustomerId(customer),
        partition=0,
        query=query,
        at=0.0,
        walk=Walk(sent=0.0, low_ms=0),
        base=None,
        start=Checkpoint(cursor_ms=0),
    )


async def ask(transport: Api | httpx.AsyncBaseTransport, order: Fetch | None = None, **given: Any) -> Response:
    seam = httpx.ASGITransport(app=transport) if isinstance(transport, Api) else transport
    async with VoucherifySource(settings(**given), seam) as source:
        return await source.fetch(order or fetch())


async def test_one_call_asks_for_one_page_with_the_credentials_and_nothing_else() -> None:
    api = Api()
    await ask(api, url="https://api.example/base/")
    scope = api.asked[0]

    assert (scope["method"], scope["raw_path"]) == ("GET", b"/base/v1/customers/cust_1/activities")
    assert scope["query_string"] == b"order=created_at&limit=100&start_date=2022-08-30T09%3A14%3A07.660Z"
    assert sorted(scope["headers"]) == [
        (b"accept", b"application/json"),
        (b"accept-encoding", b"gzip, deflate"),
        (b"host", b"api.example"),
        (b"user-agent", b"voucherify-activity-poller"),
        (b"x-app-id", b"the-app-id"),
        (b"x-app-token", b"canary-token"),
    ]


async def test_the_other_endpoint_is_asked_by_its_name() -> None:
    api = Api()
    await ask(api, endpoint="activity")

    assert api.asked[0]["raw_path"] == b"/v1/customers/cust_1/activity"


async def test_an_answer_becomes_a_page() -> None:
    api = Api(headers=[DATE, (b"X-Rate-Limit-Limit", b"100"), (b"X-Rate-Limit-Remaining", b"7"), (b"X-Rate-Limit-Retry", b"1700000060")])
    quota = Quota(limit=100, remaining=7, resets_at=1_700_000_060.0)
    async with VoucherifySource(settings(), httpx.ASGITransport(app=api)) as source:
        response = await source.fetch(fetch())
        page = source.decode(response)

    assert response == Response(body=PAGE, quota=quota, server_time=1_700_000_000.0)
    activity = Activity(
        id=ActivityId("evcus_1"),
        type="customer.confirmed",
        created_at="2022-08-30T09:14:07.660Z",
        created_at_ms=1_661_850_847_660,
        raw=ENTRY,
    )
    assert page == Page(entries=(activity,), quota=quota, server_time=1_700_000_000.0, body_bytes=len(PAGE))


async def test_a_compressed_answer_is_inflated() -> None:
    assert (await ask(Api(body=gzip.compress(PAGE), headers=[(b"Content-Encoding", b"GZip")]))).body == PAGE


async def test_what_cannot_be_asked_is_rejected_without_a_call() -> None:
    api = Api()
    for order, endpoint in [
        (fetch(".."), "activities"),
        (fetch(""), "activities"),
        (fetch("a\nb"), "activities"),
        (fetch(query=Query(starting_after_ms=0)), "activity"),
    ]:
        with pytest.raises(Rejected):
            await ask(api, order, endpoint=endpoint)

    assert api.asked == []


@pytest.mark.parametrize(
    ("body", "headers", "limit"),
    [
        (PAGE, [], len(PAGE) - 1),
        (PAGE, [(b"Content-Length", b"1000000000")], len(PAGE)),
        (gzip.compress(PAGE * 1000), [(b"Content-Encoding", b"gzip")], len(PAGE) * 999),
        (gzip.compress(PAGE)[:-3], [(b"Content-Encoding", b"gzip")], len(PAGE)),
        (PAGE, [(b"Content-Encoding", b"br")], len(PAGE)),
    ],
)
async def test_a_body_that_cannot_be_had_whole_within_its_limit_is_undecodable(body: bytes, headers: Headers, limit: int) -> None:
    with pytest.raises(Undecodable):
        await ask(Api(body=body, headers=headers), body_bytes_max=limit)


class Endless(httpx.AsyncByteStream):
    """A body that does not stop, and counts what is taken of it."""

    def __init__(self) -> None:
        self.taken = 0
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            await anyio.lowlevel.checkpoint()
            self.taken += 1
            yield b"x" * 100

    async def aclose(self) -> None:
        self.closed = True


@pytest.mark.parametrize(("headers", "taken"), [({}, 11), ({"Content-Encoding": "gzip"}, 1), ({"Content-Encoding": "br"}, 0)])
async def test_a_body_that_is_refused_is_not_received_to_its_end(headers: dict[str, str], taken: int) -> None:
    stream = Endless()
    with pytest.raises(Undecodable):
        await ask(Wire(httpx.Response(200, headers=headers, stream=stream)), body_bytes_max=1000)

    assert (stream.taken, stream.closed) == (taken, True)


async def test_the_error_body_explains_even_where_it_is_compressed() -> None:
    body = gzip.compress(json.dumps({"key": "unauthorized", "request_id": "v-1"}).encode())
    with pytest.raises(Unauthorized, match="HTTP 401 key='unauthorized' request_id='v-1'") as caught:
        await ask(Api(401, body, [DATE, (b"Content-Encoding", b"gzip")]))

    assert caught.value.server_time == 1_700_000_000.0


async def test_credentials_that_are_refused_are_sent_once() -> None:
    api = Api(401)
    with pytest.raises(Unauthorized):
        await ask(api)

    assert len(api.asked) == 1


@pytest.mark.parametrize("stream", [httpx.ReadError("reset"), httpx.RemoteProtocolError("cut"), RuntimeError("odd")])
async def test_the_status_decides_where_the_error_body_cannot_be_had(stream: Exception) -> None:
    with pytest.raises(Unauthorized, match=r"HTTP 401$"):
        await ask(Wire(httpx.Response(401, stream=Stream(stream))))


async def test_an_error_body_over_its_limit_is_left_alone() -> None:
    with pytest.raises(Unauthorized, match=r"HTTP 401$"):
        await ask(Api(401, b'{"key":"' + b"x" * 65_536 + b'"}'))


@pytest.mark.parametrize("location", [b"https://elsewhere.example/", b"/other", b"//", b"", b"http://[", b"\xff", b"javascript:1"])
async def test_a_redirect_is_not_followed(location: bytes) -> None:
    api = Api(302, b"", [(b"Location", location)])
    with pytest.raises(SourceError):
        await ask(api)

    assert len(api.asked) == 1


async def test_cookies_are_not_kept() -> None:
    api = Api(headers=[(b"Set-Cookie", b"a=b; Path=/")])
    async with VoucherifySource(settings(), httpx.ASGITransport(app=api)) as source:
        await source.fetch(fetch())
        await source.fetch(fetch())

    assert [name for scope in api.asked for name, _ in scope["headers"] if name == b"cookie"] == []


async def test_a_call_that_gets_no_answer_ends_in_time() -> None:
    with pytest.raises(TimedOut, match=r"no whole answer within 0\.01 s"):
        await ask(Wire(None), timeout_seconds=0.01)


@pytest.mark.parametrize(
    ("fails", "kind"),
    [
        (httpx.ConnectTimeout(""), TimedOut),
        (httpx.ReadTimeout(""), TimedOut),
        (httpx.ConnectError("refused"), Unreachable),
        (OSError("no route"), Unreachable),
    ],
)
async def test_no_answer_in_time_is_told_apart_from_none_at_all(fails: Exception, kind: type[Unreachable]) -> None:
    with pytest.raises(Unreachable) as caught:
        await ask(Wire(fails))

    assert type(caught.value) is kind


async def test_a_call_whose_body_never_ends_ends_in_time_and_is_closed() -> None:
    stream = Stream(None)
    with pytest.raises(TimedOut, match=r"no whole answer within 0\.01 s"):
        await ask(Wire(httpx.Response(200, stream=stream)), timeout_seconds=0.01)

    assert stream.closed


async def test_a_call_can_be_cancelled_and_says_nothing_then() -> None:
    with anyio.move_on_after(0.01) as scope:
        await ask(Wire(None))

    assert scope.cancelled_caught


def _every_httpx_error() -> list[Exception]:
    found: list[type[Exception]] = []
    waiting: list[type[Exception]] = [httpx.HTTPError, httpx.InvalidURL, httpx.CookieConflict, httpx.StreamError]
    while waiting:
        kind = waiting.pop()
        found.append(kind)
        waiting.extend(kind.__subclasses__())
    return [_made(kind) for kind in found]


def _made(kind: type[Exception]) -> Exception:
    if issubclass(kind, httpx.HTTPStatusError):
        return kind("canary-header", request=httpx.Request("GET", "https://x"), response=httpx.Response(500))
    takes_no_text = (httpx.ResponseNotRead, httpx.RequestNotRead, httpx.StreamClosed, httpx.StreamConsumed)
    return kind() if issubclass(kind, takes_no_text) else kind("no luck")


OTHERS: list[Exception] = [
    OSError(111, "Connection refused"),
    TimeoutError(),
    ssl.SSLError(1, "bad record"),
    EOFError(),
    ValueError("no luck"),
    RuntimeError("no luck"),
    anyio.ClosedResourceError(),
    anyio.BrokenResourceError(),
    anyio.EndOfStream(),
    ExceptionGroup("several", [OSError(), OSError()]),
    KeyError("no luck"),
    RecursionError(),
    MemoryError(),
]


@pytest.mark.parametrize("error", [*_every_httpx_error(), *OTHERS], ids=lambda error: type(error).__name__)
async def test_every_error_of_a_library_becomes_unreachable(error: Exception) -> None:
    for wire in (Wire(error), Wire(httpx.Response(200, stream=Stream(error)))):
        with pytest.raises(Unreachable) as caught:
            await ask(wire)

        assert caught.value.__cause__ is error
        assert wire.calls == 1


async def test_an_error_that_quotes_what_was_sent_is_not_passed_on() -> None:
    with pytest.raises(Unreachable) as caught:
        await ask(Wire(httpx.LocalProtocolError("Illegal header value b'canary-token\\n'")))

    assert "canary" not in str(caught.value)


async def test_no_secret_shows() -> None:
    async with VoucherifySource(settings(), httpx.ASGITransport(app=Api())) as source:
        assert repr(source) == "<VoucherifySource https://api.example activities>"


async def test_the_end_of_the_endpoint_is_said_once() -> None:
    said: list[Ending] = []
    api = Api(headers=[(b"Deprecation", b"@1710288000"), (b"Sunset", b"Sat, 31 Dec 2026 23:59:59 GMT")])
    async with VoucherifySource(settings(), httpx.ASGITransport(app=api), on_ending=said.append) as source:
        for _ in range(3):
            await source.fetch(fetch())

    assert said == [Ending("@1710288000", "Sat, 31 Dec 2026 23:59:59 GMT")]


async def test_an_endpoint_that_says_nothing_of_its_end_is_not_reported() -> None:
    said: list[Ending] = []
    async with VoucherifySource(settings(), httpx.ASGITransport(app=Api()), on_ending=said.append) as source:
        await source.fetch(fetch())

    assert said == []


def test_certificates_that_cannot_be_read_are_a_fault_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    for path in (tmp_path / "empty.pem", tmp_path / "missing.pem"):
        with pytest.raises(SettingsError, match="POLLER_VOUCHERIFY_CA_FILE"):
            VoucherifySource(settings(ca_file=path))
