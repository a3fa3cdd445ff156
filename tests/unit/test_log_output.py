"""Log lines: readable or JSON, and never a secret."""

import io
import json
import logging
import warnings
from typing import Any, get_args

import pytest

from poller.log_output import TEXT_CHARACTERS_MAX, LogFormat, RateLimitFilter, configure, set_level
from poller.secret import Secret
from poller.setting import ProxyUrl
from poller.telemetry import EVENTS, EventName, Telemetry

CANARY = "canary-5d1f0c\"\\'"


pytestmark = pytest.mark.usefixtures("logging_as_it_was")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Logs:
    """A stream, and a telemetry that writes to it."""

    def __init__(self, log_format: LogFormat | None = "json", level: str = "info", stream: io.StringIO | None = None) -> None:
        self.stream = stream or io.StringIO()
        self.now = 0.0
        self.telemetry = Telemetry(configure(log_format, level, clock=lambda: self.now, secrets=[Secret(CANARY)], stream=self.stream))

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [{key: value for key, value in json.loads(line).items() if key != "timestamp"} for line in self.text.splitlines()]


def test_an_event_is_one_line_of_json_with_its_level_and_fields() -> None:
    logs = Logs()

    logs.telemetry.event("published", partition=0, activities=3, seconds=0.25, note=None)

    assert logs.lines == [{"level": "info", "event": "published", "partition": 0, "activities": 3, "seconds": 0.25}]


def test_a_timestamp_is_utc_in_iso_8601() -> None:
    logs = Logs()
    logs.telemetry.event("starting")

    (line,) = logs.text.splitlines()
    assert line.startswith('{"timestamp":"2')
    assert json.loads(line)["timestamp"].endswith("Z")


def test_every_event_has_a_level_and_a_help_and_can_be_said() -> None:
    logs = Logs(level="debug")

    for name in get_args(EventName):
        logs.telemetry.event(name)

    assert [line["event"] for line in logs.lines] == list(get_args(EventName))
    assert all(EVENTS[name].help.endswith(".") for name in get_args(EventName))


def test_what_is_below_the_level_is_not_said() -> None:
    logs = Logs(level="warning")

    logs.telemetry.event("read")
    logs.telemetry.event("published")
    logs.telemetry.event("gap_suspected")

    assert [line["event"] for line in logs.lines] == ["gap_suspected"]


def test_libraries_are_routed_into_the_same_stream_from_warnings_on() -> None:
    logs = Logs(level="debug")

    logging.getLogger("httpx").info('HTTP Request: GET %s "HTTP/1.1 200 OK"', "https://api/v1/customers/anna")
    logging.getLogger("aiokafka.conn").info("headers")
    logging.getLogger("aiokafka.conn").error("lost %s", "kafka-0")
    logging.getLogger("uvicorn.error").warning("slow")
    logging.getLogger("someone.else").error("oh")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)

    assert [(line.get("logger"), line["level"]) for line in logs.lines] == [
        ("aiokafka.conn", "error"),
        ("uvicorn.error", "warning"),
        ("someone.else", "error"),
        ("py.warnings", "warning"),
    ]
    assert logs.lines[0]["event"] == "lost kafka-0"


@pytest.mark.parametrize(("level", "heard"), [("debug", 1), ("info", 0), ("error", 0)])
def test_the_kafka_client_is_heard_where_the_level_is_debug(level: str, heard: int) -> None:
    logs = Logs(level=level)

    logging.getLogger("aiokafka.conn").error("lost %s", "kafka-0")

    assert len(logs.lines) == heard


@pytest.mark.parametrize(
    "name", ["aiokafka.conn", "kafka.cluster", "uvicorn.error", "httpx", "httpcore.http11", "asyncio", "somebody.else"]
)
def test_every_library_is_heard_in_our_format_and_no_more_often_than_the_limit_allows(name: str) -> None:
    logs = Logs(level="debug")
    for number in range(100):
        logging.getLogger(name).error("lost %s", number)
    logs.now = 30.0
    logging.getLogger(name).error("lost %s", 100)

    assert [(line["logger"], line["event"]) for line in logs.lines] == [
        *((name, f"lost {number}") for number in range(3)),
        (name, "lost 100 (and 97 more like it)"),
    ]


def test_the_level_can_be_changed_while_it_runs_and_libraries_follow() -> None:
    logs = Logs(level="info")
    for level in ("debug", "error", "info"):
        set_level(level)
        logs.telemetry.event("read")
        logs.telemetry.event("published")
        logs.telemetry.event("commit_undone")
        logging.getLogger("httpx").info("every call by name")
        logging.getLogger("httpx").warning(level)
        logging.getLogger("aiokafka").error(level)

    assert [line["event"] for line in logs.lines] == [
        *("read", "published", "commit_undone", "debug", "debug"),
        "commit_undone",
        *("published", "commit_undone", "info"),
    ]


def test_a_terminal_gets_readable_lines_and_a_pipe_json() -> None:
    def line(log_format: LogFormat | None, stream: io.StringIO) -> str:
        Logs(log_format, stream=stream).telemetry.event("assigned", partitions=frozenset({1, 0}))
        return stream.getvalue()

    on_terminal, piped, chosen = line(None, Terminal()), line(None, io.StringIO()), line("console", io.StringIO())

    assert "\x1b[" in on_terminal
    assert json.loads(piped)["partitions"] == [0, 1]
    assert "assigned" in chosen
    assert "\x1b[" not in chosen
    assert not chosen.startswith("{")


def test_control_characters_of_others_never_reach_a_terminal() -> None:
    logs = Logs("console")

    logs.telemetry.event("customer_failed", customer="anna\x1b[2J\u202e", error=ValueError("\x07"))
    logging.getLogger("uvicorn").error("\x1b[31m")

    assert not {"\x1b", "\x07", "\u202e"} & set(logs.text)
    assert "anna\\x1b[2J\\u202e" in logs.text


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_secret_is_ever_logged(log_format: LogFormat) -> None:
    logs = Logs(log_format, "debug")
    secret = Secret(CANARY)

    logs.telemetry.event("settings", token=secret, nested={"tokens": [secret]}, proxy=ProxyUrl(f"http://anna:{CANARY}@proxy:1"))
    logs.telemetry.event("customer_failed", error=ValueError(f"Illegal header value b'{CANARY}'"), text=f"x{CANARY}x", value=CANARY)
    logging.getLogger("httpx").error("sent %r", CANARY)
    try:
        value = secret.reveal()
        raise ValueError(value)
    except ValueError:
        logging.getLogger("uvicorn.error").exception("failed with %s", secret)

    assert "canary" not in logs.text
    assert logs.text.count("<secret>") >= 5
    assert "Traceback" in logs.text


def test_values_of_any_kind_are_shown_bounded() -> None:
    logs = Logs()

    logs.telemetry.event(
        "published", long="x" * 10 * TEXT_CHARACTERS_MAX + "end", body=b"abc", far=float("inf"), some={"b", "a"}, kind=Secret
    )

    (line,) = logs.lines
    assert len(line["long"]) < TEXT_CHARACTERS_MAX + 100
    assert line["long"].endswith("end")
    assert (line["body"], line["far"], line["some"]) == ("3 bytes", "inf", ["a", "b"])


def test_a_closed_stream_is_no_error() -> None:
    logs = Logs()
    logs.stream.close()

    logs.telemetry.event("stopped")


# ------------------------------------------------------------------------------------------------------------ rate limit


def record(message: str, name: str = "aiokafka.conn", *args: object) -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, "", 0, message, args, None)


def test_a_library_that_repeats_itself_is_heard_a_few_times_and_then_once_a_while() -> None:
    now = [0.0]
    limit = RateLimitFilter(lambda: now[0], records_max=2, seconds=10)

    first = [limit.filter(record("lost %s", "aiokafka.conn", number)) for number in range(5)]
    now[0] = 10.0
    later = record("lost %s", "aiokafka.conn", 7)

    assert first == [True, True, False, False, False]
    assert limit.filter(later)
    assert later.getMessage() == "lost 7 (and 3 more like it)"


def test_different_things_and_different_loggers_are_heard_beside_each_other() -> None:
    limit = RateLimitFilter(lambda: 0.0, records_max=1)

    assert limit.filter(record("lost"))
    assert limit.filter(record("found"))
    assert limit.filter(record("lost", "httpx"))
    assert not limit.filter(record("lost"))


def test_our_own_events_are_never_left_out() -> None:
    limit = RateLimitFilter(lambda: 0.0, records_max=1)

    assert all(limit.filter(record("published", "poller")) for _ in range(10))


def test_the_limit_remembers_a_bounded_number_of_things() -> None:
    limit = RateLimitFilter(lambda: 0.0, kinds_max=10)

    for number in range(1000):
        limit.filter(record(f"{number} lost"))

    assert len(limit._kinds) == 10


def test_percent_signs_in_what_was_said_do_no_harm() -> None:
    now = [0.0]
    limit = RateLimitFilter(lambda: now[0], records_max=1, seconds=1)
    said = [record("%s", "httpx", "100 %d") for _ in range(3)]
    assert [limit.filter(one) for one in said[:2]] == [True, False]

    now[0] = 1.0

    assert limit.filter(said[2])
    assert said[2].getMessage() == "100 %d (and 1 more like it)"
