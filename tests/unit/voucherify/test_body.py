"""Bodies within their limit: received and inflated."""

import gzip
import tracemalloc
import zlib
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.errors import Undecodable
from poller.voucherify.body import Body

TEXT = b"an activity, and another one; " * 40

Encode = Callable[[bytes], bytes]
ENCODERS: dict[str, Encode] = {"": bytes, "identity": bytes, "gzip": gzip.compress, "x-gzip": gzip.compress, "deflate": zlib.compress}


def read(chunks: Iterable[bytes], coding: str = "", *, length: str | None = None, bytes_max: int = 1 << 20) -> bytes:
    body = Body(coding, length, bytes_max)
    for chunk in chunks:
        body.take(chunk)
    return body.whole()


def split(body: bytes, size: int) -> list[bytes]:
    return [body[at : at + size] for at in range(0, len(body), size)]


@pytest.mark.parametrize("coding", list(ENCODERS))
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_body_is_read_whole_however_it_is_cut_and_coded(coding: str, size: int) -> None:
    assert read(split(ENCODERS[coding](TEXT), size), coding) == TEXT


@given(st.binary(max_size=500), st.integers(1, 50), st.sampled_from(["", "gzip", "deflate"]))
def test_exactly_the_limit_may_be_and_not_one_byte_more(body: bytes, size: int, coding: str) -> None:
    chunks = split(ENCODERS[coding](body), size)
    limit = max(len(body), len(b"".join(chunks)))

    assert read(chunks, coding, bytes_max=limit) == body
    if limit > 0:
        with pytest.raises(Undecodable):
            read(chunks, coding, bytes_max=limit - 1)


def test_no_body_is_an_empty_one() -> None:
    assert read([], "gzip") == b""
    assert read([b""], "deflate") == b""
    assert read([]) == b""


@pytest.mark.parametrize("length", ["1048577", "9" * 5000])
def test_a_body_that_says_that_it_is_too_large_is_refused_before_it_is_read(length: str) -> None:
    with pytest.raises(Undecodable, match="more than 1048576 bytes"):
        Body("", length, 1 << 20)


@pytest.mark.parametrize("length", ["", "-1", "x", "٣", None])
def test_a_length_that_is_none_counts_for_nothing(length: str | None) -> None:
    assert read([TEXT], length=length) == TEXT


@pytest.mark.parametrize(
    ("chunks", "coding", "why"),
    [
        ([gzip.compress(TEXT)[:-1]], "gzip", "cut off"),
        ([gzip.compress(TEXT)[:20]], "gzip", "cut off"),
        ([zlib.compress(TEXT)[:-4]], "deflate", "cut off"),
        ([gzip.compress(TEXT) + b"x"], "gzip", "more after the end"),
        ([gzip.compress(TEXT), gzip.compress(TEXT)], "gzip", "more after the end"),
        ([b"{}"], "gzip", "broken"),
        ([gzip.compress(TEXT)[:-8] + b"\0" * 8], "gzip", "broken"),
        ([TEXT], "br", "an unknown content coding: 'br'"),
        ([TEXT], "gzip, gzip", "an unknown content coding"),
        ([TEXT], "zstd" * 100, "an unknown content coding"),
    ],
)
def test_a_broken_body_is_undecodable(chunks: list[bytes], coding: str, why: str) -> None:
    with pytest.raises(Undecodable, match=why):
        read(chunks, coding)


@pytest.mark.parametrize("size", [65_536, 1 << 30])
def test_a_bomb_takes_no_more_memory_than_the_limit_allows(size: int) -> None:
    limit = 2 << 20
    compressed = gzip.compress(bytes(256 << 20), 1)
    bomb = split(compressed, size)
    assert len(compressed) < limit, "what is received alone would not be refused"

    tracemalloc.start()
    try:
        with pytest.raises(Undecodable, match="inflated"):
            read(bomb, "gzip", bytes_max=limit)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 3 * limit
