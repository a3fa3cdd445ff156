"""Hostile input: how much of it is tried, what is made of good input, and in what time and memory it must be judged.

`make test` tries the same few every time; `FUZZ=50` tries fifty times as many, others each time, and prints how to try a failure again.
"""

import os
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

TIMES = int(os.environ.get("FUZZ", "1"))

SECONDS_MAX = 5.0
"""For one input, on a machine that is busy with others; a loop without end is ended by pytest's own limit."""


def examples(count: int) -> Callable[[Any], Any]:
    """So many inputs, or that many times as many."""
    more = settings(max_examples=count * TIMES, derandomize=False, print_blob=True)
    return settings(max_examples=count) if TIMES == 1 else more


@contextmanager
def in_time() -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began <= SECONDS_MAX


@contextmanager
def within_bytes(bytes_max: int) -> Iterator[None]:
    """Python's own memory, at its highest within the block, beside what was there before."""
    tracemalloc.start()
    try:
        yield
        _, highest = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert highest <= bytes_max, f"{highest} bytes"


@st.composite
def damaged(draw: st.DrawFn, whole: st.SearchStrategy[bytes], pieces: tuple[bytes, ...] = ()) -> bytes:
    """Something good with a few bytes taken out, put in, doubled or exchanged; or as it is."""
    content = draw(whole)
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(content)))
        end = draw(st.integers(start, min(len(content), start + 12)))
        put = draw(st.one_of(st.binary(max_size=4), st.sampled_from((b"", content[start:end] * 2, *pieces))))
        content = content[:start] + put + content[end:]
    return content


JSON_PIECES = (
    b"null",
    b"{}",
    b"[]",
    b'"',
    b"\\ud83d",
    b"\\u0000",
    b"\xff",
    b"\xed\xa0\x80",
    b"-1",
    b"1e999",
    b"1e308",
    b"-1e308",
    b"9" * 25,
    b"9" * 5000,
    b"9223372036854775808",
    b"[" * 2000,
    b"NaN",
    b'"v":2,',
    b'"9999-12-31T23:59:59.999Z"',
    b'"0001-01-01T00:00:00Z"',
    b'"2024-05-01T12:00:00"',
)

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
