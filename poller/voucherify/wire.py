"""From the bytes of an answer to a page: the envelope, and the head of each activity. Pure.

An activity goes on as the slice of the body that it was received in; of it only `id`, `type` and `created_at` are read.

Two ways, and both read the same grammar:
- The quick one, msgspec's, for bodies that are as they should be. It leaves each entry unread (`Raw`) and then reads each head.
- The patient one, the standard library's, for what msgspec refuses as a whole although only an entry is odd. JavaScript writes text that was
  cut in the middle of an emoji as half a surrogate pair (`ud83d` without its other half); bytes that are no UTF-8 may stand in one entry among good ones; and
  `data_ref` may name another key than `data`.

What is no page at all is `Undecodable`; what is no activity is a dead letter in its place, so that reading goes on. Duplicate keys: the last one
counts, as in JavaScript. Unknown keys pass. Invalid UTF-8 outside of the entries makes the page undecodable only where no entry holds any.
"""

import json
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any, NoReturn

import msgspec

from poller import instant
from poller.errors import Undecodable
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

BLANKS = " \t\n\r"


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
    body = response.body
    if body.count(b",") > BODY_COMMAS_MAX:
        raise Undecodable("too many values in one body")
    try:
        entries = tuple(_quick(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, _NotJson):
        entries = tuple(_patient(body))
    return Page(entries=entries, quota=response.quota, server_time=response.server_time, body_bytes=len(body))


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
        return _judged(_value(raw.decode(), 0)[0], raw)
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
    except RecursionError:
        raise Undecodable("nested too deeply") from None
    _refuse_crowd(len(entries))
    if not _is_utf8(body) and not any(_is_broken(entry) for entry in entries):
        raise Undecodable("not UTF-8")
    return entries


def _patient_entry(value: object, raw: bytes) -> Activity | DeadLetter:
    entry = _judged(value, raw)
    if _is_utf8(raw):
        return entry
    return DeadLetter("not UTF-8", raw, entry.created_at_ms)


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


_scan = json.JSONDecoder(parse_constant=_no_constant, parse_int=_some_number, parse_float=_some_number).raw_decode


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
    try:
        return _scan(text, at)
    except ValueError:
        raise _NotJson(f"not JSON from character {at} on") from None


def _string(text: str, at: int) -> tuple[str, int]:
    try:
        string: tuple[str, int] = scanstring(text, at + 1, True)
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
