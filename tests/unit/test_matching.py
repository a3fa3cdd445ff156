"""Who of the project's customers is wanted."""

import pytest

from poller.matching import PATTERNS_MAX, Match, to_match
from poller.model import CustomerId, Listed

ANNA = Listed(CustomerId("cust_1"), CustomerId("Anna@example.com"), metadata=(("tier", "gold"), ("tag", "a"), ("tag", "b"), ("a.b=c", "*")))
NOBODY = Listed(CustomerId("cust_2"))


@pytest.mark.parametrize(
    "patterns",
    [
        "source_id=*@example.com",
        "source_id=Anna@example.com",
        "metadata.tier=gold",
        "metadata.tier=g[a-o]l?",
        "metadata.tag=b",
        "metadata.tier=silver, metadata.tag=*",
        " source_id = Anna* ,, ",
    ],
)
def test_any_pattern_that_fits_is_enough(patterns: str) -> None:
    assert ANNA in to_match(patterns)
    assert NOBODY not in to_match(patterns)


@pytest.mark.parametrize("patterns", ["source_id=anna*", "source_id=Anna", "metadata.Tier=gold", "metadata.city=*", "metadata.tag=a b"])
def test_case_counts_and_all_of_a_value_is_meant(patterns: str) -> None:
    assert ANNA not in to_match(patterns)


def test_without_patterns_everybody_is_wanted() -> None:
    assert ANNA in Match()
    assert NOBODY in Match()


@pytest.mark.parametrize(
    "patterns",
    [
        "",
        " , ",
        "tier=gold",
        "metadata.=gold",
        "metadata.tier",
        "metadata.tier=",
        "source_id=" + "x" * 500,
        ",".join(f"source_id={number}" for number in range(PATTERNS_MAX + 1)),
    ],
)
def test_what_is_no_pattern_is_refused(patterns: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        to_match(patterns)


def test_the_digest_tells_patterns_apart_whatever_their_order() -> None:
    one, other = to_match("source_id=a,metadata.x=b"), to_match("metadata.x=b, source_id=a, source_id=a")

    assert one.digest == other.digest
    assert len({one.digest, to_match("source_id=a").digest, to_match("source_id=b").digest, Match().digest}) == 4
    assert Match().digest == "all"
