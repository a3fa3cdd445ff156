"""From the bytes of an answer to a page: the envelope, and the head of each activity. Pure.

An activity goes on as the slice of the body that it was received in; of it only `id`, `type` and `created_at` are read.

Two ways, and both read the same grammar:
- The quick one, msgspec's, for bodies that are as they should be. It leaves each entry unread (`Raw`) and then reads each head.
- The patient one, the standard library's, for what msgspec refuses as a whole although only an entry is odd. JavaScript writes text that was
  cut in the middle of an emoji as half a surrogate pair (`ud83d` without its other half); bytes that are no UTF-8 may stand in one entry among good ones; and
  `data_ref` may name another key than `data`. It also takes what is not quite JSON (`NaN`, a bare line feed in a text), and steps over a value that is nested
  too deeply to be read, so that only the entry that holds it is a dead letter.

What is no page at all is `Undecodable`; what is no activity is a dead letter in its place, so that reading goes on. Duplicate keys: the last one
counts, as in JavaScript. Unknown keys pass, and so does a byte order mark. Invalid UTF-8 outside of the entries makes the page undecodable only where no entry holds any.
"""

import json
import re
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any, NoReturn

import msgspec

from poller import instant
from poller.errors import TooLarge, Undecodable
from poller.model import Activity, ActivityId, DeadLetter, Page, Response

ID_CHARACTERS_MAX = 1024
"""Ids are remembered, and stand in checkpoints and headers: an endless one would spoil them."""

TYPE_CHARACTERS_MAX = 249
"""The type is the record's key. As long as Kafka lets a topic's name be, so that whoever routes by type can; known ones stay below 60."""

CREATED_AT_CHARACTERS_MAX = 64
"""An instant with a fraction of nanoseconds has 35; it stands in a header."""

PAGE_ENTRIES_MAX = 10_000
"""A hundred times what is asked for: whoever sends more is not the API."""

BODY_COMMAS_MAX = 1_000_000
"""Bounds what the decoder may allocate before the entries can be counted; in the largest body that is one comma every eight bytes."""

BODY_BRACKETS_MAX = 1_000_000
"""Lists and objects: bounds how long it takes to find out where each ends that is nested too deeply, as nothing else is done meanwhile. A page
of a hundred activities has some ten thousand.
"""

NESTED_PARTS_MAX = 400_000
"""Brackets and texts that are looked at to find where a value ends that is nested too deeply."""

BLANKS = " \t\n\r"

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class _Envelope(msgspec.Struct, gc=False):
    data: list[msgspec.Raw]


class _Head(msgspec.Struct, gc=False):
    id: str
    type: str
    created_at: str


_envelope = msgspec.json.Decoder(_Envelope)
_head = msgspec.json.Decoder(_Head)


class _NotJson(Exception):
    """The text is not JSON; the argument says where."""


def decode(response: Response) -> Page:
    """The page that the answer holds. Raises `Undecodable`, and nothing else."""
    body = uncrowded(response.body)
    try:
        entries = tuple(_quick(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, _NotJson):
        entries = tuple(_patient(body))
    return Page(entries=entries, quota=response.quota, server_time=response.server_time, body_bytes=len(response.body))


def uncrowded(body: bytes) -> bytes:
    """What may be decoded, without its byte order mark. Raises `TooLarge`."""
    if body.count(b",") > BODY_COMMAS_MAX or body.count(b"[") + body.count(b"{") > BODY_BRACKETS_MAX:
        raise TooLarge("too many values in one body")
    return body.removeprefix(BYTE_ORDER_MARK)


def _quick(body: bytes) -> list[Activity | DeadLetter]:
    if not body.isascii():
        body.decode()  # neither the envelope nor `Raw` checks what it passes over
    data = _envelope.decode(body).data
    _refuse_crowd(len(data))
    return [_entry(bytes(raw)) for raw in data]


def _entry(raw: bytes) -> Activity | DeadLetter:
    try:
        head = _head.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _patient_entry(_value(raw.decode(), 0)[0], raw)
    return _activity(head.id, head.type, head.created_at, raw)


def _activity(id: str, type: str, created_at: str, raw: bytes) -> Activity | DeadLetter:
    created_at_ms = instant.parse(created_at) if len(created_at) <= CREATED_AT_CHARACTERS_MAX else None
    if created_at_ms is None:
        return DeadLetter("created_at is no instant", raw)
    if not 0 < len(id) <= ID_CHARACTERS_MAX:
        return DeadLetter(f"id is empty or longer than {ID_CHARACTERS_MAX} characters", raw, created_at_ms)
    if not 0 < len(type) <= TYPE_CHARACTERS_MAX:
        return DeadLetter(f"type is empty or longer than {TYPE_CHARACTERS_MAX} characters", raw, created_at_ms)
    return Activity(id=ActivityId(id), type=type, created_at=created_at, created_at_ms=created_at_ms, raw=raw)


# ------------------------------------------------------------------------------------------------------------ the patient way


def _patient(body: bytes) -> list[Activity | DeadLetter]:
    # Each byte that is no UTF-8 becomes one lone surrogate, and the same byte again on the way back.
    text = body.decode(errors="surrogateescape")
    try:
        entries = [_patient_entry(value, raw) for value, raw in _slices(text, *_data(text))]
    except _NotJson as error:
        raise Undecodable(str(error)) from None
    _refuse_crowd(len(entries))
    if not _is_utf8(body) and not any(_is_broken(entry) for entry in entries):
        raise Undecodable("not UTF-8")
    return entries


def _patient_entry(value: object, raw: bytes) -> Activity | DeadLetter:
    entry = _judged(value, raw)
    fault = _fault(raw)
    return entry if fault is None else DeadLetter(fault, raw, entry.created_at_ms)


def _fault(raw: bytes) -> str | None:
    """Why no ordinary parser would take it."""
    try:
        _strict.decode(raw.decode())
    except UnicodeDecodeError:
        return "not UTF-8"
    except ValueError:
        return "not JSON"
    except RecursionError:
        return "nested too deeply"
    return None


def _judged(value: object, raw: bytes) -> Activity | DeadLetter:
    """An entry of which all is known: an activity, or what is wrong with it."""
    if not isinstance(value, dict):
        return DeadLetter("not an object", raw)
    created_at = value.get("created_at")
    created_at_ms = instant.parse(created_at) if isinstance(created_at, str) else None
    for name in ("id", "type", "created_at"):
        fault = _text_fault(value.get(name))
        if fault is not None:
            return DeadLetter(f"{name} is {fault}", raw, created_at_ms)
    return _activity(value["id"], value["type"], value["created_at"], raw)


def _text_fault(value: object) -> str | None:
    if value is None:
        return "missing"
    if not isinstance(value, str):
        return "not text"
    return None if _is_encodable(value) else "no text that can be encoded"


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_broken(entry: Activity | DeadLetter) -> bool:
    return not _is_utf8(entry.raw)


def _refuse_crowd(entries: int) -> None:
    if entries > PAGE_ENTRIES_MAX:
        raise Undecodable(f"more than {PAGE_ENTRIES_MAX} entries in one page")


# ------------------------------------------------------------------------- JSON, one level at a time, to know where a value ends


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and Infinity are Python's, not JSON's


def _some_number(_digits: str) -> int:
    return 0  # no number is looked at, and reading a very long one is refused


_strict = json.JSONDecoder(parse_constant=_no_constant, parse_int=_some_number, parse_float=_some_number)
_lenient = json.JSONDecoder(parse_int=_some_number, parse_float=_some_number, strict=False)

BRACKET_OR_TEXT = re.compile(r'[\[\]{}]|"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
"""Of a text without an end, all that there is: to look at each of its characters anew would take for ever."""


def _data(text: str) -> tuple[int, int]:
    """Where the list of activities begins and ends: `data`, or what `data_ref` names instead. Raises `_NotJson`, `Undecodable`."""
    start = _skip(text, 0)
    if text[start : start + 1] != "{":
        raise Undecodable("not a JSON object")
    places: dict[str, tuple[int, int]] = {}
    values: dict[str, Any] = {}
    end = _walk_object(text, start, places, values)
    if _skip(text, end) != len(text):
        raise _NotJson("more after the object")
    name = "data" if "data" in values else values.get("data_ref")
    if not isinstance(name, str) or not isinstance(values.get(name), list):
        raise Undecodable("no list of activities")
    return places[name]


def _walk_object(text: str, at: int, places: dict[str, tuple[int, int]], values: dict[str, Any]) -> int:
    """Notes where each member's value stands, the last of a name counting; returns where the object ends."""
    at = _skip(text, at + 1)
    if text[at : at + 1] == "}":
        return at + 1
    while True:
        if text[at : at + 1] != '"':
            raise _NotJson(f"a key is missing at character {at}")
        name, at = _string(text, at)
        start = _skip(text, _expect(text, _skip(text, at), ":"))
        values[name], end = _value(text, start)
        places[name] = (start, end)
        at = _skip(text, end)
        if text[at : at + 1] == "}":
            return at + 1
        at = _skip(text, _expect(text, at, ","))


def _slices(text: str, start: int, end: int) -> list[tuple[object, bytes]]:
    """Each entry of the list between the two places: its value, and its bytes as received."""
    entries: list[tuple[object, bytes]] = []
    at = _skip(text, start + 1)
    while at < end - 1:
        value, after = _value(text, at)
        entries.append((value, text[at:after].encode(errors="surrogateescape")))
        at = _skip(text, after)
        at = _skip(text, at + 1) if text[at] == "," else end
    return entries


def _value(text: str, at: int) -> tuple[object, int]:
    """The value that begins here, and where it ends; an empty one for what is nested too deeply to be read."""
    try:
        return _lenient.raw_decode(text, at)
    except ValueError:
        raise _NotJson(f"not JSON from character {at} on") from None
    except RecursionError:
        return ([] if text[at] == "[" else {}), _end_of_nested(text, at)


def _end_of_nested(text: str, at: int) -> int:
    """Where this list or object ends, by its brackets alone."""
    depth = 0
    for count, found in enumerate(BRACKET_OR_TEXT.finditer(text, at)):
        if count > NESTED_PARTS_MAX:
            raise Undecodable("too many values in one body")
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found.group(), 0)
        if depth == 0:
            return found.end()
    raise _NotJson(f"not JSON from character {at} on")


def _string(text: str, at: int) -> tuple[str, int]:
    try:
        string: tuple[str, int] = scanstring(text, at + 1, False)
    except ValueError:
        raise _NotJson(f"not JSON from character {at} on") from None
    return string


def _skip(text: str, at: int) -> int:
    while text[at : at + 1] in BLANKS and at < len(text):
        at += 1
    return at


def _expect(text: str, at: int, wanted: str) -> int:
    if text[at : at + 1] != wanted:
        raise _NotJson(f"`{wanted}` is missing at character {at}")
    return at + 1
