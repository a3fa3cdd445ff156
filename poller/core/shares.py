"""Shares: how the partitions divide one budget, where there are several.

*What is fair.* A partition is worth calls in proportion to Σ√λ of its customers: then the price of a call is the same everywhere, and none would end
more waiting elsewhere than where it is made. So its *demand* is B·√c, of its calls and their price (core/freshness.py), which is Σ√λ whatever B is. A
part goes by the number of customers alone, so that none stays unread for longer than the staleness allows.

*What is safe.* Nobody allots. Each owner says in its partition's ownership record how much it has ever given to each other one, and ever taken of it. It
spends less before the record that gives is committed, and takes no more than a committed record gives. So every part is somebody's or under way, and
never two partitions', whoever is killed, fenced or deaf meanwhile: a counter in escrow (Balegas et al., "Extending Eventually Consistent Cloud Databases
for Enforcing Numeric Invariants", SRDS 2015). What is heard late makes a division worse, never larger.

*The cycle.* What is left in it goes along with the parts, and counts in that cycle alone.
"""

import math
from collections import Counter
from collections.abc import Mapping

from msgspec.structs import replace

from poller.core.budget import Terms
from poller.core.freshness import ROUNDS_STALENESS, ROUNDS_STALENESS_MIN
from poller.core.owned import Owned
from poller.core.policy import Policy
from poller.model import Share

PARTS = 1_000_000_000
"""What is divided. Whole numbers, so that nothing is lost in sums."""

PARTS_KEPT = 0.02
"""Of an equal part, what every partition keeps: with so little it still notices what its customers do."""

HEARD_SECONDS = 60.0
"""Whoever was not heard of for so long has no owner: its part stays as it is."""

SAY_SECONDS = 20.0
"""An owner commits at least so often, so that it is heard of."""

SETTLE_SECONDS = 60.0
"""From one giving of a partition to its next: by then everybody has heard of it."""

UNEVEN = 0.05
"""By how much of its own a partition must have too much before it gives, unless another lacks twice as much of what is fair. Prices are not known better,
and to be a twentieth off costs a thousandth of the delay.
"""


class Shares:
    """What is heard of all partitions' shares, and how those of ours change."""

    def __init__(self, policy: Policy, partitions: int) -> None:
        """Raises `SettingsError` where the budget cannot be divided so often."""
        self._cycle = policy.cycle
        self.partitions = partitions
        self._equal = Terms.of(policy.calls_limit, policy.calls_window_seconds, policy.cycle, partitions)
        self._equal_parts = PARTS // partitions
        self._all_parts = self._equal_parts * partitions
        self._staleness_seconds_max = policy.staleness_seconds_max
        self._heard: dict[int, tuple[float, Share]] = {}
        self._look_at: dict[int, float] = {}
        """When it is next looked at whether a partition has too much."""

    def heard(self, partition: int, share: Share | None, now: float) -> None:
        """What the partition's owner has committed."""
        if share is not None:
            self._heard[partition] = now, share

    def terms(self, share: Share | None) -> Terms:
        """What a partition with that share may spend; `None`: an equal one."""
        if share is None:
            return self._equal
        parts = self.parts(share)
        cycle_parts = parts if share.cycle is None else share.cycle_parts
        cycle_parts += sum(share.cycle_taken.values()) - sum(share.cycle_given.values())
        calls = 0 if self._cycle is None else self._cycle.calls * cycle_parts // self._all_parts
        return replace(
            self._equal,
            calls_per_second=self._equal.calls_per_second * (parts / self._equal_parts),
            cycle=None if self._cycle is None else replace(self._cycle, calls=calls),
        )

    def part(self, share: Share | None) -> float:
        """Of the whole budget; `None`: an equal one."""
        return self.parts(share or Share()) / self._all_parts

    def parts(self, share: Share) -> int:
        """What the partition has."""
        return self._equal_parts - sum(share.given.values()) + sum(share.taken.values())

    def say_at(self, owned: Owned) -> float:
        """When a partition of ours is to commit at the latest, so that the others hear of it."""
        return owned.committed_at + SAY_SECONDS if self.partitions > 1 else math.inf

    def settle(self, partition: int, owned: Owned, now: float) -> None:
        """A commit of a partition of ours begins: it takes what was given to it, and gives what it has too much. What it may spend changes at once."""
        if self.partitions == 1:
            return
        owned.budget = owned.budget.refill(now)
        share = self._turned(owned.share or Share(), owned.budget.cycle)
        for giver, (_, said) in self._heard.items():
            share = _take(partition, share, giver, said)
        demand, customers = owned.schedule.need
        budget = owned.budget.under(self.terms(share))
        share = replace(share, demand=demand, customers=customers, calls_per_second=budget.calls_per_second(now))
        if self._heard.keys() - {partition} and now >= self._look_at.get(partition, -math.inf):
            gifts = self._gifts(partition, share, now)
            self._look_at[partition] = now + (SETTLE_SECONDS if gifts else SAY_SECONDS)
            share = self._give(share, gifts, budget.cycle_left())
        owned.share = share
        owned.budget = budget.under(self.terms(share))

    def _turned(self, share: Share, cycle: str | None) -> Share:
        """The share in the cycle that its budget is in."""
        return share if share.cycle == cycle else replace(share, cycle=cycle, cycle_parts=self.parts(share), cycle_given={}, cycle_taken={})

    def _gifts(self, partition: int, share: Share, now: float) -> dict[int, int]:
        """Parts for others, of what this one has too much."""
        known = {number: said for number, (_, said) in self._heard.items()} | {partition: share}
        present = {number: said for number, said in known.items() if number == partition or now - self._heard[number][0] <= HEARD_SECONDS}
        under_way = _under_way(known)
        parts = {number: self.parts(said) + under_way[number] for number, said in present.items()}
        fair = self._fair(sum(parts.values()), present)
        surplus = math.floor(parts[partition] - fair[partition])
        lacking = {number: fair[number] - parts[number] for number in present if fair[number] > parts[number]}
        uneven = surplus >= UNEVEN * parts[partition] or any(lack >= 2 * UNEVEN * fair[number] for number, lack in lacking.items())
        if surplus <= 0 or not uneven:
            return {}
        return {number: math.floor(surplus * (lack / sum(lacking.values()))) for number, lack in lacking.items()}

    def _fair(self, parts: int, present: Mapping[int, Share]) -> dict[int, float]:
        """So many parts, divided by what these need."""
        floors = {number: self._floor(said, parts, present) for number, said in present.items()}
        enough = parts / max(parts, sum(floors.values()))
        floors = {number: floor * enough for number, floor in floors.items()}
        demand = sum(said.demand for said in present.values())
        wanted = {number: parts * (said.demand / demand) if demand > 0 else parts / len(present) for number, said in present.items()}
        beyond = {number: max(0.0, wanted[number] - floors[number]) for number in present}
        rest, all_beyond = parts - sum(floors.values()), sum(beyond.values())
        return {number: floors[number] + (rest * beyond[number] / all_beyond if all_beyond > 0 else 0.0) for number in present}

    def _floor(self, share: Share, parts: int, present: Mapping[int, Share]) -> float:
        """What a partition must have to read its customers as often as the staleness demands, at the pace that the rate or the cycle leaves to all."""
        kept = PARTS_KEPT * self._equal_parts
        calls_per_second = sum(said.calls_per_second for said in present.values())
        if not share.customers or calls_per_second <= 0:
            return kept
        customers = sum(said.customers for said in present.values())
        staleness_seconds = self._staleness_seconds_max or ROUNDS_STALENESS * customers / calls_per_second
        return max(kept, parts * (ROUNDS_STALENESS_MIN * share.customers / (staleness_seconds * calls_per_second)))

    def _give(self, share: Share, gifts: Mapping[int, int], cycle_left: int) -> Share:
        """`cycle_left`: calls that it may still make in the cycle, without the reserve, which stays. They go along as parts of the cycle, so that another cap divides them as it does all."""
        if self._cycle is None:
            return replace(share, given=_added(share.given, gifts))
        left, parts = cycle_left * self._all_parts // self._cycle.calls, self.parts(share)
        cycle_gifts = {number: left * gift // parts for number, gift in gifts.items()}
        return replace(share, given=_added(share.given, gifts), cycle_given=_added(share.cycle_given, cycle_gifts))


def _take(partition: int, share: Share, giver: int, said: Share) -> Share:
    """What its record gives us, and is not yet taken. Calls of an older cycle are gone; what is of a newer one waits for us to be in it."""
    given, taken = said.given.get(partition, 0), share.taken.get(giver, 0)
    if given <= taken or (said.cycle or "") > (share.cycle or ""):
        return share
    share = replace(share, taken={**share.taken, giver: given})
    if said.cycle is None or said.cycle != share.cycle:
        return share
    return replace(share, cycle_taken={**share.cycle_taken, giver: said.cycle_given.get(partition, 0)})


def _under_way(known: Mapping[int, Share]) -> Counter[int]:
    """What is given to each partition, and not yet taken."""
    under_way: Counter[int] = Counter()
    for giver, said in known.items():
        for to, given in said.given.items():
            taken = known[to].taken.get(giver, 0) if to in known else 0
            under_way[to] += max(0, given - taken)
    return under_way


def _added(sums: Mapping[int, int], more: Mapping[int, int]) -> dict[int, int]:
    return {number: sums.get(number, 0) + more.get(number, 0) for number in sums.keys() | more.keys()}
