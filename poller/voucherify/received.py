"""Receiving the body of an answer: bounded in bytes, and what is refused is not received to its end."""

from contextlib import suppress

import anyio
import httpx

from poller.errors import Undecodable
from poller.voucherify.body import Body

ERROR_BODY_BYTES_MAX = 65_536
ERROR_BODY_SECONDS_MAX = 2.0
"""An error body only explains: the status has already decided."""


async def body_of(answer: httpx.Response, bytes_max: int) -> bytes:
    """The whole body, inflated. Raises `Undecodable`, and what the connection raises."""
    coding = answer.headers.get("content-encoding", "").strip().lower()
    body = Body(coding, answer.headers.get("content-length"), bytes_max)
    refused: Undecodable | None = None
    # The next read is cancelled, which unwinds the library's nested generators from the inside; abandoning them would leave the connection to
    # the garbage collector.
    with anyio.CancelScope() as reading:
        async for chunk in answer.aiter_raw():
            if refused is None:
                try:
                    body.take(chunk)
                except Undecodable as error:
                    refused = error
                    reading.cancel()
    if refused is not None:
        raise refused
    return body.whole()


async def error_body_of(answer: httpx.Response) -> bytes:
    """What explains a failure, where it can be had; empty otherwise."""
    with anyio.move_on_after(ERROR_BODY_SECONDS_MAX), suppress(Exception):
        return await body_of(answer, ERROR_BODY_BYTES_MAX)
    return b""
