"""`poller tail`: records of a topic as they are committed, read without a group."""

import os
import sys
import time
from collections.abc import Callable
from typing import Annotated, Any

import anyio
from aiokafka import ConsumerRecord
from cyclopts import Parameter
from cyclopts.validators import Number

from poller.commands.tail_lines import Shown, json_line, readable_line
from poller.commands.until_stopped import run_until_stopped
from poller.config import KafkaSettings, load_kafka
from poller.errors import LogRefused, SettingsError
from poller.kafka.clients import REQUEST_SECONDS_MAX, make_reader, start
from poller.kafka.failures import translated
from poller.kafka.workarounds import discard_consumer, tolerate_emptied_markers
from poller.setting import PREFIX, to_kafka_name

POLL_SECONDS = 0.5
RECORDS_AT_ONCE_MAX = 500


def tail(
    *,
    from_beginning: Annotated[bool, Parameter(negative="", show_default=False, help="From the topic's beginning, not its end.")] = False,
    max_records: Annotated[int | None, Parameter(name="--max", validator=Number(gte=1), help="Stop after so many records.")] = None,
    idle_seconds: Annotated[
        float | None, Parameter(validator=Number(gt=0), help="Stop when nothing has come for so long. Default: never.")
    ] = None,
    topic: Annotated[str | None, Parameter(help="Default: POLLER_KAFKA_ACTIVITIES_TOPIC.")] = None,
    bootstrap_servers: Annotated[str | None, Parameter(help="Default: POLLER_KAFKA_BOOTSTRAP_SERVERS.")] = None,
    json: Annotated[bool, Parameter(negative="", show_default=False, help="JSON lines on a terminal, too.")] = False,
) -> int:
    given = {f"{PREFIX}KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers} if bootstrap_servers else {}
    settings = load_kafka({**os.environ, **given})
    show = _writer(json or not sys.stdout.isatty())
    until = Until(max_records, idle_seconds, time.monotonic())
    return run_until_stopped(_follow, settings, _topic(topic, settings), from_beginning, until, show)


def _topic(given: str | None, settings: KafkaSettings) -> str:
    try:
        return to_kafka_name(given) if given else settings.activities_topic
    except ValueError as error:
        raise SettingsError([f"--topic={given!r}: {error}"]) from error


class Until:
    """When to stop: after so many records, or so long without one."""

    def __init__(self, records_max: int | None, idle_seconds: float | None, now: float) -> None:
        self._left = records_max
        self._idle_seconds = idle_seconds
        self._last = now

    def take(self, records: int, now: float) -> int:
        """How many of these are to be shown."""
        taken = records if self._left is None else min(records, self._left)
        if records:
            self._last = now
        if self._left is not None:
            self._left -= taken
        return taken

    def reached(self, now: float) -> bool:
        return self._left == 0 or (self._idle_seconds is not None and now - self._last >= self._idle_seconds)


async def _follow(settings: KafkaSettings, topic: str, from_beginning: bool, until: Until, show: Callable[[Shown], None]) -> None:
    tolerate_emptied_markers()
    consumer = make_reader(settings)
    try:
        with translated(f"reading {topic}"):
            await start(consumer, settings)
            await place(consumer, topic, from_beginning, created_by_run(topic, settings))
        told = not sys.stderr.isatty()
        while not until.reached(time.monotonic()):
            with translated(f"reading {topic}"):
                batches = await consumer.getmany(timeout_ms=int(POLL_SECONDS * 1000), max_records=RECORDS_AT_ONCE_MAX)
            if not batches and not told:
                told = True
                print(f"waiting for records in {topic}… Ctrl-C ends", file=sys.stderr, flush=True)
            records = sorted((record for batch in batches.values() for record in batch), key=lambda record: record.timestamp)
            for record in records[: until.take(len(records), time.monotonic())]:
                show(_shown(record))
            sys.stdout.flush()
    finally:
        await discard_consumer(consumer)


def created_by_run(topic: str, settings: KafkaSettings) -> bool:
    """Those that the settings name; no other."""
    return topic in {settings.activities_topic, settings.checkpoints_topic, settings.watch_topic, settings.dead_letters_topic}


async def place(consumer: Any, topic: str, from_beginning: bool, of_settings: bool) -> None:
    """At the beginning or the end of each partition (`Any`: these methods of aiokafka's consumer are not annotated). A topic that is missing is refused: to subscribe to it might create it."""
    if topic not in await consumer.topics():
        remedy = "`poller run` creates it" if of_settings else "check --topic"
        raise LogRefused(
            f"there is no topic {topic!r} ({remedy}), or this user may not Read it (kafka-acls … --operation Read --topic {topic})"
        )
    consumer.subscribe([topic])
    with anyio.fail_after(REQUEST_SECONDS_MAX):
        while not consumer.assignment():  # noqa: ASYNC110  # aiokafka tells nobody when it knows the partitions
            await anyio.sleep(0.02)
        await (consumer.seek_to_beginning() if from_beginning else consumer.seek_to_end())


def _shown(record: "ConsumerRecord[bytes, bytes]") -> Shown:
    return Shown(record.partition, record.offset, record.timestamp, record.key, record.value, tuple(record.headers))


def _writer(as_json: bool) -> Callable[[Shown], None]:
    if as_json:
        terminal = sys.stdout.isatty()

        def show_json(record: Shown) -> None:
            sys.stdout.buffer.write(json_line(record, for_terminal=terminal) + b"\n")

        return show_json
    from rich.console import Console
    from rich.text import Text

    console = Console(markup=False, highlight=False, soft_wrap=True)

    def show(record: Shown) -> None:
        head, place, value = readable_line(record)
        console.print(Text.assemble((head, "bold"), "  ", (place, "cyan"), "\n  ", (value, "dim")))

    return show
