"""What the bench would say can be read, and the one goal that is the same on every machine is met."""

from collections import Counter

from tests.bench.document import Measured, document
from tests.bench.figures import Figure, table
from tests.bench.memory import GOAL_KB, bytes_a_customer
from tests.bench.profiling import Profile

CUSTOMERS = 10_000


def test_an_idle_customer_stays_within_its_memory_after_a_restore_and_after_a_read() -> None:
    restored, read = bytes_a_customer(CUSTOMERS)

    assert 0 < restored <= GOAL_KB * 1000
    assert 0 < read <= GOAL_KB * 1000


def test_a_figure_is_shown_by_its_median_and_its_extent_beside_its_goal() -> None:
    figures = [
        Figure("a read", "ms", [1.5, 1.234, 9.0], at_most=1.5),
        Figure("a backfill", "records/s", [19_999.0], at_least=20_000),
        Figure("only told", "", [0.5, 1.5]),
    ]

    assert [figure.met for figure in figures] == [True, False, True]
    assert table(figures).splitlines()[2:] == [
        "| a read | 1.5 ms | 1.23 to 9 | 3 | ≤ 1.5 | met |",
        "| a backfill | 20,000 records/s | 20,000 to 20,000 | 1 | ≥ 20,000 | **missed** |",
        "| only told | 1 | 0.5 to 1.5 | 2 |  |  |",
    ]


def test_the_page_shows_every_figure_and_where_the_time_went() -> None:
    profile = Profile.of(Counter({"h11/_util.py validate": 3, "poller/core/engine.py Engine.next": 1}))
    measured = Measured(
        reads=[Figure("CPU of a read, at once", "ms", [1.0]), Figure("CPU of a read, paced", "ms", [2.5])],
        backfill=[Figure("activities", "records/s", [30_000]), Figure("CPU of it, of each", "µs", [28])],
        memory=[Figure("an idle customer", "kB", [0.8])],
        restore=[Figure("checkpoints", "s", [1.5])],
        read_profiles={"at once": profile, "paced": profile},
        backfill_profile=profile,
    )
    page = document(measured, took_seconds=240)

    assert [figure.what for figure in measured.figures if table([figure]).splitlines()[2] not in page] == []
    assert "| h11 | 750 | 1,875 |" in page
    assert " 75.0%  h11/_util.py validate\n" in page
    assert "2.5 times as much" in page
