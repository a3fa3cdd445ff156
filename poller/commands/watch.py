"""`poller watch …`: whom pollers watch, said while they run. Everything is read from the watch topic and written to it, and to nothing else."""

import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Annotated, Any

import anyio
import msgspec
from cyclopts import Parameter

from poller.commands import watch_changes
from poller.commands.output import say, say_json, say_table
from poller.commands.watch_changes import Changed
from poller.config import KafkaSettings, load_kafka, load_sources
from poller.customers import FILE_BYTES_MAX, entries_in
from poller.errors import LogError, SettingsError
from poller.kafka.watch import KafkaWatch, Watched
from poller.model import CustomerId, Rewind, WatchEntry
from poller.terminal import printable
from poller.watch_entry import decode, encode_line, fields, to_customer

TABLE_LINES_MAX = 1000
"""Of more, a terminal's table is of no use and slow: they are plain lines."""

DATE = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
REPLAY_ID_BYTES = 4
"""Two of one customer hardly ever have the same id."""

Ids = Annotated[str, Parameter(name="ID", help="Customers' ids or source ids.")]
Json = Annotated[bool, Parameter(negative="", show_default=False, help="As JSON.")]
DryRun = Annotated[bool, Parameter(negative="", show_default=False, help="Say what would be done, and write nothing.")]


def watch_add(  # noqa: PLR0913 - each is an option
    *customers: Ids,
    start: Annotated[
        str | None, Parameter(help="Where it begins while it was never read: now, earliest, or a date-time. Default: POLLER_START.")
    ] = None,
    until: Annotated[str | None, Parameter(help="A date-time: nothing that was created at or after it is published.")] = None,
    weight: Annotated[
        float | None, Parameter(help="How many others' activities one of its own counts for, 0.01 to 100. Default: 1.")
    ] = None,
    campaign_type: Annotated[str | None, Parameter(help="Only activities of this type of campaign.")] = None,
    campaign_id: Annotated[str | None, Parameter(help="Only activities of this campaign.")] = None,
    product_id: Annotated[str | None, Parameter(help="Only activities of this product.")] = None,
    header: Annotated[
        tuple[str, ...], Parameter(negative="", show_default=False, help="NAME=VALUE: copied to each of its records. May be repeated.")
    ] = (),
    json: Json = False,
    dry_run: DryRun = False,
) -> int:
    given = {"start": start, "until": until, "weight": weight, "campaign_type": campaign_type, "campaign_id": campaign_id}
    entry = entry_of({**given, "product_id": product_id, "headers": headers_of(header)})
    wanted = dict.fromkeys(ids_of(customers), entry)
    return change(lambda watched: watch_changes.added(wanted, watched), json=json, dry_run=dry_run)


def watch_remove(*customers: Ids, json: Json = False, dry_run: DryRun = False) -> int:
    ids, named = ids_of(customers), load_sources(os.environ)
    return change(lambda watched: watch_changes.removed(ids, watched, named), json=json, dry_run=dry_run)


def watch_pause(*customers: Ids, json: Json = False, dry_run: DryRun = False) -> int:
    ids, named = ids_of(customers), load_sources(os.environ)
    return change(lambda watched: watch_changes.paused(ids, watched, named, True), json=json, dry_run=dry_run)


def watch_resume(*customers: Ids, json: Json = False, dry_run: DryRun = False) -> int:
    ids, named = ids_of(customers), load_sources(os.environ)
    return change(lambda watched: watch_changes.paused(ids, watched, named, False), json=json, dry_run=dry_run)


def watch_rewind(
    *customers: Ids,
    to: Annotated[str, Parameter(help="What was created from this date on (2026-01-31: midnight, UTC) or date-time is published again.")],
    missing_only: Annotated[
        bool,
        Parameter(
            negative="", show_default=False, help="Only what does not stand in the activities topic, as far as its retention reaches."
        ),
    ] = False,
    json: Json = False,
    dry_run: DryRun = False,
) -> int:
    ids, named, rewind = ids_of(customers), load_sources(os.environ), rewind_of(to, missing_only)
    return change(lambda watched: watch_changes.rewound(ids, watched, named, rewind), json=json, dry_run=dry_run)


def watch_import(
    file: Annotated[str, Parameter(allow_leading_hyphen=True, help="The file; `-`: standard input.")],
    *,
    json: Json = False,
    dry_run: DryRun = False,
) -> int:
    wanted = entries_of(file)
    return change(lambda watched: watch_changes.added(wanted, watched), json=json, dry_run=dry_run, each=False)


def watch_list(*, json: Json = False) -> int:
    entries = sorted_entries(read())
    if json:
        say_json([{"id": customer, **fields(entry)} for customer, entry in entries])
    elif len(entries) <= TABLE_LINES_MAX:
        say_table(("customer", "watched"), [(customer, watch_changes.described(entry) or "like all others") for customer, entry in entries])
    else:
        for customer, entry in entries:
            say(f"{printable(customer)}  {printable(watch_changes.described(entry))}".rstrip())
    return 0


def watch_export(*, json: Annotated[bool, Parameter(negative="", show_default=False, help="As it is anyhow: JSON lines.")] = False) -> int:
    del json
    for customer, entry in sorted_entries(read()):
        sys.stdout.buffer.write(encode_line(customer, entry) + b"\n")
    sys.stdout.buffer.flush()
    return 0


# ------------------------------------------------------------------------------------------------------------- what is entered


def ids_of(given: Sequence[str]) -> tuple[CustomerId, ...]:
    """Each once. Raises `SettingsError`."""
    faults = [] if given else ["ID is missing: name one customer or more"]
    ids = []
    for id in dict.fromkeys(given):
        try:
            ids.append(to_customer(id))
        except ValueError as error:
            faults.append(f"ID {error}")
    if faults:
        raise SettingsError(faults)
    return tuple(ids)


def headers_of(given: Sequence[str]) -> dict[str, str]:
    """Raises `SettingsError`."""
    faults = [f"--header={one!r}: should be NAME=VALUE" for one in given if "=" not in one]
    if faults:
        raise SettingsError(faults)
    return dict(one.split("=", 1) for one in given)


def entry_of(given: Mapping[str, Any]) -> WatchEntry:
    """The entry that these fields are, as they would be written. Raises `SettingsError`."""
    try:
        return decode(msgspec.json.encode({name: value for name, value in given.items() if value not in (None, {})}), True)
    except ValueError as error:
        raise SettingsError([f"entry: {error}"]) from error


def rewind_of(to: str, missing_only: bool) -> Rewind:
    """A new one. Raises `SettingsError`."""
    origin = f"{to}T00:00:00Z" if DATE.fullmatch(to) else to
    try:
        entry = decode(
            msgspec.json.encode({"replay": {"id": token_hex(REPLAY_ID_BYTES), "from": origin, "missing_only": missing_only}}), True
        )
    except ValueError as error:
        raise SettingsError([f"--to={to!r}: {str(error).removeprefix('replay.from: ')}"]) from error
    assert entry.replay is not None
    if entry.replay.from_ms > time.time() * 1000:
        raise SettingsError([f"--to={to!r}: lies ahead, so nothing would be published again"])
    return entry.replay


def entries_of(file: str) -> dict[CustomerId, WatchEntry]:
    """Raises `SettingsError`."""
    try:
        if file == "-":
            content = sys.stdin.buffer.read(FILE_BYTES_MAX + 1)
        else:
            with Path(file).open("rb") as opened:
                content = opened.read(FILE_BYTES_MAX + 1)
        if len(content) > FILE_BYTES_MAX:
            raise SettingsError([f"FILE={file!r}: is larger than {FILE_BYTES_MAX} bytes: import it in parts"])
        return entries_in(content)
    except OSError as error:
        raise SettingsError([f"FILE={file!r}: cannot be read ({error.strerror})"]) from error
    except ValueError as error:
        raise SettingsError([f"FILE={file!r}: {error}"]) from error


# -------------------------------------------------------------------------------------------------------- the topic, and telling


def read() -> Watched:
    """What the topic says, and of what in it cannot be used a line each. Raises `LogError`."""
    watched = anyio.run(KafkaWatch(load_kafka(os.environ), Complaints()).read)
    for key, why in watched.ignored.items():
        complain(f"passed over: the record of {key!r} {why}")
    return watched


def sorted_entries(watched: Watched) -> list[tuple[CustomerId, WatchEntry]]:
    return sorted(watched.entries.items())


def change(decide: Callable[[Watched], list[Changed]], *, json: bool, dry_run: bool, each: bool = True) -> int:
    """Read the topic, decide, write what differs, and tell. `each`: of every customer by name. Raises `LogError`."""
    settings = load_kafka(os.environ)
    changed = anyio.run(changed_in, settings, decide, dry_run, not json)
    if json:
        say_json(watch_changes.as_json(changed, settings.watch_topic, dry_run, each=each))
    elif each:
        say_table(("customer", ""), list(watch_changes.lines(changed, dry_run)))
    else:
        say(watch_changes.summary(changed, settings.watch_topic, dry_run))
    return 0


async def changed_in(settings: KafkaSettings, decide: Callable[[Watched], list[Changed]], dry_run: bool, show: bool) -> list[Changed]:
    """`show`: how far it is, where somebody sees it. Raises `LogError`, which says how much was written before."""
    watch = KafkaWatch(settings, Complaints())
    if dry_run and not await watch.exists():
        return decide(Watched({}, {}))
    if not dry_run:
        await watch.prepare()
    changed = decide(await watch.read())
    changes = watch_changes.changes_of(changed)
    if changes and not dry_run:
        written = [0]
        try:
            with progress(len(changes), show) as advance:

                def tell(count: int) -> None:
                    written[0] = count
                    advance(count)

                await watch.put(changes, tell)
        except LogError as error:
            so_far = f"{written[0]} of {len(changes)} changes were written: do the same again, and what is missing follows"
            raise type(error)(*error.args, so_far) from error
    return changed


@contextmanager
def progress(total: int, show: bool) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, where that is a terminal and there is something to see."""
    if not (show and sys.stderr.isatty() and total > TABLE_LINES_MAX):
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("writing", total=total)
        yield lambda count: bar.update(task, completed=count)


class Complaints:
    """Who is told by the topic's edge while it follows, which no command does."""

    def watch_entries_ignored(self, ignored: Mapping[str, str]) -> None: ...

    def watch_unread(self, error: LogError, retry_seconds: float) -> None: ...


def complain(line: str) -> None:
    print(printable(line), file=sys.stderr)
