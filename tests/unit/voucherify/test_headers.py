"""What headers say, and what garbage in them says: nothing."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.model import Quota
from poller.voucherify import headers

NOW = 1_700_000_000.0


def of(**values: str) -> httpx.Headers:
    return httpx.Headers({name.replace("_", "-"): value for name, value in values.items()})


def test_the_quota_is_read() -> None:
    said = of(X_Rate_Limit_Limit="2000", X_Rate_Limit_Remaining="0", X_Rate_Limit_Retry="1700000060")

    assert headers.quota(said, NOW) == Quota(limit=2000, remaining=0, resets_at=1_700_000_060.0)


def test_a_quota_that_is_not_said_is_not_known() -> None:
    assert headers.quota(of(), None) == Quota()


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.5", "1_000", "many", "٣", "1e3", "9" * 400, "5, 5"])
def test_a_count_that_makes_no_sense_is_not_known(text: str) -> None:
    said = httpx.Headers([(b"X-Rate-Limit-Limit", text.encode()), (b"X-Rate-Limit-Remaining", text.encode())])

    assert headers.quota(said, NOW) == Quota()


@pytest.mark.parametrize("text", ["", "-1", "0", "60", "1700000060000", "9" * 400, "1e9", "nan", "inf", "1708640001", "4102444801"])
def test_an_instant_that_makes_no_sense_is_not_known(text: str) -> None:
    assert headers.resets_at(of(X_Rate_Limit_Retry=text), NOW) is None


def test_without_the_servers_time_only_what_no_clock_shows_is_garbage() -> None:
    assert headers.resets_at(of(X_Rate_Limit_Retry="1700000060"), None) == 1_700_000_060.0
    assert headers.resets_at(of(X_Rate_Limit_Retry="1700000060000"), None) is None


def test_an_instant_a_month_away_is_believed_as_a_cycle_lasts_one() -> None:
    assert headers.resets_at(of(X_Rate_Limit_Retry="1702592000.5"), NOW) == 1_702_592_000.5


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("2592000", 2_592_000.0),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60.0),
        ("Tue, 14 Nov 2023 22:00:00 GMT", 0.0),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("9" * 15, None),
    ],
)
def test_a_wait_is_seconds_or_a_date(text: str, seconds: float | None) -> None:
    assert headers.retry_after_seconds(of(Retry_After=text), NOW) == seconds


def test_a_wait_until_a_date_says_nothing_without_the_servers_time() -> None:
    assert headers.retry_after_seconds(of(Retry_After="Tue, 14 Nov 2023 22:14:20 GMT"), None) is None


@pytest.mark.parametrize(
    "text",
    ["Tue, 14 Nov 2023 22:13:20 GMT", "Tuesday, 14-Nov-23 22:13:20 GMT", "Tue, 14 Nov 2023 22:13:20", "Tue, 14 Nov 2023 23:13:20 +0100"],
)
def test_the_servers_time_is_read(text: str) -> None:
    assert headers.server_time(of(Date=text)) == NOW


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "Tue",
        "Tue, 99 Nov 2023 22:13:20 GMT",
        "Tue, 14 Nov 1899 22:13:20 GMT",
        "Tue, 14 Nov 9999 22:13:20 GMT",
        "1700000000",
        "," * 5000,
    ],
)
def test_a_date_that_is_none_is_not_known(text: str) -> None:
    assert headers.server_time(of(Date=text)) is None


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=50), st.none() | st.floats(1e9, 2e9))
def test_no_text_makes_a_header_raise(text: str, now: float | None) -> None:
    said = of(Date=text, Retry_After=text, X_Rate_Limit_Limit=text, X_Rate_Limit_Remaining=text, X_Rate_Limit_Retry=text)

    headers.server_time(said)
    headers.quota(said, now)
    wait_seconds = headers.retry_after_seconds(said, now)

    assert wait_seconds is None or 0 <= wait_seconds <= headers.WAIT_SECONDS_MAX


def test_the_end_of_an_endpoint_is_announced_by_either_header() -> None:
    assert headers.ending(of(Deprecation="@1710288000")) == headers.Ending("@1710288000", None)
    assert headers.ending(of(Sunset="Sat, 31 Dec 2026 23:59:59 GMT")) == headers.Ending(None, "Sat, 31 Dec 2026 23:59:59 GMT")
    assert headers.ending(of()) is None


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("a\x1b[31m\nb", "a [31m b"),
        ("  ", None),
        ("", None),
        (None, None),
        (7, None),
        ("x" * 11, "xxxxxxxxx…"),
        ("x" * 10, "x" * 10),
        ("a\u202eb", "a b"),
    ],
)
def test_text_of_the_other_side_is_one_short_line(text: object, cleaned: str | None) -> None:
    assert headers.clean(text, 10) == cleaned
