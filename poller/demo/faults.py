"""What goes wrong with a call, drawn from a seeded stream of random numbers."""

from collections.abc import Sequence
from random import Random
from typing import Literal

import msgspec

from poller.demo.options import SimulatorOptions

ERRORS = (
    (500, "internal_server_error", "Internal Server Error"),
    (502, "bad_gateway", "Bad Gateway"),
    (503, "service_unavailable", "Service Unavailable"),
)


class ConnectionBroke(Exception):
    """The connection broke before an answer came."""


class NoAnswer(Exception):
    """No answer came for very long."""


class Fault(msgspec.Struct, frozen=True, gc=False):
    """What happens to one call, apart from what it asks."""

    kind: Literal["error", "disconnect", "hang", "slow", "garbage"] | None = None
    before_seconds: float = 0.0
    """From the call's arrival to the listing."""
    after_seconds: float = 0.0
    """From the listing to the answer."""
    choice: int = 0
    """Which error, which garbage, which duplicate."""
    duplicate: bool = False


def draw_fault(options: SimulatorOptions, random: Random) -> Fault:
    """One call's fate; always as many random numbers, so that one knob does not change what another does."""
    chance, latency, split, duplicate, choice = (random.random() for _ in range(5))
    kind = draw_kind(options, chance)
    seconds = options.latency_seconds * (0.5 + latency) + (options.slow_seconds if kind == "slow" else 0.0)
    return Fault(kind, seconds * split, seconds * (1 - split), int(choice * 2**20), duplicate < options.duplicate_rate)


def draw_kind(options: SimulatorOptions, chance: float) -> Literal["error", "disconnect", "hang", "slow", "garbage"] | None:
    if (chance := chance - options.error_rate) < 0:
        return "error"
    if (chance := chance - options.disconnect_rate) < 0:
        return "disconnect"
    if (chance := chance - options.hang_rate) < 0:
        return "hang"
    if (chance := chance - options.slow_rate) < 0:
        return "slow"
    return "garbage" if chance < options.garbage_rate else None


GARBAGE: Sequence[bytes] = (
    b"<html><body><h1>We will be back soon</h1></body></html>",
    b"",
    b"null",
    b"[]",
    b'{"object":"list","data_ref":"data"}',
    b'{"object":"list","data_ref":"data","data":null}',
    b'{"object":"list","data_ref":"data","data":{"0":{}},"total":1}',
    b'{"object":"list","data_ref":"data","data":[\xff\xfe],"total":1}',
    b'{"object":"list","data_ref":"data","data":' + b"[" * 20_000,
)
"""Bodies that are no page. A page cut off in its middle is the one more."""


def garbage(body: bytes, choice: int) -> bytes:
    number = choice % (len(GARBAGE) + 1)
    return GARBAGE[number] if number < len(GARBAGE) else body[: len(body) * 2 // 3]


def with_duplicate(entries: list[bytes], choice: int) -> list[bytes]:
    """The page with one of its entries standing twice, the second time further on or right after."""
    if not entries:
        return entries
    first = choice % len(entries)
    second = first + 1 + choice // len(entries) % (len(entries) - first)
    return [*entries[:second], entries[first], *entries[second:]]
