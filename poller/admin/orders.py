"""What changes something, for who shows the token (`POLLER_ADMIN_TOKEN`); without that setting there is nothing of it.

| order | body | answer |
|---|---|---|
| `POST /log-level` | `{"level": "debug", "seconds": 600}` | 200 `{"level": …, "until": …}`: it goes back by itself |
| `POST /customers/{id}/hint` | – | 202 `{"whose": …}`: it is read next, here or by the replica that it was passed on to |

Refused: 401 without the token, 400 and 413 for what cannot be read, 404 for a customer whom nobody watches, 409 where another replica reads it and
hints are not passed on. Each try is compared in constant time. There is no lock-out, which anybody could use to keep the operator out: the token's
length (16 characters at least) makes guessing hopeless.
"""

import hmac
import math
from collections.abc import Callable
from typing import Annotated, Literal

import anyio
import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from poller.admin.body import received
from poller.customer_id import refusal
from poller.model import CustomerId, Whose
from poller.secret import Secret

BODY_BYTES_MAX = 1024
BODY_SECONDS_MAX = 3.0
LEVEL_SECONDS_MAX = 86_400

Level = Literal["debug", "info", "warning", "error"]


class LevelOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /log-level`."""

    level: Level
    seconds: Annotated[int, msgspec.Meta(ge=1, le=LEVEL_SECONDS_MAX)] = 600


class LogLevels:
    """The level at which the log speaks: the usual one, or another for a while. `speak` makes it so."""

    def __init__(self, usual: str, speak: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._usual = usual
        self._speak = speak
        self._clock = clock
        self._until = math.inf
        self._changed = anyio.Event()

    def change(self, level: str, seconds: float) -> float:
        """Until when, Unix time in seconds. Another change takes the place of the last."""
        self._speak(level)
        self._until = self._clock() + seconds
        self._changed.set()
        return self._until

    async def go_back(self) -> None:
        """Whenever it is time, until cancelled."""
        while True:
            self._changed = anyio.Event()
            with anyio.move_on_after(self._until - self._clock()):
                await self._changed.wait()
                continue
            self._until = math.inf
            self._speak(self._usual)


class Orders:
    """`hinted`: whose a customer is, now that it is known that it may have something new, and whether whoever reads it was told."""

    def __init__(
        self,
        token: Secret | None,
        levels: LogLevels,
        hinted: Callable[[CustomerId], tuple[Whose, bool]],
        told: Callable[[str, CustomerId | None], None],
        refused: Callable[[], None],
    ) -> None:
        """`told`: what was ordered and carried out, in words, and of which customer. `refused`: an order came without the token."""
        self._token = token
        self._levels = levels
        self._hinted = hinted
        self._told = told
        self._refused = refused

    async def log_level(self, request: Request) -> Response:
        self._authorise(request)
        try:
            order = msgspec.json.decode(await received(request, BODY_BYTES_MAX, BODY_SECONDS_MAX), type=LevelOrder)
        except msgspec.DecodeError as error:
            raise HTTPException(400, str(error)) from None
        until = self._levels.change(order.level, order.seconds)
        self._told(f"the log level is {order.level} for {order.seconds} seconds", None)
        return JSONResponse({"level": order.level, "until": until})

    async def hint(self, request: Request) -> Response:
        self._authorise(request)
        customer = request.path_params["customer"]
        refused = refusal(customer)
        if refused is not None:
            raise HTTPException(400, f"this id {refused}")
        whose, reached = self._hinted(CustomerId(customer))
        if whose == "nobody's":
            raise HTTPException(404, "nobody watches this customer")
        if not reached:
            raise HTTPException(409, "another replica reads this customer, and hints are not passed on: ask its owner, see /status")
        self._told("it is read next", CustomerId(customer))
        return JSONResponse({"whose": whose}, status_code=202)

    def _authorise(self, request: Request) -> None:
        """Raises `HTTPException`."""
        if self._token is None:
            raise HTTPException(404)
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        known = hmac.compare_digest(given.strip().encode(), self._token.reveal().encode())
        if scheme.lower() != "bearer" or not known:
            self._refused()
            raise HTTPException(401, "it needs the token: POLLER_ADMIN_TOKEN", headers={"www-authenticate": "Bearer"})
