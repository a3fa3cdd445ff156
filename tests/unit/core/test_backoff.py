"""How long to leave alone what has failed."""

from itertools import pairwise

import pytest

from poller.core.backoff import (
    JITTER,
    OUTAGE,
    OUTAGE_FAILURES_MIN,
    REFUSED,
    REJECTED,
    TRANSIENT,
    UNKNOWN,
    Backoff,
    customer_wait_seconds,
    limited_wait_seconds,
    quota_wait_seconds,
    source_wait_seconds,
)
from poller.errors import (
    CustomerUnknown,
    Forbidden,
    Limited,
    PlanExceeded,
    Redirected,
    Rejected,
    RouteGone,
    ServerFault,
    SourceError,
    TokenRefused,
    TokenUnavailable,
    Unauthorized,
    Undecodable,
    Unreachable,
)

TRANSIENT_ERRORS = (Unreachable(), ServerFault(), Undecodable())
REFUSALS = (PlanExceeded(), Unauthorized(), Forbidden(), RouteGone(), Redirected())


def test_waits_double_up_to_the_longest() -> None:
    backoff = Backoff(first_seconds=1, longest_seconds=10)
    whole = [1, 2, 4, 8, 10, 10]
    waits = [backoff.wait_seconds(failures, "cust_1") for failures in range(1, 7)]

    assert all(seconds * (1 - JITTER) <= wait <= seconds for seconds, wait in zip(whole, waits, strict=True))


def test_waits_are_drawn_apart_for_each_who_waits() -> None:
    waits = {Backoff(100, 100).wait_seconds(1, f"cust_{i}") for i in range(100)}

    assert len(waits) == 100
    assert max(waits) - min(waits) > 0.9 * 100 * JITTER


def test_waits_are_drawn_apart_for_each_failure() -> None:
    assert Backoff(100, 100).wait_seconds(1, "cust_1") != Backoff(100, 100).wait_seconds(2, "cust_1")


def test_the_same_history_gives_the_same_waits() -> None:
    assert Backoff(1, 60).wait_seconds(5, "cust_1") == Backoff(1, 60).wait_seconds(5, "cust_1")


def test_an_id_that_is_no_unicode_waits_too() -> None:
    assert Backoff(1, 1).wait_seconds(1, "cust_\ud800") > 0


def test_a_wait_after_ever_so_many_failures_is_the_longest() -> None:
    assert Backoff(1, 60).wait_seconds(1_000_000, "cust_1") >= 60 * (1 - JITTER)


@pytest.mark.parametrize(
    ("error", "backoff"),
    [(CustomerUnknown(), UNKNOWN), (Rejected(), REJECTED), *((error, TRANSIENT) for error in TRANSIENT_ERRORS)],
)
def test_a_customer_whose_read_failed_waits(error: SourceError, backoff: Backoff) -> None:
    assert customer_wait_seconds(error, 3, "cust_1") == backoff.wait_seconds(3, "cust_1")


@pytest.mark.parametrize("error", REFUSALS)
def test_a_customer_that_may_have_been_refused_alone_waits_so_that_another_tries(error: SourceError) -> None:
    assert customer_wait_seconds(error, 3, "cust_1") == REFUSED.wait_seconds(3, "cust_1")


@pytest.mark.parametrize("error", [Limited(), TokenRefused()])
def test_a_customer_does_not_wait_for_what_was_not_its_fault(error: SourceError) -> None:
    assert customer_wait_seconds(error, 1, "cust_1") == 0


@pytest.mark.parametrize("error", [CustomerUnknown(), Rejected()])
def test_nobody_else_waits_for_one_customers_fault(error: SourceError) -> None:
    assert source_wait_seconds(error, 100) == 0


@pytest.mark.parametrize("error", TRANSIENT_ERRORS)
def test_some_failures_in_a_row_are_an_outage_and_fewer_are_not(error: SourceError) -> None:
    waits = [source_wait_seconds(error, failures) for failures in range(1, 6)]

    assert waits == [0, 0, *(OUTAGE.wait_seconds(failures - OUTAGE_FAILURES_MIN + 1, "source") for failures in (3, 4, 5))]
    assert all(earlier <= later for earlier, later in pairwise(waits))


def test_a_token_that_is_not_to_be_had_makes_every_call_wait_from_the_first_time_on_and_no_customer() -> None:
    waits = [source_wait_seconds(TokenUnavailable(), failures) for failures in (1, 2, 3)]

    assert waits == [OUTAGE.wait_seconds(failures, "source") for failures in (1, 2, 3)]
    assert customer_wait_seconds(TokenUnavailable(), 1, "cust_1") == 0


@pytest.mark.parametrize("error", REFUSALS)
def test_every_call_waits_where_somebody_must_mend_something(error: SourceError) -> None:
    assert source_wait_seconds(error, 1) == REFUSED.wait_seconds(1, "source")


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (Limited(wait_seconds=7), 8),
        (Limited(wait_seconds=0), 1),
        (Limited(wait_seconds=-5), 1),
        (Limited(wait_seconds=1e9), 3_661),
        (Limited(wait_seconds=7, until=1_100.0, server_time=1_000.0), 8),
        (Limited(until=1_100.0, server_time=1_000.0), 101),
        (Limited(until=900.0, server_time=1_000.0), 1),
        (Limited(until=1_100.0), 60),
        (Limited(server_time=1_000.0), 60),
        (Limited(), 60),
        (Limited(kind="api_calls"), 60),
        (Limited(kind="api_calls_cycle"), 3_600),
        (Limited(kind="api_calls_cycle", wait_seconds=86_400), 86_401),
        (Limited(kind="api_calls_cycle", wait_seconds=1e9), 32 * 86_400 + 1),
    ],
)
def test_a_429_stops_every_call_for_as_long_as_it_says_and_is_believed(error: Limited, seconds: float) -> None:
    assert (limited_wait_seconds(error, 1), source_wait_seconds(error, 1)) == (seconds, seconds)


@pytest.mark.parametrize(("kind", "longest"), [("api_calls", 60), ("api_calls_cycle", 3_600)])
def test_a_429_after_another_that_may_be_tried_at_once_waits_ever_longer(kind: str, longest: float) -> None:
    waits = [limited_wait_seconds(Limited(kind=kind, wait_seconds=0), failures) for failures in range(1, 20)]

    assert waits == [max(1, Backoff(1, longest).wait_seconds(failures, "source")) for failures in range(1, 20)]
    assert limited_wait_seconds(Limited(kind=kind, wait_seconds=3_000), 19) == max(3_001, waits[-1])


@pytest.mark.parametrize(
    ("until", "server_time", "seconds"),
    [(1_030.0, 1_000.0, 31), (None, 1_000.0, 60), (1_030.0, None, 60), (990.0, 1_000.0, 1), (9e9, 1_000.0, 3_661)],
)
def test_a_quota_that_is_used_up_stops_every_call_until_it_is_granted_anew(
    until: float | None, server_time: float | None, seconds: float
) -> None:
    assert quota_wait_seconds(until, server_time) == seconds
