"""Which customer ids are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.customer_id import ID_CHARACTERS_MAX, refusal


@pytest.mark.parametrize(
    "id",
    [
        "cust_eHnSqNkPhpPyBeQIkt6WZNIU",
        "a/b",
        "a b",
        "ü",
        "%2e%2e",
        "..%2f",
        "...",
        ".a",
        "a?b#c",
        "a;b",
        "a\u00a0b",
        "🙂",
        "x" * ID_CHARACTERS_MAX,
    ],
)
def test_an_id_that_a_path_can_carry_is_taken(id: str) -> None:
    assert refusal(id) is None


@pytest.mark.parametrize(
    ("id", "why"),
    [
        ("", "is empty"),
        (".", "would be taken for a part of the path"),
        ("..", "would be taken for a part of the path"),
        ("a\nb", "holds control characters"),
        ("a\x00", "holds control characters"),
        ("\x7f", "holds control characters"),
        ("\x85", "holds control characters"),
        ("\ud83d", "holds half a surrogate pair, which is no text"),
        ("x" * (ID_CHARACTERS_MAX + 1), "is longer than 1024 characters"),
    ],
)
def test_an_id_that_a_path_cannot_carry_is_refused_with_the_reason(id: str, why: str) -> None:
    assert refusal(id) == why


@given(st.text())
def test_what_is_taken_can_be_encoded(id: str) -> None:
    if refusal(id) is None:
        assert id.encode()
