"""Who asks a process over HTTP while it ends: probes as a kubelet sends them, a stream of events, webhooks. Each notes what it saw, and when.

On bare sockets, so that it can be told whether an answer was refused, not given, cut in its midst, or whole.
"""

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Literal, NamedTuple

import anyio
from anyio.abc import TaskGroup

ANSWER_SECONDS_MAX = 5.0
RECEIVE_BYTES = 65536

End = Literal["whole", "cut", "unanswered", "refused"]
"""All of it came; only a part; the connection was made, and nothing came; no connection was made."""


class Seen(NamedTuple):
    """What came of one request."""

    path: str
    asked_at: float
    answered_at: float
    end: End
    status: int = 0
    text: str = ""


async def ask(
    port: int, path: str, head: str = "", body: bytes = b"", method: str = "GET", answer_seconds_max: float = ANSWER_SECONDS_MAX
) -> Seen:
    """One request on a connection of its own, as probes have it."""
    asked_at = time.time()
    try:
        stream = await anyio.connect_tcp("127.0.0.1", port)
    except OSError:
        return Seen(path, asked_at, time.time(), "refused")
    received = b""
    async with stream:
        try:
            await stream.send(
                f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-length: {len(body)}\r\n{head}\r\n".encode()
                + body
            )
            with anyio.move_on_after(answer_seconds_max):
                while True:
                    received += await stream.receive(RECEIVE_BYTES)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
    return seen(path, asked_at, time.time(), received)


def seen(path: str, asked_at: float, answered_at: float, received: bytes) -> Seen:
    """What so many bytes are, now that no more come."""
    if not received:
        return Seen(path, asked_at, answered_at, "unanswered")
    head, ended, body = received.partition(b"\r\n\r\n")
    status = int(head[9:12] or 0) if head.startswith(b"HTTP/1.1 ") else 0
    return Seen(
        path, asked_at, answered_at, "whole" if ended and is_whole(head.lower(), body) else "cut", status, body.decode(errors="replace")
    )


def is_whole(head: bytes, body: bytes) -> bool:
    """By what the head says of the body's length; with neither a length nor chunks there is none."""
    lengths = [line.partition(b":")[2].strip() for line in head.split(b"\r\n") if line.startswith(b"content-length:")]
    if b"transfer-encoding: chunked" in head:
        return body.endswith(b"0\r\n\r\n")
    return len(body) == int(lengths[0]) if lengths else not body


class Onlookers:
    """All that is asked, and what was seen of it."""

    def __init__(self, admin_port: int, webhook_port: int, webhooks: Callable[[], tuple[str, bytes]]) -> None:
        """`webhooks`: the next one's signature and body."""
        self._admin_port = admin_port
        self._webhook_port = webhook_port
        self._webhooks = webhooks
        self.probes: list[Seen] = []
        self.webhooks: list[Seen] = []
        self.streams: list[Seen] = []

    @asynccontextmanager
    async def looking(self, paths: tuple[str, ...], every_seconds: float) -> AsyncIterator[None]:
        """Until the block is left."""
        async with anyio.create_task_group() as tasks:
            for path in paths:
                tasks.start_soon(self._probe, path, every_seconds)
            tasks.start_soon(self._send_webhooks, every_seconds)
            self._listen(tasks)
            yield
            tasks.cancel_scope.cancel()

    async def _probe(self, path: str, every_seconds: float) -> None:
        while True:
            self.probes.append(await ask(self._admin_port, path))
            await anyio.sleep(every_seconds)

    async def _send_webhooks(self, every_seconds: float) -> None:
        while True:
            signature, body = self._webhooks()
            head = f"content-type: application/json\r\nx-voucherify-signature: {signature}\r\n"
            self.webhooks.append(await ask(self._webhook_port, "/webhooks/voucherify", head, body, "POST"))
            await anyio.sleep(every_seconds)

    def _listen(self, tasks: TaskGroup) -> None:
        async def listen() -> None:
            self.streams.append(await ask(self._admin_port, "/events", answer_seconds_max=600))

        tasks.start_soon(listen)

    def of(self, path: str) -> Iterator[Seen]:
        return (one for one in self.probes if one.path == path)
