"""Commands that go on until somebody stops them: Ctrl-C and SIGTERM end them in order, and that is no failure."""

import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio


def run_until_stopped(function: Callable[..., Awaitable[Any]], *args: Any) -> int:
    """Run it on asyncio until it returns, or until a signal comes, which cancels it. The exit code is 0 either way; what it raises goes on."""
    anyio.run(_until_stopped, function, args)
    return 0


async def _until_stopped(function: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> None:
    raised: Exception | None = None
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_cancel_on_signal, signals, tasks.cancel_scope)
            try:
                await function(*args)
            except Exception as error:  # noqa: BLE001  # goes on below, outside of the group, which would wrap it
                raised = error
            tasks.cancel_scope.cancel()
    if raised is not None:
        raise raised


async def _cancel_on_signal(signals: AsyncIterator[signal.Signals], scope: anyio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()
