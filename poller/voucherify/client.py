"""The source: one call of the API at a time, over connections that are kept.

A call is bounded in time (`timeout_seconds`, all in) and in bytes (`body_bytes_max`, received and inflated). Redirects are not followed, since
the credentials would go along; cookies are not kept; proxies of the environment are not used. Every failure is translated here, once, into
the tree of `errors.py`.
"""

import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import anyio
import httpx

from poller.errors import SettingsError, SourceError, TimedOut, Unreachable
from poller.model import Changes, FeedCall, Fetch, ListCall, ListPage, Page, Response
from poller.voucherify import wire
from poller.voucherify.auth import Revealing, TokenAuth
from poller.voucherify.body import ACCEPT_ENCODING
from poller.voucherify.changes import decode_changes, feed_target
from poller.voucherify.failures import TEXT_CHARACTERS_MAX, failure
from poller.voucherify.headers import Ending, clean, ending, quota, server_time
from poller.voucherify.listing import decode_list, list_target
from poller.voucherify.oauth import OAuth, unanswered, without_token
from poller.voucherify.received import body_of, error_body_of
from poller.voucherify.route import Endpoint, target

CONNECTIONS_MAX = 128
"""Above any number of calls in flight: a call never waits for a connection, which the library's pool does not always survive when cancelled."""

CONNECT_SECONDS_MAX = 10.0
CONNECT_SHARE = 1 / 3
"""Of the call's time, for each of reaching the server and TLS. A handshake must end by a time of its own, before the whole call's: the library
closes what timed out, but not what was cancelled."""

KEEP_ALIVE_SECONDS = 60.0
"""Shorter than what load balancers keep; a connection that they closed all the same is noticed before it is used."""

USER_AGENT = "voucherify-activity-poller"


class SourceSettings(Protocol):
    """What the source needs to be told; `config.VoucherifySettings` is such."""

    @property
    def url(self) -> str: ...
    @property
    def endpoint(self) -> Endpoint: ...
    @property
    def auth(self) -> Literal["token", "oauth"]: ...
    @property
    def app_id(self) -> Revealing: ...
    @property
    def app_token(self) -> Revealing: ...
    @property
    def timeout_seconds(self) -> float: ...
    @property
    def body_bytes_max(self) -> int: ...
    @property
    def ca_file(self) -> Path | None: ...
    @property
    def proxy_url(self) -> str | None: ...


class VoucherifySource:
    """Customer activities of one Voucherify project. Open it with `async with`."""

    def __init__(
        self,
        settings: SourceSettings,
        transport: httpx.AsyncBaseTransport | None = None,
        *,
        on_ending: Callable[[Ending], None] | None = None,
    ) -> None:
        """`on_ending` is called once, when an answer first says that the endpoint is deprecated or will be switched off."""
        self._base = settings.url.rstrip("/")
        self._endpoint = settings.endpoint
        self._timeout_seconds = settings.timeout_seconds
        self._body_bytes_max = settings.body_bytes_max
        self._extensions = {"timeout": _timeouts(settings.timeout_seconds)}
        self._headers = _headers(self._base)
        self._client = _client(settings, transport)
        self._on_ending = on_ending

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None = None, error: BaseException | None = None, traceback: TracebackType | None = None
    ) -> None:
        await self._client.__aexit__(kind, error, traceback)

    async def fetch(self, fetch: Fetch) -> Response:
        """Make one call. Raises `SourceError`, and nothing else; bounded in time and in bytes."""
        return await self.ask(target(self._endpoint, fetch.customer, fetch.query))

    async def fetch_changes(self, call: FeedCall) -> Response:
        """The same for the change feed."""
        return await self.ask(feed_target(call))

    async def fetch_list(self, call: ListCall) -> Response:
        """The same for the list of customers."""
        return await self.ask(list_target(call))

    async def ask(self, path: str, heard: Callable[[httpx.Headers], None] | None = None) -> Response:
        """The same for any path, with its query; `heard` is handed the headers of the answer, whatever its status."""
        request = self._request(path)
        try:
            with anyio.fail_after(self._timeout_seconds):
                return await self._call(request, heard)
        except SourceError:
            raise
        except TimeoutError as error:
            raise unanswered(request, f"no whole answer within {self._timeout_seconds:g} s", TimedOut) from error
        except Exception as error:  # libraries below have leaked errors of their own before; one must not end the worker
            raise unanswered(request, _named(error), TimedOut if isinstance(error, httpx.TimeoutException) else Unreachable) from error

    def decode(self, response: Response) -> Page:
        """Raises `Undecodable`, and nothing else."""
        return wire.decode(response)

    def decode_changes(self, response: Response) -> Changes:
        """Raises `Undecodable`, and nothing else."""
        return decode_changes(response)

    def decode_list(self, response: Response) -> ListPage:
        """Raises `Undecodable`, and nothing else."""
        return decode_list(response)

    def _request(self, path: str) -> httpx.Request:
        try:
            return httpx.Request("GET", self._base + path, headers=self._headers, extensions=self._extensions)
        except Exception as error:  # an address may be too long for the library
            raise Unreachable(_named(error)) from error

    async def _call(self, request: httpx.Request, heard: Callable[[httpx.Headers], None] | None) -> Response:
        async with self._answer(request) as answer:
            date = server_time(answer.headers)
            self._notice_ending(answer.headers)
            if heard is not None:
                heard(answer.headers)
            if answer.status_code != 200:
                raise failure(answer.status_code, answer.headers, without_token(await error_body_of(answer), request), date)
            body = await body_of(answer, self._body_bytes_max)
            return Response(body=body, quota=quota(answer.headers, date), server_time=date)

    @asynccontextmanager
    async def _answer(self, request: httpx.Request) -> AsyncIterator[httpx.Response]:
        answer = await self._client.send(request, stream=True, follow_redirects=False)
        try:
            yield answer
        finally:
            await answer.aclose()

    def _notice_ending(self, headers: httpx.Headers) -> None:
        if self._on_ending is None:
            return
        said = ending(headers)
        if said is not None:
            notice, self._on_ending = self._on_ending, None
            notice(said)

    def __repr__(self) -> str:
        return f"<VoucherifySource {self._base} {self._endpoint}>"


def _client(settings: SourceSettings, transport: httpx.AsyncBaseTransport | None) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        auth=_auth(settings),
        transport=_transport(settings) if transport is None else transport,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        trust_env=False,
        follow_redirects=False,
    )


def _auth(settings: SourceSettings) -> httpx.Auth:
    if settings.auth == "oauth":
        return OAuth(settings.url.rstrip("/"), settings.app_id, settings.app_token)
    return TokenAuth(settings.app_id, settings.app_token)


def _transport(settings: SourceSettings) -> httpx.AsyncBaseTransport:
    return httpx.AsyncHTTPTransport(
        verify=_trust(settings.ca_file),
        trust_env=False,
        proxy=settings.proxy_url,
        http1=True,
        http2=False,
        limits=httpx.Limits(
            max_connections=CONNECTIONS_MAX, max_keepalive_connections=CONNECTIONS_MAX, keepalive_expiry=KEEP_ALIVE_SECONDS
        ),
    )


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    if ca_file is None:
        return httpx.create_ssl_context(trust_env=False)
    try:
        return ssl.create_default_context(cafile=str(ca_file))
    except OSError as error:
        raise SettingsError([f"POLLER_VOUCHERIFY_CA_FILE: {ca_file} holds no certificates that can be read: {error}"]) from error


def _timeouts(timeout_seconds: float) -> Mapping[str, float | None]:
    return httpx.Timeout(timeout_seconds, connect=min(CONNECT_SECONDS_MAX, timeout_seconds * CONNECT_SHARE)).as_dict()


def _headers(base: str) -> httpx.Headers:
    return httpx.Headers(
        {
            "Host": httpx.URL(base).netloc.decode("ascii"),
            "Accept": "application/json",
            "Accept-Encoding": ACCEPT_ENCODING,
            "User-Agent": USER_AGENT,
        }
    )


def _named(error: Exception) -> str:
    """An error of a library, short enough to log. What it says of a request that could not be sent is left out: it quotes its headers."""
    name = type(error).__name__
    text: Any = None if isinstance(error, httpx.LocalProtocolError) else clean(str(error), TEXT_CHARACTERS_MAX)
    return f"{name}: {text}" if text else name
