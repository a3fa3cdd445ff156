"""How one setting is declared and how its text becomes a value; `config.py` has the settings themselves."""

import re
import types
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo

import msgspec

from poller.secret import Secret

PREFIX = "POLLER_"


class ProxyUrl(str):
    """A URL that may hold a password: usable as it is, shown without it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(masked(self))


def masked(text: str) -> str:
    """The text without what may be a user and a password in a URL."""
    return re.sub(r"((?:^|,)\s*(?:\w+://)?)[^,]*@", r"\1***@", text)


class Meta(msgspec.Struct, frozen=True):
    """What a setting's declaration says beside its type and default."""

    says: str
    unit: str
    ge: float | None
    gt: float | None
    le: float | None
    parse: Callable[[str], Any] | None
    shown: str
    private: bool


def setting(  # noqa: PLR0913  # what a declaration may say, all but the first by name
    says: str,
    *,
    unit: str = "",
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    parse: Callable[[str], Any] | None = None,
    shown: str = "",
    private: bool = False,
) -> Meta:
    """`says` is its help. `parse` raises `ValueError` with what is wrong, in words that follow a colon. `shown` stands for a default that is worked out.

    A private value stays out of messages; a number has a bound on both sides.
    """
    return Meta(says, unit, ge, gt, le, parse, shown, private)


class Declared(msgspec.Struct, frozen=True):
    """One setting, as its declaration says it."""

    variable: str
    group: str
    field: str
    type: Any
    meta: Meta
    default: Any
    """`msgspec.NODEFAULT` where a value is required."""

    @property
    def secret(self) -> bool:
        """Whether it can be given as a file too, and its value is never shown."""
        return self.type is Secret

    @property
    def required(self) -> bool:
        return self.default is msgspec.NODEFAULT

    @property
    def shown_default(self) -> str:
        """The default as an operator would write it; empty where there is none."""
        if self.meta.shown or self.required or self.default in (None, ()):
            return self.meta.shown
        return number(self.default) if isinstance(self.default, float) else str(self.default)

    @property
    def expected(self) -> str:
        """What a value has to be, in words; empty where only the parser can say."""
        if get_origin(self.type) is Literal:
            return " or ".join(f"`{choice}`" for choice in get_args(self.type))
        if self.type in (int, float):
            return self._expected_number()
        return ""

    def _expected_number(self) -> str:
        kind = "a whole number" if self.type is int else "a number"
        of = f" of {self.meta.unit}" if self.meta.unit else ""
        low = f"from {number(self.meta.ge)}" if self.meta.ge is not None else f"above {number(self.meta.gt or 0)} and up"
        return f"{kind}{of} {low} to {number(self.meta.le or 0)}"

    def convert(self, text: str) -> Any:
        """The value that a text stands for. Raises `ValueError` with what is wrong."""
        if self.secret:
            return Secret(text, check=self._check)
        if self.meta.parse is not None:
            return self.meta.parse(text)
        if self.type is Path:
            return to_readable_file(text)
        return self._convert_plain(text)

    def convert_file(self, text: str) -> Secret:
        """The secret in the file that a text names. Raises `ValueError`, `OSError`."""
        return Secret.from_file(Path(text), check=self._check)

    @property
    def _check(self) -> Callable[[str], str]:
        assert self.meta.parse is not None, "a secret says what it may be"
        return self.meta.parse

    def _convert_plain(self, text: str) -> Any:
        choices = {choice.casefold(): choice for choice in get_args(self.type)} if get_origin(self.type) is Literal else {}
        try:
            value = msgspec.convert(choices.get(text.casefold(), text), self.type, strict=False)
        except msgspec.ValidationError:
            raise ValueError(f"should be {self.expected}") from None
        if isinstance(value, int | float) and not self._within(value):
            raise ValueError(f"should be {self.expected}")
        return value

    def _within(self, value: float) -> bool:
        """False for what is no number, too."""
        assert self.meta.le is not None
        assert (self.meta.ge is None) != (self.meta.gt is None)
        above = value >= self.meta.ge if self.meta.ge is not None else value > (self.meta.gt or 0)
        return above and value <= self.meta.le


def declared(struct: type[msgspec.Struct], prefix: str, group: str = "") -> tuple[Declared, ...]:
    """The settings that a struct declares, in their order."""
    hints = get_type_hints(struct, include_extras=True)
    found = []
    for field in msgspec.structs.fields(struct):
        annotated = _annotated(hints[field.name])
        if annotated is not None:
            type_, meta = get_args(annotated)
            found.append(Declared(prefix + field.name.upper(), group, field.name, type_, meta, field.default))
    return tuple(found)


def _annotated(hint: Any) -> Any:
    """The `Annotated[…]` of `Annotated[…]` or `Annotated[…] | None`; none where a field is no setting."""
    if get_origin(hint) in (Union, types.UnionType):
        return next((part for part in get_args(hint) if get_origin(part) is Annotated), None)
    return hint if get_origin(hint) is Annotated else None


def number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else str(value)


# What a text may stand for. Each returns the value, and raises ValueError with what is wrong.


def to_readable_file(text: str) -> Path:
    path = Path(text)
    try:
        with path.open("rb"):
            return path
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror}): mount the file, or correct the path") from error


def to_base_url(text: str) -> str:
    """The URL without its last slash."""
    url = _http_url(text)
    if "@" in url.netloc:
        raise ValueError("should hold no user or password: set POLLER_VOUCHERIFY_APP_ID and POLLER_VOUCHERIFY_APP_TOKEN instead")
    if url.query or url.fragment or "?" in text or "#" in text:
        raise ValueError("should hold no query and no fragment")
    if url.path.rstrip("/").endswith("/v1"):
        raise ValueError("should end before /v1")
    return text.rstrip("/")


def to_proxy_url(text: str) -> ProxyUrl:
    _http_url(text)
    return ProxyUrl(text)


def _http_url(text: str) -> SplitResult:
    wrong = "should be a URL such as https://api.voucherify.io"
    try:
        url = urlsplit(text)
        usable = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        raise ValueError(wrong) from None
    if not usable or not _printable_ascii(text) or "\\" in text:
        raise ValueError(wrong)
    return url


def to_credential(text: str) -> str:
    """What can stand in a header."""
    if not text or not _printable_ascii(text):
        raise ValueError("should be visible ASCII characters without spaces: copy it again")
    return text


TOKEN_CHARACTERS_MIN = 16
"""As many tries as a server can answer do not find a longer one."""


def to_token(text: str) -> str:
    """A credential of ours, which anybody who reaches us may guess at."""
    if len(to_credential(text)) < TOKEN_CHARACTERS_MIN:
        raise ValueError(f"should have at least {TOKEN_CHARACTERS_MIN} characters, such as `openssl rand -hex 32` makes")
    return text


def to_password(text: str) -> str:
    if not text or not text.isprintable():
        raise ValueError("should hold no control characters")
    return text


def _printable_ascii(text: str) -> bool:
    return all("!" <= character <= "~" for character in text)


def to_host(text: str) -> str:
    if not _printable_ascii(text) or any(character in text for character in "/,@"):
        raise ValueError("should be a host name or an address, such as 127.0.0.1 or 0.0.0.0")
    return text


_SERVER = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")


def to_servers(text: str) -> str:
    """`host:port,host:port`, without spaces."""
    parts = [part.strip() for part in text.split(",")]
    for part in parts:
        match = _SERVER.fullmatch(part)
        if match is None or not 0 < int(match[1]) < 65536:
            raise ValueError("should be host:port, several separated by commas, such as kafka-0:9092,kafka-1:9092")
    return ",".join(parts)


def to_kafka_name(text: str) -> str:
    """A topic's name, or a group's."""
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", text) or text in (".", ".."):
        raise ValueError("should be 1 to 249 letters, digits, `.`, `_` and `-`")
    return text


def to_application_id(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,200}", text) or text in (".", ".."):
        raise ValueError("should be 1 to 200 letters, digits, `.`, `_` and `-`")
    return text


def to_time_zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except Exception as error:  # ZoneInfo raises ValueError, OSError and KeyError, as the name is odd
        raise ValueError("is no time zone that is known here: give a name such as UTC or Europe/Warsaw") from error
    return text


def to_user_name(text: str) -> str:
    if not text.isprintable():
        raise ValueError("should hold no control characters")
    return text


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_start(text: str) -> str | int:
    """`now`, `earliest`, or an instant in whole milliseconds since the epoch, rounded down."""
    if text.casefold() in ("now", "earliest"):
        return text.casefold()
    wanted = "should be `now`, `earliest`, or a date-time with its zone, such as 2026-01-31T00:00:00Z"
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(wanted) from None
    if instant.tzinfo is None:
        raise ValueError(f"{wanted}; this one has no zone")
    if instant < _EPOCH:
        raise ValueError(f"{wanted}; this one is before 1970: use `earliest`")
    return (instant - _EPOCH) // timedelta(milliseconds=1)
