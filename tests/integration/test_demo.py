"""`poller demo` as it is called: it judges what really stands in the topic, and leaves no process behind."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from poller.demo.demo import ACTIVITIES_TOPIC

pytestmark = pytest.mark.anyio

END_SECONDS_MAX = 120


class Demo:
    """One that runs, with its output in a file."""

    def __init__(self, process: "subprocess.Popen[bytes]", directory: Path) -> None:
        self.process = process
        self._directory = directory

    def output(self) -> str:
        return (self._directory / "out").read_text() + (self._directory / "err").read_text()

    def said(self, pattern: str, within_seconds: float = 60) -> str:
        """What the pattern's group matches, once it is there."""
        until = time.monotonic() + within_seconds
        while (found := re.search(pattern, self.output())) is None:
            assert self.process.poll() is None, f"it ended:\n{self.output()}"
            assert time.monotonic() < until, f"it does not say {pattern!r}:\n{self.output()}"
            time.sleep(0.05)
        return found[1]

    def exit_code(self) -> int:
        return self.process.wait(END_SECONDS_MAX)

    def result(self) -> dict[str, Any]:
        result: dict[str, Any] = json.loads((self._directory / "out").read_text())
        return result


@contextmanager
def demo(directory: Path, *arguments: str) -> Iterator[Demo]:
    """Run in a temporary directory of its own: what it leaves there shows. Where the test fails it is ended, and what it started with it."""
    temporary = directory / "temporary"
    temporary.mkdir()
    with (directory / "out").open("wb") as out, (directory / "err").open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "poller", "demo", *arguments],
            env={**os.environ, "TMPDIR": str(temporary), "POLLER_START": "nonsense"},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        try:
            yield Demo(process, directory)
        finally:
            process.kill()
            process.wait()
    assert running_from(temporary) == []


def running_from(directory: Path) -> list[str]:
    """The command lines of processes that have the directory in their environment or arguments."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.fsencode(directory) in (process / "environ").read_bytes() + (process / "cmdline").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found


def test_a_short_demo_finds_nothing_lost_and_nothing_twice(tmp_path: Path) -> None:
    with demo(tmp_path, "--seconds", "5", "--json") as running:
        assert running.exit_code() == 0, running.output()

        result = running.result()
        assert result["comparison"]["published"] == result["comparison"]["expected"] > 100
        assert [result["comparison"][name] for name in ("lost", "twice", "changed", "invented")] == [[], [], [], []]
        assert result["exit_codes"] == {"A": 0, "B": 0}
        assert 0 < result["calls"]["in_window_max"] <= result["calls"]["limit"]
        assert 0 < result["comparison"]["freshness"]["seconds_p50"] < 60
        assert result["faults"] == []
    assert list((tmp_path / "temporary").iterdir()) == []


async def tamper(bootstrap_servers: str) -> str:
    """Publish one activity a second time, and one that never was; the id of the first."""
    reader = AIOKafkaConsumer(ACTIVITIES_TOPIC, bootstrap_servers=bootstrap_servers, auto_offset_reset="earliest")
    writer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers)
    await reader.start()
    await writer.start()
    try:
        with anyio.fail_after(20):
            record = await reader.getone()
            await writer.send_and_wait(ACTIVITIES_TOPIC, record.value, key=record.key, headers=list(record.headers))
            await writer.send_and_wait(ACTIVITIES_TOPIC, b"{}", key=b"customer.confirmed")
    finally:
        await writer.stop()
        await reader.stop()
    return next(value.decode() for name, value in record.headers if name == "ce_id")


async def test_ctrl_c_ends_it_with_a_verdict_and_what_is_wrong_in_the_topic_is_found(tmp_path: Path) -> None:
    with demo(tmp_path, "--json", "--customers", "5") as running:
        bootstrap_servers = running.said(r"Apache Kafka [\d.]+ on (\S+?)…")
        running.said(r"(\d+) activities published")
        twice = await tamper(bootstrap_servers)
        running.process.send_signal(signal.SIGINT)
        assert running.exit_code() == 1, running.output()

        result = running.result()
        assert [activity[1] for activity in result["comparison"]["twice"]] == [twice]
        assert result["comparison"]["invented"] == [["", ""]]
        assert [fault.split(":")[0] for fault in result["faults"]] == ["1 published twice", "1 published, though the API never showed it"]
        assert "Traceback" not in running.output()


def test_a_poller_that_ends_by_itself_fails_the_demo_which_shows_its_log_and_ends_the_rest(tmp_path: Path) -> None:
    with demo(tmp_path, "--customers", "5") as running:
        pid = int(running.said(r"starting poller A \(pid (\d+)\)"))
        running.said(r"(\d+) activities published")
        os.kill(pid, signal.SIGTERM)
        assert running.exit_code() == 1, running.output()

        assert "poller A ended by itself with exit code 0" in running.output()
        assert '"event":"drained"' in running.output()
        assert "Traceback" not in running.output()
