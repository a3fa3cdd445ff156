"""Dedupe: what of a page is published, and which ids are remembered so that nothing is published twice.

An activity is published if it was created at or after the cursor and its id is not among the recent ids. The recent ids are those
created at or after the cursor, so the two rules meet without a gap: below the cursor nothing is published, at and above it every id is
known. A dead letter has no id to go by: it is known by the digest of its bytes.
"""

import hashlib
from collections.abc import Mapping

import msgspec

from poller.model import NO_IDS, Activity, DeadLetter

RECENT_IDS_MAX = 10_000
"""Ids remembered for one customer."""

RECENT_IDS_BYTES_MAX = 500_000
"""What they may take in a checkpoint, which is one record of at most a megabyte."""

RECENT_ID_OVERHEAD_BYTES = 32
"""Beside the id itself: its instant, a colon and a comma."""

FEW_IDS = 64
"""So few ids cannot reach the bound, however long each may be: most customers are not worth measuring."""

EVERY_INSTANT_MS = 2**63


class Sifted(msgspec.Struct, frozen=True, gc=False):
    """A page, sorted into what is to be done with its entries."""

    records: tuple[Activity, ...]
    dead_letters: tuple[DeadLetter, ...]
    recent: Mapping[str, int]
    """The recent ids, with those of this page."""
    known: int
    """Activities at or after the cursor that had been published before."""


def key_of(entry: Activity | DeadLetter) -> str:
    """What an entry is recognised by: its id, or for a dead letter the digest of its bytes."""
    if isinstance(entry, Activity):
        return entry.id
    return "dead-letter:" + hashlib.sha256(entry.raw).hexdigest()[:32]


def once(entries: tuple[Activity | DeadLetter, ...]) -> Mapping[str, Activity | DeadLetter]:
    """The entries by key, in the order in which they first stand: a list that is put together while it changes may show one twice."""
    found: dict[str, Activity | DeadLetter] = {}
    for entry in entries:
        found.setdefault(key_of(entry), entry)
    return found


def sift(
    entries: tuple[Activity | DeadLetter, ...], cursor_ms: int, recent: Mapping[str, int], remember_until_ms: int | None, undated_ms: int
) -> Sifted:
    """Sort a page. What was created up to `remember_until_ms` is remembered but not published; what bears no date counts as created at `undated_ms`."""
    records: list[Activity] = []
    dead_letters: list[DeadLetter] = []
    remembered = dict(recent)
    known = 0
    for entry in entries:
        created_at_ms = undated_ms if entry.created_at_ms is None else entry.created_at_ms
        if created_at_ms < cursor_ms:
            continue
        key = key_of(entry)
        if key in remembered:
            # It may be dated anew, and must not be forgotten before the cursor has passed that.
            remembered[key] = max(remembered[key], created_at_ms)
            known += 1
            continue
        remembered[key] = created_at_ms
        if remember_until_ms is not None and created_at_ms <= remember_until_ms:
            continue
        if isinstance(entry, Activity):
            records.append(entry)
        else:
            dead_letters.append(entry)
    return Sifted(records=tuple(records), dead_letters=tuple(dead_letters), recent=remembered, known=known)


def wanted(
    entries: tuple[Activity | DeadLetter, ...], recent: Mapping[str, int], end_ms: int, shown_ms: int
) -> tuple[Activity | DeadLetter, ...]:
    """Those that were created before an instant, or are known. What bears no date was created when it was shown, as far as can be told."""
    return tuple(
        entry for entry in entries if (shown_ms if entry.created_at_ms is None else entry.created_at_ms) < end_ms or key_of(entry) in recent
    )


def forget(recent: Mapping[str, int], cursor_ms: int) -> tuple[Mapping[str, int], int, int]:
    """The ids still needed at this cursor, the cursor, and how many were dropped because there were too many.

    Dropping an id would publish it twice, so the cursor moves above the newest that is dropped: an activity shown late below it is lost
    instead, which is why the drop is counted.
    """
    kept = {key: at_ms for key, at_ms in recent.items() if at_ms >= cursor_ms}
    if len(kept) <= FEW_IDS or (len(kept) <= RECENT_IDS_MAX and _bytes(list(kept)) <= RECENT_IDS_BYTES_MAX):
        return kept or NO_IDS, cursor_ms, 0
    newest_first = sorted(kept.items(), key=lambda item: item[1], reverse=True)
    room, count = RECENT_IDS_BYTES_MAX, 0
    for key, _ in newest_first[:RECENT_IDS_MAX]:
        room -= _bytes([key])
        if room < 0:
            break
        count += 1
    cursor_ms = newest_first[count][1] + 1
    bounded = {key: at_ms for key, at_ms in kept.items() if at_ms >= cursor_ms}
    return bounded, cursor_ms, len(kept) - len(bounded)


def _bytes(keys: list[str]) -> int:
    """What they take in a checkpoint. Encoded all at once, as this is asked at every read; what that adds, brackets and commas, is not theirs."""
    return len(msgspec.json.encode(keys)) - len(keys) - 1 + RECENT_ID_OVERHEAD_BYTES * len(keys)
