"""Which partition a customer belongs to, and who may own it."""

import pytest
from aiokafka.partitioner import murmur2 as murmur2_of_aiokafka

from poller.core.ownership import differences, murmur2, partition_of, refusal
from poller.model import CustomerId
from tests.support.builders import ownership

# Of org.apache.kafka.common.utils.UtilsTest, there as signed integers.
JAVA = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize("data", JAVA)
def test_murmur2_is_that_of_kafkas_java_client(data: bytes) -> None:
    assert murmur2(data) == JAVA[data] & 0xFFFFFFFF


def test_murmur2_is_that_of_aiokafka_whatever_the_length() -> None:
    data = [bytes(i * 37 & 0xFF for i in range(length)) for length in range(40)]

    assert [murmur2(each) for each in data] == [murmur2_of_aiokafka(each) & 0xFFFFFFFF for each in data]


def test_a_customer_belongs_to_the_partition_that_a_java_producer_would_choose() -> None:
    assert partition_of(CustomerId("21"), 12) == (-973932308 & 0x7FFFFFFF) % 12
    assert partition_of(CustomerId("żółw"), 12) == (murmur2("żółw".encode()) & 0x7FFFFFFF) % 12


def test_all_belong_to_the_only_partition_where_there_is_one() -> None:
    assert {partition_of(CustomerId(f"cust_{i}"), 1) for i in range(50)} == {0}


def test_customers_are_spread_over_all_partitions() -> None:
    spread = [partition_of(CustomerId(f"cust_{i}"), 4) for i in range(1_000)]

    assert all(200 < spread.count(partition) < 300 for partition in range(4))


def test_a_partition_that_nobody_has_owned_may_be_owned_by_anybody() -> None:
    assert (refusal(None, ownership()), differences(None, ownership())) == (None, [])


def test_a_partition_may_be_owned_by_a_successor_of_other_name_list_and_endpoint() -> None:
    found = ownership(owner="one", watched_hash="aa", endpoint="activity")

    assert refusal(found, ownership(owner="two", watched_hash="bb")) is None


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (
            ownership(application_id="other"),
            "its checkpoints belong to POLLER_KAFKA_APPLICATION_ID='other', not 'voucherify-activity-poller': use another topic",
        ),
        (
            ownership(url="https://us1.api.voucherify.io"),
            "its checkpoints are of POLLER_VOUCHERIFY_URL='https://us1.api.voucherify.io', not 'https://api.voucherify.io': another project needs another topic",
        ),
        (
            ownership(partitions=4),
            "its checkpoints were divided over 4 partitions and now there are 1: customers would be read afresh",
        ),
    ],
)
def test_a_partition_of_another_application_project_or_division_is_refused(found: object, reason: str) -> None:
    assert refusal(found, ownership()) == reason  # type: ignore[arg-type]


def test_another_endpoint_or_list_is_told_but_stops_nobody() -> None:
    assert differences(ownership(endpoint="activity", watched_hash="aa"), ownership(watched_hash="bb")) == [
        "the endpoint was 'activity' and is 'activities'",
        "the list of customers is not the one that the last owner had",
    ]
    assert differences(ownership(owner="one"), ownership(owner="two")) == []
