"""Virtual time: trio with a clock that jumps to the next deadline when nobody can go on, and a scheduler that one seed replays."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, TypeVarTuple

import anyio
import trio
from trio.testing import MockClock

Args = TypeVarTuple("Args")
Result = TypeVar("Result")

_scheduler: Any = trio._core._run


@contextmanager
def seeded_scheduler(seed: int) -> Iterator[None]:
    """Within: trio takes its tasks in an order that the seed alone decides. There is no public way; trio does the same for Hypothesis."""
    random, deterministic = _scheduler._r.getstate(), _scheduler._ALLOW_DETERMINISTIC_SCHEDULING
    _scheduler._r.seed(seed)
    _scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True
    try:
        yield
    finally:
        _scheduler._ALLOW_DETERMINISTIC_SCHEDULING = deterministic
        _scheduler._r.setstate(random)


def virtual_backend() -> tuple[str, dict[str, Any]]:
    """For anyio's plugin: a fresh clock, at zero."""
    return "trio", {"clock": MockClock(autojump_threshold=0)}


def run_in_virtual_time(function: Callable[[*Args], Awaitable[Result]], *args: *Args, seed: int = 0) -> Result:
    """What `function(*args)` returns, for tests that run many seeds each."""
    backend, options = virtual_backend()
    with seeded_scheduler(seed):
        return anyio.run(function, *args, backend=backend, backend_options=options)


async def pass_time(seconds: float) -> None:
    """Let everybody else go on for so long; on the virtual clock that takes no time."""
    await anyio.sleep(seconds)
