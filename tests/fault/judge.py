"""What a fault must leave behind: each activity once and as it was sent, a state that equals the data, and a budget that was kept."""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence

import anyio

from poller.demo.api import Simulator
from poller.demo.truth import Expected
from poller.kafka.record import OWNERSHIP_KEY, decode_checkpoint
from poller.model import Checkpoint
from tests.support.topics import Name, Record, expected_of, name_of, reading

COMPLETE_SECONDS_MAX = 60.0
LOOK_SECONDS = 0.3


class Verdict:
    """What came of it."""

    def __init__(
        self, expected: Mapping[Name, Expected], records: Sequence[Record], checkpoints: Mapping[str, Checkpoint], gone: Collection[Name]
    ) -> None:
        """`gone`: what had been published before somebody deleted it."""
        stored = {(record.partition, record.offset): record for record in records}  # a reader that lost its place reads some again
        counted = Counter(map(name_of, stored.values()))
        again = counted.keys() & set(gone)
        self.activities = len(counted.keys() | set(gone))
        self.lost = {name for name, one in expected.items() if one.must} - counted.keys() - set(gone)
        self.twice = {name for name, count in counted.items() if count > 1} | again
        self.where_twice = sorted(
            f"{name_of(one)} at {one.partition}/{one.offset}, {one.timestamp} ms" for one in stored.values() if name_of(one) in self.twice
        )
        self.wrong = [
            *(f"published, but never shown: {name}" for name in sorted(counted.keys() - expected.keys())),
            *(f"not as it was sent: {name_of(one)}" for one in records if name_of(one) in expected and differs(one, expected)),
            *differences(expected, counted.keys() | set(gone), checkpoints),
        ]


def differs(record: Record, expected: Mapping[Name, Expected]) -> bool:
    return record.value != expected[name_of(record)].raw


def differences(expected: Mapping[Name, Expected], published: Collection[Name], checkpoints: Mapping[str, Checkpoint]) -> Iterator[str]:
    """Where the state does not equal the data."""
    for customer in sorted({customer for customer, _ in published} - checkpoints.keys()):
        yield f"{customer}: something is published, but there is no checkpoint"
    shown, there = defaultdict[str, dict[str, Expected]](dict), defaultdict[str, set[str]](set)
    for (customer, id), one in expected.items():
        shown[customer][id] = one
    for customer, id in published:
        there[customer].add(id)
    for customer, checkpoint in sorted(checkpoints.items()):
        cursor, recent = checkpoint.cursor_ms, checkpoint.recent.keys()
        own, ours = shown[customer], there[customer]
        for id in sorted(id for id in ours if id in own and own[id].created_at_ms >= cursor and id not in recent):
            yield f"{customer}: {id} is published at or after the cursor, but not among the recent ids"
        for id in sorted(recent - ours):
            yield f"{customer}: {id} is among the recent ids, but not published"
        for id in sorted(id for id, one in own.items() if one.must and one.created_at_ms < cursor and id not in ours):
            yield f"{customer}: {id} lies before the cursor, but is not published"


async def judge(
    bootstrap_servers: str, topic: str, simulator: Simulator, gone: Collection[Name] = (), within_seconds: float = COMPLETE_SECONDS_MAX
) -> Verdict:
    """Freeze the API, wait until everything is published, or in vain, and look. The pollers go on meanwhile."""
    simulator.freeze()
    shown_at = simulator.all_shown_at()
    async with reading(bootstrap_servers, topic) as reader:
        with anyio.move_on_after(within_seconds):
            while simulator.clock() < shown_at or missing(simulator, await reader.read(), gone):  # noqa: ASYNC110 - nobody tells
                await anyio.sleep(LOOK_SECONDS)
        records = await reader.read()
    checkpoints = await checkpoints_of(bootstrap_servers, topic)
    return Verdict(expected_of(simulator), records, checkpoints, gone)


def missing(simulator: Simulator, records: Sequence[Record], gone: Collection[Name]) -> set[Name]:
    must = {(one.customer, one.id) for one in simulator.truth(30.0).must if one.topic == "activities"}
    return must - set(map(name_of, records)) - set(gone)


async def checkpoints_of(bootstrap_servers: str, topic: str) -> dict[str, Checkpoint]:
    """By customer."""
    values = await latest_values(bootstrap_servers, f"{topic}.checkpoints")
    return {key.decode(): decode_checkpoint(value) for key, value in values.items() if key != OWNERSHIP_KEY}


async def latest_values(bootstrap_servers: str, topic: str) -> dict[bytes, bytes]:
    """What a compacted topic holds for each key."""
    async with reading(bootstrap_servers, topic) as reader:
        return {record.key: record.value for record in await reader.read() if record.key is not None and record.value is not None}


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that so many do not exceed; NaN where there is none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan
