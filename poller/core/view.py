"""The view: what may be asked of an engine, by the worker and by whoever runs the process. It decides nothing and changes nothing.

    overview(now)               how everything stands that is ours, without a look at every customer
    survey(now)                 that look, in slices, so that the loop may turn meanwhile (core/survey.py)
    standing(customer, now)     how one customer stands
    cycle_stands(now), parts    how the billing cycle stands, and what part of the budget is ours
    paused_until, refused       what stops every call

A partition whose writer was lost is still ours: how its customers stand is told while it is opened anew, or they would be out of sight just when
Kafka fails. Only the calls know the difference.
"""

from collections.abc import Generator
from dataclasses import dataclass
from functools import reduce

from msgspec.structs import replace

from poller.core import feed, ownership
from poller.core.arrival import Arrival
from poller.core.budget import CycleStands
from poller.core.listing import Lister
from poller.core.overview import Overview, RateStands, Surveyed
from poller.core.owned import Held, Owned
from poller.core.pauses import Pauses
from poller.core.policy import Policy
from poller.core.shares import Shares
from poller.core.standing import Busy, Standing, standing_in
from poller.core.survey import survey
from poller.core.watched import Watched
from poller.model import CustomerId, Fetch


@dataclass(frozen=True, slots=True)
class Parts:
    """What an engine is made of: the very objects, which go on changing."""

    policy: Policy
    watched: Watched
    owned: dict[int, Owned]
    suspended: dict[int, Owned]
    arriving: dict[int, Arrival]
    held: dict[int, Held]
    in_flight: dict[CustomerId, Fetch]
    feed: feed.Reader
    lister: Lister
    pauses: Pauses


class View:
    """See the top of this file."""

    def __init__(self, parts: Parts) -> None:
        self._of = parts
        self.shares: Shares | None = None
        """How the partitions divide the budget; `None`: it is not known yet how many they are."""

    @property
    def owner(self) -> str:
        """Who we are, as the ownership records say."""
        return self._of.policy.owner

    @property
    def owned(self) -> list[int]:
        """The partitions that are ours and restored."""
        return sorted(self._of.owned)

    @property
    def ours(self) -> dict[int, Owned]:
        """The same, and those which are ours and lost their writer, as they stood then."""
        return self._of.suspended | self._of.owned

    @property
    def in_flight(self) -> int:
        """Calls under way."""
        return len(self._of.in_flight) + (self._of.feed.call is not None) + (self._of.lister.call is not None)

    @property
    def customers(self) -> int:
        """Watched customers in the partitions that are ours and restored."""
        return sum(len(self._of.watched.of(partition)) for partition in self._of.owned)

    @property
    def paused_until(self) -> float:
        """No call is made before, whoever is due."""
        return self._of.pauses.until

    @property
    def refused(self) -> str:
        """Why the API refuses every call until somebody mends something; empty where it is not known to."""
        return self._of.pauses.refused

    @property
    def parts(self) -> dict[int, float]:
        """What part of the budget each partition of ours has."""
        return {} if self.shares is None else {number: self.shares.part(owned.share) for number, owned in sorted(self.ours.items())}

    def cycle_stands(self, now: float) -> CycleStands | None:
        """How the cycle stands for the partitions of ours; `None`: no cycle is configured, or nothing is ours."""
        each = [stands for owned in self.ours.values() if (stands := owned.budget.cycle_stands(now)) is not None]
        return reduce(CycleStands.joined, each) if each else None

    def standing(self, customer_id: CustomerId, now: float) -> Standing:
        """How a customer stands here. Expects to know how many partitions divide the work."""
        assert self.shares is not None
        partition = ownership.partition_of(customer_id, self.shares.partitions)
        sources, entry = self._of.watched.sources(customer_id), self._of.watched.entry(customer_id)
        told = Standing(partition=partition, owner=self.owner, state="not owned", sources=sources, entry=entry)
        if self._of.pauses.until > now:
            told = replace(told, paused_until=self._of.pauses.until, paused_why=self._of.pauses.why)
        owned = self._of.owned.get(partition)
        if owned is None:
            return replace(told, state="restoring") if partition in self._of.suspended else told
        return standing_in(owned, customer_id, told, self.busy(partition, customer_id), now)

    def busy(self, partition: int, customer_id: CustomerId) -> Busy | None:
        """Why it does not stand in the schedule though it may be called again."""
        if customer_id in self._of.in_flight:
            return "in flight"
        held = self._of.held.get(partition)
        return "awaits its commit" if held is not None and customer_id in held.batches else None

    def overview(self, now: float) -> Overview:
        """How everything stands that is ours. What only the worker knows (`surveyed`), it fills in."""
        of, ours = self._of, self.ours.values()
        paused = of.pauses.until > now
        called = [at for owned in ours if (at := owned.schedule.called_first) is not None]
        return Overview(
            owner=self.owner,
            partitions=0 if self.shares is None else self.shares.partitions,
            owned=tuple(self.owned),
            restoring=tuple(sorted((of.suspended.keys() | of.arriving.keys()) - of.owned.keys())),
            in_flight=self.in_flight,
            records_waiting=sum(held.records for held in of.held.values()),
            bytes_waiting=sum(held.bytes for held in of.held.values()),
            watched=len(of.watched),
            rate=self._rate(now),
            cycle=self.cycle_stands(now),
            parts=self.parts,
            quota_remaining=of.pauses.remaining,
            paused_until=of.pauses.until if paused else None,
            paused_why=of.pauses.why if paused else "",
            staleness_objective_seconds=max((owned.schedule.staleness_seconds for owned in ours), default=None),
            oldest_called_at=min(called, default=None),
            surveyed=None,
        )

    def survey(self, now: float) -> Generator[None, None, Surveyed]:
        """A look at every customer of ours; step by step, and what it has shown is what the generator returns."""
        return survey(lambda: self.ours, self._of.watched, now)

    def _rate(self, now: float) -> RateStands | None:
        budgets = [owned.budget.refill(now) for owned in self.ours.values()]
        if not budgets:
            return None
        return RateStands(
            calls=self._of.policy.calls_limit * sum(self.parts.values()),
            window_seconds=self._of.policy.calls_window_seconds,
            left=sum(max(0.0, budget.level) for budget in budgets),
            calls_per_second=sum(budget.calls_per_second(now) for budget in budgets),
        )
