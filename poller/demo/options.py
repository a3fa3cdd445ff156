"""Every knob of the simulator, with a line of help each; the command line shows them from here."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Annotated, Literal

from cyclopts import Group, Parameter

from poller.demo.readings import Readings

POPULATION = Group("Customers and what they do", sort_key=1)
LIMITS = Group("Credentials and limits", sort_key=2)
FAULTS = Group("Faults", sort_key=3)


def customer(text: str) -> Parameter:
    return Parameter(help=text, group=POPULATION)


def limit(text: str) -> Parameter:
    return Parameter(help=text, group=LIMITS)


def fault(text: str) -> Parameter:
    return Parameter(help=text, group=FAULTS)


def check(options: "SimulatorOptions") -> None:
    """Raises `ValueError` that names every knob that is out of its bounds."""
    faults = [
        f"{name} is {value}, should be {bounds}"
        for bounds, names, holds in BOUNDS
        for name in names
        if (value := getattr(options, name)) is not None and not holds(value)
    ]
    if not 1 <= options.readings.page_activities_max <= PAGE_ACTIVITIES_MAX:
        faults.append(f"page_activities_max is {options.readings.page_activities_max}, should be from 1 to {PAGE_ACTIVITIES_MAX}")
    if faults:
        raise ValueError("; ".join(faults))


def check_given(_type: object, options: "SimulatorOptions | None") -> None:
    """The same, as the command line calls it."""
    if options is not None:
        check(options)


@Parameter(name="*", validator=check_given)
@dataclass(frozen=True, slots=True)
class SimulatorOptions:
    """What the simulated API holds, grants, and does wrong. Rates are probabilities from 0 to 1."""

    seed: Annotated[int, customer("Everything random follows from it.")] = 1
    customers: Annotated[int, customer("How many customers there are.")] = 50
    arriving_customers: Annotated[int, customer("How many of them, the last ones, are created only once the simulation runs.")] = 0
    arriving_seconds: Annotated[float, customer("Within how long, evenly.")] = 3600.0
    customer_ids: Annotated[
        Literal["voucherify", "source"], customer("Which id of a customer the lists of customers and the truth give; calls may use both.")
    ] = "voucherify"
    exponent: Annotated[float, customer("How unequal they are: the k-th busiest acts k^-exponent as often as the first.")] = 1.0
    activities_per_customer_day: Annotated[float, customer("Activities per customer and day, on average.")] = 12.0
    activities_per_customer_minute: Annotated[
        float | None, customer("Run the days so fast that this many activities per customer and minute result.")
    ] = None
    time_compression: Annotated[float, customer("Minutes of the customers' life in a minute of the clock.")] = 1.0
    follow_probability: Annotated[float, customer("How likely another activity follows within a visit.")] = 0.75
    gap_minutes: Annotated[float, customer("Mean minutes between the activities of a visit.")] = 10 / 3
    day_amplitude: Annotated[float, customer("How much the rate swings over a day; 0: not at all.")] = 0.8
    peak_minute: Annotated[float, customer("The minute of the day with the highest rate; the simulation starts at minute 0.")] = 840.0
    days: Annotated[
        float | None,
        customer("Days of life, all made in advance from one random stream (the benchmark's workload); default: without an end."),
    ] = None
    history_seconds: Annotated[float, customer("How long the customers had been active when the simulation starts.")] = 0.0
    undocumented_type_rate: Annotated[float, customer("Activities of types that are not in the documentation.")] = 0.01
    late_rate: Annotated[float, customer("Activities that are shown only some time after their created_at.")] = 0.1
    late_seconds_mean: Annotated[float, customer("How much later on average (exponential).")] = 2.0
    late_seconds_max: Annotated[float, customer("How much later at most.")] = 8.0
    update_rate: Annotated[float, customer("Of the types of activities, how many move the customer's updated_at.")] = 0.6
    update_seconds: Annotated[float, customer("How long after the activity is shown.")] = 13.0
    tie_rate: Annotated[float, customer("Moments that leave several activities of the same millisecond and group_id.")] = 0.1
    tie_activities_max: Annotated[int, customer("How many such activities at most.")] = 4
    large_tie_rate: Annotated[float, customer("Moments that leave very many activities of the same millisecond.")] = 0.0
    large_tie_activities: Annotated[int, customer("How many these are.")] = 150
    large_rate: Annotated[float, customer("Activities with a very large payload.")] = 0.0
    large_bytes: Annotated[int, customer("How many bytes are added to these.")] = 2_000_000
    defect_rate: Annotated[
        float, customer("Activities stored with a defect: no id, no type, no or an odd created_at, bad UTF-8, not an object.")
    ] = 0.0

    app_id: Annotated[str, limit("The X-App-Id that is accepted.")] = "simulator-app-id"
    app_token: Annotated[str, limit("The X-App-Token that is accepted.")] = "simulator-app-token"  # noqa: S105 - of play
    permission: Annotated[
        Literal["granted", "missing", "wrong_region"], limit("Whether accepted credentials may read customers; otherwise 403.")
    ] = "granted"
    endpoints: Annotated[Literal["both", "activities", "activity", "none"], limit("Which of the two routes are served.")] = "both"
    endpoint_gone_status: Annotated[int, limit("What the other route answers: 404, 405 or 410.")] = 404
    sunset: Annotated[str | None, limit("The Sunset header of /activities, an HTTP date; it also gets a Deprecation header then.")] = None
    calls_per_window: Annotated[int | None, limit("Calls that a window grants; then 429.")] = 100
    window_seconds: Annotated[float, limit("How long a window is.")] = 60.0
    window: Annotated[
        Literal["sliding", "fixed"], limit("Whether calls count for the seconds past, or from one full window to the next.")
    ] = "sliding"
    calls_per_cycle: Annotated[int | None, limit("Calls that a cycle grants; then 429 until it ends.")] = None
    cycle_seconds: Annotated[float, limit("How long a cycle is, from the start of the simulation on.")] = 30 * 86_400.0
    other_calls_per_minute: Annotated[float, limit("What other clients of the project spend of the window.")] = 0.0
    quota_headers: Annotated[bool, limit("Whether responses have the X-Rate-Limit headers.")] = True
    plan: Annotated[Literal["paid", "exceeded"], limit("Exceeded: every call gets a 402.")] = "paid"
    token_seconds: Annotated[float, limit("How long an OAuth token lives.")] = 900.0
    accepts: Annotated[
        Literal["both", "token", "oauth"], limit("How calls may be authorised: by the credentials themselves, by OAuth tokens, or by both.")
    ] = "both"

    latency_seconds: Annotated[float, fault("Mean seconds of a call (from half to one and a half of it).")] = 0.0
    error_rate: Annotated[float, fault("Calls that get 500, 502 or 503.")] = 0.0
    disconnect_rate: Annotated[float, fault("Calls whose connection breaks.")] = 0.0
    hang_rate: Annotated[float, fault("Calls that get no answer.")] = 0.0
    hang_seconds: Annotated[float, fault("How long these hang before the connection breaks.")] = 60.0
    slow_rate: Annotated[float, fault("Calls that take very long, and are answered.")] = 0.0
    slow_seconds: Annotated[float, fault("How long.")] = 5.0
    garbage_rate: Annotated[float, fault("Calls answered 200 with something that is no page.")] = 0.0
    duplicate_rate: Annotated[float, fault("Pages on which an activity stands twice.")] = 0.0
    gzip: Annotated[bool, fault("Compress bodies for clients that accept it.")] = False

    readings: Annotated[Readings, Parameter(name="*")] = field(default_factory=Readings)


PAGE_ACTIVITIES_MAX = 100
RATES = tuple(f.name for f in fields(SimulatorOptions) if f.name.endswith("_rate"))

BOUNDS: tuple[tuple[str, tuple[str, ...], Callable[[float], bool]], ...] = (
    ("from 0 to 1", (*RATES, "day_amplitude"), lambda value: 0 <= value <= 1),
    ("from 0 to less than 1", ("follow_probability",), lambda value: 0 <= value < 1),
    ("404, 405 or 410", ("endpoint_gone_status",), lambda value: value in {404, 405, 410}),
    ("at least 1", ("customers", "tie_activities_max", "large_tie_activities"), lambda value: value >= 1),
    (
        "more than 0",
        (
            "activities_per_customer_day",
            "activities_per_customer_minute",
            "time_compression",
            "gap_minutes",
            "days",
            "window_seconds",
            "cycle_seconds",
            "token_seconds",
        ),
        lambda value: value > 0,
    ),
    (
        "at least 0",
        (
            "history_seconds",
            "arriving_customers",
            "arriving_seconds",
            "late_seconds_mean",
            "late_seconds_max",
            "large_bytes",
            "calls_per_window",
            "calls_per_cycle",
            "other_calls_per_minute",
            "latency_seconds",
            "hang_seconds",
            "slow_seconds",
        ),
        lambda value: value >= 0,
    ),
)
"""What each knob must be, and how to tell."""
