"""Instants of the API: text on one side, whole milliseconds since the Unix epoch on the other, rounded down.

`parse` never raises: what is no instant is `None`. It takes RFC 3339 and what services make of it: `T`, `t` or a space between date and
time; any number of digits of a second's fraction; `Z`, `±HH:MM`, `±HHMM`, `±HH`, or no offset at all (UTC). Years 1 to 9999, before and
after the offset is applied. A leap second (`:60`) is the first second of the next minute, as POSIX time counts it.
"""

import re
from datetime import datetime, timedelta

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - UTC throughout; naive values are twice as fast
EPOCH_UTC = datetime.fromisoformat("1970-01-01T00:00:00Z")
MILLISECOND = timedelta(milliseconds=1)
MS_MIN = (datetime.min - EPOCH) // MILLISECOND  # noqa: DTZ901 - as above
MS_MAX = (datetime.max - EPOCH) // MILLISECOND  # noqa: DTZ901 - as above

PATTERN = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:[.,]([0-9]+))?(?:[Zz]|([+-])([0-9]{2}):?([0-9]{2})?)?",
)


def parse(text: str) -> int | None:
    """Milliseconds since the epoch, rounded down; `None` for what is no instant."""
    # The form of every sample that was seen. The slices hold off the other forms of 24 characters that the library takes (week dates).
    if len(text) == 24 and text[4:8:3] == "--" and text[10:20:3] == "T::." and text[23] == "Z":
        try:
            return (datetime.fromisoformat(text) - EPOCH_UTC) // MILLISECOND
        except ValueError:
            pass  # a leap second, or no instant at all
    return _parse_any(text)


def _parse_any(text: str) -> int | None:
    match = PATTERN.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, sign, offset_hours, offset_minutes = match.groups()
    minutes = int(offset_hours or 0) * 60 + int(offset_minutes or 0)
    if int(second) > 60 or int(offset_hours or 0) > 23 or int(offset_minutes or 0) > 59:
        return None
    try:
        whole = datetime(int(year), int(month), int(day), int(hour), int(minute))  # noqa: DTZ001 - the offset is applied below
    except ValueError:
        return None
    ms = (whole - EPOCH) // MILLISECOND + int(second) * 1000 + int(f"{fraction or '':0<3.3}")
    ms += minutes * 60_000 if sign == "-" else -minutes * 60_000
    return ms if MS_MIN <= ms <= MS_MAX else None


def format(ms: int) -> str:
    """`YYYY-MM-DDTHH:MM:SS.mmmZ`: the form that is sent and stored. Raises `OverflowError` outside of the years 1 to 9999."""
    return (EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds") + "Z"
