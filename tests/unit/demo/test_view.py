"""What the demo shows: one line, a panel, and a table."""

import io

import pytest
from rich.console import Console

from poller.demo.judge import Calls, Comparison, Freshness
from poller.demo.view import PlainScreen, ReplicaSeen, Result, Scene, panel, plain_line, result_rows

MANY_COLUMNS = 200


def scene(*, at: float = 12.0, seconds: float | None = 30.0, freshness: Freshness | None = Freshness(40, 0.94, 2.5)) -> Scene:
    return Scene(
        elapsed_seconds=at,
        seconds=seconds,
        customers=25,
        shown=130,
        published=128,
        types=[("customer.confirmed", 40), ("customer.\x1b[2Jupdated", 3)],
        freshness=freshness,
        calls_last_minute=118,
        calls_limit=600,
        replicas=[ReplicaSeen("A", 4711, "owns"), ReplicaSeen("B", None, "ended")],
    )


def drawn(shown: Scene) -> str:
    console = Console(file=io.StringIO(), width=MANY_COLUMNS, force_terminal=False)
    console.print(panel(shown))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_line_says_what_is_published_how_fresh_for_how_many_calls_and_by_whom() -> None:
    assert plain_line(scene()) == (
        "12 of 30 s · 128 of 130 activities published · fresh p50 0.9 s, p95 2.5 s · 118 of 600 calls in the last minute · A owns, B ended"
    )


def test_a_line_without_an_end_and_without_freshness_says_neither() -> None:
    assert plain_line(scene(seconds=None, freshness=None)).startswith("12 s · 128 of 130 activities published · fresh – · ")


@pytest.mark.parametrize(
    "figure", ["12 of 30 s", "130", "128", "p50 0.9 s", "118 of 600", "owns (pid 4711)", "ended", "customer.confirmed"]
)
def test_the_panel_shows_each_figure(figure: str) -> None:
    assert figure in drawn(scene())


def test_no_type_commands_the_terminal() -> None:
    assert "\x1b" not in drawn(scene())
    assert r"customer.\x1b[2Jupdated" in drawn(scene())


def test_lines_come_every_few_seconds_only() -> None:
    out = io.StringIO()
    screen = PlainScreen(out)

    for at in (0.0, 0.2, 2.9, 3.1, 4.0, 6.2):
        screen.show(scene(at=at))
    assert [line.split(" of ")[0] for line in out.getvalue().splitlines()] == ["0", "3", "6"]


def test_the_table_says_each_figure_of_the_result() -> None:
    comparison = Comparison(554, 554, (), (), (), (), Freshness(164, 1.586, 7.12))
    ended = Result(30.0, 25, 1, comparison, Calls(270, 0, 268, 600), 1, (5.94,), {"A": 0, "B": 0}, 61_200_000)

    assert {name: figure for name, figure, _ in result_rows(ended)} == {
        "expected": "554",
        "published": "554",
        "lost": "0",
        "twice": "0",
        "changed": "0",
        "invented": "0",
        "calls": "270",
        "freshness p50": "1.59 s",
        "freshness p95": "7.12 s",
        "killed": "1",
        "exit codes": "A: 0, B: 0",
        "memory": "61 MB",
    }
