"""What the demo shows: a line now and then where it is piped, a panel that lives on a terminal, and a table at the end."""

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TextIO

import msgspec

from poller.demo.judge import Calls, Comparison, Freshness, Identity
from poller.terminal import printable

if TYPE_CHECKING:
    from rich.console import RenderableType

LINE_EVERY_SECONDS = 3.0
NAMED_MAX = 5
"""Of many that are lost, so many are named."""

MEGABYTE = 1_000_000


class ReplicaSeen(msgspec.Struct, frozen=True):
    """One poller, as it is just now."""

    name: str
    pid: int | None
    role: str
    page: str = ""
    """The address of its status page."""


class Scene(msgspec.Struct, frozen=True):
    """All that is to be seen at one moment."""

    elapsed_seconds: float
    seconds: float | None
    """Of the whole demo; `None`: until it is stopped."""
    customers: int
    shown: int
    published: int
    types: Sequence[tuple[str, int]]
    """The most frequent ones, and how often each was published."""
    freshness: Freshness | None
    """Of late."""
    calls_last_minute: int
    calls_limit: int
    replicas: Sequence[ReplicaSeen]


class Result(msgspec.Struct, frozen=True):
    """How it ended."""

    seconds: float
    customers: int
    seed: int
    comparison: Comparison
    calls: Calls
    kills: int
    takeover_seconds: tuple[float, ...]
    """From each kill until another poller owned what was the killed one's."""
    exit_codes: dict[str, int | None]
    poller_bytes_max: int
    """0 where it is not known."""

    @property
    def faults(self) -> list[str]:
        """What should not be, in words; none: all is well."""
        found = self.comparison
        said = [
            faulty("lost", found.lost),
            faulty("published twice", found.twice),
            faulty("changed on the way", found.changed),
            faulty("published, though the API never showed it", found.invented),
            "" if found.expected else "nothing was there to be published",
            "" if self.calls.within_limit else f"{self.calls.in_window_max} calls in a minute, {self.calls.refused} refused",
            *(f"poller {name} ended with exit code {code}" for name, code in self.exit_codes.items() if code != 0),
        ]
        return [fault for fault in said if fault]


def faulty(what: str, identities: Sequence[Identity]) -> str:
    if not identities:
        return ""
    named = ", ".join(f"{identity.id} of {identity.customer}" for identity in identities[:NAMED_MAX])
    return f"{len(identities)} {what}: {named}{', …' if len(identities) > NAMED_MAX else ''}"


def plain_line(scene: Scene) -> str:
    """The scene in one line."""
    parts = [
        time_of(scene),
        f"{scene.published} of {scene.shown} activities published",
        f"fresh {fresh(scene.freshness)}",
        f"{scene.calls_last_minute} of {scene.calls_limit} calls in the last minute",
        ", ".join(f"{replica.name} {replica.role}" for replica in scene.replicas),
    ]
    return printable(" · ".join(parts))


def time_of(scene: Scene) -> str:
    return f"{scene.elapsed_seconds:.0f} s" if scene.seconds is None else f"{scene.elapsed_seconds:.0f} of {scene.seconds:.0f} s"


def fresh(freshness: Freshness | None) -> str:
    return "–" if freshness is None else f"p50 {freshness.seconds_p50:.1f} s, p95 {freshness.seconds_p95:.1f} s"


def panel(scene: Scene) -> "RenderableType":
    """The scene on a terminal."""
    from rich import box
    from rich.columns import Columns
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    figures = Table.grid(padding=(0, 2))
    for name, value in (
        ("customers", str(scene.customers)),
        ("shown by the API", str(scene.shown)),
        ("published", str(scene.published)),
        ("freshness", fresh(scene.freshness)),
        ("calls in a minute", f"{scene.calls_last_minute} of {scene.calls_limit}"),
        *(
            (f"poller {replica.name}", f"{replica.role}{f' (pid {replica.pid})' if replica.pid else ''} {replica.page}".rstrip())
            for replica in scene.replicas
        ),
    ):
        figures.add_row(Text(name, style="dim"), Text(printable(value)))
    types = Table.grid(padding=(0, 2))
    most = max((count for _, count in scene.types), default=1)
    for name, count in scene.types:
        types.add_row(Text(printable(name)), Text(str(count), justify="right"), Text("▇" * max(1, round(12 * count / most)), style="cyan"))
    return Panel(
        Columns([figures, types], padding=(0, 6)), title=f"poller demo · {time_of(scene)}", subtitle="Ctrl-C ends it", box=box.ROUNDED
    )


def result_rows(result: Result) -> list[tuple[str, str, str]]:
    """What, how much, and what is meant by it."""
    found, calls = result.comparison, result.calls
    rows = [
        ("expected", str(found.expected), f"activities that the API showed of {result.customers} customers"),
        ("published", str(found.published), "records in the activities topic, as a read_committed reader finds them"),
        ("lost", str(len(found.lost)), ""),
        ("twice", str(len(found.twice)), ""),
        ("changed", str(len(found.changed)), "value (byte for byte) or key differs from what the API sent"),
        ("invented", str(len(found.invented)), "published, though the API never showed it"),
        ("calls", str(calls.made), f"{calls.refused} refused; at most {calls.in_window_max} in any minute, allowed {calls.limit}"),
        *freshness_rows(found.freshness),
        ("killed", str(result.kills), killed(result)),
        ("exit codes", ", ".join(f"{name}: {code}" for name, code in result.exit_codes.items()), "of the pollers, told to stop at the end"),
    ]
    if result.poller_bytes_max:
        rows.append(("memory", f"{result.poller_bytes_max / MEGABYTE:.0f} MB", "of a poller at most"))
    return rows


def freshness_rows(freshness: Freshness | None) -> list[tuple[str, str, str]]:
    if freshness is None:
        return [("freshness", "–", "nothing was published in that time")]
    meaning = f"from shown by the API to had by the reader, {freshness.activities} activities"
    return [
        ("freshness p50", f"{freshness.seconds_p50:.2f} s", meaning),
        ("freshness p95", f"{freshness.seconds_p95:.2f} s", meaning),
    ]


def killed(result: Result) -> str:
    if not result.takeover_seconds:
        return "pollers, with kill -9"
    return f"pollers, with kill -9; another had taken over after {', '.join(f'{seconds:.1f} s' for seconds in result.takeover_seconds)}"


class Screen(Protocol):
    """Where it is shown."""

    def say(self, line: str) -> None: ...

    def show(self, scene: Scene) -> None: ...


class PlainScreen:
    """Lines; scenes only now and then."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._next_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def say(self, line: str) -> None:
        self._out.write(f"{printable(line)}\n")
        self._out.flush()

    def show(self, scene: Scene) -> None:
        if scene.elapsed_seconds >= self._next_at:
            self._next_at = scene.elapsed_seconds + LINE_EVERY_SECONDS
            self.say(plain_line(scene))


class TerminalScreen:
    """A panel that is drawn anew from the first scene on; lines go by above it."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(markup=False, highlight=False)
        self._live = Live(console=self._console, auto_refresh=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._live.stop()

    def say(self, line: str) -> None:
        self._console.print(printable(line))

    def show(self, scene: Scene) -> None:
        if not self._live.is_started:
            self._live.start()
        self._live.update(panel(scene), refresh=True)
