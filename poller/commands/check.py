"""`poller check`: would it run? Nothing is changed: no topic created, no group joined, no transactional id taken; one call is made (with OAuth two; with
POLLER_WATCH=all one more).
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import anyio
import msgspec
from cyclopts import Parameter

from poller.app import make_engine
from poller.commands.output import say_json, say_table
from poller.config import KafkaSettings, Settings, load
from poller.errors import (
    CheckpointsMoved,
    CustomerUnknown,
    Forbidden,
    Limited,
    LogError,
    NotOurs,
    PlanExceeded,
    Redirected,
    Rejected,
    RouteGone,
    SettingsError,
    SourceError,
    TokenRefused,
    TokenRenewed,
    Unauthorized,
)
from poller.kafka import clients
from poller.kafka.failures import translated
from poller.kafka.owning import check_ownership
from poller.kafka.permissions import Need, missing_permissions, needs, watch_needs
from poller.kafka.restore import from_nothing, nothing_but_activities, ownership_elsewhere
from poller.kafka.topics import Configs, Wanted, describe, faults_of, wanted_topics
from poller.kafka.workarounds import tolerate_emptied_markers
from poller.matching import Match
from poller.model import Checkpoint, Fetch, ListCall, Page, Query, Response, Walk
from poller.setting import PREFIX
from poller.settings_report import warnings
from poller.voucherify.client import VoucherifySource

FAILED, UNUSABLE = 1, 2
NO_PARTITION = -1
"""All partitions are other ones than this."""

ELSEWHERE = ": check POLLER_KAFKA_BOOTSTRAP_SERVERS and the other POLLER_KAFKA_ settings"


class Finding(msgspec.Struct, frozen=True):
    """One thing that was tried."""

    check: str
    ok: bool | None
    """`None`: it could not be tried, because of another."""
    said: str

    @property
    def mark(self) -> str:
        return "–" if self.ok is None else "✓" if self.ok else "✗"


def check(*, json: Annotated[bool, Parameter(negative="", show_default=False, help="As JSON.")] = False) -> int:
    try:
        settings = load(os.environ)
        make_engine(settings)  # which refuses a budget that cannot be divided
    except SettingsError as error:
        _report([Finding("settings", False, fault) for fault in error.faults], json)
        return UNUSABLE
    findings = [*_settings_findings(settings), *anyio.run(_outside, settings)]
    _report(findings, json)
    return FAILED if any(finding.ok is False for finding in findings) else 0


def _report(findings: Sequence[Finding], json: bool) -> None:
    if json:
        say_json(findings)
    else:
        say_table(("", "check", "result"), [(finding.mark, finding.check, finding.said) for finding in findings])


def _settings_findings(settings: Settings) -> Iterator[Finding]:
    yield Finding("settings", True, f"can be used; {_counted(len(settings.named), 'customer')}")
    for warning in warnings(settings):
        yield Finding("settings", True, f"but is it meant? {warning}")


async def _outside(settings: Settings) -> list[Finding]:
    listing = [] if settings.watch_all is None else await listing_findings(settings, settings.watch_all)
    entered = () if settings.watch_all is None else watch_needs(settings.kafka, "Write")
    return [*await _api_findings(settings), *listing, *await kafka_findings(settings.kafka, settings.voucherify.url, entered)]


# ----------------------------------------------------------------------------------------------------------------------- API


async def _api_findings(settings: Settings) -> list[Finding]:
    """From one call, for the first customer; with OAuth another one takes the token."""
    if not settings.named:
        return [Finding("api", None, "not asked: the settings name no customer to ask for; name one in POLLER_CUSTOMERS to try")]
    now = time.time()
    begin_ms = int((now - settings.lookback_seconds) * 1000)
    fetch = Fetch(
        customer=settings.named[0],
        partition=0,
        query=Query(start_date_ms=begin_ms),
        at=now,
        walk=Walk(sent=now, low_ms=begin_ms),
        base=None,
        start=Checkpoint(cursor_ms=begin_ms),
    )
    try:
        async with VoucherifySource(settings.voucherify) as source:
            page = source.decode(await _read(source, fetch))
    except SettingsError as error:
        return [Finding("api", False, str(error))]
    except SourceError as error:
        return findings_of_failure(error)
    return [
        Finding("api", True, f"{settings.voucherify.url} answers{_quota(page)}"),
        Finding("credentials", True, "accepted"),
        Finding("permission", True, "customers can be read"),
        Finding("customer", True, f"the first customer can be read; {len(page.entries)} activities within the lookback"),
    ]


async def listing_findings(settings: Settings, match: Match) -> list[Finding]:
    """From one call, for the first customers of the project."""
    call = ListCall(partition=0, after_ms=None, at=time.time())
    try:
        async with VoucherifySource(settings.voucherify) as source:
            try:
                response = await source.fetch_list(call)
            except TokenRenewed:
                response = await source.fetch_list(call)
            page = source.decode_list(response)
    except SettingsError as error:
        return [Finding("listing", False, str(error))]
    except SourceError as error:
        return [Finding("listing", False, f"POLLER_WATCH=all: customers cannot be listed: {error}{_remedy(error)}")]
    matching = sum(customer in match for customer in page.customers)
    return [Finding("listing", True, f"customers can be listed; {matching} of the first {len(page.customers)} would be watched")]


async def _read(source: VoucherifySource, fetch: Fetch) -> Response:
    try:
        return await source.fetch(fetch)
    except TokenRenewed:
        return await source.fetch(fetch)  # the first call took the token


def _quota(page: Page) -> str:
    limit, remaining = page.quota.limit, page.quota.remaining
    return "" if limit is None or remaining is None else f"; {remaining} of {limit} calls remain in its window"


STEPS = ("api", "credentials", "permission", "customer")
FAILS_AT: dict[type[SourceError], str] = {
    Unauthorized: "credentials",
    TokenRefused: "credentials",
    Forbidden: "permission",
    CustomerUnknown: "customer",
    Rejected: "customer",
}
"""At which step an error says no; what comes before has been passed. All others: at the first."""


def findings_of_failure(error: SourceError) -> list[Finding]:
    """What a failed call says of each step, and what to do."""
    failed = STEPS.index(FAILS_AT.get(type(error), "api"))
    return [
        *(Finding(step, True, "reached" if step == "api" else "accepted") for step in STEPS[:failed]),
        Finding(STEPS[failed], False, f"{error}{_remedy(error)}"),
        *(Finding(step, None, f"not known: see {STEPS[failed]}") for step in STEPS[failed + 1 :]),
    ]


def _remedy(error: SourceError) -> str:
    match error:
        case CustomerUnknown():
            return ": check the first id of POLLER_CUSTOMERS or POLLER_CUSTOMERS_FILE, and that it is of this project"
        case Limited():
            return ": try again later; other clients of the project spend from the same quota"
        case Unauthorized() | TokenRefused() | Forbidden() | RouteGone() | Redirected() | PlanExceeded():
            return ""  # these say it themselves
        case _:
            return ": check POLLER_VOUCHERIFY_URL, POLLER_VOUCHERIFY_PROXY_URL, POLLER_VOUCHERIFY_CA_FILE, and that the network lets this host out"


# --------------------------------------------------------------------------------------------------------------------- Kafka


class Told(msgspec.Struct, frozen=True):
    """What the brokers say; of topics nothing where a permission is missing."""

    missing: Sequence[Need]
    configs: Mapping[str, Configs] = {}
    """Settings of the topics that are there."""
    topics: Sequence[Mapping[str, Any]] = ()
    """The same topics as `describe_topics` has them."""
    brokers: int = 0

    @property
    def partitions(self) -> Mapping[str, int]:
        return {topic["topic"]: len(topic["partitions"]) for topic in self.topics}


async def kafka_findings(settings: KafkaSettings, url: str, entered: Sequence[Need] = ()) -> list[Finding]:
    """`entered`: what is needed beside the rest."""
    wanted = wanted_topics(settings)
    try:
        with translated("asking the brokers"):
            told = await _ask_brokers(settings, wanted, entered)
    except LogError as error:
        return [Finding("broker", False, f"{error}{'' if PREFIX in str(error) else ELSEWHERE}"), *_not_known(wanted, "broker")]
    answers = Finding("broker", True, f"{settings.bootstrap_servers} answers")
    if told.missing:
        lacking = (Finding("kafka permission", False, need.line(settings)) for need in told.missing)
        return [answers, *lacking, *_not_known(wanted, "kafka permission")]
    partitions = told.partitions
    return [
        answers,
        Finding("kafka permission", True, "all that is needed is given"),
        *(_topic_finding(settings, one, told.configs.get(one.name), partitions.get(one.name, 0)) for one in wanted),
        *replication_findings(told.topics, told.brokers),
        *await _ownership_findings(
            settings, url, *(partitions.get(name, 0) for name in (settings.checkpoints_topic, settings.activities_topic))
        ),
    ]


def _not_known(wanted: Sequence[Wanted], why: str) -> list[Finding]:
    return [Finding("topic", None, f"{one.name}: not known: see {why}") for one in wanted]


async def _ask_brokers(settings: KafkaSettings, wanted: Sequence[Wanted], entered: Sequence[Need]) -> Told:
    """Of topics only those that are there are asked for: brokers may create what is."""
    async with clients.admin(settings) as admin:
        missing = await missing_permissions(admin, settings, (*needs(settings), *entered))
        if missing:
            return Told(missing)
        with anyio.fail_after(clients.REQUEST_SECONDS_MAX):
            configs = await describe(admin, wanted)
            topics = await admin.describe_topics(list(configs)) if configs else []
        return Told(missing, configs, topics, len((await admin.describe_cluster())["brokers"]))


async def _ownership_findings(settings: KafkaSettings, url: str, partitions: int, activities_partitions: int) -> list[Finding]:
    """Whether `run` may go on with what the checkpoint topic holds; nothing where neither topic has partitions yet."""
    if not partitions and not activities_partitions:
        return []
    tolerate_emptied_markers()
    try:
        with translated("reading the checkpoint topic"):
            owned = await ownership_elsewhere(settings, NO_PARTITION, partitions)
            check_ownership(owned, settings.application_id, url, partitions)
            if owned is None and await nothing_but_activities(settings, 0 if partitions else None, activities_partitions):
                return [Finding("ownership", False, from_nothing(settings, 0))]
    except LogError as error:
        return [ownership_finding(settings, error)]
    said = f"{settings.checkpoints_topic}: {'nobody has written to it yet' if owned is None else 'is of this deployment'}"
    return [Finding("ownership", True, said)]


def ownership_finding(settings: KafkaSettings, error: LogError) -> Finding:
    """`run` would refuse, or fail as this did."""
    if not isinstance(error, NotOurs) or isinstance(error, CheckpointsMoved):
        return Finding("ownership", False, str(error))
    why = ": ".join(str(arg) for arg in error.args)
    remedy = "change it back, or set another POLLER_KAFKA_ACTIVITIES_TOPIC, which the others follow, to begin afresh"
    return Finding("ownership", False, f"{settings.checkpoints_topic}: {why} (`poller run` would end): {remedy}")


def replication_findings(topics: Sequence[Mapping[str, Any]], brokers: int) -> list[Finding]:
    """Whether Kafka itself can keep a transaction whole: see the README on replication. Nothing to say of a single broker."""
    alone = sorted(topic["topic"] for topic in topics if any(len(partition["replicas"]) == 1 for partition in topic["partitions"]))
    if brokers == 1 or not alone:
        return []
    return [
        Finding(
            "replication",
            True,
            f"but is it meant? {', '.join(alone)}: one replica only, in a cluster of {brokers} brokers: while that broker is away Kafka may commit "
            "half a transaction (KAFKA-20734), which publishes some activities twice: raise the replication factor",
        )
    ]


def _topic_finding(settings: KafkaSettings, wanted: Wanted, configs: Configs | None, partitions: int) -> Finding:
    variable = "POLLER_KAFKA_CHECKPOINT_PARTITIONS" if wanted.name == settings.checkpoints_topic else ""
    return topic_finding(wanted, configs, partitions, variable)


def topic_finding(wanted: Wanted, configs: Configs | None, partitions: int, variable: str = "") -> Finding:
    """`variable`: what says how many partitions there should be, where it matters that there are others."""
    if configs is None:
        return Finding("topic", True, f"{wanted.name}: is missing; it will be created with {_counted(wanted.partitions, 'partition')}")
    faults = faults_of(wanted, configs, partitions)
    note = f" ({variable}={wanted.partitions} counts only when it is created)" if variable and partitions != wanted.partitions else ""
    return Finding("topic", not faults, "; ".join(faults) or f"{wanted.name}: is there, with {_counted(partitions, 'partition')}{note}")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
