"""Customer ids in what is logged, hashed where that is asked for: source ids can be e-mail addresses.

A field that holds an id shows its hash; of any other text the ids of the same line are taken out, however they are quoted, and whatever looks like a
customer's id: e-mail addresses, Voucherify's own ids (`cust_…`), and the keys of records, as they stand in errors about them.
"""

import ast
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal
from urllib.parse import quote, unquote

Shown = Literal["plain", "hashed"]

DIGITS = 12
"""Of the hash, in hexadecimal: of a million customers hardly two have the same."""

OF_CUSTOMERS = {"customer", "other", "first", "customers"}
"""Fields that hold ids; numbers among them are none."""

_OWNERSHIP_KEY = "\townership"
_QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_keys = re.compile(rf"(?<!\w)b(?:{_QUOTED})")
_named = re.compile(rf"(cannot be asked for: |names )({_QUOTED})")
_like_ids = re.compile(r"""\bcust_[A-Za-z0-9]+|[^\s'"<>/,;:()=?&\\]+(?:@|%40)[^\s'"<>/,;:()=?&\\]*[A-Za-z0-9]""")


def hashed(id: str) -> str:
    """As `printf %s "$id" | sha256sum` has it, its first digits."""
    return f"sha256:{hashlib.sha256(id.encode(errors='surrogatepass')).hexdigest()[:DIGITS]}"


def without_ids(text: str, ids: Iterable[str] = ()) -> str:
    """The text with these ids hashed, and whatever looks like one."""
    for id in sorted(ids, key=len, reverse=True):
        for form in sorted({id, quote(id), quote(id, safe=""), repr(id)[1:-1], json.dumps(id)[1:-1]}, key=len, reverse=True):
            text = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", hashed(id), text)
    text = _keys.sub(_of_key, text)
    text = _named.sub(lambda found: found[1] + _of_quoted(found[2]), text)
    return _like_ids.sub(lambda found: hashed(unquote(found[0])), text)


def fields_without_ids(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a line, likewise."""
    ids = [id for name, value in fields.items() if name in OF_CUSTOMERS for id in _ids_in(value)]
    return {name: _of_customers(value) if name in OF_CUSTOMERS else _without(value, ids) for name, value in fields.items()}


def _ids_in(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [id for id in value if isinstance(id, str)] if isinstance(value, list | tuple) else []


def _of_customers(value: Any) -> Any:
    ids = _ids_in(value)
    return [hashed(id) for id in ids] if isinstance(value, list | tuple) else hashed(value) if ids else value


def _without(value: Any, ids: list[str]) -> Any:
    match value:
        case str():
            return without_ids(value, ids)
        case BaseException():
            return without_ids(f"{type(value).__name__}: {value}", ids)
        case Mapping():  # by the keys of records
            keys = [str(key) for key in value]
            return {hashed(str(key)): _without(part, [*ids, *keys]) for key, part in value.items()}
        case list() | tuple():
            return [_without(part, ids) for part in value]
        case _:
            return value


def _of_key(found: "re.Match[str]") -> str:
    key = ast.literal_eval(found[0]).decode(errors="surrogateescape")
    return found[0] if key == _OWNERSHIP_KEY else hashed(key)


def _of_quoted(text: str) -> str:
    try:
        return hashed(ast.literal_eval(text))
    except (ValueError, SyntaxError):
        return hashed(text[1:-1])
