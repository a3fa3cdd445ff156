"""What happens in one simulation: sizes, settings, rates of failure, faults. `Plan.drawn(seed)` draws all of it, and leaves whole kinds of fault out.

Swarm testing (Groce and others, ISSTA 2012): a run with every fault on hides what only shows where some of them are absent.
"""

from dataclasses import dataclass, field, fields
from random import Random
from typing import Any, Literal

from poller.demo.options import SimulatorOptions
from poller.demo.readings import Readings

FAULTS_OFF = 0.4
"""How often a kind of fault does not occur at all in a drawn plan."""


@dataclass(frozen=True)
class Plan:
    """What happens in one simulation. Rates are from 0 to 1; `kills` and what follows it are counts, at random instants."""

    seed: int
    hours: float = 2.0
    customers: int = 20
    replicas: int = 2
    partitions: int = 1
    change_feed: bool = False
    calls_per_minute: float = 60
    calls_per_hour: float | None = None
    """Instead of the minute's."""
    calls_per_cycle: int | None = None
    cycle_hours: float = 0
    """From the beginning to the end of the cycle."""
    calls_in_flight_max: int = 4
    lookback_seconds: float = 60
    endpoint: Literal["activities", "activity"] = "activities"
    auth: Literal["token", "oauth"] = "token"
    token_seconds: float = 900
    session_seconds: float = 10
    activities_per_customer_day: float = 400
    exponent: float = 1.0
    history_hours: float = 0
    late_rate: float = 0.2
    late_seconds_max: float = 30
    defect_rate: float = 0
    call_failures: float = 0.05
    """A tenth of them hang until the call's time is over."""
    duplicate_rate: float = 0.05
    commit_failures: float = 0.02
    kills: int = 10
    restarts: int = 0
    """In an orderly way: drained, then replaced."""
    crash_loops: int = 0
    """Whoever takes over is killed too, a few seconds later, several times."""
    stalls: int = 0
    """A process that the group does not hear for a while, and hears again: a zombie."""
    expulsions: int = 0
    rebalances: int = 5
    outages: int = 1
    """No broker answers."""
    api_outages: int = 0
    revocations: int = 0
    """Of all OAuth tokens."""
    skew_seconds: float = 0
    """Each process's clock is wrong by up to so much, either way."""
    readings: Readings = field(default_factory=Readings)

    def __str__(self) -> str:
        """All that is not as usual, in one line."""
        said = [f"{one.name}={getattr(self, one.name)!r}" for one in fields(self) if one.name in ALWAYS_SAID]
        usual = Plan(seed=0)
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name == "readings":
                said += [f"{name}={found}" for name, found in unusual(self.readings, Readings()).items()]
            elif one.name not in ALWAYS_SAID and value != getattr(usual, one.name):
                said.append(f"{one.name}={value}")
        return " ".join(said)

    @property
    def window(self) -> tuple[float, float]:
        """The rate's limit, and how long its window is in seconds."""
        return (self.calls_per_minute, 60.0) if self.calls_per_hour is None else (self.calls_per_hour, 3600.0)

    @classmethod
    def drawn(cls, seed: int, **fixed: Any) -> "Plan":
        """A plan of the swarm; `fixed` settles some of it."""
        return cls(**{"seed": seed, **draw(Random(f"{seed}/plan")), **fixed})


CALM = Plan(seed=1, customers=5, replicas=1, kills=0, rebalances=0, outages=0, call_failures=0, commit_failures=0, late_seconds_max=5)
"""Small, and nothing fails."""

ALWAYS_SAID = {"seed", "hours", "customers", "replicas", "partitions", "calls_per_minute", "call_failures", "commit_failures", "kills"}

CALLS_MAX = 5000
"""In one drawn plan: what a run costs follows from it."""


def unusual(readings: Readings, usual: Readings) -> dict[str, Any]:
    return {name: getattr(readings, name) for name in Readings.__slots__ if getattr(readings, name) != getattr(usual, name)}


def draw(random: Random) -> dict[str, Any]:
    partitions = random.choice((1, 1, 1, 2, 4))
    calls_per_minute = max(float(random.choice((2, 5, 20, 60, 200, 600))), 20.0 * partitions if partitions > 1 else 2)
    hours = min(random.uniform(0.5, 6), CALLS_MAX / 60 / calls_per_minute)
    customers = max(1, min(400, round(calls_per_minute * random.choice((0.1, 0.5, 1, 3)) * random.uniform(0.5, 1.5))))
    lookback_seconds = random.choice((15.0, 60.0, 300.0))
    plan = {
        "hours": round(hours, 2),
        "customers": customers,
        "replicas": random.choice((1, 2, 2, 3)),
        "partitions": partitions,
        "calls_per_minute": calls_per_minute,
        "calls_in_flight_max": random.choice((1, 4, 16)) if calls_per_minute <= 60 else 16,
        "lookback_seconds": lookback_seconds,
        "endpoint": random.choice(("activities", "activity")),
        "activities_per_customer_day": random.choice((12.0, 100.0, 400.0)),
        "exponent": random.choice((0.0, 1.0, 1.5)),
        "history_hours": random.choice((0, 0, 24)),
        "session_seconds": random.choice((6.0, 10.0, 30.0)),
    }
    drawn = {**plan, **draw_budget(random, plan), **draw_faults(random, lookback_seconds), "readings": draw_readings(random)}
    if drawn["readings"].date_offset_seconds > 0:
        drawn["skew_seconds"] = 0.0  # where all clocks are ahead, nobody can know
    return drawn


def draw_budget(random: Random, plan: dict[str, Any]) -> dict[str, Any]:
    """By the hour in some; and in some a cycle that paces the calls down, and does not end before the run does."""
    drawn: dict[str, Any] = {}
    per_minute = plan["calls_per_minute"]
    if random.random() < 0.25:
        drawn["calls_per_hour"] = per_minute * 60
    if random.random() < 0.25:
        drawn["cycle_hours"] = round(2 * plan["hours"] + 3 + 20 * plan["customers"] / per_minute / 60, 1)
        drawn["calls_per_cycle"] = round(drawn["cycle_hours"] * 60 * per_minute * random.uniform(0.5, 1.2))
    return drawn


def draw_faults(random: Random, lookback_seconds: float) -> dict[str, Any]:
    def often(value: Any) -> Any:
        """Drawn whether it occurs or not, so that one kind of fault does not change what the others draw."""
        return value * (random.random() >= FAULTS_OFF)

    auth = random.choice(("token", "token", "oauth"))
    return {
        "auth": auth,
        "token_seconds": random.choice((120.0, 900.0)),
        "revocations": often(random.randint(1, 6)) if auth == "oauth" else 0,
        "late_rate": often(random.choice((0.05, 0.2, 0.5))),
        "late_seconds_max": lookback_seconds * random.choice((0.5, 0.9, 1.5)),
        "defect_rate": often(random.choice((0.02, 0.1))),
        "call_failures": often(round(random.uniform(0.01, 0.2), 3)),
        "duplicate_rate": often(0.05),
        "commit_failures": often(round(random.uniform(0.01, 0.15), 3)),
        "kills": often(random.randint(1, 15)),
        "restarts": often(random.randint(1, 10)),
        "crash_loops": often(random.randint(1, 3)),
        "stalls": often(random.randint(1, 6)),
        "expulsions": often(random.randint(1, 6)),
        "rebalances": often(random.randint(1, 20)),
        "outages": often(random.randint(1, 4)),
        "api_outages": often(random.randint(1, 3)),
        "skew_seconds": random.choice((0.0, 0.0, 5.0, 7200.0)),
    }


def draw_readings(random: Random) -> Readings:
    """Only such as let everything be read: order and start_date are honoured, and no tie exceeds a page."""
    return Readings(
        start_date=random.choice(("inclusive", "exclusive")),
        starting_after=random.choice(("inclusive", "exclusive", "ignored")),
        starting_after_direction=random.choice(("order", "newer", "older")),
        starting_after_id=random.choice(("honoured", "by_created_at", "ignored", "empty_when_vanished", "refused")),
        ties=random.choice(("stable", "stable", "unstable")),
        resolution=random.choice(("milliseconds", "microseconds")),
        page_activities_max=random.choice((100, 100, 30, 10)),
        date=random.choice(("right", "right", "absent")),
        date_offset_seconds=random.choice((0.0, 0.0, 3600.0, -3600.0)),
        payload=random.choice(("nested", "flat", "mixed")),
        total=random.choice(("right", "wrong", "absent")),
        has_more=random.choice(("right", "wrong", "absent")),
        limited_code=random.choice(("number", "text")),
    )


def options_of(plan: Plan) -> SimulatorOptions:
    return SimulatorOptions(
        seed=plan.seed,
        customers=plan.customers,
        activities_per_customer_day=plan.activities_per_customer_day,
        exponent=plan.exponent,
        history_seconds=plan.history_hours * 3600,
        peak_minute=60,
        late_rate=plan.late_rate,
        late_seconds_mean=plan.late_seconds_max / 4,
        late_seconds_max=plan.late_seconds_max,
        defect_rate=plan.defect_rate,
        endpoints=plan.endpoint,
        calls_per_window=None,
        token_seconds=plan.token_seconds,
        latency_seconds=LATENCY_SECONDS,
        error_rate=plan.call_failures * 0.4,
        disconnect_rate=plan.call_failures * 0.2,
        hang_rate=plan.call_failures * 0.1,
        garbage_rate=plan.call_failures * 0.1,
        slow_rate=plan.call_failures * 0.2,
        duplicate_rate=plan.duplicate_rate,
        readings=plan.readings,
    )


LATENCY_SECONDS = 0.3
