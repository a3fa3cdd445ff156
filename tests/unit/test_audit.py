"""What an audit's answer means: nobody asked is not nothing found."""

import pytest

from tests.audit import CLEAN, UNASKED, VULNERABLE, judged, said_of


@pytest.mark.parametrize(
    "said",
    [
        "ERROR:pip_audit._cli:ConnectionError(MaxRetryError('Max retries exceeded'))",
        "ERROR:pip_audit._cli:aiokafka: Dependency not found on PyPI and could not be audited: aiokafka (0.14.0)",
        "timed out",
    ],
)
def test_an_audit_that_could_ask_nobody_is_no_pass(said: str) -> None:
    assert judged(1, said) == UNASKED
    assert said_of(UNASKED, said).startswith("NOT AUDITED")


def test_an_audit_that_found_something_fails_whatever_else_it_says() -> None:
    assert judged(1, "Found 1 known vulnerability in 1 package\nh11 0.14 GHSA-x timed out") == VULNERABLE
    assert judged(1, "something else") == VULNERABLE
    assert judged(0, "No known vulnerabilities found") == CLEAN
