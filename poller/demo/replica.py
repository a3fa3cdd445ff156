"""One poller as a process of its own: `poller run` with environment variables alone, its log in a file that is followed.

It never outlives us: `Replica.end` is bounded, and on Linux the kernel ends it when this process is killed (`EXEC_BOUND_TO_PARENT`). It has a session
of its own, so Ctrl-C in a terminal reaches us alone.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import anyio

from poller.demo.broker import EXEC_BOUND_TO_PARENT
from poller.errors import PollerError

POLL_SECONDS = 0.05
END_SECONDS_MAX = 5.0
LOG_TAIL_LINES = 15

Role = Literal["starting", "owns", "stands by", "ended"]


class ReplicaFailed(PollerError):
    """A poller of the demo failed."""


def child_environment(inherited: Mapping[str, str], settings: Mapping[str, str]) -> dict[str, str]:
    """What a poller is started with: our settings, and of what we inherited none that would speak to it."""
    ours = ("POLLER_", "PYTHONOPTIMIZE")
    return {**{name: value for name, value in inherited.items() if not name.startswith(ours)}, **settings}


class Roles:
    """What a poller's log says of its role: nothing is owned before it is restored."""

    def __init__(self) -> None:
        self.role: Role = "starting"

    def take(self, line: str) -> None:
        """One line of its log; those that are none of ours say nothing."""
        event = parsed(line)
        match event.get("event"):
            case "partition_restored":
                self.role = "owns"
            case "assigned" if not event.get("partitions"):
                self.role = "stands by"
            case "drained":
                self.role = "ended"


def parsed(line: str) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}


class Replica:
    """One poller, started again as often as it is wanted."""

    def __init__(self, name: str, settings: Mapping[str, str], directory: Path) -> None:
        self.name = name
        self.log_path = directory / f"poller-{name}.log"
        self.bytes_max = 0
        """The most memory that it was seen to hold; 0 where that is not known."""
        self.page = f"http://127.0.0.1:{settings['POLLER_ADMIN_PORT']}/"
        """The address of its status page."""
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._roles = Roles()
        self._followed = 0

    @property
    def pid(self) -> int | None:
        """Of the running process; `None`: it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def exit_code(self) -> int | None:
        """Of the last process that ended; negative: by that signal."""
        return None if self._process is None else self._process.poll()

    @property
    def role(self) -> Role:
        return self._roles.role if self.pid is not None else "ended"

    def start(self) -> None:
        """On the thread of the event loop: the kernel means the thread that starts it when it watches over the parent's life."""
        assert self.pid is None
        self._roles = Roles()
        with self.log_path.open("ab") as log:
            self._followed = log.tell()
            bound = [sys.executable, "-I", "-S", "-c", EXEC_BOUND_TO_PARENT, str(os.getpid())]
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                [*bound, sys.executable, "-m", "poller", "run"],
                env=child_environment(os.environ, self._settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def look(self) -> None:
        """Take note of what it has logged since, and of its memory."""
        with self.log_path.open("rb") as log:
            log.seek(self._followed)
            said = log.read()
        complete = said[: said.rfind(b"\n") + 1]
        self._followed += len(complete)
        for line in complete.decode(errors="replace").splitlines():
            self._roles.take(line)
        self.bytes_max = max(self.bytes_max, memory_bytes(self.pid))

    def terminate(self) -> None:
        """Ask it to end (SIGTERM), if it runs."""
        if self._process is not None:
            self._process.terminate()

    def kill(self) -> None:
        """As kill -9 does; returns when it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def ended(self, within_seconds: float) -> bool:
        """Whether it ended in time."""
        with anyio.move_on_after(within_seconds):
            while self.pid is not None:  # noqa: ASYNC110 - a process that ends sets no event of ours
                await anyio.sleep(POLL_SECONDS)
        return self.pid is None

    async def end(self) -> None:
        """In order if that is soon done, else at once. Also where the caller is cancelled."""
        with anyio.CancelScope(shield=True):
            self.terminate()
            await self.ended(END_SECONDS_MAX)
            self.kill()

    def failure(self, what: str) -> ReplicaFailed:
        """The error that says what happened, with the end of its log."""
        tail = self.log_path.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        return ReplicaFailed("\n".join([f"poller {self.name} {what}; the end of {self.log_path}:", *(f"  {line}" for line in tail)]))


def memory_bytes(pid: int | None) -> int:
    """Resident, as Linux counts it; 0 where that is not known."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:")), 0)
