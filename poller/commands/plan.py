"""`poller plan`: what freshness a budget buys. Reckons in `core/plan.py`; here is what is asked, and what is told of it."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Annotated, Any, Literal

import anyio
import msgspec
from cyclopts import Group, Parameter
from cyclopts.validators import Number

from poller.commands.output import say_json, say_table
from poller.commands.plan_plot import svg
from poller.config import CYCLE_SECONDS_MAX, BudgetSettings, KafkaSettings, Planned, load_planned
from poller.core.freshness import ROUNDS_STALENESS_MIN
from poller.core.plan import (
    Allowance,
    Fleet,
    Life,
    Offer,
    Plan,
    allowance,
    calls_min,
    fleet_of,
    known_of,
    lives,
    planned,
    round_seconds,
    zipf_rates,
)
from poller.core.rates import CHANCE_MAX, CHANCE_MIN, GAP_SECONDS_MAX, GAP_SECONDS_MIN, Habits
from poller.errors import LogError, SettingsError
from poller.model import CustomerId
from poller.setting import number

DAY_SECONDS = 86_400.0
MORE = 1.1
"""What another tenth of the calls would bring."""

DRAWN = tuple(2.0 ** (half / 2) for half in range(-4, 5))
"""Of the budget: what is drawn."""

DRAWN_VISITS = 150
"""Of each life: on a drawing a percent is not seen."""

KEPT_MAX = 0.03
"""Of a budget in one partition, as a rule: what is kept back."""

SEED = 1
"""The visits that are played come out the same each time."""

ASSUMED = Group("What is assumed of the customers, where nothing has been learned of them", sort_key=2)
BUDGET = Group("Customers and budget, instead of the settings'", sort_key=1)


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Asked:
    """Instead of what the settings say."""

    customers: Annotated[
        int | None, Parameter(help="How many; then no setting is read.", group=BUDGET, validator=Number(gte=1, lte=10**6))
    ] = None
    calls_per_minute: Annotated[
        float | None, Parameter(help="As POLLER_CALLS_PER_MINUTE.", group=BUDGET, validator=Number(gte=0.001, lte=10**6))
    ] = None
    calls_per_hour: Annotated[
        float | None, Parameter(help="As POLLER_CALLS_PER_HOUR.", group=BUDGET, validator=Number(gte=0.001, lte=10**7))
    ] = None
    calls_per_cycle: Annotated[
        int | None, Parameter(help="As POLLER_CALLS_PER_CYCLE.", group=BUDGET, validator=Number(gte=1, lte=10**10))
    ] = None
    staleness_seconds_max: Annotated[
        float | None, Parameter(help="As POLLER_STALENESS_SECONDS_MAX.", group=BUDGET, validator=Number(gte=1, lte=31536000))
    ] = None
    auth: Annotated[Literal["token", "oauth"] | None, Parameter(help="As POLLER_VOUCHERIFY_AUTH.", group=BUDGET)] = None
    activities_per_customer_day: Annotated[
        float | None, Parameter(help="On average. Default: 12.", group=ASSUMED, validator=Number(gt=0, lte=10**6))
    ] = None
    exponent: Annotated[
        float | None,
        Parameter(
            help="How unequal they are: the k-th busiest acts k^-exponent as often as the first. Default: 1.",
            group=ASSUMED,
            validator=Number(gte=0, lte=5),
        ),
    ] = None
    follow_probability: Annotated[
        float | None,
        Parameter(
            help="How likely another activity follows within a visit. Default: 0.75.",
            group=ASSUMED,
            validator=Number(gte=0, lte=CHANCE_MAX),
        ),
    ] = None
    gap_minutes: Annotated[
        float | None,
        Parameter(
            help="Mean minutes between the activities of a visit. Default: 3.3.",
            group=ASSUMED,
            validator=Number(gte=GAP_SECONDS_MIN / 60, lte=GAP_SECONDS_MAX / 60),
        ),
    ] = None

    @property
    def assumes(self) -> bool:
        """Whether it says how customers act: then nobody else is asked."""
        return (self.activities_per_customer_day, self.exponent, self.follow_probability, self.gap_minutes) != (None,) * 4


class Given(msgspec.Struct, frozen=True):
    """What is planned for."""

    fleet: Fleet
    source: str
    """Where the rates are from."""
    budget: BudgetSettings
    allowance: Allowance
    offer: Offer


class Told(msgspec.Struct, frozen=True):
    """What is told of it."""

    given: Given
    plan: Plan
    more: Plan
    """With another tenth of the calls."""
    warnings: tuple[str, ...] = ()


def plan(
    *,
    asked: Annotated[Asked | None, Parameter(name="*")] = None,
    plot: Annotated[Path | None, Parameter(help="Draw the delays over the budget, as SVG, into this file.")] = None,
    json: Annotated[bool, Parameter(negative="", show_default=False, help="As JSON.")] = False,
) -> int:
    given = given_of(asked or Asked(), os.environ)
    told = told_of(given)
    if plot is not None:
        plot.write_text(svg(curve(given), told.plan), encoding="utf-8")
    if json:
        say_json(as_json(told))
    else:
        say_table(("", ""), list(lines(told)))
    return 0


# ------------------------------------------------------------------------------------------------------------------ what is given


def given_of(asked: Asked, environ: Mapping[str, str]) -> Given:
    """Asks Kafka where the settings name brokers. Raises `SettingsError`."""
    settings = _nothing(asked.customers) if asked.customers is not None else _with_the_topics(_settings(environ))
    budget, auth = _budget(asked, settings.budget), asked.auth or settings.auth
    fleet, source = _fleet(asked, settings)
    limit, window_seconds = budget.rate
    partitions = 1 if settings.kafka is None else settings.kafka.checkpoint_partitions
    allowed = allowance(limit, window_seconds, budget.calls_per_cycle, partitions, oauth=auth == "oauth", feed=settings.change_feed == "on")
    if allowed.reads <= 0:
        raise SettingsError([f"{_configured(budget)}: nothing is left of it to read with"])
    staleness = settings.staleness_seconds_max if asked.staleness_seconds_max is None else asked.staleness_seconds_max
    return Given(fleet, source, budget, allowed, Offer(allowed.reads, staleness, settings.lookback_seconds))


def _nothing(customers: int) -> Planned:
    """The defaults, for so many customers."""
    ids = tuple(CustomerId(str(rank)) for rank in range(customers))
    return Planned(customers=ids, budget=BudgetSettings(), auth="token", lookback_seconds=300.0, staleness_seconds_max=None, kafka=None)


def _settings(environ: Mapping[str, str]) -> Planned:
    try:
        return load_planned(environ)
    except SettingsError as error:
        hint = "or plan without settings: poller plan --customers 1000 --calls-per-minute 100"
        raise SettingsError([*error.faults, hint]) from error


def _with_the_topics(settings: Planned) -> Planned:
    """Together with whom the watch topic names. Raises `SettingsError` where nobody is named."""
    named = () if settings.kafka is None else anyio.run(_in_the_topic, settings.kafka)
    together = msgspec.structs.replace(settings, customers=tuple(dict.fromkeys([*settings.customers, *named])))
    if not together.customers:
        raise SettingsError(
            [
                "nobody is watched, by the settings here or by the watch topic: `poller watch add`, or plan for so many: poller plan --customers 1000"
            ]
        )
    return together


async def _in_the_topic(kafka: KafkaSettings) -> tuple[CustomerId, ...]:
    """None where it cannot be read: a plan may be made before there are brokers."""
    from poller.commands.watch import Complaints
    from poller.kafka.watch import KafkaWatch

    try:
        entries = (await KafkaWatch(kafka, Complaints()).read()).entries
    except LogError:
        return ()
    return tuple(customer for customer, entry in entries.items() if not entry.paused and not entry.forget)


def _budget(asked: Asked, budget: BudgetSettings) -> BudgetSettings:
    if asked.calls_per_minute is not None and asked.calls_per_hour is not None:
        raise SettingsError(["--calls-per-minute and --calls-per-hour are both given: give one of them"])
    cycle = budget.calls_per_cycle if asked.calls_per_cycle is None else asked.calls_per_cycle
    if asked.calls_per_minute is None and asked.calls_per_hour is None:
        return msgspec.structs.replace(budget, calls_per_cycle=cycle)
    return BudgetSettings(calls_per_minute=asked.calls_per_minute, calls_per_hour=asked.calls_per_hour, calls_per_cycle=cycle)


def _fleet(asked: Asked, settings: Planned) -> tuple[Fleet, str]:
    """Who acts how often, and where that is from."""
    if asked.assumes or settings.kafka is None:
        return _assumed(asked, len(settings.customers)), "assumed"
    from poller.kafka.learned import look_up_learned

    try:
        known = known_of(anyio.run(look_up_learned, settings.kafka), settings.customers)
    except LogError as error:  # a plan may be made before there are brokers, or from where they cannot be reached
        return _assumed(asked, len(settings.customers)), f"assumed, as what has been learned of them cannot be read ({error})"
    if known is None:
        return _assumed(asked, len(settings.customers)), "assumed, as nothing has been learned of them yet"
    return known.fleet, f"learned of {known.customers:,} of them, over {_time(known.seconds)} on average"


def _assumed(asked: Asked, customers: int) -> Fleet:
    mean = 12.0 if asked.activities_per_customer_day is None else asked.activities_per_customer_day
    exponent = 1.0 if asked.exponent is None else asked.exponent
    chance = 0.75 if asked.follow_probability is None else asked.follow_probability
    gap_seconds = 200.0 if asked.gap_minutes is None else asked.gap_minutes * 60
    return fleet_of(zipf_rates(customers, mean / DAY_SECONDS, exponent), Habits(max(chance, CHANCE_MIN), gap_seconds))


# ------------------------------------------------------------------------------------------------------------------- the plan


def told_of(given: Given) -> Told:
    """Raises `SettingsError` where it cannot be had."""
    refused = refusal(given)
    if refused is not None:
        raise SettingsError([refused])
    among = lives(given.fleet, given.offer, Random(SEED).random)  # noqa: S311 - visits of play
    present = planned(given.fleet, among, given.offer)
    if present.overspends:
        raise SettingsError([_too_many_pages(given, present.spending.calls)])
    return Told(given, present, _no_worse(_scaled(given, among, MORE), present), tuple(warnings(given)))


def _no_worse(more: Plan, present: Plan) -> Plan:
    """With few customers and very many calls the visits that are played are few, and then chance may make more of the larger budget's delay."""
    mean, p95 = min(more.rule.mean_seconds, present.rule.mean_seconds), min(more.rule.p95_seconds, present.rule.p95_seconds)
    return msgspec.structs.replace(more, rule=msgspec.structs.replace(more.rule, mean_seconds=mean, p95_seconds=p95))


def curve(given: Given) -> list[Plan]:
    """Plans for less and more than this budget, as far as they can be had."""
    smallest = msgspec.structs.replace(given.offer, calls_per_second=given.offer.calls_per_second * DRAWN[0])
    among = lives(given.fleet, smallest, Random(SEED).random, visits=DRAWN_VISITS)  # noqa: S311 - visits of play
    offers = [given.offer.calls_per_second * factor for factor in DRAWN]
    can = [factor for factor, calls in zip(DRAWN, offers, strict=True) if _can(given, calls)]
    return [made for factor in can if not (made := _scaled(given, among, factor)).overspends]


def _scaled(given: Given, among: Sequence[Life], factor: float) -> Plan:
    offer = msgspec.structs.replace(given.offer, calls_per_second=given.offer.calls_per_second * factor)
    return planned(given.fleet, among, offer)


def _can(given: Given, calls_per_second: float) -> bool:
    return refusal(msgspec.structs.replace(given, offer=msgspec.structs.replace(given.offer, calls_per_second=calls_per_second))) is None


def refusal(given: Given) -> str | None:
    """Why staleness and budget contradict each other, and what to do."""
    fleet, offer = given.fleet, given.offer
    once, bound = round_seconds(fleet, offer), offer.staleness_seconds_max
    if bound is not None and bound < once:
        calls = ROUNDS_STALENESS_MIN * fleet.customers / bound
        return (
            f"a staleness of {number(bound)} seconds at most contradicts {_configured(given.budget)}: with the {_per_minute(offer.calls_per_second)} calls a minute "
            f"that leaves to read with, reading {fleet.customers:,} customers once takes {once:.0f} seconds. Raise the staleness to {math.ceil(once * ROUNDS_STALENESS_MIN)} or more, "
            f"{_raise(given, calls)}, or watch at most {math.floor(bound * offer.calls_per_second / ROUNDS_STALENESS_MIN):,}"
        )
    needed = calls_min(fleet, offer)
    return _too_many_pages(given, needed) if needed > offer.calls_per_second else None


def _too_many_pages(given: Given, needed: float) -> str:
    return (
        f"{given.fleet.customers:,} customers act {given.fleet.rate * DAY_SECONDS:,.0f} times a day, and a page holds 100 activities: with all the pages, reading everybody "
        f"in time takes about {_per_minute(needed)} calls a minute, and {_configured(given.budget)} leaves {_per_minute(given.offer.calls_per_second)}: "
        f"{_raise(given, needed * ROUNDS_STALENESS_MIN)}, or watch fewer"
    )


def _raise(given: Given, calls_per_second: float) -> str:
    """What to set, so that so many calls are left to read with."""
    allowed = given.allowance
    kept = max(KEPT_MAX, allowed.kept / allowed.configured)
    configured = (calls_per_second + allowed.tokens) / (1 - kept)
    limit, window_seconds = given.budget.rate
    cycle = given.budget.calls_per_cycle
    parts = [f"{math.ceil(configured * window_seconds):,} calls {_A_WINDOW[window_seconds]}"] if configured > limit / window_seconds else []
    if cycle is not None and configured * CYCLE_SECONDS_MAX > cycle:
        parts.append(f"{math.ceil(configured * CYCLE_SECONDS_MAX):,} calls a cycle")
    return f"allow {' and '.join(parts)} or more"


_A_WINDOW = {60.0: "a minute", 3600.0: "an hour"}


def warnings(given: Given) -> Iterator[str]:
    if given.allowance.feed:
        yield "the change feed takes 1 to 20 % of the calls, as many as it is worth; 5 % are reckoned here, and not what it brings sooner"
    once, bound = round_seconds(given.fleet, given.offer), given.offer.staleness_seconds_max
    if bound is not None and bound < ROUNDS_STALENESS_MIN * once:
        yield (
            f"a staleness of {number(bound)} seconds leaves less than a tenth to spare: reading everybody once takes {once:.0f} seconds, so "
            f"{ROUNDS_STALENESS_MIN * once:.0f} are held instead, and next to no call is left for whoever is worth one"
        )


# ------------------------------------------------------------------------------------------------------------------ in words


def lines(told: Told) -> Iterator[tuple[str, str]]:
    """A table: what, and how it is to be."""
    given, present, more = told.given, told.plan, told.more
    fleet, habits = given.fleet, given.fleet.habits
    yield "customers", f"{fleet.customers:,}, who act {fleet.rate * DAY_SECONDS:,.0f} times a day: {given.source}"
    yield "visits", f"{1 / (1 - habits.chance):.1f} activities each, {_time(habits.gap)} apart on average"
    yield "budget", f"{_configured(given.budget)}; {_per_minute(given.offer.calls_per_second)} a minute are left to read with"
    yield "mean delay", f"{_time(present.rule.mean_seconds)} (everybody in turn: {_time(present.in_turn.mean_seconds)})"
    yield "95th percentile", f"{_time(present.rule.p95_seconds)} (in turn: {_time(present.in_turn.p95_seconds)})"
    yield "at worst", f"under {_time(present.rule.worst_seconds)}: {_bound(given)} (in turn: {_time(present.in_turn.worst_seconds)})"
    saved = 1 - more.rule.mean_seconds / present.rule.mean_seconds
    yield (
        "10 % more calls",
        f"mean delay {_time(more.rule.mean_seconds)} ({-saved:+.0%}), 95th percentile {_time(more.rule.p95_seconds)}, at worst {_time(more.rule.worst_seconds)}",
    )
    yield "price of a call", f"activities waiting {_time(present.price)} in all: so much would one more save"
    for what, calls in parts(told):
        yield what, f"{calls * DAY_SECONDS:,.0f} calls a day, {calls / given.allowance.configured:.1%}"
    for warning in told.warnings:
        yield "warning", warning
    yield (
        "to be expected",
        "some 5 % more than these delays, up to 20 % with few customers or a tight bound: rates are still to be learned, and nights are quieter than days",
    )


def parts(told: Told) -> Iterator[tuple[str, float]]:
    """Where the calls go, each a second."""
    spending, allowed = told.plan.spending, told.given.allowance
    rest = allowed.reads / spending.calls  # the price is found to half a percent
    yield "reads worth it", spending.worth * rest
    yield "reads by the bound", spending.overdue * rest
    yield "further pages", spending.pages * rest
    yield "access tokens", allowed.tokens
    yield "change feed", allowed.feed
    yield "kept back", allowed.kept


def _bound(given: Given) -> str:
    return "twice as long as reading everybody once takes" if given.offer.staleness_seconds_max is None else "nobody goes unread for longer"


def _configured(budget: BudgetSettings) -> str:
    limit, window_seconds = budget.rate
    cycle = "" if budget.calls_per_cycle is None else f" and {budget.calls_per_cycle:,} a cycle"
    return f"{number(limit)} calls {_A_WINDOW[window_seconds]}{cycle}"


def _per_minute(calls_per_second: float) -> str:
    return f"{calls_per_second * 60:.3g}" if calls_per_second * 60 < 100 else f"{calls_per_second * 60:,.0f}"


def _time(seconds: float) -> str:
    for size, unit in ((DAY_SECONDS, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.1f} s"


# ------------------------------------------------------------------------------------------------------------------- as JSON


def as_json(told: Told) -> dict[str, Any]:
    """The same as values: delays in seconds, calls a day."""
    given, present = told.given, told.plan
    return {
        "customers": given.fleet.customers,
        "activities_per_day": given.fleet.rate * DAY_SECONDS,
        "rates": given.source,
        "visits": {"follow_probability": given.fleet.habits.chance, "gap_seconds": given.fleet.habits.gap},
        "calls_per_minute": given.offer.calls_per_second * 60,
        "staleness_seconds": present.staleness_seconds,
        "delay": msgspec.structs.asdict(present.rule),
        "delay_in_turn": msgspec.structs.asdict(present.in_turn),
        "delay_with_a_tenth_more_calls": msgspec.structs.asdict(told.more.rule),
        "price_activity_seconds": present.price,
        "calls_per_day": {what.replace(" ", "_"): calls * DAY_SECONDS for what, calls in parts(told)},
        "warnings": list(told.warnings),
    }
