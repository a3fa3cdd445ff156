"""`poller forget`: no checkpoint and no watch entry of a customer is left, and nothing that is under way brings one back.

It writes a watch entry that says so; the customer's owner drops what it holds of it, and commits a tombstone; once that is seen, the watch entry goes too.
A checkpoint that is merely missing would not do: a first one might be on its way. An entry that is written anew says when, so that it differs from one that
stands there, and is carried out again.
"""

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import anyio
import msgspec
from cyclopts import Parameter

from poller.commands.output import say, say_json, say_table
from poller.commands.watch import Complaints, DryRun, Ids, Json, ids_of
from poller.commands.watch_changes import Named
from poller.config import KafkaSettings, load_kafka, load_sources
from poller.errors import LogError
from poller.kafka import clients
from poller.kafka.lookup import removals
from poller.kafka.permissions import explained
from poller.kafka.topics import retentions
from poller.kafka.watch import KafkaWatch
from poller.model import CustomerId, WatchEntry

WAIT_SECONDS = 20.0
"""Longer than it takes another replica to take over."""

Outcome = Literal["forgotten", "kept out", "not yet", "would be forgotten"]


class Forgotten(msgspec.Struct, frozen=True):
    """What became of one customer."""

    customer: CustomerId
    outcome: Outcome
    checkpoint: bool
    """There was one."""
    named_by: tuple[str, ...]
    """The settings here."""


class Report(msgspec.Struct, frozen=True):
    customers: list[Forgotten]
    remains: Mapping[str, float] | None
    """Topics, and how many seconds they keep what was published; `None`: they would not tell."""


def forget(
    *customers: Ids,
    wait: Annotated[float, Parameter(help="How many seconds to wait for a poller to carry it out.")] = WAIT_SECONDS,
    json: Json = False,
    dry_run: DryRun = False,
) -> int:
    ids, settings = ids_of(customers), load_kafka(os.environ)
    report = anyio.run(forgotten, settings, ids, load_sources(os.environ), None if dry_run else wait)
    if json:
        say_json(as_json(report, settings, dry_run))
    else:
        say_table(("customer", ""), [(one.customer, described(one)) for one in report.customers])
        for line in remaining(report, settings):
            say(line)
    return int(any(one.outcome == "not yet" for one in report.customers))


async def forgotten(settings: KafkaSettings, customers: Sequence[CustomerId], named: Named, wait_seconds: float | None) -> Report:
    """`wait_seconds`: for a poller to carry it out; `None`: only to say what would be done. Raises `LogError`."""
    variables = {customer: tuple(variable for variable, entries in named.items() if customer in entries) for customer in customers}
    async with removals(settings, customers) as removed:
        kept = removed.kept
        if wait_seconds is None:
            return Report([Forgotten(one, "would be forgotten", one in kept, variables[one]) for one in customers], await remains(settings))
        watch = KafkaWatch(settings, Complaints())
        asked = WatchEntry(start=time.time_ns() // 1_000_000, forget=True)
        await watch.put(dict.fromkeys(customers, asked))
        gone = await removed.heard(customers, wait_seconds)
    done = {one: None for one in customers if one in gone and not variables[one]}
    if done:
        await watch.put(done)
    report = [Forgotten(one, _outcome(one in gone, one in done), one in kept, variables[one]) for one in customers]
    return Report(report, await remains(settings))


def _outcome(gone: bool, done: bool) -> Outcome:
    return "forgotten" if done else "kept out" if gone else "not yet"


async def remains(settings: KafkaSettings) -> Mapping[str, float] | None:
    """Whoever may not ask is not told."""
    try:
        async with explained("asking how long topics keep what is published", settings), clients.admin(settings) as admin:
            return await retentions(admin, settings)
    except LogError:
        return None


# -------------------------------------------------------------------------------------------------------------------- telling


def described(one: Forgotten) -> str:
    checkpoint = "its checkpoint" if one.checkpoint else "it had no checkpoint"
    names = " and ".join(one.named_by)
    match one.outcome:
        case "forgotten":
            return f"forgotten: {checkpoint}{' and its watch entry are removed' if one.checkpoint else '; its watch entry is removed'}"
        case "kept out":
            return (
                f"forgotten: {checkpoint}{' is removed' if one.checkpoint else ''}. But {names} names it: its watch entry stays, so that it is not read "
                "again; take it out there, and then do the same again"
            )
        case "not yet":
            return "not yet: no poller has carried it out. One will as soon as it runs; then do the same again, which finishes it"
        case "would be forgotten":
            return f"would be forgotten{'' if one.checkpoint else ': it has no checkpoint'}{f'; {names} names it' if names else ''}"


def remaining(report: Report, settings: KafkaSettings) -> Iterator[str]:
    for topic, what in ((settings.activities_topic, "activities"), (settings.dead_letters_topic, "dead letters")):
        yield f"What was published remains: {what} in {topic}, {_kept(report.remains, topic)}"


def _kept(remains: Mapping[str, float] | None, topic: str) -> str:
    if remains is None or topic not in remains:
        return "as long as its retention.ms says, which could not be asked"
    seconds = remains[topic]
    return (
        "for ever, by its retention.ms"
        if math.isinf(seconds)
        else f"for {seconds / 86_400:.4g} days after it was published, or a segment longer"
    )


def as_json(report: Report, settings: KafkaSettings, dry_run: bool) -> dict[str, Any]:
    """`null`: for ever."""
    seconds = None if report.remains is None else {topic: None if math.isinf(kept) else kept for topic, kept in report.remains.items()}
    customers = [
        {"id": one.customer, "outcome": one.outcome, "checkpoint": one.checkpoint, "named_by": one.named_by} for one in report.customers
    ]
    return {"topic": settings.watch_topic, "dry_run": dry_run, "customers": customers, "remains_seconds": seconds}
