"""Doing a thing for as long as the program runs, whatever fails meanwhile: for edges that nothing else depends on."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from poller.core.backoff import Backoff
from poller.errors import LogError

FAILED = Backoff(first_seconds=1, longest_seconds=60)
SOON = Backoff(first_seconds=1, longest_seconds=10)
"""For what somebody waits for."""
LASTED_SECONDS = 60.0
"""Whatever fails after so long fails for the first time."""


async def again_and_again(
    doing: Callable[..., Awaitable[None]], *args: Any, told: Callable[[LogError, float], None], backoff: Backoff = FAILED
) -> None:
    """Until cancelled. `told` of each failure, and after how many seconds it is begun anew."""
    failures = 0
    while True:
        began = anyio.current_time()
        try:
            await doing(*args)
        except LogError as error:
            failures = 1 if anyio.current_time() - began > LASTED_SECONDS else failures + 1
            seconds = backoff.wait_seconds(failures, doing.__name__)
            told(error, seconds)
            await anyio.sleep(seconds)
