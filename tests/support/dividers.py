"""Several partitions that divide one budget, each with a process of its own: what is durable outlives them, and what is said is heard late, or never."""

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from poller.core.budget import Budget
from poller.core.owned import Owned
from poller.core.policy import Policy
from poller.core.schedule import Schedule
from poller.core.shares import Shares
from poller.model import CustomerId, Learned, Ledger, Share
from tests.support.spender import EPOCH

Event = Literal[
    "commit", "begin", "stands", "fails", "stands unheard", "killed", "killed, needs more", "killed, needs less", "hear", "spend"
]


@dataclass
class Divider:
    """One partition, and whoever owns it."""

    number: int
    policy: Policy
    partitions: int
    customers: int
    price: float = 1.0
    durable: tuple[Ledger, Share | None] | None = None
    under_way: tuple[Ledger, Share | None] | None = None
    said: deque[tuple[int, Share]] = field(default_factory=deque)
    """Not yet heard here."""
    calls: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.restore(EPOCH)

    def restore(self, now: float) -> None:
        """In a new process, which has heard nothing."""
        self.under_way = None
        self.said.clear()
        self.shares = Shares(self.policy, self.partitions)
        ledger, share = self.durable or (None, None)
        terms = self.shares.terms(share)
        schedule = Schedule(Learned(price=self.price), terms.calls_per_second, None)
        for number in range(self.customers):
            schedule.add(CustomerId(f"{self.number}/{number}"), None, now)
        self.owned = Owned({}, Budget.restore(terms, ledger, now), schedule, share)

    def begin(self, now: float) -> None:
        if self.under_way is None:
            self.shares.settle(self.number, self.owned, now)
            self.owned.budget, ledger, _ = self.owned.budget.prepare(now, last=False)
            self.under_way = ledger, self.owned.share

    def stands(self, others: "list[Divider]", now: float) -> None:
        if self.under_way is not None:
            self.publish(others)
            assert self.owned.share is not None
            self.owned.budget, self.owned.committed_at = self.owned.budget.committed(), now
            self.shares.heard(self.number, self.owned.share, now)

    def publish(self, others: "list[Divider]") -> None:
        assert self.under_way is not None and self.under_way[1] is not None
        self.durable, self.under_way = self.under_way, None
        for other in others:
            if other is not self:
                other.said.append((self.number, self.durable[1]))  # type: ignore[arg-type]  # it was looked at

    def hear(self, now: float, at_most: int = 1) -> None:
        for _ in range(min(at_most, len(self.said))):
            partition, share = self.said.popleft()
            self.shares.heard(partition, share, now)

    def spend(self, now: float) -> None:
        self.owned.budget = self.owned.budget.refill(now)
        while self.owned.budget.available_at(now) <= now:
            self.owned.budget = self.owned.budget.spend(now)
            self.calls.append(now)

    def happen(self, event: Event, others: "list[Divider]", now: float) -> None:
        match event:
            case "commit":
                self.begin(now)
                self.spend(now)
                self.stands(others, now)
                self.spend(now)
            case "begin":
                self.begin(now)
            case "stands":
                self.stands(others, now)
            case "fails" if self.under_way is not None:
                self.restore(now)
            case "stands unheard" if self.under_way is not None:
                self.publish(others)
                self.restore(now)
            case "killed":
                self.restore(now)
            case "killed, needs more" | "killed, needs less":
                self.price *= 100 if event == "killed, needs more" else 0.01
                self.restore(now)
            case "hear":
                self.hear(now)
            case "spend":
                self.spend(now)
            case _:
                pass

    def under(self, policy: Policy, now: float) -> None:
        """It is restarted with other settings."""
        self.policy = policy
        self.restore(now)

    @property
    def parts(self) -> int:
        """As committed."""
        return self.shares.parts(Share() if self.durable is None or self.durable[1] is None else self.durable[1])


def dividers(policy: Policy, customers: list[int]) -> list[Divider]:
    return [Divider(number, policy, len(customers), of_it) for number, of_it in enumerate(customers)]


def live(these: list[Divider], begin: float, seconds: float, step: float = 1.0) -> None:
    """Nothing fails: all commit, hear, and spend what they may."""
    now = begin
    while now < begin + seconds:
        now += step
        for one in these:
            one.hear(now, len(one.said))
            one.happen("commit", these, now)
