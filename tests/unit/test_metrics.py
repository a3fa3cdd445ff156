"""What is counted, under the names of one table."""

import pytest

from poller.metrics import Histogram, Metric, Metrics

TABLE = {
    "served_total": Metric("counter", "Meals.", {"meal": ("lunch", "dinner"), "guest": ("old", "new")}),
    "waited_seconds": Metric("histogram", "For a table.", {"guest": ("old", "new")}, bounds=(1, 2, 5)),
    "tables": Metric("gauge", "Free ones."),
}


def test_a_histogram_counts_up_to_its_bounds() -> None:
    histogram = Histogram(bounds=(1, 2, 5))
    for value in (0.5, 1.0, 1.5, 4.0, 100.0):
        histogram.observe(value)

    assert (histogram.counts, histogram.count, histogram.total) == ([2, 1, 1, 1], 5, 107.0)


@pytest.mark.parametrize("values", [(), (7.0,), (0.5, 1.0, 1.5, 4.0, 100.0), (5.0, 2.0, 1.0, 2.0, 5.0), (9.0, 8.0)])
def test_many_values_count_as_each_of_them_would(values: tuple[float, ...]) -> None:
    together, one_by_one = Histogram(bounds=(1, 2, 5)), Histogram(bounds=(1, 2, 5))
    for _ in range(2):
        together.observe_all(values)
        for value in values:
            one_by_one.observe(value)

    assert together == one_by_one


def test_every_series_is_there_from_the_beginning_and_its_number_is_known() -> None:
    metrics = Metrics(TABLE)

    assert metrics.counters() == {
        ("served_total", "lunch", "old"): 0,
        ("served_total", "lunch", "new"): 0,
        ("served_total", "dinner", "old"): 0,
        ("served_total", "dinner", "new"): 0,
    }
    assert metrics.histogram("waited_seconds", "new") == Histogram(bounds=(1, 2, 5))
    assert [metric.series for metric in TABLE.values()] == [4, 12, 1]


def test_a_counter_is_asked_for_by_all_its_values_or_by_the_first_of_them() -> None:
    metrics = Metrics(TABLE)
    metrics.count("served_total", "lunch", "old")
    metrics.count("served_total", "lunch", "new", by=2)
    metrics.stands_at("served_total", "dinner", "new", total=4)

    assert metrics.counted("served_total", "lunch", "new") == 2
    assert metrics.counted("served_total", "lunch") == 3
    assert metrics.counted("served_total") == 7


def test_what_the_table_does_not_name_is_not_counted() -> None:
    metrics = Metrics(TABLE)

    for count in (
        lambda: metrics.count("served_total", "supper", "old"),
        lambda: metrics.count("served_total"),
        lambda: metrics.observe("waited_seconds", 1.0),
        lambda: metrics.observe_all("waited_seconds", [1.0], "vip"),
        lambda: metrics.counted("served"),
    ):
        with pytest.raises(KeyError):
            count()


def test_a_counter_never_goes_back() -> None:
    metrics = Metrics(TABLE)
    metrics.stands_at("served_total", "dinner", "new", total=4)

    with pytest.raises(AssertionError):
        metrics.stands_at("served_total", "dinner", "new", total=3)
