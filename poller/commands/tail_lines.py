"""One record as a line: JSON for programs, readable for people. Pure; nothing in a line can command a terminal."""

import base64
import json
from typing import Any, NoReturn

import msgspec

from poller.kafka.record import to_instant
from poller.terminal import json_escaped, printable

PREVIEW_CHARACTERS = 200


class Shown(msgspec.Struct, frozen=True):
    """A record as Kafka holds it."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()

    def header(self, name: str) -> str:
        return next((_text(value) or "" for key, value in self.headers if key == name), "")


def json_line(record: Shown, *, for_terminal: bool = False) -> bytes:
    """One JSON object without its line end. The value stands in it as it is where it is JSON, byte for byte but for line ends; else as base64.

    Control characters that JSON allows unescaped are escaped for a terminal.
    """
    fields: dict[str, Any] = {
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp_ms,
        "key": _text(record.key),
        "headers": {key: _text(value) for key, value in record.headers},
        **_value(record.value),
    }
    line = msgspec.json.encode(fields)
    return json_escaped(line.decode()).encode() if for_terminal else line


def _value(value: bytes | None) -> dict[str, Any]:
    if value is None:
        return {"value": None}
    if is_json(value):
        # Outside of strings a line end is white space; inside it would not be JSON.
        return {"value": msgspec.Raw(value.strip().replace(b"\r", b" ").replace(b"\n", b" "))}
    return {"value": None, "value_base64": base64.b64encode(value).decode()}


def is_json(value: bytes) -> bool:
    r"""By its grammar alone: half a surrogate pair (`"\ud83d"`) is well-formed, and msgspec refuses it."""
    try:
        msgspec.json.decode(value)
    except RecursionError:
        return False
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _is_json_for_python(value)
    return True


def _is_json_for_python(value: bytes) -> bool:
    try:
        json.loads(value.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def readable_line(record: Shown) -> tuple[str, str, str]:
    """When, what and whose it is; where it stands; the beginning of its value."""
    when = record.header("ce_time") or str(to_instant(record.timestamp_ms))
    head = "  ".join(part for part in (when, _text(record.key) or "(no key)", record.header("ce_subject"), record.header("ce_id")) if part)
    value = "(null)" if record.value is None else record.value[: 4 * PREVIEW_CHARACTERS].decode(errors="replace")
    preview = value if len(value) <= PREVIEW_CHARACTERS else value[:PREVIEW_CHARACTERS] + "…"
    return printable(head), f"{record.partition}@{record.offset}", printable(preview)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="replace")
