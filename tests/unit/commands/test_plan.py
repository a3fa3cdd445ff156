"""What `poller plan` says of a budget, what it refuses, and what it draws."""

import json
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from poller.cli import FAILED, OK, UNUSABLE, run_command
from poller.commands.plan import Asked, Given, as_json, given_of, lines, refusal, told_of, warnings
from poller.commands.plan_plot import HEIGHT, WIDTH, Axis
from poller.config import load_planned
from poller.errors import SettingsError

STEADY: dict[str, Any] = {"follow_probability": 0.0, "gap_minutes": 0.1}
"""As good as no bursts: quick to play."""


def given(environ: Mapping[str, str] = {}, **asked: Any) -> Given:
    return given_of(Asked(**(STEADY | asked)), environ)


def said(of: Given) -> dict[str, str]:
    return dict(lines(told_of(of)))


def command_line(**asked: Any) -> list[str]:
    return [word for name, value in (STEADY | asked).items() for word in (f"--{name.replace('_', '-')}", str(value))]


def test_a_plan_is_told_in_words() -> None:
    told = said(given(customers=1000, calls_per_minute=100, calls_per_cycle=100_000))

    assert told["customers"] == "1,000, who act 12,000 times a day: assumed"
    assert told["budget"] == "100 calls a minute and 100,000 a cycle; 2.22 a minute are left to read with"
    assert re.fullmatch(r"11\d\.\d min \(everybody in turn: 3\.8 h\)", told["mean delay"])  # theory: 115 min
    assert told["at worst"] == "under 15.0 h: twice as long as reading everybody once takes (in turn: 7.6 h)"  # the busiest fill some pages
    assert re.match(r"mean delay \d\d\d\.\d min \((-8|-9|-10|-11)%\), 95th percentile 6\.\d h, at worst 13\.7 h", told["10 % more calls"])
    assert told["kept back"] == "32 calls a day, 1.0%"
    assert "warning" not in told


def test_the_parts_of_the_budget_are_all_of_it() -> None:
    asked = given(customers=100, calls_per_minute=10, auth="oauth", staleness_seconds_max=800)
    told = as_json(told_of(asked))

    assert sum(told["calls_per_day"].values()) == pytest.approx(10 * 1440)
    assert told["calls_per_day"]["access_tokens"] == pytest.approx(86_400 / 660)
    assert told["calls_per_day"]["reads_by_the_bound"] > 0
    assert told["calls_per_minute"] == pytest.approx(asked.allowance.reads * 60)


@pytest.mark.parametrize(
    ("asked", "advice"),
    [
        ({"calls_per_minute": 50}, ("--calls-per-minute", r"allow (\d+) calls a minute or more")),
        ({"calls_per_hour": 3000}, ("--calls-per-hour", r"allow ([\d,]+) calls an hour or more")),
        ({"calls_per_minute": 2000, "calls_per_cycle": 2_000_000}, ("--calls-per-cycle", r"allow ([\d,]+) calls a cycle or more")),
        ({"calls_per_minute": 50, "auth": "oauth"}, ("--staleness-seconds-max", r"staleness to (\d+) or more")),
        ({"calls_per_minute": 50}, ("--customers", r"watch at most (\d+)")),
    ],
)
def test_a_staleness_that_the_budget_cannot_hold_is_refused_and_each_advice_would_do(
    asked: dict[str, Any], advice: tuple[str, str]
) -> None:
    wanted = given(customers=1000, staleness_seconds_max=1200, **asked)
    refused, (option, pattern) = refusal(wanted), advice
    assert refused is not None
    found = re.search(pattern, refused)
    assert found is not None, refused
    heeded = {
        "customers": 1000,
        "staleness_seconds_max": 1200,
        **asked,
        option.strip("-").replace("-", "_"): int(found[1].replace(",", "")),
    }

    assert refused.startswith("a staleness of 1200 seconds at most contradicts")
    assert refusal(given(**heeded)) is None
    assert list(warnings(given(**heeded))) == []


def test_near_the_edge_it_warns_and_says_what_is_held_instead() -> None:
    told = said(given(customers=100, calls_per_minute=10, staleness_seconds_max=650))

    assert told["warning"].startswith(
        "a staleness of 650 seconds leaves less than a tenth to spare: reading everybody once takes 610 seconds, so 671 are held"
    )


def test_more_activities_than_pages_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"1,000 customers act 30,000 times a day, .* allow \d+ calls an hour or more, or watch fewer"):
        told_of(given(customers=1000, calls_per_hour=10, activities_per_customer_day=30))


def test_a_contradiction_exits_with_2_and_nothing_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["plan", *command_line(customers=1000, calls_per_minute=50, staleness_seconds_max=60)]) == UNUSABLE

    out, err = capsys.readouterr()
    assert (out, "contradicts 50 calls a minute" in err) == ("", True)


def test_two_rates_or_no_customers_are_refused() -> None:
    with pytest.raises(SettingsError, match="both given"):
        given(customers=5, calls_per_minute=1, calls_per_hour=1)
    with pytest.raises(SettingsError, match=r"(?s)POLLER_CUSTOMERS is required.*--customers 1000"):
        given()
    with pytest.raises(SettingsError, match="nothing is left"):
        given(customers=5, calls_per_cycle=1)


def test_without_options_customers_and_budget_are_those_of_the_settings_and_no_secret_is_needed() -> None:
    environ = {
        "POLLER_CUSTOMERS": "a,b,c",
        "POLLER_CALLS_PER_HOUR": "20",
        "POLLER_CALLS_PER_CYCLE": "9000",
        "POLLER_STALENESS_SECONDS_MAX": "2000",
        "POLLER_LOOKBACK_SECONDS": "10",
        "POLLER_VOUCHERIFY_AUTH": "oauth",
    }
    of_settings = given(environ)

    assert (of_settings.fleet.customers, of_settings.budget.rate, of_settings.budget.calls_per_cycle) == (3, (20.0, 3600.0), 9000)
    assert (of_settings.offer.staleness_seconds_max, of_settings.offer.lookback_seconds) == (2000.0, 10.0)
    assert of_settings.allowance.tokens > 0
    assert given(environ, calls_per_minute=2).budget.rate == (2.0, 60.0)
    assert given(environ, calls_per_minute=2).budget.calls_per_cycle == 9000
    assert given(environ, auth="token", staleness_seconds_max=3000).offer.staleness_seconds_max == 3000
    assert load_planned(environ).kafka is None


def test_with_a_number_of_customers_no_setting_counts() -> None:
    assert given({"POLLER_CUSTOMERS": "", "POLLER_CALLS_PER_MINUTE": "rubbish"}, customers=4).budget.rate == (60.0, 60.0)


def test_brokers_are_known_where_the_settings_name_them() -> None:
    environ = {"POLLER_CUSTOMERS": "a", "POLLER_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9", "POLLER_KAFKA_CHECKPOINT_PARTITIONS": "4"}
    planned = load_planned(environ)

    assert planned.kafka is not None
    assert planned.kafka.bootstrap_servers == "127.0.0.1:9"
    assert given(environ).allowance.kept == pytest.approx(1 - (61 - 4.004) / 61)
    with pytest.raises(SettingsError, match="did you mean POLLER_CALLS_PER_MINUTE"):
        load_planned(environ | {"POLLER_CALLS_PER_MINUT": "5"})


def test_where_brokers_cannot_be_asked_it_says_so_and_what_it_assumes_instead(capsys: pytest.CaptureFixture[str]) -> None:
    environ = {"POLLER_CUSTOMERS": "a,b", "POLLER_CALLS_PER_HOUR": "4", "POLLER_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9"}
    assumed = given_of(Asked(), environ)

    assert assumed.source.startswith("assumed, as what has been learned of them cannot be read (")
    assert assumed.fleet.rate == pytest.approx(2 * 12 / 86_400)
    assert capsys.readouterr() == ("", "")


def test_the_change_feed_has_its_part_of_the_budget() -> None:
    environ = {"POLLER_CUSTOMERS": "a,b", "POLLER_CALLS_PER_HOUR": "100", "POLLER_CHANGE_FEED": "on"}
    told = given(environ)

    assert told.allowance.feed == pytest.approx(0.05 * (told.allowance.configured - told.allowance.kept))
    assert said(told)["change feed"].endswith(" calls a day, 5.0%")
    assert "not what it brings sooner" in next(warnings(told))
    assert given(environ | {"POLLER_CHANGE_FEED": "off"}).allowance.feed == 0


def test_where_neither_settings_nor_the_watch_topic_name_anybody_that_is_said() -> None:
    with pytest.raises(SettingsError, match="nobody is watched, by the settings here or by the watch topic"):
        given({"POLLER_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9"})


def test_a_plan_is_drawn_with_the_present_budget_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "plan.svg"
    arguments = command_line(customers=50, calls_per_minute=10, staleness_seconds_max=500)
    assert run_command(["plan", "--json", "--plot", str(file), *arguments]) == OK
    told = json.loads(capsys.readouterr().out)
    drawn = [
        (element.get("class") or "", element.get("d") or "") for element in ET.parse(file).getroot().iter() if element.tag.endswith("path")
    ]
    lines_drawn = [(name.removeprefix("line "), points(d)) for name, d in drawn if name.startswith("line ")][3:]

    assert told["customers"] == 50
    assert [name for name, _ in lines_drawn] == ["now", "rule", "turn"] * 2
    assert [len(line) for name, line in lines_drawn if name == "rule"] == [
        6,
        6,
    ]  # less than 0.7 of the budget would contradict the staleness
    for name, line in lines_drawn:
        assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in line), name
        assert name == "now" or all(x < right and y < lower for (x, y), (right, lower) in pairwise(line)), name


def points(d: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML]?([\d.]+) ([\d.]+)", d)]


def test_more_calls_are_never_told_to_make_it_worse() -> None:
    rich = told_of(given_of(Asked(customers=10, calls_per_minute=100_000), {}))

    assert rich.more.rule.mean_seconds <= rich.plan.rule.mean_seconds
    assert rich.more.rule.p95_seconds <= rich.plan.rule.p95_seconds


@pytest.mark.parametrize(
    "option", [["--calls-per-minute", "inf"], ["--staleness-seconds-max", "0"], ["--exponent", "nan"], ["--customers", "0"]]
)
def test_an_option_out_of_its_bounds_is_told(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["plan", "--customers", "5", *option]) == UNUSABLE
    assert option[0] in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["plan", "--plot", "/dev/null/plan.svg", *command_line(customers=5, calls_per_hour=2)]) == FAILED
    assert "/dev/null/plan.svg" in capsys.readouterr().err


def test_an_axis_ends_at_ticks_around_its_values() -> None:
    axis = Axis.around([3.0, 70.0], 0.0, 100.0)

    assert (axis.low, axis.high, axis.pixel(2.0)) == (2.0, 100.0, 0.0)
    assert axis.pixel(100.0) == pytest.approx(100.0)
    assert Axis.around([5.0, 5.0], 0.0, 1.0)[:2] == (5.0, 10.0)
