"""How log lines look, and where they go.

`configure` is called once, by the command that runs the program. Everything ends in one handler: our own events and the records of
libraries, rendered alike, with secrets taken out twice: by type (`Secret`), and by value, since a library's error may quote what it was given.
"""

import json
import logging
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TextIO

import structlog

from poller.hashed import Shown, without_ids
from poller.secret import Secret
from poller.setting import ProxyUrl, masked
from poller.telemetry import Logger
from poller.terminal import printable_lines

LogFormat = Literal["json", "console"]
LEVELS: Mapping[str, int] = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
LIBRARIES = (
    "aiokafka",
    "anyio",
    "asyncio",
    "concurrent",
    "httpcore",
    "httpx",
    "kafka",
    "py.warnings",
    "starlette",
    "uvicorn",
    "uvicorn.error",
)
TEXT_CHARACTERS_MAX = 4000
SECRET_CHARACTERS_MIN = 6
"""Shorter ones would be found everywhere; no API issues such."""


def configure(
    log_format: LogFormat | None,
    level: str,
    *,
    clock: Callable[[], float],
    secrets: Iterable[Secret] = (),
    stream: TextIO | None = None,
    customers: Shown = "plain",
) -> Logger:
    """Send all that is logged to one stream (standard error), and return our own logger.

    `clock` counts seconds, for the limit on what libraries may say. Without a format: readable lines on a terminal, JSON elsewhere.
    """
    out = sys.stderr if stream is None else stream
    as_console = log_format == "console" or (log_format is None and out.isatty())
    handler = logging.StreamHandler(out)
    handler.setFormatter(_formatter(as_console, colours=out.isatty(), plain=_PlainValues(tuple(secrets), hashes=customers == "hashed")))
    handler.addFilter(RateLimitFilter(clock))
    _route(handler)
    set_level(level)
    return _Ours(
        structlog.wrap_logger(
            logging.getLogger("poller"),
            processors=[structlog.stdlib.add_log_level, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
            wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        )
    )


class _Ours:
    """Our own logger: says what is of the level that is set now."""

    def __init__(self, logger: Logger) -> None:
        self._logger = logger
        self._level = logging.getLogger("poller")

    def log(self, level: int, event: str, /, **fields: Any) -> None:
        if self._level.isEnabledFor(level):
            self._logger.log(level, event, **fields)


def set_level(level: str) -> None:
    """Of all that is logged from now on; one of `LEVELS`.

    Libraries say warnings and worse, whatever our own level: below, httpx names each customer and httpcore shows headers.
    aiokafka logs as errors what our own events say in our words, and what it mends by itself: it is heard where the level is debug.
    """
    ours = LEVELS[level]
    logging.getLogger("poller").setLevel(ours)
    for library in (None, *LIBRARIES):
        logging.getLogger(library).setLevel(max(ours, logging.WARNING))
    if ours > logging.DEBUG:
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


def _route(handler: logging.Handler) -> None:
    """Everything that is logged goes there alone."""
    root = logging.getLogger()
    for other in list(root.handlers):
        root.removeHandler(other)
    root.addHandler(handler)
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # a closed stream is no reason to write a traceback to it


def _formatter(as_console: bool, *, colours: bool, plain: "_PlainValues") -> logging.Formatter:
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    # Without this formatter rich would print every local variable of every frame.
    console = structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback, pad_event_to=24)
    looks: list[Any] = [_on_terminal, console] if as_console else [structlog.processors.JSONRenderer(serializer=_dumps)]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            stamp,
            structlog.processors.format_exc_info,
            plain,
            *looks,
        ],
    )


EventDict = Any
"""structlog's own type is a mutable mapping of anything; a processor takes and returns it."""


FIRST = ("timestamp", "level", "event")


class _PlainValues:
    """The step before a line is rendered: what every line has comes first, and each value becomes something that can be shown."""

    def __init__(self, secrets: tuple[Secret, ...], *, hashes: bool) -> None:
        self._secrets = secrets
        self._hashes = hashes

    def __call__(self, _logger: Any, _method: str, event: EventDict) -> EventDict:
        scrub = scrubber(self._secrets, hashes=self._hashes)
        return {key: _plain(event[key], scrub) for key in (*FIRST, *(key for key in event if key not in FIRST))}


Scrub = Callable[[str], str]


def scrubber(secrets: tuple[Secret, ...], *, hashes: bool) -> Scrub:
    """Takes the values that the secrets have now out of a text, as they are or as Python or JSON would quote them; and what looks like a customer's id."""
    values = [value for secret in secrets if len(value := secret.reveal()) >= SECRET_CHARACTERS_MIN]
    forms = [form for value in values for form in dict.fromkeys((repr(value)[1:-1], json.dumps(value)[1:-1], value))]

    def scrub(text: str) -> str:
        for form in forms:
            text = text.replace(form, "<secret>")
        return without_ids(text) if hashes else text

    return scrub


def _plain(value: Any, scrub: Scrub) -> Any:  # noqa: PLR0911  # a table of types
    """What can be shown of a value: a secret as such, a long text cut, all else as text."""
    match value:
        case ProxyUrl():
            return _text(masked(value), scrub)
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else str(value)  # JSON has no word for the others
        case BaseException():
            return _text(f"{type(value).__name__}: {value}", scrub)
        case Mapping():
            return {str(key): _plain(part, scrub) for key, part in value.items()}
        case set() | frozenset():
            return sorted((_plain(part, scrub) for part in value), key=str)
        case list() | tuple():
            return [_plain(part, scrub) for part in value]
        case bytes():
            return f"{len(value)} bytes"
        case _:
            return _text(str(value), scrub)


def _text(text: str, scrub: Scrub) -> str:
    """Cut in the middle: a traceback says at its end what happened."""
    scrubbed, half = scrub(text), TEXT_CHARACTERS_MAX // 2
    return scrubbed if len(scrubbed) <= TEXT_CHARACTERS_MAX else f"{scrubbed[:half]} … ({len(scrubbed)} characters) … {scrubbed[-half:]}"


def _on_terminal(_logger: Any, _method: str, event: EventDict) -> EventDict:
    return {key: printable_lines(value) if isinstance(value, str) else value for key, value in event.items()}


def _dumps(event: Any, **_: Any) -> str:
    return json.dumps(event, ensure_ascii=True, separators=(",", ":"))


class RateLimitFilter(logging.Filter):
    """Lets each library say the same thing a few times in a while, then once a while with the number of those left out.

    In an outage aiokafka logs some forty errors a second for each producer.
    """

    def __init__(self, clock: Callable[[], float], *, records_max: int = 3, seconds: float = 30.0, kinds_max: int = 500) -> None:
        super().__init__()
        self._clock = clock
        self._records_max = records_max
        self._seconds = seconds
        self._kinds_max = kinds_max
        self._kinds: dict[tuple[str, str], _Kind] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name == "poller":
            return True
        now = self._clock()
        kind = self._kind(record, now)
        if now - kind.since >= self._seconds:
            record.msg, record.args = _with_left_out(record, kind.left_out), ()
            kind.since, kind.passed, kind.left_out = now, 0, 0
        passes = kind.passed < self._records_max
        kind.passed += passes
        kind.left_out += not passes
        return passes

    def _kind(self, record: logging.LogRecord, now: float) -> "_Kind":
        """Records of one logger whose text begins alike: some put names and numbers into the text itself."""
        key = (record.name, str(record.msg)[:24])
        if key not in self._kinds:
            if len(self._kinds) >= self._kinds_max:
                del self._kinds[next(iter(self._kinds))]
            self._kinds[key] = _Kind(since=now)
        return self._kinds[key]


@dataclass(slots=True)
class _Kind:
    since: float
    passed: int = 0
    left_out: int = 0


def _with_left_out(record: logging.LogRecord, left_out: int) -> str:
    message = record.getMessage()
    return f"{message} (and {left_out} more like it)" if left_out else message
