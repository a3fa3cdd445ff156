"""Once of what `python -m tests.fault.sigterm` does many times."""

from pathlib import Path
from random import Random

import pytest

from tests.fault.probes import seen
from tests.fault.sigterm import CALLS_IN_FLIGHT_MAX, GRACE_SECONDS, fault_of, stop_once
from tests.support.processes import one_error

SEED = 7


@pytest.mark.anyio
async def test_told_to_end_under_load_it_answers_probes_publishes_what_was_under_way_and_ends_in_time(kafka: str, tmp_path: Path) -> None:
    async with one_error():
        stop = await stop_once(kafka, tmp_path, Random(SEED))

    assert stop.wrong == ()
    assert stop.in_flight > CALLS_IN_FLIGHT_MAX / 2
    assert stop.exit_seconds < GRACE_SECONDS


def test_what_probes_must_not_see_is_a_fault() -> None:
    def answered(path: str, at: float, received: bytes) -> str:
        """SIGTERM comes at 10, /readyz says so from 11 on, and at 20 the process is drained."""
        return fault_of(seen(path, at, at, received), asked_at=10, unready_from=11, drained_at=20)

    ok, draining = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", b"HTTP/1.1 503 \r\ncontent-length: 8\r\n\r\ndraining"

    assert {answered("/livez", 5, ok), answered("/readyz", 5, ok), answered("/readyz", 12, draining), answered("/livez", 21, b"")} == {""}
    assert answered("/livez", 12, draining) == "not as it should be"
    assert answered("/livez", 12, ok[:-1]) == "cut in the midst of an answer"
    assert answered("/livez", 12, b"") == "unanswered while it works"
    assert answered("/readyz", 12, ok) == "ready while it drains"
    assert answered("/readyz", 5, draining) == "not ready before it was told to end, or for another reason"
    assert answered("/webhooks/voucherify", 5, ok) == "not as it should be"
