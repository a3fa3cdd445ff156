"""What of a page is new, and which ids must be remembered."""

from typing import Any

import msgspec
import pytest

from poller.core.dedupe import FEW_IDS, RECENT_ID_OVERHEAD_BYTES, RECENT_IDS_BYTES_MAX, RECENT_IDS_MAX, Sifted, forget, key_of, once, sift
from poller.model import Activity, DeadLetter
from tests.support.builders import activities, activity, dead_letter


def sifted(*entries: Activity | DeadLetter, cursor: float = 0, recent: dict[str, int] | None = None, **known: Any) -> Sifted:
    return sift(entries, round(cursor * 1000), recent or {}, **({"remember_until_ms": None, "undated_ms": 99_000} | known))


def test_what_is_new_is_published_and_remembered() -> None:
    assert sifted(*activities(1, 2)) == Sifted(activities(1, 2), (), {"a1": 1_000, "a2": 2_000}, 0)


def test_what_was_created_at_the_cursor_is_published_and_what_was_created_before_is_not() -> None:
    assert sifted(*activities(4.999, 5, 5.001), cursor=5) == Sifted(activities(5, 5.001), (), {"a5": 5_000, "a5.001": 5_001}, 0)


def test_a_recent_id_is_remembered_by_the_latest_of_its_instants_and_not_published_again() -> None:
    assert sifted(activity(6, id="a5"), cursor=5, recent={"a5": 5_000}) == Sifted((), (), {"a5": 6_000}, 1)
    assert sifted(activity(5, id="a6"), cursor=5, recent={"a6": 6_000}) == Sifted((), (), {"a6": 6_000}, 1)
    assert sifted(activity(5, id="a"), activity(7, id="a"), cursor=5) == Sifted((activity(5, id="a"),), (), {"a": 7_000}, 1)


def test_an_id_that_stands_twice_on_a_page_is_published_once() -> None:
    assert sifted(*activities(1, 1)) == Sifted(activities(1), (), {"a1": 1_000}, 1)


def test_ids_are_compared_byte_for_byte() -> None:
    assert len(sifted(activity(1, id="a"), activity(1, id="A"), activity(1, id="a ")).records) == 3


def test_recent_ids_of_a_page_are_not_forgotten_where_others_were_known() -> None:
    assert sifted(activity(7), recent={"a5": 5_000}).recent == {"a5": 5_000, "a7": 7_000}


def test_what_the_first_read_finds_is_remembered_and_not_published() -> None:
    assert sifted(*activities(1, 2, 3), remember_until_ms=2_000) == Sifted(activities(3), (), {"a1": 1_000, "a2": 2_000, "a3": 3_000}, 0)


def test_a_dead_letter_goes_its_own_way_and_is_known_by_its_bytes() -> None:
    one, other = dead_letter(b'{"type":1}'), dead_letter(b'{"type":2}', at=3)

    assert sifted(one, other, one) == Sifted((), (one, other), {key_of(one): 99_000, key_of(other): 3_000}, 1)


def test_a_dead_letter_without_a_date_counts_as_created_when_we_are_told() -> None:
    letter = dead_letter()

    assert sifted(letter, cursor=50, undated_ms=50_000).dead_letters == (letter,)
    assert sifted(letter, cursor=50, undated_ms=49_999).dead_letters == ()


def test_the_key_of_an_activity_is_its_id_and_that_of_a_dead_letter_the_digest_of_its_bytes() -> None:
    assert key_of(activity(1)) == "a1"
    assert key_of(dead_letter(b"")) == "dead-letter:e3b0c44298fc1c149afbf4c8996fb924"


def test_an_entry_that_stands_twice_on_a_page_counts_once_where_it_stood_first() -> None:
    letter = dead_letter(b"1")

    assert list(once((activity(2), letter, activity(1), letter, activity(2)))) == ["a2", key_of(letter), "a1"]


def test_ids_before_the_cursor_are_forgotten() -> None:
    assert forget({"a": 4_999, "b": 5_000, "c": 5_001}, 5_000) == ({"b": 5_000, "c": 5_001}, 5_000, 0)


def test_a_few_ids_are_kept_however_long_they_are() -> None:
    long = {f"{i}" + "x" * RECENT_IDS_BYTES_MAX: i for i in range(FEW_IDS)}

    assert forget(long, 0) == (long, 0, 0)


def test_as_many_ids_as_the_bound_are_kept() -> None:
    recent = {f"a{i}": i for i in range(RECENT_IDS_MAX)}

    assert forget(recent, 0) == (recent, 0, 0)


def test_beyond_the_bound_the_oldest_ids_are_dropped_and_the_cursor_moves_above_them() -> None:
    recent = {f"a{i}": i for i in range(RECENT_IDS_MAX + 3)}
    kept, cursor_ms, dropped = forget(recent, 0)

    assert (cursor_ms, dropped, len(kept), min(kept.values())) == (3, 3, RECENT_IDS_MAX, 3)


def test_ids_of_one_instant_are_dropped_together() -> None:
    recent = {f"a{i}": 7_000 for i in range(RECENT_IDS_MAX + 1)}

    assert forget(recent, 7_000) == ({}, 7_001, RECENT_IDS_MAX + 1)


@pytest.mark.parametrize("name", ["x" * 1_000, "é" * 500, '"' * 500])
def test_long_ids_are_bounded_by_their_bytes_in_a_checkpoint(name: str) -> None:
    recent = {f"{i:04}{name}": i for i in range(1_000)}
    kept, cursor_ms, dropped = forget(recent, 0)
    size = sum(len(msgspec.json.encode(key)) + RECENT_ID_OVERHEAD_BYTES for key in kept)

    assert (len(kept) + dropped, cursor_ms, min(kept.values())) == (1_000, dropped, dropped)
    assert RECENT_IDS_BYTES_MAX - 1_100 < size <= RECENT_IDS_BYTES_MAX
