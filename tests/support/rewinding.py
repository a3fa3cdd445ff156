"""A world of engines, some of whose customers are rewound now and then, and a judge who knows what was to be published again."""

from collections import Counter
from dataclasses import dataclass, field

from msgspec.structs import replace

from poller.model import PLAIN, Batch, Checkpoint, Commit, CustomerId, Lookup, Rewind
from tests.support.group import CUSTOMERS, Group


@dataclass
class Expected:
    """One replay of one customer, from its first commit on."""

    wanted: set[str]
    """What had been published by then, and was created since its date; where only what is missing is wanted, without what stood there."""
    again: Counter[str] = field(default_factory=Counter)


class RewindingGroup(Group):
    """See the top of this file."""

    def __init__(self, partitions: int, calls_limit: float) -> None:
        self.lookups: list[tuple[int, Lookup]] = []
        """Under way, and whose they are."""
        self.rewinds: dict[tuple[CustomerId, str], Rewind] = {}
        """All that were ever ordered."""
        self.expected: dict[tuple[CustomerId, str], Expected] = {}
        self.done = 0
        self.deleted = 0
        super().__init__(partitions, calls_limit)

    def rewind(self, customer: CustomerId, seconds: float, *, missing_only: bool, delete: int) -> None:
        """Somebody has it published again since so long ago; before that, some records have been deleted."""
        if missing_only and not self.is_rewound(customer):
            for id in sorted(self.topic[customer])[:delete]:
                self.topic[customer].discard(id)
                self.deleted += 1
        entry = self.said.get(customer, PLAIN)
        rewind = Rewind(f"r{len(self.rewinds) + 1}", round((self.now - seconds) * 1000), missing_only)
        self.rewinds[customer, rewind.id] = rewind
        self.say(customer, replace(entry, replay=rewind))

    def is_rewound(self, customer: CustomerId) -> bool:
        """Whether a replay is ordered, or under way."""
        checkpoint, entry = self.checkpoint(customer), self.said.get(customer, PLAIN)
        ordered = entry.replay is not None and (checkpoint is None or checkpoint.replayed != entry.replay.id)
        return ordered or (checkpoint is not None and checkpoint.replay is not None)

    def checkpoint(self, customer: CustomerId) -> Checkpoint | None:
        return next((log.checkpoints[customer] for log in self.log if customer in log.checkpoints), None)

    def is_to_be_read(self, customer: CustomerId, checkpoint: Checkpoint | None) -> bool:
        entry = self.said.get(customer, PLAIN)
        ordered = checkpoint is not None and entry.replay is not None and entry.replay.id != checkpoint.replayed
        return super().is_to_be_read(customer, None if ordered else checkpoint)

    # What a process does.

    def kill(self, index: int) -> None:
        super().kill(index)
        self.lookups = [one for one in self.lookups if one[0] != index]

    def look_up(self, index: int, order: Lookup) -> None:
        self.lookups.append((index, order))

    def answer_lookup(self) -> None:
        """The oldest."""
        if self.lookups:
            super().look_up(*self.lookups.pop(0))

    def turn(self, index: int) -> None:
        super().turn(index)
        while self.lookups:
            self.answer_lookup()

    def apply(self, commit: Commit) -> None:
        for batch in commit.batches:
            self.hear(batch)
        super().apply(commit)

    def hear(self, batch: Batch) -> None:
        """Before the batch stands."""
        before, after = batch.base, batch.checkpoint
        if batch.removes:
            return
        if after.replayed is not None and (before is None or before.replayed != after.replayed):
            self.begin(batch.customer, after.replayed)
        assert not batch.again or after.replayed is not None
        if after.replayed is None:
            return
        expected = self.expected[batch.customer, after.replayed]
        expected.again.update(batch.again)
        if before is not None and after.replay is None and (before.replay is not None or before.replayed != after.replayed):
            assert expected.again == Counter(expected.wanted), "what a replay has published again"
            self.done += 1

    def begin(self, customer: CustomerId, replayed: str) -> None:
        rewind = self.rewinds[customer, replayed]
        created = {one.id: one.created_at_us // 1000 for one in self.accounts[customer].activities}
        wanted = {id for id, at_ms in created.items() if at_ms >= rewind.from_ms and self.published[id]}
        self.expected[customer, replayed] = Expected(wanted - self.topic[customer] if rewind.missing_only else wanted)

    # What must hold.

    def check(self) -> None:
        super().check()
        for expected in self.expected.values():
            assert not expected.again - Counter(expected.wanted), "published again, and was not to be, or twice"

    def finish(self, turns_max: int = 1_000) -> None:
        """All rewinds are carried out."""
        rewound = {customer: entry.replay for customer, entry in self.said.items() if entry.replay is not None}
        super().finish(turns_max)
        for customer, rewind in rewound.items():
            self.say(customer, replace(PLAIN, replay=rewind))
        for _ in range(turns_max):
            if not any(map(self.is_rewound, CUSTOMERS)):
                return
            self.confirm(0)
            self.turn(0)
            self.check()
            self.now += max(1.0, self.processes[0].engine.view.paused_until - self.now)
        raise AssertionError(f"not carried out: {[(one, self.checkpoint(one)) for one in CUSTOMERS if self.is_rewound(one)]}")
