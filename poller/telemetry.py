"""Every log event and every metric, one line each; and how log lines look.

`configure` is called once, by the command that runs the program. Everything ends in one handler: our own events and the records of
libraries, rendered alike, with secrets taken out twice: by type (`Secret`), and by value, since a library's error may quote what it was given.
"""

import json
import logging
import math
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, TextIO, get_args

import structlog

from poller.hashed import Shown, fields_without_ids, without_ids
from poller.secret import Secret
from poller.setting import ProxyUrl, masked
from poller.terminal import printable_lines

# ----------------------------------------------------------------------------------------------------------------- log events

EventName = Literal[
    "starting",
    "settings",
    "settings_doubtful",
    "waiting_for_kafka",
    "kafka_ready",
    "assigned",
    "rebalancing",
    "membership_failed",
    "owners_unheard",
    "partition_restored",
    "partition_lost",
    "partition_failed",
    "commit_undone",
    "read",
    "published",
    "dead_lettered",
    "gap_suspected",
    "recent_ids_dropped",
    "endpoint_cannot_be_followed",
    "deprecated_endpoint",
    "customer_failed",
    "customer_unknown",
    "customer_known",
    "customer_retired",
    "customer_returned",
    "customer_forgotten",
    "checkpoints_removed",
    "same_person",
    "feed_failed",
    "customers_listed",
    "listing_failed",
    "listing_gap",
    "webhook_refused",
    "hints_unshared",
    "calls_paused",
    "calls_resumed",
    "token_renewed",
    "budget_restored",
    "cycle",
    "cycle_used_up",
    "watched_set_changed",
    "watch_entries_ignored",
    "watch_unread",
    "watched_set_differs",
    "replay_begun",
    "replay_done",
    "replay_refused",
    "looked_up",
    "lookup_failed",
    "draining",
    "drained",
    "stopped",
]


class Event(NamedTuple):
    level: int
    help: str


EVENTS: Mapping[EventName, Event] = {
    "starting": Event(logging.INFO, "The process has begun; nothing is connected yet."),
    "settings": Event(logging.INFO, "The settings in force, secrets left out."),
    "settings_doubtful": Event(logging.WARNING, "The settings can be used, but may not be meant so."),
    "waiting_for_kafka": Event(logging.WARNING, "Kafka cannot be used yet; tried again."),
    "kafka_ready": Event(logging.INFO, "The topics are there and as they should be."),
    "assigned": Event(logging.INFO, "These partitions are ours from now on; none: standing by."),
    "rebalancing": Event(logging.INFO, "The group divides its partitions anew; no call starts until it has."),
    "owners_unheard": Event(
        logging.WARNING, "What the owners of other partitions need cannot be heard: the budget stays divided as it is; tried again."
    ),
    "membership_failed": Event(logging.WARNING, "The consumer group cannot be joined, or no longer be heard; tried again."),
    "partition_restored": Event(logging.INFO, "A partition's checkpoints were read; its customers are polled."),
    "partition_lost": Event(logging.WARNING, "A partition has another owner; what was not committed there is dropped."),
    "partition_failed": Event(logging.WARNING, "A partition's transaction or restore failed; its state is read anew from Kafka."),
    "commit_undone": Event(
        logging.ERROR,
        "Kafka no longer holds a commit that it had confirmed: what of it was published comes again. See the README on replication.",
    ),
    "read": Event(logging.DEBUG, "One call was answered with a page."),
    "published": Event(logging.INFO, "One transaction was committed."),
    "dead_lettered": Event(logging.WARNING, "Activities could not be published and went to the dead-letter topic."),
    "gap_suspected": Event(logging.WARNING, "Something may have been missed: the API would not show it."),
    "recent_ids_dropped": Event(logging.WARNING, "Too many recent ids: the cursor moved above those forgotten."),
    "endpoint_cannot_be_followed": Event(logging.ERROR, "The endpoint ignores order or start_date: not everything can be read from it."),
    "deprecated_endpoint": Event(logging.WARNING, "The API announces the end of this endpoint: see POLLER_VOUCHERIFY_ENDPOINT."),
    "customer_failed": Event(logging.WARNING, "A customer could not be read; its cursor stays, and it is tried again later."),
    "customer_unknown": Event(
        logging.WARNING,
        "The API does not know a customer: it is tried ever less often, down to once a day; said once, until it is known again.",
    ),
    "customer_known": Event(logging.INFO, "The API knows a customer again."),
    "customer_retired": Event(
        logging.INFO, "A customer was deleted, or is no longer known, and all that it did is published: it is read once a day from now on."
    ),
    "customer_returned": Event(logging.INFO, "A customer that had been retired shows something new, and is read as all others."),
    "customer_forgotten": Event(logging.INFO, "A customer's checkpoint was removed, as its watch entry says."),
    "checkpoints_removed": Event(
        logging.INFO, "Checkpoints of customers whom nobody watches any more were removed. See POLLER_CHECKPOINT_RETENTION_DAYS."
    ),
    "same_person": Event(
        logging.WARNING,
        "One person is watched under two ids, so that its activities are published for both: stop watching one of them (docs/watching.md).",
    ),
    "feed_failed": Event(
        logging.WARNING, "The change feed could not be read; it is tried again later, and customers are read without its hints."
    ),
    "customers_listed": Event(
        logging.INFO, "All customers of the project are listed; from now on new ones are looked for. See POLLER_WATCH."
    ),
    "listing_failed": Event(
        logging.WARNING, "Customers of the project could not be listed, or not be written to the watch topic; tried again."
    ),
    "listing_gap": Event(
        logging.WARNING, "The list of customers does not show all: too many were created in one instant, or it ignores what it is asked."
    ),
    "webhook_refused": Event(logging.WARNING, "A webhook is not signed as it should be, or cannot be read; said once a minute at most."),
    "hints_unshared": Event(logging.WARNING, "Hints cannot be passed on to other replicas, nor heard from them; tried again."),
    "calls_paused": Event(logging.WARNING, "No call is made until the instant given, or until somebody mends what is named."),
    "calls_resumed": Event(logging.INFO, "Calls are made again."),
    "token_renewed": Event(logging.INFO, "One call went into an OAuth access token."),
    "budget_restored": Event(logging.INFO, "The budget goes on where its last owner left it."),
    "cycle": Event(logging.INFO, "How the billing cycle stands: told when it begins, and at each tenth that is spent."),
    "cycle_used_up": Event(logging.WARNING, "What may be spent in this billing cycle is spent: no call is made until the next one begins."),
    "watched_set_changed": Event(logging.INFO, "A source of the watched set names others than before, or otherwise."),
    "watch_entries_ignored": Event(
        logging.WARNING, "Records of the watch topic that cannot be used: the last good entry of each of these customers stays in force."
    ),
    "watch_unread": Event(
        logging.WARNING, "The watch topic cannot be read: whom it named last stays watched, and is read anew; tried again."
    ),
    "watched_set_differs": Event(logging.WARNING, "The last owner of a partition was configured with another list of customers."),
    "replay_begun": Event(logging.INFO, "A customer was rewound: what was published of it is published again, with the header `replay`."),
    "replay_done": Event(logging.INFO, "All that a rewind asked for is published again."),
    "replay_refused": Event(
        logging.ERROR,
        "Too much of a customer stands in the activities topic to tell what is missing, and it is not read: rewind it without --missing-only, or to a later date.",
    ),
    "looked_up": Event(logging.INFO, "What of rewound customers stands in the activities topic is known: what is missing is published."),
    "lookup_failed": Event(
        logging.WARNING, "The activities topic cannot be read, so what is missing of rewound customers is not known; tried again."
    ),
    "draining": Event(logging.INFO, "Stopping: what is in flight is finished."),
    "drained": Event(logging.INFO, "Nothing is in flight any more."),
    "stopped": Event(logging.INFO, "The process ends."),
}
assert EVENTS.keys() == set(get_args(EventName)), "each event has its line"


class Logger(Protocol):
    """structlog's, as far as it is used."""

    def log(self, level: int, event: str, /, **fields: Any) -> Any: ...


class Telemetry:
    """What the program says of itself: one log event, and the counters."""

    def __init__(self, logger: Logger, customers: Shown = "plain") -> None:
        self._logger = logger
        self._hashes = customers == "hashed"
        self.counters = Counters()

    def text(self, what: object, customer: str) -> str:
        """What is about this customer, as it may be shown where the customer is not."""
        return without_ids(str(what), [customer]) if self._hashes else str(what)

    def event(self, name: EventName, **fields: Any) -> None:
        """`None` among the fields is left out; an exception shows as its message."""
        fields = fields_without_ids(fields) if self._hashes else fields
        self._logger.log(EVENTS[name].level, name, **{key: value for key, value in fields.items() if value is not None})


# -------------------------------------------------------------------------------------------------------------------- metrics

METRICS: Mapping[str, str] = {
    "calls": "Calls made to the API, whatever came of them.",
    "calls_failed": "Calls that brought no page.",
    "pages": "Pages received and decoded.",
    "feed_calls": "Calls made to the change feed; they are among the calls.",
    "list_calls": "Calls made to list the project's customers; they are among the calls.",
    "customers_found": "Customers found in the project, which nobody had named.",
    "listing_gaps": "Times that the list of customers would not show all of them.",
    "activities_announced": "Activities that a hint had announced; their share of all that were published is the recall of hints.",
    "activities_published": "Activities committed to the activities topic.",
    "activities_replayed": "Those of them that were published again, as a rewind asked.",
    "activities_known": "Activities received that had been published before.",
    "dead_letters": "Entries committed to the dead-letter topic.",
    "gaps_suspected": "Reads after which something may have been missed.",
    "recent_ids_dropped": "Recent ids forgotten because there were too many.",
    "commits": "Transactions committed.",
    "commit_failures": "Transactions that failed, or of which it is not known.",
    "commits_undone": "Restores that held less than had been confirmed.",
    "hints_received": "Webhooks taken.",
    "hints_forged": "Webhooks refused for their signature.",
    "hints_unreadable": "Webhooks refused as they could not be read.",
    "hints_repeated": "Webhooks that had come before.",
    "hints_unknown": "Webhooks taken of which no customer is watched.",
    "hints_forwarded": "Hints passed on to other replicas.",
    "hints_heard": "Hints of other replicas for customers that are read here.",
    "hints_used": "Reads made because of a hint, of a webhook or of the change feed.",
    "hints_useful": "Those of them that found what was announced.",
    "hints_refused": "Hints not followed, as hints had not been worth enough of late.",
    "hints_dropped": "Webhooks and hints dropped as there were too many.",
    "freshness": "Seconds from an activity's created_at to its commit.",
}

FRESHNESS_BOUNDS_SECONDS = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 10800, 43200, 86400)


@dataclass(slots=True)
class Histogram:
    """How often a value lay up to each bound; the last count is of those above all bounds."""

    bounds: tuple[float, ...] = FRESHNESS_BOUNDS_SECONDS
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        return sum(self.counts)

    def quantile(self, share: float) -> float | None:
        """The bound below which that share of the values lies; `inf` above all bounds, `None` without values."""
        wanted, below = share * self.count, 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            below += count
            if below and below >= wanted:
                return bound
        return None


@dataclass(slots=True)
class Counters:
    """One field for each line of `METRICS`. Changed on the loop only."""

    calls: int = 0
    calls_failed: int = 0
    pages: int = 0
    feed_calls: int = 0
    list_calls: int = 0
    customers_found: int = 0
    listing_gaps: int = 0
    activities_announced: int = 0
    activities_published: int = 0
    activities_replayed: int = 0
    activities_known: int = 0
    dead_letters: int = 0
    gaps_suspected: int = 0
    recent_ids_dropped: int = 0
    commits: int = 0
    commit_failures: int = 0
    commits_undone: int = 0
    hints_received: int = 0
    hints_forged: int = 0
    hints_unreadable: int = 0
    hints_repeated: int = 0
    hints_unknown: int = 0
    hints_forwarded: int = 0
    hints_heard: int = 0
    hints_used: int = 0
    hints_useful: int = 0
    hints_refused: int = 0
    hints_dropped: int = 0
    freshness: Histogram = field(default_factory=Histogram)


# --------------------------------------------------------------------------------------------------------------------- set-up

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
    _route(handler, LEVELS[level])
    logger: Logger = structlog.wrap_logger(
        logging.getLogger("poller"),
        processors=[structlog.stdlib.add_log_level, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
    )
    return logger


def _route(handler: logging.Handler, level: int) -> None:
    """Libraries say warnings and worse, whatever our own level: below, httpx names each customer and httpcore shows headers.

    aiokafka logs as errors what our own events say in our words, and what it mends by itself: it is heard where the level is debug.
    """
    root = logging.getLogger()
    for other in list(root.handlers):
        root.removeHandler(other)
    root.addHandler(handler)
    root.setLevel(max(level, logging.WARNING))
    logging.getLogger("poller").setLevel(level)
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    if level > logging.DEBUG:
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
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
        scrub = _scrubber(self._secrets, hashes=self._hashes)
        return {key: _plain(event[key], scrub) for key in (*FIRST, *(key for key in event if key not in FIRST))}


Scrub = Callable[[str], str]


def _scrubber(secrets: tuple[Secret, ...], *, hashes: bool) -> Scrub:
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
