"""Forgetting: no id at or after the cursor that it returns is lost, and what is kept is bounded."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from poller.core.dedupe import FEW_IDS, RECENT_ID_OVERHEAD_BYTES, RECENT_IDS_BYTES_MAX, RECENT_IDS_MAX, forget

PREFIXES = st.sampled_from(("", "a", "ż" * 40, '"' * 300, "x" * 3_000))


@st.composite
def recent_ids(draw: st.DrawFn) -> dict[str, int]:
    """Some ids, or very many, or very long ones, of few or of many instants."""
    count = draw(st.sampled_from((0, 1, FEW_IDS, FEW_IDS + 1, 500, RECENT_IDS_MAX - 1, RECENT_IDS_MAX, RECENT_IDS_MAX + 1, 12_000)))
    prefix = draw(PREFIXES) if count <= 500 else draw(st.sampled_from(("", "act_")))
    instants = draw(st.integers(1, 15_000))
    step = draw(st.integers(1, 10_007))
    return {f"{prefix}{i}": i * step % instants for i in range(count)}


@settings(max_examples=120)
@given(recent=recent_ids(), cursor_ms=st.integers(0, 15_000))
def test_no_id_at_or_after_the_cursor_is_forgotten_and_what_is_kept_is_bounded(recent: dict[str, int], cursor_ms: int) -> None:
    kept, moved_ms, dropped = forget(recent, cursor_ms)

    assert kept == {key: at_ms for key, at_ms in recent.items() if at_ms >= moved_ms}
    assert moved_ms >= cursor_ms
    assert dropped == sum(cursor_ms <= at_ms < moved_ms for at_ms in recent.values())
    assert (dropped > 0) == (moved_ms > cursor_ms)
    assert len(kept) <= FEW_IDS or (len(kept) <= RECENT_IDS_MAX and sum(map(_bytes, kept)) <= RECENT_IDS_BYTES_MAX)
    assert forget(kept, moved_ms) == (kept, moved_ms, 0)


def _bytes(key: str) -> int:
    """What an id takes in a checkpoint."""
    return len(msgspec.json.encode(key)) + RECENT_ID_OVERHEAD_BYTES
