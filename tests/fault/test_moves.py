"""That a metric which does not move is seen."""

from tests.fault.moves import Move, Moved, Track, samples_of, value

FAILED = Move('poller_kafka_errors_total{kind="refused"}', "rises")
OWNED = Move("poller_partitions_owned", "falls to 0")
PAUSED = Move('poller_customers{state="paused"}', "is above 0")
COMMITTED = Move('poller_last_success_timestamp_seconds{kind="commit"}', "ages", by=20)


def track(move: Move, *seen: dict[int, float], before: dict[int, float] | None = None) -> Moved:
    """Looked at once before the fault, and then every ten seconds."""
    one = Track(move)
    one.take(before or {}, 0.0)
    one.begin()
    for number, values in enumerate(seen):
        one.take(values, 10.0 * number)
    return one.moved()


def test_a_counter_rises_by_what_each_process_adds_and_from_zero_in_a_new_one() -> None:
    assert track(FAILED, {0: 7.0}, {0: 9.0, 1: 1.0}, {1: 4.0}, before={0: 7.0}) == Moved(FAILED, 6.0)
    assert track(FAILED, {0: 7.0}, {0: 7.0}, before={0: 7.0}) == Moved(FAILED, 0.0)
    assert [track(FAILED, {0: 8.0}, before={0: 7.0}).enough, track(FAILED, {0: 7.0}, before={0: 7.0}).enough] == [True, False]


def test_a_gauge_is_added_up_over_who_answers_at_one_time() -> None:
    handed_over = track(OWNED, {0: 1.0, 1: 0.0}, {1: 0.0}, {1: 1.0}, before={0: 1.0})
    kept = track(OWNED, {0: 1.0, 1: 0.0}, {0: 0.0, 1: 1.0}, before={0: 0.0})

    assert [handed_over.enough, kept.enough] == [True, False]
    assert track(PAUSED, {0: 0.0}, {0: 2.0, 1: 1.0}, {0: 0.0}) == Moved(PAUSED, 3.0)
    assert not track(PAUSED, {0: 0.0}).enough


def test_what_was_last_done_ages_while_nobody_does_it() -> None:
    assert track(COMMITTED, {0: 0.0}, {0: 0.0}, {0: 0.0}, {0: 29.0}) == Moved(COMMITTED, 20.0)
    assert not track(COMMITTED, {0: 0.0}, {0: 9.0}, {0: 19.0}).enough


def test_a_metric_is_all_of_its_series_that_have_these_labels() -> None:
    text = """# TYPE poller_kafka_errors counter
poller_kafka_errors_total{kind="refused"} 2
poller_kafka_errors_total{kind="fenced"} 3
"""

    assert [value(move, samples_of(text)) for move in (FAILED, Move("poller_kafka_errors_total", "rises"), OWNED)] == [2.0, 5.0, None]
