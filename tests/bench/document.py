"""`docs/performance.md`, from what was measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.bench.figures import Figure, machine, table
from tests.bench.profiling import Profile, excerpt, shares

DOCUMENT = Path(__file__).parents[2] / "docs" / "performance.md"


class Measured(NamedTuple):
    """All that one run of the bench has found."""

    reads: Sequence[Figure]
    backfill: Sequence[Figure]
    memory: Sequence[Figure]
    restore: Sequence[Figure]
    read_profiles: Mapping[str, Profile]
    """By pace; the first of `reads` whose name ends with it is what a read costs then."""
    backfill_profile: Profile

    @property
    def figures(self) -> list[Figure]:
        return [*self.reads, *self.backfill, *self.memory, *self.restore]


def document(measured: Measured, took_seconds: float) -> str:
    costs_us = {
        pace: next(figure.median * 1000 for figure in measured.reads if figure.what.endswith(pace)) for pace in measured.read_profiles
    }
    busy, paced = costs_us.values()
    first = next(iter(measured.read_profiles.values()))
    ours = first.packages()["poller"] / first.samples
    return f"""# Performance

<!-- Written by `make bench`, all of it: change tests/bench instead. -->

Measured in {took_seconds / 60:.1f} minutes on: {machine()}. The broker, the API's stand-in and the bench itself share these cores
with what is measured, so rates depend on who else is at work; CPU time hardly does. A goal is for the median. `make bench` measures
anew, rewrites this page, and fails where a goal is missed.

## What a read costs
One `poller run` over loopback HTTP, with a real Kafka: CPU of its process (user and system), all in, from request to commit. Each read brings 10 new activities of 1.2 kB, every tenth 11, which takes another call.

{table(measured.reads)}
## A backfill
In one process: ready bodies of 100 activities of 1.8 kB each, through decoder, engine, worker and log, into a real Kafka (6 partitions, zstd)
by the one transactional producer of one partition of the checkpoint topic. All settings are the defaults but for the budget. From the first call to the
last commit; then the topic is read, and must hold each activity.

{table(measured.backfill)}
## Memory
By tracemalloc, which counts what Python's objects were given: the same on every machine, without what the allocator keeps for itself. In it are the
id, how it is to be watched, the checkpoint, the engine's own, and the place in the schedule.

{table(measured.memory)}
## Restore
From a real Kafka's checkpoint topic, through `KafkaLog.open` into an engine: with the topics' verification, the fencing of the writer before, and
the decoding. Until it is over, a takeover makes no call.

{table(measured.restore)}
## Where a read's time goes
Found by looking, at each few milliseconds of CPU time, which Python function was running; what C does for a function is charged to it. In
microseconds of what a read costs, by pace:

{shares(measured.read_profiles, costs_us)}
Two things surprise here. **Most of a call is HTTP**: httpx, httpcore, h11, and the parts of anyio and of the standard library that they stand on.
Our own code, all of it, is {ours:.0%}. **At an account's pace a read costs {paced / busy:.1f} times as much** as when all is busy, and no function stands out:
the same ones take longer, others' as well as ours. Counted with cProfile, a read makes as many calls at either pace; but between two of them the
process sleeps, and when it wakes the caches presumably hold what others left there. Group commit adds a little: a commit then carries some seven reads instead of a
hundred or two, which aiokafka's share shows. At that pace the process takes {paced * 2000 / 60 / 1e6:.0%} of a core.

{_blocks(measured.read_profiles)}
## Where a backfill's time goes
{shares({"of a record": measured.backfill_profile}, {"of a record": measured.backfill[1].median})}
Packing the batches of a transaction ourselves took the place of a future for each record, which had cost half as much again; and a commit that is as large as
any may be no longer waits for `POLLER_KAFKA_COMMIT_SECONDS`, which had bounded a backfill to 25,000 records a second.

{_block("of a record", measured.backfill_profile)}"""


def _blocks(profiles: Mapping[str, Profile]) -> str:
    return "\n".join(_block(name, profile) for name, profile in profiles.items())


def _block(name: str, profile: Profile) -> str:
    return f"By function, {name} ({profile.samples:,} looks):\n\n```\n{excerpt(profile)}```\n"
