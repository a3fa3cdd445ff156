"""Instants: what is read, what is not, and the way back."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller import instant

AT_MS = 1_661_850_847_660
"""2022-08-30T09:14:07.660Z"""

milliseconds = st.integers(instant.MS_MIN, instant.MS_MAX)


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2022-08-30T09:14:07.660Z", AT_MS),
        ("2022-08-30T09:14:07.66Z", AT_MS),
        ("2022-08-30T09:14:07.660z", AT_MS),
        ("2022-08-30t09:14:07.660Z", AT_MS),
        ("2022-08-30 09:14:07.660Z", AT_MS),
        ("2022-08-30T09:14:07,660Z", AT_MS),
        ("2022-08-30T09:14:07.660", AT_MS),
        ("2022-08-30T09:14:07.660999Z", AT_MS),
        ("2022-08-30T09:14:07.660999999Z", AT_MS),
        ("2022-08-30T09:14:07.66099999999999999999999Z", AT_MS),
        ("2022-08-30T09:14:07.660+00:00", AT_MS),
        ("2022-08-30T09:14:07.660-00:00", AT_MS),
        ("2022-08-30T11:14:07.660+02:00", AT_MS),
        ("2022-08-30T11:14:07.660+0200", AT_MS),
        ("2022-08-30T11:14:07.660+02", AT_MS),
        ("2022-08-30T03:44:07.660-05:30", AT_MS),
        ("2022-08-30T09:14:07Z", AT_MS - 660),
        ("2022-08-30T09:14:07", AT_MS - 660),
        ("1970-01-01T00:00:00.000Z", 0),
        ("1969-12-31T23:59:59.9999Z", -1),
        ("2016-12-31T23:59:60Z", 1_483_228_800_000),
        ("2016-12-31T23:59:60.123Z", 1_483_228_800_123),
        ("0001-01-01T00:00:00.000Z", instant.MS_MIN),
        ("9999-12-31T23:59:59.999Z", instant.MS_MAX),
        ("2024-02-29T00:00:00.000Z", 1_709_164_800_000),
    ],
)
def test_an_instant_is_read_in_each_form_that_services_write_and_rounded_down(text: str, ms: int) -> None:
    assert instant.parse(text) == ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "now",
        "1661850847660",
        "2022-08-30",
        "2022-08-30T09:14Z",
        "20220830T091407.660Z",
        "2022-W35-2T09:14:07.660Z",
        "2022-08-30T09:14:07.660Z\n",
        " 2022-08-30T09:14:07.660Z",
        "2022-08-30T09:14:07.Z",
        "2022-08-30T09:14:07.6+0Z",
        "2022-08-30T09:14:07.660+2",
        "2022-08-30T09:14:07.660+24:00",
        "2022-08-30T09:14:07.660+02:60",
        "2022-08-30T24:00:00.000Z",
        "2022-08-30T09:60:07.660Z",
        "2022-08-30T09:14:61.660Z",
        "2022-02-30T09:14:07.660Z",
        "2023-02-29T09:14:07.660Z",
        "2022-13-01T09:14:07.660Z",
        "2022-00-01T09:14:07.660Z",
        "0000-01-01T00:00:00.000Z",
        "10000-01-01T00:00:00.000Z",
        "-2022-08-30T09:14:07.660Z",
        "+2022-08-30T09:14:07.66Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "9999-12-31T23:59:60Z",
        "２０２２-08-30T09:14:07.660Z",
        "2022-08-30T09:14:07.٦٦٠Z",
        "2022-08-30T09:14:07.660\ud83d",
    ],
)
def test_what_is_no_instant_is_none(text: str) -> None:
    assert instant.parse(text) is None


@given(st.text() | st.text(alphabet="0123456789-:.,TtZz+ W\x00é", max_size=40))
def test_no_text_makes_parse_raise(text: str) -> None:
    assert instant.parse(text) is None or isinstance(instant.parse(text), int)


@given(milliseconds)
def test_what_was_written_is_read_again(ms: int) -> None:
    text = instant.format(ms)

    assert len(text) == 24
    assert instant.parse(text) == ms


@given(milliseconds, milliseconds)
def test_written_instants_sort_as_they_follow_each_other(one: int, other: int) -> None:
    assert (instant.format(one) < instant.format(other)) == (one < other)


@given(milliseconds, st.integers(-23 * 60 - 59, 23 * 60 + 59), st.text("0123456789", max_size=9))
def test_an_offset_is_applied_and_digits_past_the_third_are_cut(ms: int, offset_minutes: int, digits: str) -> None:
    local_ms = ms + offset_minutes * 60_000
    if not instant.MS_MIN <= local_ms <= instant.MS_MAX:
        return
    hours, minutes = divmod(abs(offset_minutes), 60)
    text = f"{instant.format(local_ms)[:-1]}{digits}{'-' if offset_minutes < 0 else '+'}{hours:02}:{minutes:02}"

    assert instant.parse(text) == ms


@given(st.datetimes(timezones=st.just(UTC)))
def test_the_standard_library_agrees(moment: datetime) -> None:
    expected = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)

    assert instant.parse(moment.isoformat()) == expected
    assert instant.parse(moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")) == expected


@pytest.mark.parametrize("ms", [instant.MS_MIN - 1, instant.MS_MAX + 1, 10**30])
def test_no_year_outside_of_1_to_9999_is_written(ms: int) -> None:
    with pytest.raises(OverflowError):
        instant.format(ms)
