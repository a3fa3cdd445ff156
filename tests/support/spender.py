"""One partition's budget, spent by hand: what is durable outlives whoever owns it."""

import math
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Literal

from poller.core.budget import ARRIVAL_SECONDS, Budget, Terms
from poller.model import Ledger

EPOCH = 1_800_000_000.0

Event = Literal["turn", "busy turn", "spend", "prepare", "stands", "fails", "stands unheard", "killed", "drained"]


@dataclass
class Owner:
    """Whoever owns one partition: what is durable outlives it."""

    terms: Terms
    now: float
    durable: Ledger | None = None
    under_way: Ledger | None = None
    calls: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.restore()

    def restore(self) -> None:
        self.under_way = None
        self.budget = Budget.restore(self.terms, self.durable, self.now)

    def happen(self, event: Event) -> None:
        match event:
            case "turn":
                self.spend_all()
                self.grant()
                self.spend_all()
            case "busy turn" if self.under_way is None:
                self.happen("prepare")
                self.spend_all()
                self.happen("stands")
                self.spend_all()
            case "spend":
                self.spend_all()
            case "prepare" if self.under_way is None:
                self.budget, self.under_way, _ = self.budget.prepare(self.now, last=False)
            case "stands" if self.under_way is not None:
                self.durable, self.under_way = self.under_way, None
                self.budget = self.budget.committed()
            case "fails" if self.under_way is not None:
                self.restore()
            case "stands unheard" if self.under_way is not None:
                self.durable = self.under_way
                self.restore()
            case "killed":
                self.restore()
            case "drained":
                self.budget, self.durable, _ = self.budget.prepare(self.now, last=True)
                self.spend_all()
                self.restore()
            case _:
                pass

    def spend_all(self) -> None:
        self.budget = self.budget.refill(self.now)
        while self.budget.available_at(self.now) <= self.now:
            self.budget = self.budget.spend(self.now)
            self.calls.append(self.now)

    def grant(self) -> None:
        """A commit that stands at once."""
        self.happen("prepare")
        self.happen("stands")


def most_in_a_window(calls: list[float], window_seconds: float) -> int:
    """The most calls that can arrive in any half-open window of this length, where some take longer to arrive than others."""
    ordered = sorted(calls)
    return max((bisect_left(ordered, at + window_seconds + ARRIVAL_SECONDS) - i for i, at in enumerate(ordered)), default=0)


def spend_as_allowed(owner: Owner, until: float, commit_seconds: float) -> None:
    """Calls are always wanted, and commits take `commit_seconds`."""
    commit_at, stands_at = owner.now, math.inf
    while owner.now < until:
        owner.spend_all()
        if stands_at <= owner.now:
            owner.happen("stands")
            commit_at, stands_at = owner.now, math.inf
        elif owner.under_way is None and max(commit_at, owner.budget.grant_due_at(owner.now)) <= owner.now:
            owner.happen("prepare")
            stands_at = owner.now + commit_seconds
        else:
            owner.now = min(
                at
                for at in (owner.budget.available_at(owner.now), owner.budget.grant_due_at(owner.now), stands_at, until)
                if at > owner.now
            )
