"""`poller reshard`: divide the work anew. What it does is in `kafka/reshard.py`; here is what is said of it."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, TextIO

import anyio
import msgspec
from cyclopts import Parameter

from poller.commands.output import say_json, say_table
from poller.config import KafkaSettings, load, load_kafka
from poller.core.budget import Terms
from poller.core.reshard import default_target
from poller.errors import LogUnavailable, SettingsError
from poller.kafka import clients
from poller.kafka.permissions import explained
from poller.kafka.reshard import Outcome, Resharding, Told
from poller.kafka.workarounds import partitions_of
from poller.setting import to_kafka_name

PARTITIONS_MAX = 1000
"""As many as POLLER_KAFKA_CHECKPOINT_PARTITIONS may be."""


def reshard(
    *,
    partitions: Annotated[int, Parameter(help="How many partitions the new checkpoint topic has.")],
    to: Annotated[str | None, Parameter(help="The new topic. Default: the old one's name, and the number of partitions.")] = None,
    undo: Annotated[
        bool, Parameter(negative="", show_default=False, help="Take it back, while no poller has owned the new topic.")
    ] = False,
    dry_run: Annotated[bool, Parameter(negative="", show_default=False, help="Say what would be done, and write nothing.")] = False,
    json: Annotated[bool, Parameter(negative="", show_default=False, help="As JSON.")] = False,
) -> int:
    settings = load_kafka(os.environ)
    refuse(partitions, to, os.environ)
    with progress(None if json else sys.stderr) as told:
        outcome = anyio.run(resharded, settings, partitions, to, undo, dry_run, told)
    if json:
        say_json(as_json(outcome, dry_run=dry_run))
    else:
        say_table(("", ""), list(lines(outcome)))
    return 0


async def resharded(settings: KafkaSettings, partitions: int, to: str | None, undo: bool, dry_run: bool, told: Told) -> Outcome:
    """Raises `LogError`, which says what to do."""
    if to is None:
        async with explained(f"looking at {settings.checkpoints_topic}", settings), clients.reader(settings) as reader:
            to = default_target(settings.checkpoints_topic, await partitions_of(reader, settings.checkpoints_topic), partitions)
    resharding = Resharding(settings, to, partitions, told)
    if dry_run:
        return await resharding.look(undo=undo)
    try:
        return await (resharding.undo() if undo else resharding.run())
    except LogUnavailable as error:
        raise LogUnavailable(*error.args, "do the same again, and it goes on") from error


def refuse(partitions: int, to: str | None, environ: Mapping[str, str]) -> None:
    """Raises `SettingsError` for what no poller could run with. The budget is looked at where all of a poller's settings are given."""
    faults = []
    if not 1 <= partitions <= PARTITIONS_MAX:
        faults.append(f"--partitions={partitions}: should be 1 to {PARTITIONS_MAX}")
    if to is not None:
        try:
            to_kafka_name(to)
        except ValueError as error:
            faults.append(f"--to={to!r}: {error}")
    if faults:
        raise SettingsError(faults)
    try:
        rate = load(environ).budget.rate
    except SettingsError:
        return
    Terms.of(*rate, None, partitions)


# ------------------------------------------------------------------------------------------------------------------- telling


@contextmanager
def progress(stream: TextIO | None) -> Iterator[Told]:
    """A bar for each step, where that is a terminal."""
    if stream is None or not stream.isatty():
        yield lambda doing, done, total: None  # noqa: ARG005 - a `Told`
        return
    from rich.console import Console
    from rich.progress import Progress, TaskID

    with Progress(console=Console(file=stream)) as bar:
        tasks: dict[str, TaskID] = {}

        def told(doing: str, done: int, total: int) -> None:
            if doing not in tasks:
                tasks[doing] = bar.add_task(doing, total=total)
            bar.update(tasks[doing], completed=done, total=total)

        yield told


def settings_of(outcome: Outcome) -> dict[str, str]:
    """What pollers need from then on."""
    undone = outcome.state in ("undone", "would be undone")
    topic, partitions = (outcome.origin, outcome.origin_partitions) if undone else (outcome.to, outcome.partitions)
    return {"POLLER_KAFKA_CHECKPOINTS_TOPIC": topic, "POLLER_KAFKA_CHECKPOINT_PARTITIONS": str(partitions)}


def as_json(outcome: Outcome, *, dry_run: bool) -> dict[str, Any]:
    return {**msgspec.to_builtins(outcome), "dry_run": dry_run, "settings": settings_of(outcome)}


def lines(outcome: Outcome) -> Iterator[tuple[str, str]]:
    each = outcome.customers_of_each
    yield outcome.state, f"{outcome.customers} checkpoints"
    yield "old topic", f"{outcome.origin}, {counted(outcome.origin_partitions)}, {outcome.marked} of them left"
    yield "new topic", f"{outcome.to}, {counted(outcome.partitions)}, of {min(each)} to {max(each)} checkpoints"
    if outcome.state == "moved":
        yield "written", f"{outcome.written} checkpoints"
        yield "told to stop", f"{outcome.stopped} pollers, and whoever starts with the old topic"
    yield "settings", " ".join(f"{name}={value}" for name, value in settings_of(outcome).items())
    yield "next", NEXT[outcome.state]


NEXT: Mapping[str, str] = {
    "would be moved": "nothing was written: leave out --dry-run, and pollers end, which are to be started again with these settings",
    "moved": "start the pollers with these settings; the old topic is not needed any more once they run",
    "was moved already": "nothing was to do: start the pollers with these settings, where they do not run yet",
    "would be undone": "nothing was written: leave out --dry-run, and the old topic is the pollers' again",
    "undone": "start the pollers with these settings; the new topic may be deleted",
}


def counted(partitions: int) -> str:
    return f"{partitions} partition{'' if partitions == 1 else 's'}"
