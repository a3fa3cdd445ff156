"""The knobs, as the command line shows them."""

from dataclasses import fields
from typing import Annotated, Any, get_type_hints

import pytest
from cyclopts import App, Parameter

from poller.demo.options import SimulatorOptions, check
from poller.demo.readings import Readings


def app(got: list[SimulatorOptions]) -> App:
    command = App(result_action="return_value")

    @command.default
    def simulate(options: Annotated[SimulatorOptions, Parameter(name="*")] = SimulatorOptions()) -> None:
        got.append(options)

    return command


@pytest.mark.parametrize("struct", [SimulatorOptions, Readings])
def test_every_knob_has_a_line_of_help(struct: type) -> None:
    hints = get_type_hints(struct, include_extras=True)
    knobs = [name for name in hints if name != "readings"]

    assert len(knobs) > 10
    assert all(hints[name].__metadata__[0].help.endswith(".") for name in knobs)


def test_every_knob_is_shown_by_help(capsys: pytest.CaptureFixture[str]) -> None:
    app([])(["--help"])
    shown = capsys.readouterr().out

    for field in (*fields(SimulatorOptions), *fields(Readings)):
        if field.name != "readings":
            assert f"--{field.name.replace('_', '-')[:20]}" in shown, field.name


def test_knobs_of_both_structs_are_set_from_the_command_line() -> None:
    got: list[SimulatorOptions] = []
    app(got)(["--customers", "7", "--days", "2", "--ties", "unstable", "--gzip"])

    assert got == [SimulatorOptions(customers=7, days=2.0, gzip=True, readings=Readings(ties="unstable"))]


def test_without_arguments_the_defaults_hold() -> None:
    got: list[SimulatorOptions] = []
    app(got)([])

    assert got == [SimulatorOptions()]


@pytest.mark.parametrize(
    ("knobs", "named"),
    [
        ({"customers": 0, "late_rate": 1.5, "window_seconds": 0}, ["customers", "late_rate", "window_seconds"]),
        ({"follow_probability": 1}, ["follow_probability"]),
        ({"endpoint_gone_status": 200, "error_rate": -0.1}, ["endpoint_gone_status", "error_rate"]),
        ({"calls_per_window": -1, "activities_per_customer_minute": 0}, ["calls_per_window", "activities_per_customer_minute"]),
        ({"readings": Readings(page_activities_max=0)}, ["page_activities_max"]),
    ],
)
def test_every_knob_out_of_bounds_is_named_at_once(knobs: dict[str, Any], named: list[str]) -> None:
    with pytest.raises(ValueError, match="should be") as raised:
        check(SimulatorOptions(**knobs))

    assert sorted(fault.split(" ")[0] for fault in str(raised.value).split("; ")) == sorted(named)


def test_a_knob_out_of_bounds_is_told_by_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        app([])(["--customers", "0"])

    assert "customers is 0" in capsys.readouterr().err
