"""The watch topic on a real Kafka: who follows it, whoever writes to it, and `poller watch` as an operator uses it."""

import io
import json
import re
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import anyio
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic

from poller.cli import FAILED, OK, UNUSABLE, run_command
from poller.commands.until_stopped import run_until_stopped
from poller.config import KafkaSettings
from poller.demo.broker import free_port
from poller.journal import Journal
from poller.kafka.watch import Changes, KafkaWatch
from poller.model import PLAIN, CustomerId, WatchEntry
from poller.telemetry import Telemetry
from tests.support.processes import one_error
from tests.support.topics import administering, reading, writing
from tests.support.waiting import until
from tests.support.world import Told

A, B, C = CustomerId("a"), CustomerId("b"), CustomerId("ü/c")
HEAVY, PAUSED = WatchEntry(weight=2.0), WatchEntry(paused=True)
MANY = 100_000


class Follower:
    """A replica's part in it: it adds up what it is told."""

    def __init__(self, bootstrap_servers: str, topic: str) -> None:
        self.settings = KafkaSettings(bootstrap_servers=bootstrap_servers, activities_topic=topic)
        self.told = Told()
        self.watch = KafkaWatch(self.settings, Journal(Telemetry(self.told)))
        self.entries: dict[CustomerId, WatchEntry] = {}
        self.heard: list[tuple[Changes, bool]] = []
        self.complete = False

    def hear(self, changes: Changes, complete: bool) -> None:
        self.heard.append((dict(changes), complete))
        self.complete = complete
        for customer, entry in changes.items():
            self.entries.pop(customer, None)
            if entry is not None:
                self.entries[customer] = entry

    async def has(self, entries: dict[CustomerId, WatchEntry], within_seconds: float = 2) -> None:
        await until(lambda: self.complete and self.entries == entries, within_seconds)


@asynccontextmanager
async def following(bootstrap_servers: str, topic: str) -> AsyncIterator[Follower]:
    follower = Follower(bootstrap_servers, topic)
    async with one_error(), anyio.create_task_group() as tasks:
        tasks.start_soon(follower.watch.follow, follower.hear)
        yield follower
        tasks.cancel_scope.cancel()


@pytest.fixture
def topic() -> str:
    return f"watched-{uuid4().hex[:8]}"


@pytest.mark.anyio
async def test_whoever_follows_hears_of_every_change_whoever_made_it(kafka: str, topic: str) -> None:
    async with following(kafka, topic) as early:
        await early.has({}, within_seconds=20)
        await early.watch.put({A: HEAVY, B: PLAIN, C: PAUSED})
        await early.has({A: HEAVY, B: PLAIN, C: PAUSED})
        async with writing(kafka) as producer:
            for key, value in ((A, None), (B, b'{"weight":200}'), (C, b'{"weight":2,"of a later version":1}'), ("..", b"{}")):
                await producer.send_and_wait(early.settings.watch_topic, value, key.encode())
        await early.has({B: PLAIN, C: HEAVY})
        async with following(kafka, topic) as late:
            await late.has({B: PLAIN, C: HEAVY}, within_seconds=20)

    assert early.heard[0] == ({}, True)
    assert late.heard == [({B: PLAIN, C: HEAVY}, True)]
    (told,) = [fields for _, fields in late.told.events]
    assert (told["count"], set(told["why"])) == (2, {"b", ".."})
    assert {name for name, _ in early.told.events} == {"watch_entries_ignored"}


@pytest.mark.anyio
async def test_what_was_not_committed_is_not_heard(kafka: str, topic: str) -> None:
    async with following(kafka, topic) as follower:
        await follower.has({}, within_seconds=20)
        producer = AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=topic)
        async with producer:
            await producer.begin_transaction()
            await producer.send_and_wait(follower.settings.watch_topic, b"{}", b"aborted")
            await producer.abort_transaction()
            await producer.begin_transaction()
            await producer.send_and_wait(follower.settings.watch_topic, b"{}", b"committed")
            await producer.commit_transaction()
        await follower.has({CustomerId("committed"): PLAIN})

    assert [changes for changes, _ in follower.heard] == [{}, {"committed": PLAIN}]


@pytest.mark.anyio
async def test_a_topic_that_is_deleted_changes_nothing_and_who_is_missing_in_its_successor_is_noticed(kafka: str, topic: str) -> None:
    async with following(kafka, topic) as follower, administering(kafka) as admin:
        name = follower.settings.watch_topic
        await follower.has({}, within_seconds=20)
        await follower.watch.put({A: HEAVY, B: PLAIN})
        await follower.has({A: HEAVY, B: PLAIN})
        await admin.delete_topics([name])
        await until(lambda: follower.told.count("watch_unread") >= 2, within_seconds=20)
        assert follower.entries == {A: HEAVY, B: PLAIN}
        assert name not in await admin.list_topics(), "it would be empty"
        await admin.create_topics([NewTopic(name, 1, 1, topic_configs={"cleanup.policy": "compact"})])
        await until(lambda: put_at_last(follower, {B: PAUSED, C: PLAIN}), within_seconds=20)
        await follower.has({B: PAUSED, C: PLAIN}, within_seconds=20)


async def put_at_last(follower: Follower, changes: Changes) -> bool:
    """A new topic is known to all after a moment."""
    try:
        await follower.watch.put(changes)
    except Exception as error:  # noqa: BLE001 - then it is tried again
        print(error)
        return False
    return True


@pytest.mark.anyio
async def test_without_kafka_it_is_said_and_nothing_is_heard() -> None:
    async with following(f"127.0.0.1:{free_port()}", "t") as alone:
        await until(lambda: alone.told.count("watch_unread") >= 2, within_seconds=15)

    assert alone.heard == []


# ------------------------------------------------------------------------------------------------------------------- commands


class Operator:
    """Who runs `poller watch` with these settings, and reads what it says."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kafka: str, topic: str) -> None:
        self._capsys = capsys
        self._monkeypatch = monkeypatch
        self.set(KAFKA_BOOTSTRAP_SERVERS=kafka, KAFKA_ACTIVITIES_TOPIC=topic)

    def set(self, **settings: str) -> None:
        for name, value in settings.items():
            self._monkeypatch.setenv(f"POLLER_{name}", value)

    def types(self, content: bytes) -> None:
        """Standard input, from now on."""
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    def does(self, *arguments: str, code: int = OK) -> str:
        """What stands on standard output, or where it fails on standard error."""
        self._capsys.readouterr()
        assert run_command(["watch", *arguments]) == code, self._capsys.readouterr()
        said = self._capsys.readouterr()
        return said.out if code == OK else said.err

    def table(self, *arguments: str) -> dict[str, str]:
        """Its first column, and the other."""
        rows = (line.partition("  ") for line in self.does(*arguments).splitlines())
        return {first: rest.strip() for first, _, rest in rows}

    def json(self, *arguments: str) -> Any:
        return json.loads(self.does(*arguments, "--json"))


@pytest.fixture
def operator(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kafka: str, topic: str) -> Operator:
    return Operator(capsys, monkeypatch, kafka, topic)


def test_customers_are_added_changed_paused_resumed_and_removed(operator: Operator) -> None:
    assert operator.table("add", "b", "a", "b") == {"b": "added", "a": "added"}
    changed = operator.json("add", "a", "--weight", "2", "--start", "earliest", "--header", "tenant=acme", "--header", "x=a=b")
    assert changed["customers"] == [
        {"id": "a", "outcome": "changed", "entry": {"start": "earliest", "weight": 2, "headers": {"tenant": "acme", "x": "a=b"}}}
    ]
    assert operator.table("add", "b") == {"b": "unchanged"}
    assert operator.table("pause", "a", "b") == {"a": "changed", "b": "changed"}
    assert operator.table("list") == {"a": "start earliest, weight 2, paused, headers tenant=acme x=a=b", "b": "paused"}
    assert operator.table("resume", "a") == {"a": "changed"}
    operator.set(CUSTOMERS="b,z")
    assert operator.table("remove", "b") == {"b": "removed: stays watched: POLLER_CUSTOMERS names it"}
    assert operator.json("list") == [{"id": "a", "start": "earliest", "weight": 2, "headers": {"tenant": "acme", "x": "a=b"}}]


def test_a_dry_run_says_what_would_be_and_writes_nothing_not_even_the_topic(operator: Operator) -> None:
    assert operator.table("add", "a", "--dry-run") == {"a": "would be added"}
    assert "there is no topic" in operator.does("list", code=FAILED)

    operator.does("add", "a")
    assert operator.table("remove", "a", "--dry-run") == {"a": "would be removed"}
    assert operator.table("pause", "a", "--dry-run") == {"a": "would be changed"}
    operator.types(b"a\nb\n")
    assert operator.json("import", "-", "--dry-run")["added"] == 1
    assert operator.json("list") == [{"id": "a"}]


def test_what_is_exported_is_imported_as_the_same(operator: Operator, tmp_path: Path) -> None:
    (tmp_path / "list").write_text('# whom\nü/c\n{"id":"a","headers":{"tenant":"acme"},"until":"2026-01-01T01:00:00+01:00"}\n{"id":"{"}\n')
    assert operator.does("import", str(tmp_path / "list")).startswith("3 customers: 3 added, 0 changed, 0 unchanged in topic watched-")

    exported = operator.does("export")
    (tmp_path / "exported").write_text(exported)
    operator.does("add", "a", "z")

    assert exported.splitlines() == [
        '{"id":"a","until":"2026-01-01T00:00:00.000Z","headers":{"tenant":"acme"}}',
        '{"id":"{"}',
        '{"id":"ü/c"}',
    ]
    counted = operator.json("import", str(tmp_path / "exported"))
    assert {name: counted[name] for name in ("added", "changed", "removed", "unchanged")} == {
        "added": 0,
        "changed": 1,
        "removed": 0,
        "unchanged": 2,
    }
    assert sorted(operator.does("export").splitlines()) == sorted([*exported.splitlines(), '{"id":"z"}'])


def test_where_a_line_is_wrong_nothing_is_written_and_each_is_named(operator: Operator, tmp_path: Path) -> None:
    (tmp_path / "list").write_text('good\n{"id":"a","wieght":2}\n..\n')
    operator.does("add", "before")

    said = operator.does("import", str(tmp_path / "list"), code=UNUSABLE)

    assert "line 2: has no field 'wieght': did you mean `weight`?" in said
    assert "line 3: names a customer that cannot be asked for: '..'" in said
    assert operator.json("list") == [{"id": "before"}]


def test_where_kafka_refuses_in_the_midst_it_says_how_much_is_written(operator: Operator, tmp_path: Path, kafka: str, topic: str) -> None:
    run_until_stopped(make_small, kafka, topic)
    large = {f"h{number}": Random(number).randbytes(128).hex() for number in range(8)}
    (tmp_path / "list").write_text("\n".join([*map(str, range(200)), json.dumps({"id": "large", "headers": large})]))

    said = operator.does("import", str(tmp_path / "list"), code=FAILED)

    assert "raise the topic's max.message.bytes" in said
    (written, wanted) = re.findall(r"([0-9]+) of ([0-9]+) changes were written: do the same again", said)[0]
    assert (0 < int(written) < 201, wanted) == (True, "201")
    assert len(operator.json("list")) == int(written)


async def make_small(kafka: str, topic: str) -> None:
    """As somebody may have made it by hand."""
    async with administering(kafka) as admin:
        await admin.create_topics(
            [NewTopic(f"{topic}.watch", 1, 1, topic_configs={"cleanup.policy": "compact", "max.message.bytes": "800"})]
        )


def test_without_kafka_it_says_who_does_not_answer(operator: Operator) -> None:
    operator.set(KAFKA_BOOTSTRAP_SERVERS=(servers := f"127.0.0.1:{free_port()}"))

    assert f"no broker answers at {servers}" in operator.does("add", "a", code=FAILED)


def test_a_hundred_thousand_are_imported_in_seconds_and_not_written_again(
    operator: Operator, tmp_path: Path, kafka: str, topic: str
) -> None:
    lines = (f'{{"id":"cust_{number:024d}","weight":2,"headers":{{"tenant":"acme-{number % 100}"}}}}' for number in range(MANY))
    (tmp_path / "list").write_text("\n".join(lines))

    began = time.monotonic()
    first = operator.json("import", str(tmp_path / "list"))
    seconds = time.monotonic() - began
    again = operator.json("import", str(tmp_path / "list"))

    assert (first["added"], again["unchanged"], again["added"] + again["changed"]) == (MANY, MANY, 0)
    assert seconds < 30
    run_until_stopped(one_follows_them_all, kafka, topic)


async def one_follows_them_all(kafka: str, topic: str) -> None:
    async with following(kafka, topic) as follower:
        await until(lambda: follower.complete and len(follower.entries) == MANY, within_seconds=20)
        await follower.watch.put({A: PLAIN})
        await until(lambda: A in follower.entries, within_seconds=2)
        async with reading(kafka, follower.settings.watch_topic) as reader:
            assert len(await reader.read()) == MANY + 1
    assert [complete for _, complete in follower.heard].count(True) == 2
    assert max(len(changes) for changes, _ in follower.heard) <= 5000
