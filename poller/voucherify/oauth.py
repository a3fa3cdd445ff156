"""OAuth: one access token a process, renewed before it dies, and never beside the budget.

One order is one call. A call that finds no token asks for one instead of what it was made for, and ends in `TokenRenewed`: the engine orders
the same again, as a call of its own. So the calls for tokens are spent in the budget like all others, before they are made.

| the token | one call | the others under way |
|---|---|---|
| none, or dead | asks for one | wait for it, and read; who has waited for long is asked for again |
| past three quarters of its life, and read with | asks for one | read with the old one |
| refused, and was accepted before | is asked for again, which asks for a new one | so are these |
| refused, and never accepted | `Unauthorized`: a new one would do no better | are asked for again |
| asked for in vain | an error that makes every call wait, and is no customer's fault | do not ask again |

A call that waited is not made late: the budget counts on calls that arrive about when they were spent (`ARRIVAL_SECONDS`), and all who waited would come at once.

A token that nobody has read with yet serves until it dies: where calls are far apart, renewing it would take each call for a token.
"""

import json
import math
from collections.abc import AsyncGenerator, Callable
from typing import Any

import anyio
import httpx
import msgspec

from poller.errors import (
    CustomerUnknown,
    Redirected,
    Rejected,
    RouteGone,
    ServerFault,
    SourceError,
    TokenRefused,
    TokenRenewed,
    TokenUnavailable,
    Undecodable,
    Unreachable,
)
from poller.voucherify.auth import Revealing, is_header_value, with_app_credentials
from poller.voucherify.failures import failure
from poller.voucherify.headers import server_time
from poller.voucherify.received import ERROR_BODY_BYTES_MAX, body_of, error_body_of

ROUTE = "/v1/oauth/token"
FORM = b"grant_type=client_credentials&scope=customers"
ASKING = "while asking for an OAuth token"

UNANSWERED = "poller.token"
"""Among a request's extensions while it waits for a token: what fails meanwhile is not about the customer that it was made for."""

TOKEN_CHARACTERS_MIN = 6
"""A shorter one would be found everywhere; no API issues such."""

RENEWED_AFTER = 0.75
"""Of a token's life: the API keeps up to 1,000 tokens of a project alive, so an early renewal costs nothing but its call."""

WAITED_SECONDS_MAX = 0.5
"""For a token that another call asks for: of the second that the budget allows a call to arrive late, the rest is the way's."""

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
    expires_in: Any = None
    expires_at: Any = None


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
        self._carried = False
        """Whether a call has gone out with it yet."""
        self._failures = 0
        self._renewing = anyio.Lock()

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Raises `TokenRenewed` where the call went into a token, and other `SourceError`s where none was given."""
        if self._is_due() and not (self._is_alive() and self._renewing.locked()):
            failures, began = self._failures, self._clock()
            request.extensions[UNANSWERED] = True
            async with self._renewing:
                due = self._is_due()  # still: whoever was here before may have renewed it
                if due and self._failures != failures:
                    raise TokenUnavailable("another call asked for it in vain")
                if self._clock() - began > WAITED_SECONDS_MAX:
                    raise TokenRenewed("the call has waited too long for another's")
                if due:
                    asked_at = self._clock()
                    await self._take((yield self._token_request(request)), asked_at)
                    raise TokenRenewed
            del request.extensions[UNANSWERED]
        token = self._token
        assert token is not None
        self._carried = True
        request.headers["Authorization"] = f"Bearer {token.value}"
        answer = yield request
        if answer.status_code != 401:
            self._accepted = self._accepted or token is self._token
        elif self._forget(token):
            raise TokenRenewed("the last one is no longer accepted")

    async def _take(self, answer: httpx.Response, asked_at: float) -> None:
        try:
            token = await token_of(answer, asked_at)
        except SourceError:
            self._failures += 1
            raise
        self._token, self._accepted, self._carried = token, False, False

    def _is_due(self) -> bool:
        return not self._is_alive() or (self._carried and self._token is not None and self._clock() >= self._token.renew_at)

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
            raise failure(answer.status_code, answer.headers, await error_body_of(answer), date)
        return decode_token(await body_of(answer, ERROR_BODY_BYTES_MAX), asked_at, date)
    except SourceError as error:
        meant = token_failure(error)
        meant.args = (*meant.args, ASKING)
        raise meant from error.__cause__


def token_failure(error: SourceError) -> SourceError:
    """What a refused token means: nothing that concerns one customer, or the endpoint that is read."""
    if isinstance(error, Rejected | CustomerUnknown | RouteGone | Redirected):
        return TokenRefused(error.explanation, server_time=error.server_time)
    if isinstance(error, ServerFault | Undecodable | Unreachable):
        return TokenUnavailable(error.explanation, server_time=error.server_time)
    return error


def unanswered(request: httpx.Request, why: str, kind: type[Unreachable] = Unreachable) -> SourceError:
    """What it means that a call was not answered: it may have failed, or timed out, over its token."""
    if UNANSWERED not in request.extensions:
        return kind(why)
    error = TokenUnavailable(why)
    error.args = (*error.args, ASKING)
    return error


def without_token(body: bytes, request: httpx.Request) -> bytes:
    """What the API says of a call, which may quote what it was sent, as it is or as JSON would write it."""
    token = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if len(token) < TOKEN_CHARACTERS_MIN:
        return body
    quoted = json.dumps(token)[1:-1]
    for form in (quoted.replace("/", "\\/"), quoted, token):
        body = body.replace(form.encode(), b"<secret>")
    return body


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
    expires_in, expires_at = _number(said.expires_in), _number(said.expires_at)
    left = None if expires_at is None or server_time is None else expires_at - server_time
    lives = [seconds for seconds in (expires_in, left) if seconds is not None]
    seconds = next((seconds for seconds in lives if seconds > 0), 0.0 if lives else LIFE_SECONDS)
    return min(max(seconds, LIFE_SECONDS_MIN), LIFE_SECONDS_MAX)


def _number(said: object) -> float | None:
    """A finite number, also one written as text; `None`: it is none."""
    try:
        number = float(said) if isinstance(said, int | float | str) and not isinstance(said, bool) else math.nan
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
