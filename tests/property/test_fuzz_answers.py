"""Whatever else the API answers, tokens, errors and headers: understood within bounds, or an error that says in one short line what it was."""

import json
import math
from typing import Any

import httpx
from hypothesis import example, given
from hypothesis import strategies as st

from poller.core import backoff
from poller.errors import Limited, SourceError, Undecodable
from poller.voucherify.failures import failure
from poller.voucherify.headers import ending, limit_type, quota, resets_at, retry_after_seconds, server_time
from poller.voucherify.oauth import LIFE_SECONDS_MAX, LIFE_SECONDS_MIN, RENEWED_AFTER, Token, decode_token, token_failure
from tests.support.fuzzing import JSON_PIECES, damaged, examples, in_time, json_values

SAID_CHARACTERS_MAX = 3000

numbers = (
    st.sampled_from(["900", "-1", "1e999", "nan", "inf", "0", "9" * 400, "9" * 5000, "0x1", " 5 ", "1_0", "٣"])
    | st.integers()
    | st.floats()
    | json_values
)
tokens = st.fixed_dictionaries(
    {"access_token": st.sampled_from(["a-token", "", "é", "a b", "x" * 5000, "\r\nX: y"]) | json_values},
    optional={"expires_in": numbers, "expires_at": numbers},
).map(lambda said: json.dumps(said).encode())
clocks = st.none() | st.floats(0, 4e9)


@examples(250)
@given(damaged(tokens, JSON_PIECES), clocks)
@example(b'{"access_token":"a-token","expires_in":' + b"9" * 5000 + b"}", 1e9)
@example(b'{"access_token":"a-token","expires_in":' + b"[" * 100_000, 1e9)
@example(b'{"access_token":"\\ud83d"}', None)
def test_whatever_is_answered_for_a_token_it_lives_within_bounds_or_is_undecodable_and_unquoted(body: bytes, now: float | None) -> None:
    found, said = None, ""
    with in_time():
        try:
            found = decode_token(body, 100.0, now)
        except Undecodable as error:
            said = str(token_failure(error))

    assert len(said) < 400 and said.isprintable() and "a-token" not in said
    if isinstance(found, Token):
        assert LIFE_SECONDS_MIN <= found.dies_at - 100.0 <= LIFE_SECONDS_MAX
        assert math.isclose(found.renew_at - 100.0, RENEWED_AFTER * (found.dies_at - 100.0))
        assert found.value not in repr(found) and found.value.isascii() and found.value.isprintable()


NAMES = (
    *("date", "retry-after", "x-rate-limit-limit", "x-rate-limit-remaining", "x-rate-limit-retry", "x-rate-limit-type"),
    *("location", "deprecation", "sunset", "content-encoding"),
)
header_values = st.sampled_from(
    [
        *("0", "-1", "60", "1e3", "9" * 15, "9" * 16, "9" * 5000, "1700000000", "1700000000000", "4102444801", "0.0000000001", "٣", "NaN"),
        *(
            "Tue, 14 Nov 2023 22:13:20 GMT",
            "Tue, 14 Nov 2023 22:13:20 -0000",
            "Tue, 14 Nov 99999 22:13:20 GMT",
            "14 Nov",
            "Tue, 99 Nov 2023 99:99:99 +9999",
        ),
        *("Tue, 14 Nov 2023 22:13:20 +99999999999", "a\x1b[2Jb", "api_calls_cycle", "https://evil.invalid/" + "a" * 5000, "\x00", ""),
    ]
) | st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=40)
headers = st.dictionaries(st.sampled_from(NAMES), header_values, max_size=6).map(
    lambda said: httpx.Headers([(name.encode(), value.encode("latin-1", "replace")) for name, value in said.items()])
)


@examples(300)
@given(headers)
def test_whatever_the_headers_say_it_is_within_bounds_or_not_said(said: httpx.Headers) -> None:
    with in_time():
        now = server_time(said)
        granted, at, wait = quota(said, now), resets_at(said, now), retry_after_seconds(said, now)
        texts = [limit_type(said), *(ending(said) or ())]

    assert now is None or 0 <= now < 5e9
    assert wait is None or 0 <= wait < 1e7
    assert at is None or 0 <= at < 5e9
    assert granted.remaining is None or granted.remaining >= 0
    assert all(text is None or (text.isprintable() and len(text) <= 100) for text in texts)


error_names = st.sampled_from(["code", "key", "message", "details", "request_id", "resource_type", "error"])
hostile_texts = st.sampled_from(
    ["Cannot GET /v1", "customer not found", "x" * 10_000, "a\r\nlevel=error", "\x1b]0;owned\x07", "\u202e", "\x9b2J"]
)
error_bodies = damaged(
    st.dictionaries(error_names, hostile_texts | json_values, max_size=5).map(lambda said: json.dumps(said).encode()),
    (*JSON_PIECES, b"<html>"),
)


@examples(300)
@given(st.integers(100, 999).filter(lambda status: status != 200), headers, error_bodies)
@example(500, httpx.Headers(), b"[" * 60_000)
@example(429, httpx.Headers({"retry-after": "9" * 15}), b'{"code":' + b"9" * 5000 + b"}")
def test_whatever_an_error_says_it_is_one_short_line_and_a_bounded_wait(status: int, said: httpx.Headers, body: bytes) -> None:
    with in_time():
        error = failure(status, said, body, server_time(said))

    assert isinstance(error, SourceError)
    assert str(error).isprintable() and len(str(error)) <= SAID_CHARACTERS_MAX
    assert all(0 <= wait <= backoff.CYCLE_SECONDS_MAX + 1 for wait in _waits(error))


def _waits(error: SourceError) -> list[Any]:
    waits = [
        wait
        for failures in (1, 3, 10**6)
        for wait in (backoff.source_wait_seconds(error, failures), backoff.customer_wait_seconds(error, failures, "c"))
    ]
    return [*waits, backoff.limited_wait_seconds(error, 1)] if isinstance(error, Limited) else waits
