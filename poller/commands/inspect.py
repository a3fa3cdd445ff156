"""`poller inspect`: how one customer stands. Asks Kafka for what is committed, and the process that owns it for what only that one knows."""

import os
import socket
import time
from collections.abc import Iterator
from typing import Annotated, Any
from urllib.parse import quote

import anyio
import httpx
import msgspec
from cyclopts import Parameter

from poller.commands.output import say_json, say_table
from poller.config import Whereabouts, load_whereabouts
from poller.core.standing import Standing, State
from poller.core.watched import Source
from poller.customer_id import refusal
from poller.errors import SettingsError
from poller.kafka.lookup import LookedUp, look_up
from poller.kafka.record import to_instant
from poller.model import Checkpoint, CustomerId, Life, Replay
from poller.setting import PREFIX
from poller.watch_entry import fields

ADMIN_SECONDS_MAX = 3.0
ADMIN_BYTES_MAX = 65_536
RECENT_IDS_SHOWN_MAX = 10
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "[::]": "::1"}  # noqa: S104 - what is listened on, and where it is reached from here


NAMED_BY: dict[Source, str] = {
    "topic": "the watch topic",
    "file": "POLLER_CUSTOMERS_FILE",
    "setting": "POLLER_CUSTOMERS",
    "all": "POLLER_WATCH=all",
}
NEVER: dict[State, str] = {
    "not watched": "none: nobody watches it: `poller watch add` it, or name it in POLLER_CUSTOMERS or POLLER_CUSTOMERS_FILE",
    "forgotten": "none: its watch entry says that it is to be forgotten: see `poller forget`",
    "paused": "none: its watch entry says that it is paused",
    "ended": "none: it is read as far as its watch entry says (`until`)",
    "is looked up": "once it is known what of it stands in the activities topic, as it was rewound to publish what is missing",
}
"""Why no call comes."""


class Inspected(msgspec.Struct, frozen=True):
    """What was found out of one customer, and when (Unix time in seconds)."""

    customer: CustomerId
    at: float
    watched: bool | None
    """Whether the settings here name it; `None`: they name nobody."""
    log: LookedUp
    live: Standing | None
    """From the process that was asked."""
    live_unknown: str | None
    """Why there is none."""


def inspect(
    customer: Annotated[str, Parameter(help="A customer's id or source id, as it is watched.")],
    *,
    admin: Annotated[
        str | None,
        Parameter(help="The poller's admin server, such as http://10.0.0.7:8080. Default: POLLER_ADMIN_HOST and POLLER_ADMIN_PORT."),
    ] = None,
    json: Annotated[bool, Parameter(negative="", show_default=False, help="As JSON.")] = False,
) -> int:
    refused = refusal(customer)
    if refused is not None:
        raise SettingsError([f"CUSTOMER {refused}"])
    if admin is not None and not admin.startswith(("http://", "https://")):
        raise SettingsError([f"--admin={admin!r}: should be a URL, such as http://10.0.0.7:8080"])
    where = load_whereabouts(os.environ)
    found = anyio.run(inspected, where, CustomerId(customer), admin or admin_url(where))
    if json:
        say_json(as_json(found))
    else:
        say_table(("", ""), list(lines(found)))
    return 0


def admin_url(where: Whereabouts) -> str | None:
    """Where the admin server of this place is asked; `None`: the settings ask for none."""
    host = EVERYWHERE.get(where.admin_host, where.admin_host)
    return f"http://{f'[{host}]' if ':' in host else host}:{where.admin_port}" if where.admin_port else None


async def inspected(where: Whereabouts, customer: CustomerId, url: str | None) -> Inspected:
    """Raises `LogError` where Kafka cannot be asked."""
    log = await look_up(where.kafka, customer)
    live, unknown = await ask(url, customer)
    return Inspected(customer, time.time(), None if where.customers is None else customer in where.customers, log, live, unknown)


async def ask(
    url: str | None, customer: CustomerId, transport: httpx.AsyncBaseTransport | None = None
) -> tuple[Standing | None, str | None]:
    """What the admin server there says of the customer, or why that is not known."""
    if url is None:
        return None, f"{PREFIX}ADMIN_PORT=0: there is no admin server to ask"
    try:
        with anyio.fail_after(ADMIN_SECONDS_MAX):
            return msgspec.json.decode(
                await _answer(f"{url.rstrip('/')}/customers/{quote(customer, safe='')}", transport), type=Standing
            ), None
    except (httpx.TransportError, httpx.InvalidURL, TimeoutError) as error:
        return None, f"nobody answers at {url} ({type(error).__name__})"
    except (httpx.HTTPError, msgspec.DecodeError, UnicodeDecodeError):
        return None, f"what answers at {url} is no poller of this version"


async def _answer(url: str, transport: httpx.AsyncBaseTransport | None) -> bytes:
    """Its first bytes, as many as a standing may have. Raises `httpx.HTTPError`."""
    body = b""
    async with (
        httpx.AsyncClient(timeout=ADMIN_SECONDS_MAX, trust_env=False, transport=transport) as client,
        client.stream("GET", url) as answer,
    ):
        answer.raise_for_status()
        async for chunk in answer.aiter_bytes():
            body += chunk
            if len(body) > ADMIN_BYTES_MAX:
                break
    return body


# ------------------------------------------------------------------------------------------------------------------ in words


def lines(found: Inspected) -> Iterator[tuple[str, str]]:
    """A table: what, and how it is."""
    log = found.log
    yield "customer", found.customer
    yield "watched", _watched(found)
    yield "partition", f"{log.partition} of {log.partitions} ({'nobody has owned it yet' if log.ownership is None else _owner(found)})"
    yield from _checkpoint_lines(found)
    yield from _live_lines(found)


def _watched(found: Inspected) -> str:
    """By the process that was asked, or else as far as the settings here tell."""
    live = found.live
    if live is None or live.entry is None:
        return {None: "not known: the settings here name nobody", True: "yes", False: "not by the settings here"}[found.watched]
    entry = fields(live.entry)
    by = f"yes: by {' and '.join(NAMED_BY[source] for source in live.sources)}"
    return f"{by}, with {msgspec.json.encode(entry).decode()}" if entry else by


def _owner(found: Inspected) -> str:
    assert found.log.ownership is not None and found.log.owned_at is not None
    return f"owner {found.log.ownership.owner}, which committed {_ago(found.at - found.log.owned_at)}"


def _checkpoint_lines(found: Inspected) -> Iterator[tuple[str, str]]:
    checkpoint = found.log.checkpoint
    if checkpoint is None:
        begins = ", and begins as POLLER_START says" if found.live is None or found.live.state != "not watched" else ""
        yield "checkpoint", f"none: it was never read{begins}"
        return
    assert found.log.written_at is not None
    yield "checkpoint", f"committed {_ago(found.at - found.log.written_at)}"
    yield "last read", "never to the end yet" if checkpoint.last_read is None else _when(checkpoint.last_read, found.at)
    yield "cursor", _cursor(checkpoint, found.at)
    yield "recent ids", _recent(checkpoint)
    if checkpoint.baseline_ms is not None:
        yield (
            "baseline",
            f"{to_instant(checkpoint.baseline_ms)}: what was created up to then is remembered, not published, until the first read is complete",
        )
    yield from _life(checkpoint.life, found.at)
    if checkpoint.replay is not None or checkpoint.replayed is not None:
        yield "replay", _replay(checkpoint)
    if checkpoint.stepped_ms is not None:
        yield "stepped over", f"{to_instant(checkpoint.stepped_ms)}: more activities bear this instant than the API would show"


def _life(life: Life, now: float) -> Iterator[tuple[str, str]]:
    if life.deleted_ms is not None:
        yield "deleted", f"{_when(life.deleted_ms / 1000, now)}, by its own activities"
    if life.retired_at is not None:
        yield "retired", f"{_when(life.retired_at, now)}: it is read once a day, until it shows something new"
    if life.unwatched_at is not None:
        yield "unwatched", f"noticed {_when(life.unwatched_at, now)}: the checkpoint is removed after POLLER_CHECKPOINT_RETENTION_DAYS"


def _cursor(checkpoint: Checkpoint, now: float) -> str:
    if checkpoint.cursor_ms == 0:
        return "at the beginning: nothing is taken as published"
    return f"{_when(checkpoint.cursor_ms / 1000, now)}: everything created before is published"


def _recent(checkpoint: Checkpoint) -> str:
    newest = sorted(checkpoint.recent.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{id} ({to_instant(ms)})" for id, ms in newest[:RECENT_IDS_SHOWN_MAX]]
    more = len(newest) - len(shown)
    return f"{len(newest)}{': ' if shown else ''}{', '.join(shown)}{f', and {more} older' if more else ''}"


def _live_lines(found: Inspected) -> Iterator[tuple[str, str]]:
    live = found.live
    if live is None:
        yield "next call, errors", f"not known here: {found.live_unknown}{_where_to_ask(found)}"
        return
    if live.state == "not owned":
        yield "next call, errors", f"not known here: {live.owner} does not own partition {live.partition}{_where_to_ask(found)}"
        return
    yield "now", _state(live)
    yield "next call", _next_call(live, found.at)
    yield "failures", f"{live.failures} in a row; the last: {live.error}" if live.error else "none"
    if live.paused_until is not None:
        yield "calls paused", f"until {_instant(live.paused_until)}: {live.paused_why}"


def _where_to_ask(found: Inspected) -> str:
    ownership = found.log.ownership
    if ownership is None:
        return ""
    host = ownership.owner.partition("/")[0]
    if host == socket.gethostname():
        return ". Its owner was a process of this host: it has ended, or its admin server listens elsewhere (`--admin URL`)"
    return f". Its owner knows: ask there (in Kubernetes: kubectl exec {host} -- poller inspect …), or by `--admin URL` where it listens beyond its own host"


def _state(live: Standing) -> str:
    return f"{live.state}, at {live.owner}"


def _next_call(live: Standing, now: float) -> str:
    if live.state == "in flight":
        return "under way"
    if live.state in NEVER:
        return NEVER[live.state]
    if live.next_call_at is None:
        return "not known" if live.calls_before is None else "not before the budget has calls again"
    before = f"{live.calls_before} call{'' if live.calls_before == 1 else 's'} come{'s' if live.calls_before == 1 else ''} before"
    left_alone = f"; left alone until {_instant(live.due)}" if live.due is not None else ""
    return f"in about {_seconds(max(0.0, live.next_call_at - now))}, by the budget's pace ({before}{left_alone})"


def _when(at: float, now: float) -> str:
    return f"{_instant(at)} ({_ago(now - at)})"


def _instant(at: float) -> str:
    return str(to_instant(round(at * 1000)))


def _ago(seconds: float) -> str:
    return f"{_seconds(seconds)} ago" if seconds >= 0 else f"{_seconds(-seconds)} ahead of the clock here"


def _seconds(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


# ------------------------------------------------------------------------------------------------------------------- as JSON


def as_json(found: Inspected) -> dict[str, Any]:
    """The same as values; instants are date-times, `null` where there is none."""
    checkpoint, ownership, live = found.log.checkpoint, found.log.ownership, found.live
    return {
        "customer": found.customer,
        "at": _instant(found.at),
        "watched": found.watched,
        "partition": found.log.partition,
        "partitions": found.log.partitions,
        "owner": None if ownership is None else ownership.owner,
        "owner_committed_at": _instant_or_none(found.log.owned_at),
        "checkpoint": None if checkpoint is None else _checkpoint_json(checkpoint, found.log.written_at),
        "live": None if live is None else _live_json(live),
        "live_unknown": found.live_unknown,
    }


def _checkpoint_json(checkpoint: Checkpoint, written_at: float | None) -> dict[str, Any]:
    return {
        "committed_at": _instant_or_none(written_at),
        "cursor": to_instant(checkpoint.cursor_ms),
        "last_read": _instant_or_none(checkpoint.last_read),
        "recent": {id: to_instant(ms) for id, ms in checkpoint.recent.items()},
        "baseline": None if checkpoint.baseline_ms is None else to_instant(checkpoint.baseline_ms),
        "stepped": None if checkpoint.stepped_ms is None else to_instant(checkpoint.stepped_ms),
        "replay": _replay_json(checkpoint.replay),
        "replayed": checkpoint.replayed,
        "deleted": None if checkpoint.life.deleted_ms is None else to_instant(checkpoint.life.deleted_ms),
        "retired": _instant_or_none(checkpoint.life.retired_at),
        "unwatched": _instant_or_none(checkpoint.life.unwatched_at),
    }


def _replay(checkpoint: Checkpoint) -> str:
    if checkpoint.replay is None:
        return f"{checkpoint.replayed}: done"
    rewind = checkpoint.replay.rewind
    what = "what is missing since" if rewind.missing_only else "everything since"
    border = to_instant(checkpoint.replay.until_ms)
    come = f"has come to {to_instant(checkpoint.cursor_ms)}, and goes on to {border}"
    return f"{rewind.id}: under way: publishes again {what} {to_instant(rewind.from_ms)}, {come}"


def _replay_json(replay: Replay | None) -> dict[str, Any] | None:
    if replay is None:
        return None
    rewind = replay.rewind
    return {
        "id": rewind.id,
        "from": to_instant(rewind.from_ms),
        "until": to_instant(replay.until_ms),
        "missing_only": rewind.missing_only,
    }


def _live_json(live: Standing) -> dict[str, Any]:
    instants = {name: _instant_or_none(getattr(live, name)) for name in ("due", "next_call_at", "paused_until")}
    return {**msgspec.structs.asdict(live), "entry": None if live.entry is None else fields(live.entry), **instants}


def _instant_or_none(at: float | None) -> str | None:
    return None if at is None else _instant(at)
