"""One customer's history read under one reading of the API, and what is wrong with what came of it.

The scenarios are histories; a case is a scenario under one reading of the API, one start, one pair of clocks, and one series of restarts.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from poller.core import walk
from poller.core.engine import PAGES_REMEMBERED
from poller.core.policy import Policy
from poller.demo.readings import Readings, Stored
from tests.support.history import EPOCH, Account, Reader, shuffled, stored

LOOKBACK_SECONDS = 60.0
ROUNDS = 9
ROUND_SECONDS = 100.0
CHANGED_ROUND = 4
UNDERSTOOD_READS = PAGES_REMEMBERED + 2
"""So many reads after a server began to cap its pages lower nothing waits any more."""

INSTANT_SECONDS = -2_000.0
"""Where `start=instant` begins, after the epoch of the test."""
SETTLED_SECONDS = 5.0
"""A customer that starts now is read for the first time within so long; what happens in it may be taken for past or not.
Where the Date header is wrong or absent that is so until the end of the first read."""

RUNS: Counter[str] = Counter()
"""What came of the runs of this session, by kind; mutants are not among them."""


@dataclass(frozen=True)
class Scenario:
    """A history."""

    activities: tuple[Stored, ...]
    tie: int = 1
    """The most activities of one millisecond."""

    @property
    def tied(self) -> set[str]:
        """Ids of the activities of the largest tie."""
        count = Counter(activity.created_at_ms for activity in self.activities)
        return {activity.id for activity in self.activities if count[activity.created_at_ms] == self.tie}


def past_tie(size: int) -> Scenario:
    before = [stored(f"a{i:03}", -4000 + i * 7.0) for i in range(60)]
    tied = [stored(f"t{i:03}", -1000) for i in shuffled(size, 1)]
    after = [stored(f"c{i:03}", -900 + i * 9) for i in range(160)]
    return Scenario((*before, *tied, *after), tie=size)


def live_tie(size: int) -> Scenario:
    tied = [stored(f"t{i:03}", 300) for i in shuffled(size, 2)]
    return Scenario((*tied, *(stored(f"c{i:03}", 100 + i * 9) for i in range(60) if 100 + i * 9 != 300)), tie=size)


def burst(late: tuple[float, ...], micros: bool = False) -> Scenario:
    random = Random(3)
    return Scenario(
        tuple(stored(f"a{i:03}", i * 0.01, late=random.choice(late), micros=random.randrange(1000) if micros else 0) for i in range(500))
    )


def deleted() -> Scenario:
    random = Random(5)
    return Scenario(
        tuple(
            stored(f"a{i:03}", i * 0.5, late=random.choice((0, 0, 5)), gone_at=EPOCH + random.choice((50, 100, 1e9, 1e9, 1e9)))
            for i in range(500)
        )
    )


def late_at_random() -> Scenario:
    random = Random(7)
    return Scenario(tuple(stored(f"a{i:03}", i * 2.5, late=random.choice((0, 0, 0.7, 5, 20, 55))) for i in range(300)))


SCENARIOS = {
    "idle": Scenario(()),
    "few": Scenario(tuple(stored(f"a{i}", -4000 + i * 37.0) for i in range(5))),
    "past and present": Scenario(
        (*(stored(f"a{i:03}", -4000 + i * 7.0) for i in range(250)), *(stored(f"b{i:03}", i * 2.5) for i in range(250)))
    ),
    "ties of 2": Scenario(tuple(stored(f"a{i:03}", -4000 + (i // 2) * 7.0) for i in range(250)), tie=2),
    "a tie of 100": past_tie(100),
    "a tie of 101": past_tie(101),
    "a tie of 250": past_tie(250),
    "a tie of 150 while reading": live_tie(150),
    "late": late_at_random(),
    "burst": burst((0, 0, 5)),
    "burst, microseconds": burst((0, 0, 5), micros=True),
    "deleted": deleted(),
}

Start = Literal["earliest", "now", "instant"]


@dataclass(frozen=True)
class Case:
    """What one run reads, and what happens to it."""

    scenario: str | Scenario
    readings: Readings = Readings()
    later: Readings | None = None
    """What the API does from the middle of the run on, if it changes."""
    start: Start = "earliest"
    clock_offset: float = 0.0
    """How far our own clock is ahead."""
    killed_at: frozenset[int] = frozenset()
    restarted_at: frozenset[int] = frozenset()
    resumed_old: bool = False
    """Half-way the process is restarted from the log as it was long before."""
    calls_limit: float = 100_000

    @property
    def history(self) -> Scenario:
        return SCENARIOS[self.scenario] if isinstance(self.scenario, str) else self.scenario

    @property
    def clocks_right(self) -> bool:
        ahead = {one.date_offset_seconds for one in (self.readings, self.later or self.readings)}
        return self.clock_offset == 0 and self.readings.date == "right" and ahead == {0}

    @property
    def page_activities_max(self) -> int:
        """At its smallest."""
        return min(one.page_activities_max for one in (self.readings, self.later or self.readings))

    @property
    def followable(self) -> bool:
        """Whether the endpoint does as it is asked."""
        return self.readings.start_date != "ignored" and self.readings.order != "newest_first"

    @property
    def complete(self) -> bool:
        """Whether everything can be had by what we know to ask."""
        id_cursor = self.readings.starting_after_id in ("honoured", "empty_when_vanished", "refused_when_vanished")
        return self.followable and (self.history.tie <= self.page_activities_max or (id_cursor and self.readings.ties == "stable"))


@dataclass
class Verdict:
    """What came of a case."""

    case: Case
    lost: set[str] = field(default_factory=set)
    twice: set[str] = field(default_factory=set)
    extra: set[str] = field(default_factory=set)
    """What was published although it had happened before the start."""
    gaps: int = 0
    endless: bool = False

    @property
    def kind(self) -> str:
        return f"{'incomplete' if self.lost else 'complete'}, {'gap counted' if self.gaps else 'no gap'}"

    @property
    def faults(self) -> list[str]:
        """The claims that it breaks."""
        case = self.case
        claims = {
            "does not end": not self.endless,
            "published twice": not self.twice,
            "lost without a gap": not self.lost or self.gaps > 0,
            "incomplete": not (case.complete and self.lost),
            "later activities harmed by a gap": not case.followable or self.lost <= case.history.tied,
            "a gap where nothing is in doubt": not (case.followable and case.history.tie < case.page_activities_max and self.gaps),
            # An endpoint that ignores start_date shows the past whenever asked, and a clock that is wrong says that the past is now.
            "published from before the start": not self.extra
            or (case.start == "now" and (case.readings.start_date == "ignored" or not case.clocks_right)),
        }
        return [name for name, holds in claims.items() if not holds]


def wanted(activity: Stored, start: Start, settled_at: float) -> bool:
    """Whether it must be published: it stays long enough to be read, and happened after the start."""
    if activity.gone_at < activity.shown_at + 400:
        return False
    begin = {"earliest": 0.0, "now": settled_at, "instant": EPOCH + INSTANT_SECONDS}[start]
    return activity.created_at_us / 1e6 >= begin


def before_start(activity: Stored, start: Start) -> bool:
    if start == "now":
        return activity.shown_at < EPOCH
    return start == "instant" and activity.created_at_us < (EPOCH + INSTANT_SECONDS) * 1e6


def run(case: Case, meanwhile: Callable[[Reader, int], None] | None = None, account_type: type[Account] = Account) -> Verdict:
    """Read the case's history to its end. `meanwhile` is called after each round, with its number."""
    start: str | int = case.start if case.start != "instant" else round((EPOCH + INSTANT_SECONDS) * 1000)
    policy = Policy(start=start, lookback_ms=round(LOOKBACK_SECONDS * 1000), calls_limit=case.calls_limit)
    reader = Reader(
        account_type(list(case.history.activities), case.readings),
        policy,
        EPOCH,
        clock_offset=case.clock_offset,
        killed_at=case.killed_at,
        restarted_at=case.restarted_at,
    )
    ended = reads(reader)
    date_right = case.readings.date == "right" and case.readings.date_offset_seconds == 0
    settled_at = EPOCH + SETTLED_SECONDS if date_right else reader.now
    return judge(case, reader, settled_at, ended and read_rounds(case, reader, meanwhile))


def read_rounds(case: Case, reader: Reader, meanwhile: Callable[[Reader, int], None] | None) -> bool:
    """Whether every read ended."""
    old, old_gaps = reader.log.copy(), reader.gaps
    for number in range(ROUNDS):
        if not reads(reader):
            return False
        reader.now = max(reader.now, EPOCH + ROUND_SECONDS * (number + 1))
        if number == 2:
            old, old_gaps = reader.log.copy(), reader.gaps
        if number == CHANGED_ROUND and case.later is not None:
            reader.account.readings = case.later
        if number == 6 and case.resumed_old:
            reader.log, reader.gaps = old, old_gaps
            reader.restart()
        if meanwhile is not None:
            meanwhile(reader, number)
    return all(reads(reader) for _ in range(2 if case.later is None else UNDERSTOOD_READS))


def reads(reader: Reader) -> bool:
    """One read; whether it ended."""
    until = reader.calls + 2 * walk.CALLS_MAX
    reads_before, unsettled_before = reader.reads, reader.unsettled
    while reader.reads == reads_before and reader.unsettled < unsettled_before + 5:
        if reader.calls >= until:
            return False
        reader.step()
    return True


def judge(case: Case, reader: Reader, settled_at: float, ended: bool) -> Verdict:
    published = Counter(reader.log.published)
    by_id = {activity.id: activity for activity in case.history.activities}
    return Verdict(
        case,
        lost={activity.id for activity in case.history.activities if wanted(activity, case.start, settled_at)} - published.keys(),
        twice={id for id, times in published.items() if times > 1},
        extra={id for id in published if before_start(by_id[id], case.start)},
        gaps=reader.gaps,
        endless=not ended,
    )
