"""OAuth: one access token a process, renewed before it dies, and never beside the budget.

One order is one call. A call that finds no token asks for one instead of what it was made for, and ends in `TokenRenewed`: the engine orders
the same again, as a call of its own. So the calls for tokens are spent in the budget like all others, before they are made.

| the token | one call | the others under way |
|---|---|---|
| none, or dead | asks for one | wait for it, and read |
| past three quarters of its life | asks for one | read with the old one |
| refused, and was accepted before | is asked for again, which asks for a new one | so are these |
| refused, and never accepted | `Unauthorized`: a new one would do no better | are asked for again |
"""

import math
from collections.abc import AsyncGenerator, Callable

import anyio
import httpx
import msgspec

from poller.errors import CustomerUnknown, Rejected, RouteGone, SourceError, TokenRefused, TokenRenewed, Undecodable
from poller.voucherify.auth import Revealing, is_header_value, with_app_credentials
from poller.voucherify.failures import failure
from poller.voucherify.headers import server_time
from poller.voucherify.received import ERROR_BODY_BYTES_MAX, body_of, error_body_of

ROUTE = "/v1/oauth/token"
FORM = b"grant_type=client_credentials&scope=customers"
ASKING = "while asking for an OAuth token"

RENEWED_AFTER = 0.75
"""Of a token's life: the API keeps up to 1,000 tokens of a project alive, so an early renewal costs nothing but its call."""

LIFE_SECONDS_MIN = 60.0
"""A shorter life is not believed: every second call would go into a token."""

LIFE_SECONDS_MAX = 86_400.0
LIFE_SECONDS = 900.0
"""As documented; where the answer does not say."""


class Token(msgspec.Struct, frozen=True, gc=False):
    """An access token, and how long it serves on the clock of whoever took it."""

    value: str
    renew_at: float
    dies_at: float

    def __repr__(self) -> str:
        return f"<Token until {self.dies_at:g}>"


class TokenAnswer(msgspec.Struct):
    """What of the answer is read."""

    access_token: str
    expires_in: float | None = None
    expires_at: float | None = None


class OAuth(httpx.Auth):
    """`Authorization: Bearer`, with a token that is taken when a call first needs it."""

    def __init__(self, base: str, app_id: Revealing, app_token: Revealing, clock: Callable[[], float] = anyio.current_time) -> None:
        """`clock`: seconds that never go back."""
        self._address = base + ROUTE
        self._app_id = app_id
        self._app_token = app_token
        self._clock = clock
        self._token: Token | None = None
        self._accepted = False
        """Whether the API has taken this token yet."""
        self._renewing = anyio.Lock()

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Raises `TokenRenewed` where the call went into a token, and other `SourceError`s where none was given."""
        if self._is_due() and not (self._is_alive() and self._renewing.locked()):
            async with self._renewing:
                if self._is_due():  # still: whoever was here before may have renewed it
                    asked_at = self._clock()
                    answer = yield self._token_request(request)
                    self._token, self._accepted = await token_of(answer, asked_at), False
                    raise TokenRenewed
        token = self._token
        assert token is not None
        request.headers["Authorization"] = f"Bearer {token.value}"
        answer = yield request
        if answer.status_code != 401:
            self._accepted = self._accepted or token is self._token
        elif self._forget(token):
            raise TokenRenewed("the last one is no longer accepted")

    def _is_due(self) -> bool:
        return self._token is None or self._clock() >= self._token.renew_at

    def _is_alive(self) -> bool:
        return self._token is not None and self._clock() < self._token.dies_at

    def _forget(self, token: Token) -> bool:
        """Take note that a token was refused; whether another may be accepted."""
        if token is not self._token:
            return True
        self._token = None
        return self._accepted

    def _token_request(self, request: httpx.Request) -> httpx.Request:
        headers = {name: value for name, value in request.headers.items() if name != "authorization"}
        asking = httpx.Request("POST", self._address, headers=headers, content=FORM, extensions=request.extensions)
        asking.headers["Content-Type"] = "application/x-www-form-urlencoded"
        return with_app_credentials(asking, self._app_id, self._app_token)


async def token_of(answer: httpx.Response, asked_at: float) -> Token:
    """The token of an answer. Raises `SourceError`, which says that it was about a token."""
    date = server_time(answer.headers)
    try:
        if answer.status_code != 200:
            raise token_failure(failure(answer.status_code, answer.headers, await error_body_of(answer), date))
        return decode_token(await body_of(answer, ERROR_BODY_BYTES_MAX), asked_at, date)
    except SourceError as error:
        error.args = (*error.args, ASKING)
        raise


def token_failure(error: SourceError) -> SourceError:
    """What a refused token means: nothing that concerns one customer, or the endpoint that is read."""
    if isinstance(error, Rejected | CustomerUnknown | RouteGone):
        return TokenRefused(error.explanation, server_time=error.server_time)
    return error


def decode_token(body: bytes, asked_at: float, server_time: float | None) -> Token:
    """Raises `Undecodable`, which never quotes the body."""
    try:
        said = msgspec.json.decode(body, type=TokenAnswer, strict=False)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise Undecodable("no JSON object with an access_token") from None
    if not is_header_value(said.access_token):
        raise Undecodable("an access_token that is empty, too long, or holds characters that no header can carry")
    life_seconds = life(said, server_time)
    return Token(said.access_token, asked_at + RENEWED_AFTER * life_seconds, asked_at + life_seconds)


def life(said: TokenAnswer, server_time: float | None) -> float:
    """How long the token lives, in seconds, within bounds. The instant in the answer is the server's, so it is read against the server's `Date`."""
    seconds = said.expires_in
    if seconds is None and said.expires_at is not None and server_time is not None:
        seconds = said.expires_at - server_time
    if seconds is None or not math.isfinite(seconds):
        seconds = LIFE_SECONDS
    return min(max(seconds, LIFE_SECONDS_MIN), LIFE_SECONDS_MAX)
