"""One person under two ids."""

from poller.model import Activity, Batch, CustomerId
from poller.persons import ACTIVITIES_REMEMBERED, PAIRS_REMEMBERED, Persons
from tests.support.builders import activity, checkpoint

A, B = CustomerId("a"), CustomerId("b")


def pairs(persons: Persons, customer: str, *records: Activity) -> list[tuple[str, str]]:
    return list(persons.published(Batch(CustomerId(customer), 0, None, checkpoint(), records=records)))


def test_whoever_has_the_same_activity_is_the_same_and_that_is_said_once() -> None:
    persons = Persons()
    told = [pairs(persons, "b", activity(1), activity(2)), pairs(persons, "a", activity(1), activity(2)), pairs(persons, "b", activity(3))]

    assert [*told, pairs(persons, "a", activity(3))] == [[], [("a", "b")], [], []]


def test_what_is_published_again_of_one_customer_says_nothing() -> None:
    persons = Persons()

    assert [pairs(persons, "a", activity(1)), pairs(persons, "a", activity(1))] == [[], []]


def test_what_is_remembered_is_bounded() -> None:
    persons = Persons()
    pairs(persons, "a", *(activity(at) for at in range(ACTIVITIES_REMEMBERED + 1)))
    forgotten, known = pairs(persons, "b", activity(0)), pairs(persons, "b", activity(2))
    for number in range(PAIRS_REMEMBERED + 5):
        pairs(persons, f"c{number}", activity(ACTIVITIES_REMEMBERED))

    assert (forgotten, known) == ([], [("a", "b")])
    assert (len(persons._published), len(persons._pairs)) == (ACTIVITIES_REMEMBERED, PAIRS_REMEMBERED)
