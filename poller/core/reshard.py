"""Resharding: the checkpoints of one topic move to another one, with another number of partitions (kafka/reshard.py has the steps).

What stands under a partition's ownership key tells who may own it, at every instant and whoever was killed:

    an ownership record   whoever is fencing its last owner
    `Moved`               nobody any more: its checkpoints are, or will be, in another topic
    `Preparing`           nobody yet: it is being filled

A new partition gets its ownership record only when every old one is `Moved`, and an old one gets its own back only when every new one is `Preparing`. So
no customer ever has two owners.
"""

import math
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from poller.core.freshness import PRICE_MIN
from poller.model import Learned, Ledger, Ownership, Pool

OWNER = "poller reshard"
"""Said to be the owner of a new partition that no poller has owned yet."""


class Moved(msgspec.Struct, frozen=True):
    """In place of the ownership record of a partition that was left."""

    to: str
    """The topic …"""
    partitions: int
    """… and the number of its partitions."""
    ownership: Ownership | None
    """What its last owner said; `None`: it had none."""


class Preparing(msgspec.Struct, frozen=True):
    """In place of the ownership record of a partition that may not be owned yet."""

    origin: str
    """The topic that is left."""
    partitions: int


Said = Ownership | Moved | Preparing | None
"""What stands under a partition's ownership key; `None`: nothing."""


class Stand(msgspec.Struct, frozen=True):
    """How one partition stands."""

    said: Said
    customers: int = 0


class Plan(msgspec.Struct, frozen=True):
    """From where to where."""

    application_id: str
    origin: str
    to: str
    partitions: int

    @property
    def preparing(self) -> Preparing:
        return Preparing(self.origin, self.partitions)

    def moves(self, said: Said) -> bool:
        """Whether an old partition was left by this very plan."""
        return isinstance(said, Moved) and (said.to, said.partitions) == (self.to, self.partitions)


def default_target(origin: str, origin_partitions: int, partitions: int) -> str:
    """The topic's own name, with the number of partitions at its end in place of the one that it may have there."""
    return f"{origin.removesuffix(f'.{origin_partitions}')}.{partitions}"


def settings_for(topic: str, partitions: int) -> str:
    """What a poller is to be told."""
    return f"POLLER_KAFKA_CHECKPOINTS_TOPIC={topic} and POLLER_KAFKA_CHECKPOINT_PARTITIONS={partitions}"


def moved_to(moved: Moved) -> str:
    """What whoever finds that marker is told."""
    return f"they are in topic {moved.to} with {moved.partitions} partitions since `poller reshard`: set {settings_for(moved.to, moved.partitions)}"


def being_prepared(preparing: Preparing) -> str:
    """The same of the other one."""
    return (
        f"nobody may own it before all of topic {preparing.origin} has moved to it: let `poller reshard` come to its end, or run it again"
    )


def last_ownerships(old: Sequence[Said]) -> list[Ownership]:
    """What the old partitions' last owners said, as far as they had any."""
    found = [said.ownership if isinstance(said, Moved) else said for said in old]
    return [said for said in found if isinstance(said, Ownership)]


def is_done(plan: Plan, old: Sequence[Said], new: Sequence[Stand]) -> bool:
    """Whether nothing is left to do."""
    return all(map(plan.moves, old)) and len(new) == plan.partitions and all(isinstance(stand.said, Ownership) for stand in new)


# ------------------------------------------------------------------------------------------------------------------- refusals


def refusal(plan: Plan, old: Sequence[Stand], new: Sequence[Stand]) -> str | None:
    """Why this may not be begun, or gone on with; `None`: it may. `new`: nothing where there is no such topic."""
    said = [stand.said for stand in old]
    return _refusal_of_old(plan, said) or _refusal_of_new(plan, said, new)


def _refusal_of_old(plan: Plan, old: Sequence[Said]) -> str | None:
    if plan.to == plan.origin:
        return f"{plan.to} is the topic that is left: name another one with --to"
    unfinished = next((said for said in old if isinstance(said, Preparing)), None)
    if unfinished is not None:
        return f"topic {plan.origin} is itself being filled from topic {unfinished.origin}: let that come to its end first"
    other = next((said for said in old if isinstance(said, Moved) and not plan.moves(said)), None)
    if other is not None:
        return _moved_elsewhere(plan, old, other)
    return _refusal_of_owners(plan, old, last_ownerships(old))


def _moved_elsewhere(plan: Plan, old: Sequence[Said], other: Moved) -> str:
    if all(isinstance(said, Moved) for said in old):
        return f"the checkpoints of topic {plan.origin} have moved: {moved_to(other)}"
    same = f"--partitions {other.partitions} --to {other.to}"
    return f"a move of topic {plan.origin} to {other.to} was begun: end it with {same}, or take it back with {same} --undo"


def _refusal_of_owners(plan: Plan, old: Sequence[Said], owners: Sequence[Ownership]) -> str | None:
    if not owners:
        return f"nobody has ever owned a partition of topic {plan.origin}, so there is nothing to move: set {settings_for(plan.to, plan.partitions)}"
    if any(owner.application_id != plan.application_id for owner in owners):
        others = sorted({owner.application_id for owner in owners})
        return (
            f"topic {plan.origin} belongs to POLLER_KAFKA_APPLICATION_ID={', '.join(others)}, not {plan.application_id}: use its settings"
        )
    if len({owner.url for owner in owners}) > 1:
        return f"topic {plan.origin} holds checkpoints of several projects: {', '.join(sorted({owner.url for owner in owners}))}"
    if len(old) == plan.partitions and all(owner.partitions == plan.partitions for owner in owners):
        return f"topic {plan.origin} has {plan.partitions} partitions as it is"
    return None


def _refusal_of_new(plan: Plan, old: Sequence[Said], new: Sequence[Stand]) -> str | None:
    if new and len(new) != plan.partitions:
        return f"topic {plan.to} has {len(new)} partitions, not {plan.partitions}: name another one with --to"
    moved = all(map(plan.moves, old))
    for stand in new:
        match stand:
            case Stand(said=Ownership()) if moved:
                continue
            case Stand(said=Preparing() as preparing) if preparing == plan.preparing:
                continue
            case Stand(said=None, customers=0):
                continue
            case _:
                return (
                    f"topic {plan.to} holds records that are not of this move: name another one with --to, or delete it if nobody needs it"
                )
    return None


def refusal_to_undo(plan: Plan, old: Sequence[Stand], new: Sequence[Stand]) -> str | None:
    """Why this may not be taken back; `None`: it may."""
    if not any(plan.moves(stand.said) for stand in old):
        return f"no partition of topic {plan.origin} has moved to {plan.to}: there is nothing to take back"
    return next((why for stand in new if (why := used(plan, stand.said)) is not None), None)


def used(plan: Plan, said: Said) -> str | None:
    """Why a new partition is not given up: a poller has owned it; `None`: none has."""
    if isinstance(said, Ownership) and said.owner != OWNER:
        return f"topic {plan.to} is owned by {said.owner} since: what was published from then on would be published again"
    return None


# ------------------------------------------------------------------------------------------- what the new partitions begin with


def divided(old: Sequence[Ownership], customers: Sequence[int], partitions: int) -> list[Ownership]:
    """The ownership records that the new partitions begin with, given the last ones of the old, and how many checkpoints each of these holds.

    What rides with partition 0 goes on there; nothing else has any.
    """
    ledger = _ledger([owner.ledger for owner in old], partitions)
    learned = _learned([owner.learned for owner in old], customers)
    first = replace(old[0], partitions=partitions, owner=OWNER, ledger=ledger, learned=learned, share=None)
    rest = Ownership(
        application_id=first.application_id,
        url=first.url,
        endpoint=first.endpoint,
        partitions=partitions,
        watched_hash=first.watched_hash,
        owner=OWNER,
        ledger=ledger,
        learned=learned,
    )
    return [first, *[rest] * (partitions - 1)]


def _ledger(old: Sequence[Ledger], partitions: int) -> Ledger:
    """An equal part of what was left, so that all parts together hold no more.

    *The rate.* Buckets that held `level` together let so many calls start at once, and new ones as many, if their levels add up to the same. But windows
    that begin before the move have had the old buckets' capacity, and those after it the new one: with fewer partitions that is less, by less than a
    call for each old one, as capacities are whole numbers (core/budget.py). So that much is withheld.

    *The cycle.* Its calls are divided equally again, so what was spent in the newest cycle is too, rounded up. Whoever has not begun that cycle has spent
    nothing in it: what an older one granted is void then. Parts that were under way between partitions are nobody's, and come back.
    """
    level = (sum(ledger.level for ledger in old) - len(old)) / partitions
    cycle = max((ledger.cycle for ledger in old if ledger.cycle is not None), default=None)
    spent = sum(ledger.cycle_spent for ledger in old if ledger.cycle == cycle)
    return Ledger(level=level, cycle=cycle, cycle_spent=math.ceil(spent / partitions))


def _learned(old: Sequence[Learned], customers: Sequence[int]) -> Learned:
    """For each of the new ones. The pool is about all customers alike, so each begins with the mean one; price and slots go by the customers."""
    weights = [count / sum(customers) for count in customers] if sum(customers) else [1 / len(old)] * len(old)
    pools = [one.pool for one in old]
    return Learned(
        pool=Pool(
            activities=sum(pool.activities for pool in pools) / len(pools),
            follows=sum(pool.follows for pool in pools) / len(pools),
            gap_seconds=sum(pool.gap_seconds for pool in pools) / len(pools),
        ),
        price=math.exp(sum(weight * math.log(max(one.price, PRICE_MIN)) for weight, one in zip(weights, old, strict=True))),
        slots=sum(weight * one.slots for weight, one in zip(weights, old, strict=True)),
    )
