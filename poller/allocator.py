"""What the C library's allocator is told: to give large blocks back at once.

By itself glibc does so only until the first of them is freed: then it takes blocks of that size from the heap, up to 32 MB each, and what lies
between others there stays with the process. With a hundred thousand customers that was some 10 MB: tables that had grown, and what was read from Kafka.
"""

import ctypes
from contextlib import suppress

M_MMAP_THRESHOLD = -3
"""Of glibc's `mallopt`: blocks from this size on are mapped by themselves. Once it is set, it stays as it is."""

LARGE_BYTES = 1 << 20
"""Above what a call or a transaction needs, so that these cost no page faults."""


def give_back_large_blocks() -> None:
    """Where the C library is another one, nothing happens."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
