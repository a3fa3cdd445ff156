"""An engine in a test's hands: what makes one the owner of the only partition, and the orders that it is expected to give."""

import math
from collections.abc import Iterable

from poller.core.engine import Engine
from poller.core.freshness import Freshness
from poller.core.policy import Policy
from poller.core.schedule import Schedule
from poller.model import Commit, CustomerId, Fetch, Restored, Wait

NOW = 100_000.0


def owner(policy: Policy, customers: Iterable[CustomerId], found: Restored, now: float = NOW) -> Engine:
    """It may make calls: a commit has granted those that the budget found there holds."""
    made = Engine(policy)
    made.partitioned(1)
    made.watch(customers)
    made.confirmed(math.inf)
    made.assigned(0, found, now)
    commit_all(made, now)
    return made


def fetch(of: Engine, now: float = NOW) -> Fetch:
    order = of.next(now)
    assert isinstance(order, Fetch), order
    return order


def wait(of: Engine, now: float = NOW) -> Wait:
    order = of.next(now)
    assert isinstance(order, Wait), order
    return order


def commit(of: Engine, now: float = NOW, **how: bool) -> Commit:
    order = of.commit(0, now, **({"at_once": True} | how))
    assert isinstance(order, Commit), order
    return order


def taken(of: Schedule | Freshness, now: float) -> list[CustomerId]:
    """Everybody who may be called now, in order."""
    customers = []
    while of.due_at(now) <= now:
        customers.append(of.take(now))
    return customers


def commit_all(of: Engine, now: float = NOW) -> Commit:
    """What stood there to be committed, and is."""
    order = commit(of, now)
    of.committed(order, now)
    return order
