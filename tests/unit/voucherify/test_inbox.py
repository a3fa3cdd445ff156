"""What becomes of each webhook."""

from pathlib import Path

import pytest

from poller.errors import Forged, NotAHint, TooManyHints
from poller.journal import Journal
from poller.model import Hint, Whose
from poller.secret import Secret
from poller.telemetry import Telemetry
from poller.voucherify.inbox import BURST_MAX, BYTES, IDS_MAX, WEBHOOKS_PER_SECOND, Inbox
from tests.support.webhooks import SECRET, signed, webhook
from tests.support.world import Told

WHEN_MS = 1_714_564_800_000
OWNERS: dict[str, Whose] = {"cust_1": "ours", "cust_2": "another's"}


class Around:
    """An inbox, and what it hands on."""

    def __init__(self, takes: bool = True, secret: Secret | None = None) -> None:
        self.now = 1_000.0
        self.told = Told()
        self.telemetry = Telemetry(self.told)
        self.hinted: list[Hint] = []
        self.forwarded: list[Hint] = []
        self._takes = takes
        self.inbox = Inbox(secret or Secret(SECRET), lambda: self.now, self._hear, self._forward, Journal(self.telemetry))

    def _hear(self, hint: Hint) -> Whose:
        self.hinted.append(hint)
        return OWNERS.get(hint.customer, "nobody's")

    def _forward(self, hint: Hint) -> bool:
        self.forwarded.append(hint)
        return self._takes

    def take(self, *customers: str, id: str = "whs_1") -> None:
        body = webhook({"customer": [{"id": customer} for customer in customers]}, id)
        self.inbox.take(body, signed(body))

    @property
    def counted(self) -> dict[str, int]:
        series = self.telemetry.metrics.counters()
        return {name[1]: round(count) for name, count in series.items() if name[0] == "poller_hints_total" and count}


def test_ours_is_told_of_at_once_anothers_is_forwarded_and_nobodys_is_counted() -> None:
    around = Around()
    for number, customer in enumerate(["cust_1", "cust_2", "cust_3"]):
        around.take(customer, id=f"whs_{number}")

    assert [hint.customer for hint in around.hinted] == ["cust_1", "cust_2", "cust_3"]
    assert {hint.at_ms for hint in around.hinted} == {WHEN_MS}
    assert [hint.customer for hint in around.forwarded] == ["cust_2"]
    assert around.counted == {"received": 3, "forwarded": 1, "unknown": 1}


def test_one_customer_under_two_ids_of_which_one_is_watched_is_known() -> None:
    around = Around()
    around.take("cust_1", "anna@example.com")

    assert around.counted == {"received": 1}


def test_what_cannot_be_forwarded_is_dropped() -> None:
    around = Around(takes=False)
    around.take("cust_2")

    assert around.counted == {"received": 1, "dropped": 1}


def test_one_that_comes_again_brings_nothing_about() -> None:
    around = Around()
    for _ in range(3):
        around.take("cust_1")

    assert len(around.hinted) == 1
    assert around.counted == {"received": 1, "repeated": 2}


def test_so_many_are_remembered_and_no_more() -> None:
    around = Around()
    for number in [*range(IDS_MAX + 1), 1, 0]:
        around.now += 1
        around.take(id=f"whs_{number}")

    assert around.counted == {"received": IDS_MAX + 2, "unknown": IDS_MAX + 2, "repeated": 1}
    assert len(around.inbox._ids) == IDS_MAX


def test_what_is_forged_or_unreadable_is_refused_and_told_of_once_a_minute() -> None:
    around = Around()
    body = webhook({"customer": {"id": "cust_1"}})
    for after in (0, 1, 59, 61):
        around.now = 1_000.0 + after
        with pytest.raises(Forged):
            around.inbox.take(body, signed(body, "other"))
    with pytest.raises(NotAHint):
        around.inbox.take(b"[]", signed(b"[]"))

    assert around.hinted == []
    assert around.counted == {"forged": 4, "unreadable": 1}
    assert [name for name, _ in around.told.events] == ["webhook_refused"] * 2
    assert SECRET not in repr(around.told.events) and signed(body) not in repr(around.told.events)


def test_one_that_was_refused_is_taken_when_it_is_right() -> None:
    around = Around()
    body = webhook({"customer": {"id": "cust_1"}})
    with pytest.raises(Forged):
        around.inbox.take(body, "")
    around.inbox.take(body, signed(body))

    assert len(around.hinted) == 1


def test_a_flood_is_refused_before_it_is_looked_at_and_passes() -> None:
    around = Around()
    for number in range(int(BURST_MAX)):
        around.take("cust_1", id=f"whs_{number}")
    with pytest.raises(TooManyHints):
        around.take("cust_1", id="whs_more")
    around.now += 1.01 / WEBHOOKS_PER_SECOND
    around.take("cust_1", id="whs_more")

    assert around.counted == {"received": int(BURST_MAX) + 1, "dropped": 1}


def test_large_ones_count_as_several() -> None:
    around = Around()
    body = b" " * BYTES * 50
    for _ in range(int(BURST_MAX / 50)):
        with pytest.raises(Forged):
            around.inbox.take(body, "")
    with pytest.raises(TooManyHints):
        around.inbox.take(body, "")

    assert around.counted == {"forged": BURST_MAX / 50, "dropped": 1}


def test_a_secret_that_is_exchanged_counts_from_then_on(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("before")
    around = Around(secret=Secret.from_file(file))
    file.write_text(f"{SECRET}\n")
    around.take("cust_1")

    assert around.counted == {"received": 1}
