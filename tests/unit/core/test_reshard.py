"""Resharding: what may be done given how both topics stand, and what the new partitions begin with."""

import math
from typing import Any

import pytest
from msgspec.structs import replace

from poller.core.reshard import (
    OWNER,
    Moved,
    Plan,
    Preparing,
    Said,
    Stand,
    being_prepared,
    default_target,
    divided,
    is_done,
    last_ownerships,
    moved_to,
    refusal,
    refusal_to_undo,
    used,
)
from poller.model import Feed, Learned, Ledger, Listing, Pool, Share
from tests.support.builders import ownership

PLAN = Plan("voucherify-activity-poller", "old", "new", 2)
OWNED = ownership(owner="pod-1")
LEFT = Moved("new", 2, OWNED)
BEGUN = ownership(owner=OWNER, partitions=2)
WAITS = Preparing("old", 2)


def stands(*said: Said, customers: int = 0) -> list[Stand]:
    return [Stand(one, customers) for one in said]


def refused(*old: Said, new: list[Stand] | None = None, **plan: Any) -> str:
    return refusal(replace(PLAN, **plan), stands(*old), new or []) or ""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((OWNED,), []),
        ((OWNED,), stands(None, None)),
        ((OWNED,), stands(WAITS, WAITS, customers=5)),
        ((replace(OWNED, partitions=3), None, replace(OWNED, partitions=3)), stands(WAITS, WAITS)),
        ((LEFT, OWNED, None), stands(WAITS, WAITS)),
        ((LEFT,), stands(WAITS, BEGUN)),
        ((LEFT, Moved("new", 2, None)), stands(BEGUN, OWNED, customers=5)),
    ],
)
def test_what_is_to_be_begun_or_gone_on_with_may_be_done(old: tuple[Said, ...], new: list[Stand]) -> None:
    assert refused(*old, new=new) == ""


def test_a_topic_may_not_move_to_itself() -> None:
    assert refused(OWNED, to="old") == "old is the topic that is left: name another one with --to"


def test_what_is_itself_being_filled_may_not_be_left() -> None:
    assert "is itself being filled from topic older" in refused(Preparing("older", 1))


def test_what_has_moved_elsewhere_says_where_it_is() -> None:
    said = refused(Moved("other", 3, OWNED), Moved("other", 3, None))

    assert "POLLER_KAFKA_CHECKPOINTS_TOPIC=other and POLLER_KAFKA_CHECKPOINT_PARTITIONS=3" in said


@pytest.mark.parametrize("other", [Moved("other", 2, OWNED), Moved("new", 3, OWNED)])
def test_what_was_begun_otherwise_is_to_be_ended_or_taken_back_first(other: Moved) -> None:
    same = f"--partitions {other.partitions} --to {other.to}"

    assert refused(other, OWNED) == f"a move of topic old to {other.to} was begun: end it with {same}, or take it back with {same} --undo"


def test_where_nobody_ever_owned_anything_there_is_nothing_to_move() -> None:
    assert "there is nothing to move: set POLLER_KAFKA_CHECKPOINTS_TOPIC=new" in refused(None, Moved("new", 2, None))


@pytest.mark.parametrize("old", [replace(OWNED, application_id="theirs"), Moved("new", 2, replace(OWNED, application_id="theirs"))])
def test_what_belongs_to_another_application_is_left_alone(old: Said) -> None:
    assert "topic old belongs to POLLER_KAFKA_APPLICATION_ID=theirs, not voucherify-activity-poller" in refused(old)


def test_checkpoints_of_two_projects_are_not_mixed() -> None:
    assert "several projects: https://a, https://b" in refused(replace(OWNED, url="https://b"), replace(OWNED, url="https://a"))


def test_as_many_partitions_as_there_are_is_no_move() -> None:
    two = replace(OWNED, partitions=2)

    assert refused(two, two) == "topic old has 2 partitions as it is"
    assert refused(OWNED, None) == "", "given more by hand: its customers are not where they belong"


def test_a_new_topic_with_another_number_of_partitions_will_not_do() -> None:
    assert refused(OWNED, new=stands(None)) == "topic new has 1 partitions, not 2: name another one with --to"


@pytest.mark.parametrize(
    "foreign", [Stand(None, 1), Stand(BEGUN), Stand(OWNED), Stand(LEFT), Stand(Preparing("other", 2)), Stand(Preparing("old", 3))]
)
def test_a_new_topic_that_holds_something_else_is_left_alone(foreign: Stand) -> None:
    assert "holds records that are not of this move" in refused(OWNED, new=[Stand(None), foreign])
    assert "holds records that are not of this move" in refused(LEFT, OWNED, new=[Stand(WAITS), foreign])


def test_it_is_done_once_all_old_ones_are_left_and_all_new_ones_may_be_owned() -> None:
    assert is_done(PLAN, [LEFT], stands(BEGUN, OWNED))
    assert not is_done(PLAN, [LEFT, OWNED], stands(BEGUN, OWNED))
    assert not is_done(PLAN, [LEFT], stands(BEGUN, WAITS))
    assert not is_done(PLAN, [LEFT], stands(BEGUN))


def test_it_may_be_taken_back_as_long_as_no_poller_has_owned_a_new_partition() -> None:
    assert refusal_to_undo(PLAN, stands(LEFT, OWNED), []) is None
    assert refusal_to_undo(PLAN, stands(LEFT), stands(BEGUN, WAITS, None)) is None
    assert "topic new is owned by pod-1 since" in (refusal_to_undo(PLAN, stands(LEFT), stands(BEGUN, OWNED)) or "")
    assert "there is nothing to take back" in (refusal_to_undo(PLAN, stands(OWNED, Moved("other", 2, OWNED)), stands(BEGUN, WAITS)) or "")
    assert used(PLAN, WAITS) is None


def test_whoever_finds_a_mark_is_told_what_to_do() -> None:
    assert moved_to(LEFT) == (
        "they are in topic new with 2 partitions since `poller reshard`: set POLLER_KAFKA_CHECKPOINTS_TOPIC=new and "
        "POLLER_KAFKA_CHECKPOINT_PARTITIONS=2"
    )
    assert "before all of topic old has moved to it" in being_prepared(WAITS)


def test_a_new_topic_is_named_by_its_partitions() -> None:
    assert default_target("checkpoints", 1, 4) == "checkpoints.4"
    assert default_target("checkpoints.4", 4, 8) == "checkpoints.8"
    assert default_target("checkpoints.4", 1, 8) == "checkpoints.4.8"


def test_the_last_owners_are_known_whether_they_were_left_or_not() -> None:
    assert last_ownerships([LEFT, None, BEGUN, Moved("new", 2, None)]) == [OWNED, BEGUN]


# ------------------------------------------------------------------------------------------- what the new partitions begin with


def test_a_partition_begins_with_an_equal_part_and_the_first_one_with_what_rides_with_it() -> None:
    feed, listing, share = Feed(read_to_ms=7), Listing(after_ms=8), Share(demand=1.0)
    old = [
        ownership(partitions=2, owner="pod-1", ledger=Ledger(3.0, "2026-05-01", 9), feed=feed, listing=listing, share=share),
        ownership(partitions=2, owner="pod-2", ledger=Ledger(-0.5, "2026-05-01", 4), share=share),
    ]

    begin = divided(old, [1, 1], 4)

    rest = ownership(partitions=4, owner=OWNER, ledger=Ledger((2.5 - 2) / 4, "2026-05-01", 4))
    assert begin == [replace(rest, feed=feed, listing=listing), rest, rest, rest]


@pytest.mark.parametrize(
    ("old", "cycle", "spent"),
    [
        ([Ledger(0.0, "2026-04-01", 500), Ledger(0.0, "2026-05-01", 7)], "2026-05-01", 4),
        ([Ledger(0.0, None, 500), Ledger(0.0, "2026-05-01", 7)], "2026-05-01", 4),
        ([Ledger(0.0), Ledger(0.0)], None, 0),
    ],
)
def test_only_what_was_spent_in_the_newest_cycle_counts(old: list[Ledger], cycle: str | None, spent: int) -> None:
    begin = divided([ownership(ledger=ledger) for ledger in old], [1, 1], 2)

    assert [(one.ledger.cycle, one.ledger.cycle_spent) for one in begin] == [(cycle, spent)] * 2


def test_what_was_learned_goes_by_the_customers_and_the_pool_is_the_mean_one() -> None:
    old = [
        ownership(learned=Learned(Pool(100.0, 50.0, 4000.0), price=4.0, slots=1.0)),
        ownership(learned=Learned(Pool(20.0, 10.0, 1000.0), price=1.0, slots=2.0)),
    ]

    (by_customers,) = divided(old, [30, 10], 1)
    (without,) = divided(old, [0, 0], 1)

    assert [one.learned.pool for one in (by_customers, without)] == [Pool(60.0, 30.0, 2500.0)] * 2
    assert [by_customers.learned.price, without.learned.price] == pytest.approx([4.0**0.75, 2.0])
    assert [by_customers.learned.slots, without.learned.slots] == [1.25, 1.5]


def test_a_price_that_nobody_can_have_learned_does_no_harm() -> None:
    (begin,) = divided([ownership(learned=Learned(price=0.0))], [1], 1)

    assert math.isfinite(math.log(begin.learned.price))
