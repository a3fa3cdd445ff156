"""Real waiting, from the integration tests on: for a condition, never for a time."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

POLL_SECONDS = 0.02


async def until(condition: Callable[[], Any | Awaitable[Any]], within_seconds: float) -> Any:
    """The first true value of `condition`, plain or async. Fails with the last one when there is none within `within_seconds`."""
    value: Any = None
    with anyio.move_on_after(within_seconds):
        while True:
            value = condition()
            if inspect.isawaitable(value):
                value = await value
            if value:
                return value
            await anyio.sleep(POLL_SECONDS)
    raise AssertionError(f"not within {within_seconds} s: {_named(condition)}; it was last {value!r}")


def _named(condition: Callable[[], Any]) -> str:
    try:
        return inspect.getsource(condition).strip()
    except (OSError, TypeError):
        return repr(condition)
