"""The simulator on a port: uvicorn, quiet, ended by cancellation."""

import contextlib
import socket
from collections.abc import Callable, Iterator

import anyio
import uvicorn

from poller.demo.api import Receive, Scope, Send, Simulator
from poller.demo.faults import ConnectionBroke, NoAnswer
from poller.demo.options import SimulatorOptions

CLOSE_SECONDS = 1
CONNECTIONS_WAITING_MAX = 2_048


async def serve(options: SimulatorOptions, host: str, port: int, clock: Callable[[], float]) -> None:
    """Serve a simulator until cancelled. Raises `OSError` when the port cannot be had. On asyncio."""
    await serve_simulator(Simulator(options, clock), bind(host, port))


def bind(host: str, port: int) -> socket.socket:
    """A listening socket (port 0: a free one, see `getsockname`). Raises `OSError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(CONNECTIONS_WAITING_MAX)
    except OSError:
        listening.close()
        raise
    return listening


async def serve_simulator(simulator: Simulator, listening: socket.socket) -> None:
    """Serve this simulator on this socket until cancelled; clients may connect as soon as it is bound."""
    config = uvicorn.Config(
        breaking(simulator),
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        date_header=False,  # the simulator has its own, or none
        server_header=False,
        timeout_graceful_shutdown=CLOSE_SECONDS,
    )
    server = QuietServer(config)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve_to_the_end, server, listening)
        try:
            await anyio.sleep_forever()
        finally:
            server.should_exit = True


async def serve_to_the_end(server: uvicorn.Server, listening: socket.socket) -> None:
    # Cancelled itself, uvicorn would leave its connections open; told to exit it closes them, within CLOSE_SECONDS.
    with anyio.CancelScope(shield=True):
        await server.serve([listening])


class QuietServer(uvicorn.Server):
    """A server that leaves the process's signals alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def breaking(simulator: Simulator) -> Callable[[Scope, Receive, Send], object]:
    """The application on a real connection: where it fails to answer, the connection is closed in the middle of a response."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await simulator.app(scope, receive, send)
        except (ConnectionBroke, NoAnswer):
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"{", "more_body": True})

    return app
