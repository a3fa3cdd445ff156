"""The body of a request, however it is sent and whatever it says of its length: bounded in bytes and in time."""

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request


async def received(request: Request, bytes_max: int, seconds_max: float) -> bytes:
    """Raises `HTTPException`: 408, 413, or 400 where it ends too soon."""
    parts, length = [], 0
    try:
        with anyio.fail_after(seconds_max):
            async for part in request.stream():
                length += len(part)
                if length > bytes_max:
                    raise HTTPException(413, f"larger than {bytes_max} bytes")
                parts.append(part)
    except TimeoutError:
        raise HTTPException(408, "the body took too long", headers={"connection": "close"}) from None
    except ClientDisconnect:
        raise HTTPException(400, "the body ended too soon") from None
    return b"".join(parts)
