"""The watch entry as JSON: a value of the watch topic, and with the customer's `id` a line of a file.

What `encode` writes, `decode` reads as the same entry, and equal entries are the same bytes. What is not known is refused where somebody enters it, as
it is likely a mistake, and passed over where it is read: a later version, or another program, may have written it.
"""

import difflib
import re
import unicodedata
from functools import lru_cache
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from poller import instant
from poller.customer_id import ID_CHARACTERS_MAX, refusal
from poller.model import PLAIN, CustomerId, Rewind, WatchEntry

VALUE_BYTES_MAX = 16 * 1024
"""No good entry needs so many, however it is escaped."""

TEXT_CHARACTERS_MAX = 200
INSTANT_CHARACTERS_MAX = 64
HEADERS_MAX = 8
HEADER_VALUE_BYTES_MAX = 256
WEIGHT_MIN, WEIGHT_MAX = 0.01, 100.0

HEADER_NAME = "^(?!(?:[Cc][Ee]_|[Cc][Oo][Nn][Tt][Ee][Nn][Tt]-[Tt][Yy][Pp][Ee]$|[Rr][Ee][Pp][Ll][Aa][Yy]$))[A-Za-z0-9._-]{1,64}$"
"""As the schema has it, for readers of other languages too: these know no `(?i:…)`."""

BEFORE_1970 = {"start": ": use `earliest`", "replay.from": ", which is before anything"}

REPLAY = "The last rewind that was ordered, whether it is carried out yet or not."
REPLAY_ID = "^[A-Za-z0-9._-]{1,64}$"

ENTRIES_KNOWN_MAX = 256
"""Values that are decoded once, however many customers have the same."""

_header_name = re.compile(HEADER_NAME)
_replay_id = re.compile(REPLAY_ID)
_zone = re.compile(r"(?:[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)$")
_DATE_TIME = "a date-time with its zone, such as 2026-01-31T00:00:00Z"

Text = Annotated[str, Meta(min_length=1, max_length=TEXT_CHARACTERS_MAX)]
HeaderName = Annotated[str, Meta(extra_json_schema={"pattern": HEADER_NAME})]
HeaderValue = Annotated[str, Meta(max_length=HEADER_VALUE_BYTES_MAX)]


class WrittenReplay(msgspec.Struct, frozen=True, rename={"origin": "from"}):
    """What was created from an instant on is published again, each record with the header `replay`."""

    # fmt: off
    id: Annotated[str, Meta(description="The value of the header. The last one that was carried out is remembered, and not carried out again.", extra_json_schema={"pattern": REPLAY_ID})]
    origin: Annotated[str, Meta(max_length=INSTANT_CHARACTERS_MAX, description="A date-time with its zone.", extra_json_schema={"format": "date-time"})]
    missing_only: Annotated[bool, Meta(description="What stands in the activities topic, as far as its retention reaches, is not published again.")] = False
    # fmt: on


class EnteredReplay(WrittenReplay, frozen=True, forbid_unknown_fields=True):
    """What was created from an instant on is published again, each record with the header `replay`."""


class Written(msgspec.Struct, frozen=True):
    """The fields as they are written; whatever is left out is as for everybody."""

    # fmt: off
    start: Annotated[str, Meta(max_length=INSTANT_CHARACTERS_MAX, description="Where it begins, in place of POLLER_START, while it has no checkpoint: `now`, `earliest` (all that there is), or a date-time with its zone.", extra_json_schema={"anyOf": [{"enum": ["now", "earliest"]}, {"format": "date-time"}]})] | None = None
    until: Annotated[str, Meta(max_length=INSTANT_CHARACTERS_MAX, description="A date-time with its zone. What was created at or after it is not published, and once everything before is, the customer is no longer read.", extra_json_schema={"format": "date-time"})] | None = None
    weight: Annotated[float, Meta(ge=WEIGHT_MIN, le=WEIGHT_MAX, description="How many others' activities one of its own counts for, when calls are divided.")] = 1.0
    paused: Annotated[bool, Meta(description="It is not read for now; what happens meanwhile is published once it is resumed.")] = False
    campaign_type: Annotated[Text, Meta(description="Only activities that the API gives for this type of campaign.")] | None = None
    campaign_id: Annotated[Text, Meta(description="Only activities that the API gives for this campaign.")] | None = None
    product_id: Annotated[Text, Meta(description="Only activities that the API gives for this product.")] | None = None
    headers: Annotated[dict[HeaderName, HeaderValue], Meta(max_length=HEADERS_MAX, description="Copied to its records, beside the headers that each record has; such as a tenant.")] = {}
    replay: WrittenReplay | None = None
    forget: Annotated[bool, Meta(description="It is not read, and its checkpoint is removed: see `poller forget`. Then `start` is when that was asked for.")] = False
    found: Annotated[Text, Meta(description="Written by pollers with POLLER_WATCH=all: nobody named the customer, it was found in the project. Counts where no other source names it, and with that setting only.")] | None = None
    # fmt: on


class WatchValue(Written, frozen=True, forbid_unknown_fields=True):
    """How one customer is to be watched: a value of the watch topic, whose key is the customer's id. A null value: it is watched no longer."""

    replay: Annotated[EnteredReplay | None, Meta(description=REPLAY)] = None


class WatchLine(Written, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One line of a file: how one customer is to be watched."""

    id: Annotated[
        str, Meta(min_length=1, max_length=ID_CHARACTERS_MAX, description="The customer's Voucherify id (`cust_…`) or its source id.")
    ]
    replay: Annotated[EnteredReplay | None, Meta(description=REPLAY)] = None


_read, _entered, _line = (msgspec.json.Decoder(type) for type in (Written, WatchValue, WatchLine))


@lru_cache(ENTRIES_KNOWN_MAX)
def decode(value: bytes, strict: bool) -> WatchEntry:
    """What the value says. `strict`: as somebody enters it, so what is not known or not clear is refused. Raises `ValueError` with what to do."""
    return _entry(_decoded(_entered if strict else _read, value), strict)


def decode_line(line: bytes) -> tuple[CustomerId, WatchEntry]:
    """Whom a line of a file names, and how. Raises `ValueError` with what to do."""
    written: WatchLine = _decoded(_line, line)
    return to_customer(written.id), _entry(written, True)


def to_customer(id: str) -> CustomerId:
    """Raises `ValueError` where nobody can be asked for by this id."""
    if id.isascii() and id.isprintable() and 2 < len(id) <= ID_CHARACTERS_MAX:
        return CustomerId(id)  # nearly all, and at once
    refused = refusal(id)
    if refused is not None:
        raise ValueError(f"names a customer that cannot be asked for: {id[:100]!r} ({refused})")
    return CustomerId(id)


def prevails(entry: WatchEntry, before: WatchEntry | None) -> bool:
    """Whether a record of the topic takes the place of the one before it (`None`: none, or a null value): that somebody was found says less than what
    anybody has said of them, even if it comes later.
    """
    return entry.found is None or before is None or before.found is not None


def fields(entry: WatchEntry) -> dict[str, Any]:
    """What is written of it, in the order of the schema: defaults are left out."""
    of_all = {
        "start": instant.format(entry.start) if isinstance(entry.start, int) else entry.start,
        "until": None if entry.until_ms is None else instant.format(entry.until_ms),
        "weight": None if entry.weight == 1 else int(entry.weight) if entry.weight == int(entry.weight) else entry.weight,
        "paused": entry.paused or None,
        "campaign_type": entry.campaign_type,
        "campaign_id": entry.campaign_id,
        "product_id": entry.product_id,
        "headers": dict(sorted(entry.headers)) or None,
        "replay": None if entry.replay is None else _replay_fields(entry.replay),
        "forget": entry.forget or None,
        "found": entry.found,
    }
    return {name: value for name, value in of_all.items() if value is not None}


def _replay_fields(rewind: Rewind) -> dict[str, Any]:
    return {"id": rewind.id, "from": instant.format(rewind.from_ms), **({"missing_only": True} if rewind.missing_only else {})}


def encode(entry: WatchEntry) -> bytes:
    """A value of the watch topic."""
    return msgspec.json.encode(fields(entry))


def encode_line(customer: CustomerId, entry: WatchEntry) -> bytes:
    """A line of a file, without its end."""
    return msgspec.json.encode({"id": customer, **fields(entry)})


# -------------------------------------------------------------------------------------------------------------------- reading


def _decoded(decoder: "msgspec.json.Decoder[Any]", value: bytes) -> Any:
    if len(value) > VALUE_BYTES_MAX:
        raise ValueError(f"is longer than {VALUE_BYTES_MAX} bytes")
    try:
        return decoder.decode(value)
    except msgspec.ValidationError as error:
        raise ValueError(_explained(str(error), decoder.type.__struct_fields__)) from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f'is not JSON such as {{}} or {{"weight":2}} ({error})') from None


def _explained(said: str, known: tuple[str, ...]) -> str:
    """What msgspec said, the field first; a name that is not known with the nearest that is."""
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", said, re.DOTALL)
    if unknown is not None:
        name, inside, where = unknown[1].partition("` - at `$.")
        if inside:
            return f"{where}: has no field {name[:100]!r}"
        near = difflib.get_close_matches(unknown[1][:100], known, n=1, cutoff=0.5)
        return f"has no field {unknown[1][:100]!r}: " + (f"did you mean `{near[0]}`?" if near else f"there are {', '.join(known)}")
    what, _, where = said.partition(" - at `$")
    field = where.strip("`").removeprefix(".").removesuffix("[...]")
    return f"{field}: {_begun_small(what)}" if field else _begun_small(what)


def _begun_small(text: str) -> str:
    return text[:1].lower() + text[1:]


def _entry(written: Written, strict: bool) -> WatchEntry:
    entry = WatchEntry(
        start=_start(written.start, strict),
        until_ms=None if written.until is None else _instant("until", written.until, strict),
        weight=written.weight,
        paused=written.paused,
        campaign_type=_text("campaign_type", written.campaign_type),
        campaign_id=_text("campaign_id", written.campaign_id),
        product_id=_text("product_id", written.product_id),
        headers=_headers(written.headers),
        replay=None if written.replay is None else _rewind(written.replay, strict),
        forget=written.forget,
        found=_text("found", written.found),
    )
    if strict and isinstance(entry.start, int) and entry.until_ms is not None and entry.until_ms <= entry.start:
        raise ValueError("until: lies not after start, so nothing would be published")
    return PLAIN if entry == PLAIN else entry


def _start(text: str | None, strict: bool) -> Any:
    return text if text in (None, "now", "earliest") else _instant("start", text, strict)


def _instant(field: str, text: str, strict: bool) -> int:
    """Without a zone it is UTC, where it is read."""
    words = "`now`, `earliest`, or " if field == "start" else ""
    ms = instant.parse(text)
    if ms is None or (strict and _zone.search(text, 19) is None):
        raise ValueError(f"{field}: should be {words}{_DATE_TIME}, not {text!r}")
    if ms < 0:
        raise ValueError(f"{field}: lies before 1970{BEFORE_1970.get(field, ', so nothing would be published')}")
    return ms


def _rewind(written: WrittenReplay, strict: bool) -> Rewind:
    if _replay_id.fullmatch(written.id) is None:
        raise ValueError(f"replay: {written.id[:100]!r} cannot be its id: 1 to 64 letters, digits, `.`, `_` and `-` can")
    return Rewind(written.id, _instant("replay.from", written.origin, strict), written.missing_only)


def _text(field: str, text: str | None) -> str | None:
    if text is not None and _controls(text):
        raise ValueError(f"{field}: holds control characters")
    return text


def _headers(given: dict[str, str]) -> tuple[tuple[str, str], ...]:
    for name, value in given.items():
        if _header_name.fullmatch(name) is None:
            raise ValueError(
                f"headers: {name[:100]!r} cannot be a name: 1 to 64 letters, digits, `.`, `_` and `-` can, but for "
                "`content-type`, `replay`, and what begins with `ce_`"
            )
        if len(value.encode()) > HEADER_VALUE_BYTES_MAX:
            raise ValueError(f"headers: the value of {name!r} is longer than {HEADER_VALUE_BYTES_MAX} bytes")
        if _controls(value):
            raise ValueError(f"headers: the value of {name!r} holds control characters")
    return tuple(sorted(given.items()))


def _controls(text: str) -> bool:
    return not text.isprintable() and any(unicodedata.category(character) == "Cc" for character in text)


# --------------------------------------------------------------------------------------------------------------------- schema


def schema() -> dict[str, Any]:
    """The JSON Schema of what may be entered: of a value, and as `#/$defs/WatchLine` of a line of a file."""
    _, components = msgspec.json.schema_components([WatchValue, WatchLine], ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Watch entry",
        "$ref": "#/$defs/WatchValue",
        "$defs": components,
    }
