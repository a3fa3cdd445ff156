"""The body of an answer, within its limit: bytes received are counted, and inflating stops where the limit is passed. Pure.

Memory is bounded by about twice the limit, whatever is sent: chunks are at most what one read of the socket gives, and inflating is told how
much it may make of each.
"""

import zlib

from poller.errors import TooLarge, Undecodable

ACCEPT_ENCODING = "gzip, deflate"
WBITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""The container that zlib is to expect. `deflate` is zlib's (RFC 9110)."""


class Inflater:
    """Undoes one content coding, chunk by chunk. Raises `Undecodable`, and nothing else."""

    def __init__(self, coding: str, bytes_max: int) -> None:
        wbits = WBITS.get(coding)
        if wbits is None:
            raise Undecodable(f"an unknown content coding: {coding[:40]!r}")
        self._zlib = zlib.decompressobj(wbits)
        self._left = bytes_max

    def inflate(self, chunk: bytes) -> bytes:
        if self._zlib.eof:
            raise Undecodable("more after the end of the compressed body")
        try:
            # One more than may be: then all of the chunk was used, or the limit is passed.
            inflated = self._zlib.decompress(chunk, self._left + 1)
        except zlib.error:
            raise Undecodable("the compressed body is broken") from None
        self._left -= len(inflated)
        if self._left < 0:
            raise TooLarge("inflated")
        if self._zlib.unused_data:
            raise Undecodable("more after the end of the compressed body")
        return inflated

    def end(self) -> None:
        if not self._zlib.eof:
            raise Undecodable("the compressed body is cut off")


class Body:
    """What has been received of one body. Raises `Undecodable`, and nothing else."""

    def __init__(self, coding: str, length: str | None, bytes_max: int) -> None:
        """`coding` and `length` as the headers say them, `""` and `None` where they do not."""
        if length is not None and length.isascii() and length.isdigit() and (len(length) > 18 or int(length) > bytes_max):
            raise TooLarge(f"more than {bytes_max} bytes")
        self._inflater = None if coding in ("", "identity") else Inflater(coding, bytes_max)
        self._left = bytes_max
        self._bytes_max = bytes_max
        self._parts: list[bytes] = []

    def take(self, chunk: bytes) -> None:
        self._left -= len(chunk)
        if self._left < 0:
            raise TooLarge(f"more than {self._bytes_max} bytes")
        if chunk:
            self._parts.append(chunk if self._inflater is None else self._inflater.inflate(chunk))

    def whole(self) -> bytes:
        if self._inflater is not None and self._parts:
            self._inflater.end()
        return b"".join(self._parts)
