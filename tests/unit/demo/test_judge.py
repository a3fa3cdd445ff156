"""The demo's judge: what it finds in a topic, given the truth."""

import pytest

from poller.demo.judge import Calls, Comparison, Freshness, Identity, Seen, compare, digest, freshness, quantile
from poller.demo.truth import Expected
from poller.demo.view import Result

VALUE = b'{"id":"one","type":"customer.confirmed"}'


def identity(name: str) -> Identity:
    return Identity("cust_1", name)


def shown(name: str, *, at: float = 100.0, raw: bytes = VALUE, must: bool = True, defect: str | None = None) -> Expected:
    return Expected(
        id=name,
        customer="cust_1",
        type="customer.confirmed",
        created_at="1970-01-01T00:01:40.000Z",
        created_at_ms=100_000,
        shown_at=at,
        must=must,
        topic="dead-letters" if defect else "activities",
        defect=defect,
        raw=raw,
    )


def read(name: str, *, at: float = 101.0, value: bytes = VALUE, key: str = "customer.confirmed", customer: str = "cust_1") -> Seen:
    return Seen(Identity(customer, name), key, digest(value), at)


def judged(truth: list[Expected], seen: list[Seen]) -> Comparison:
    return compare(truth, seen, measured_from=0)


def test_a_topic_that_holds_the_truth_is_faultless() -> None:
    found = judged([shown("one"), shown("two")], [read("two", at=101.0), read("one", at=103.0)])

    assert found == Comparison(2, 2, (), (), (), (), Freshness(2, 1.0, 3.0))
    assert found.faultless


def test_what_is_not_in_the_topic_is_lost() -> None:
    found = judged([shown("one"), shown("two")], [read("one")])

    assert (found.lost, found.faultless) == ((identity("two"),), False)


def test_what_need_not_be_there_is_neither_lost_nor_invented() -> None:
    truth = [shown("absent", must=False), shown("present", must=False)]

    assert judged(truth, [read("present")]).faultless


def test_what_stands_in_the_topic_twice_is_told_once() -> None:
    found = judged([shown("one")], [read("one"), read("one"), read("one")])

    assert (found.twice, found.published, found.faultless) == ((identity("one"),), 3, False)


def test_the_same_id_of_two_customers_is_two_activities() -> None:
    found = judged([shown("one")], [read("one"), read("one", customer="cust_2")])

    assert (found.twice, found.invented) == ((), (Identity("cust_2", "one"),))


@pytest.mark.parametrize(
    "record", [read("one", value=VALUE + b" "), read("one", value=b""), read("one", key="customer.updated")], ids=["longer", "empty", "key"]
)
def test_a_value_or_a_key_that_the_api_did_not_send_is_changed(record: Seen) -> None:
    found = judged([shown("one")], [record])

    assert (found.changed, found.lost, found.faultless) == ((identity("one"),), (), False)


def test_a_second_record_that_is_changed_is_both_twice_and_changed() -> None:
    found = judged([shown("one")], [read("one"), read("one", value=b"{}")])

    assert (found.twice, found.changed) == ((identity("one"),), (identity("one"),))


def test_what_the_api_never_showed_is_invented() -> None:
    found = judged([shown("one")], [read("one"), read("two")])

    assert (found.invented, found.faultless) == ((identity("two"),), False)


def test_what_belongs_to_the_dead_letters_is_not_missed_among_the_activities() -> None:
    assert judged([shown("broken", defect="no_type")], []).faultless


def test_what_belongs_to_the_dead_letters_is_invented_among_the_activities() -> None:
    assert judged([shown("broken", defect="no_type")], [read("broken")]).invented == (identity("broken"),)


def test_freshness_counts_from_when_a_late_activity_was_shown() -> None:
    assert judged([shown("late", at=108.0)], [read("late", at=108.5)]).freshness == Freshness(1, 0.5, 0.5)


def test_what_was_shown_before_the_measurement_does_not_count_for_freshness() -> None:
    found = compare([shown("old", at=10.0), shown("new", at=100.0)], [read("old", at=101.0), read("new", at=101.0)], measured_from=50)

    assert found.freshness == Freshness(1, 1.0, 1.0)


def test_of_nothing_there_is_no_freshness() -> None:
    assert freshness([]) is None


@pytest.mark.parametrize(("share", "value"), [(0.5, 2), (0.95, 4), (0.25, 1), (1.0, 4)])
def test_a_quantile_is_the_smallest_value_that_that_share_does_not_exceed(share: float, value: float) -> None:
    assert quantile([3, 1, 4, 2], share) == value


CALLS = Calls(made=10, refused=0, in_window_max=10, limit=600)


def result(comparison: Comparison, calls: Calls = CALLS, exit_codes: tuple[int | None, int | None] = (0, 0)) -> Result:
    return Result(30.0, 25, 1, comparison, calls, 1, (6.0,), dict(zip("AB", exit_codes, strict=True)), 0)


FAULTLESS = Comparison(2, 2, (), (), (), (), None)


def test_a_result_without_a_fault_has_none() -> None:
    assert result(FAULTLESS).faults == []


@pytest.mark.parametrize(
    ("faulty", "says"),
    [
        (result(Comparison(2, 1, (identity("one"),), (), (), (), None)), "1 lost: one of cust_1"),
        (result(Comparison(2, 3, (), (identity("one"),), (), (), None)), "1 published twice: one of cust_1"),
        (result(Comparison(2, 2, (), (), (identity("one"),), (), None)), "1 changed on the way: one of cust_1"),
        (result(Comparison(2, 3, (), (), (), (identity("one"),), None)), "1 published, though the API never showed it: one of cust_1"),
        (result(Comparison(0, 0, (), (), (), (), None)), "nothing was there to be published"),
        (result(FAULTLESS, Calls(700, 0, 601, 600)), "601 calls in a minute, 0 refused"),
        (result(FAULTLESS, Calls(700, 1, 600, 600)), "600 calls in a minute, 1 refused"),
        (result(FAULTLESS, exit_codes=(0, -9)), "poller B ended with exit code -9"),
        (result(FAULTLESS, exit_codes=(None, 0)), "poller A ended with exit code None"),
    ],
)
def test_each_fault_is_said(faulty: Result, says: str) -> None:
    assert faulty.faults == [says]


def test_of_many_faults_a_few_are_named() -> None:
    many = tuple(identity(str(number)) for number in range(7))

    assert result(Comparison(7, 0, many, (), (), (), None)).faults == [
        "7 lost: 0 of cust_1, 1 of cust_1, 2 of cust_1, 3 of cust_1, 4 of cust_1, …"
    ]
