"""Every setting: its type, bounds, unit, help and default, one declaration each. `load` names all faults at once.

A setting's variable is its group's prefix and its field's name: `kafka.session_seconds` is POLLER_KAFKA_SESSION_SECONDS. An empty value
means unset. A secret can be given as `…_FILE` too. What a text stands for is in `setting.py`; what contradicts what is below.
"""

import difflib
import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from poller.customers import Entries, read_entries, to_customers, to_customers_file
from poller.errors import SettingsError
from poller.matching import Match, to_match
from poller.model import PLAIN, CustomerId
from poller.secret import Secret
from poller.setting import (
    PREFIX,
    Declared,
    declared,
    masked,
    number,
    setting,
    to_application_id,
    to_base_url,
    to_credential,
    to_host,
    to_kafka_name,
    to_password,
    to_proxy_url,
    to_servers,
    to_start,
    to_time_zone,
    to_token,
    to_user_name,
)

__all__ = [
    "BudgetSettings",
    "KafkaSettings",
    "Secret",
    "Settings",
    "VoucherifySettings",
    "WebhookSettings",
    "load",
    "load_kafka",
    "load_planned",
    "load_sources",
]

CALLS_PER_MINUTE = 60.0
TOPIC_CHARACTERS_MAX = 249
CYCLE_SECONDS_MAX = 31 * 86400
AUTH = f"{PREFIX}VOUCHERIFY_AUTH"
TOKEN_SECONDS = 900
"""How long an OAuth token lives, as documented."""
TOKEN_CALLS_MIN = 1.2
"""Calls in that time, to make one while it lives."""


class VoucherifySettings(msgspec.Struct, frozen=True, kw_only=True):
    """The API, and how to call it."""

    # fmt: off
    url: Annotated[str, setting("Where the API is; the region is part of it. A dedicated one has its own.", parse=to_base_url)] = "https://api.voucherify.io"
    endpoint: Annotated[Literal["activities", "activity"], setting("Which of the two endpoints is read. `activities` is deprecated, without a date; `activity` is its successor.")] = "activities"
    auth: Annotated[Literal["token", "oauth"], setting("How calls are authorised: `token` sends the credentials with each, `oauth` an access token that they are exchanged for; the calls for that are spent in the budget too.")] = "token"
    app_id: Annotated[Secret, setting("Application ID of the API key.", parse=to_credential)]
    app_token: Annotated[Secret, setting("Secret key of the API key. It needs the permission to read customers.", parse=to_credential)]
    timeout_seconds: Annotated[float, setting("How long one call may take, all in.", unit="seconds", ge=1, le=600)] = 30
    body_bytes_max: Annotated[int, setting("How large an answer may be, as received and as inflated.", unit="bytes", ge=65536, le=268435456)] = 8388608
    ca_file: Annotated[Path, setting("Certificates (PEM) that are trusted instead of the usual ones.")] | None = None
    proxy_url: Annotated[str, setting("HTTP proxy for the calls.", parse=to_proxy_url, private=True)] | None = None
    # fmt: on


class KafkaSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The brokers, the topics, and how replicas share the work."""

    # fmt: off
    bootstrap_servers: Annotated[str, setting("Brokers to begin with, as host:port, separated by commas.", parse=to_servers)]
    application_id: Annotated[str, setting("The consumer group's id and the prefix of the transactional ids; replicas of one deployment share it.", parse=to_application_id)] = "voucherify-activity-poller"
    activities_topic: Annotated[str, setting("Where activities are published.", parse=to_kafka_name)] = "voucherify.activities"
    checkpoints_topic: Annotated[str, setting("Where progress is kept.", parse=to_kafka_name, shown="the activities topic and `.checkpoints`")] = ""
    watch_topic: Annotated[str, setting("Where customers to watch are added and removed while running, by `poller watch` or by any producer.", parse=to_kafka_name, shown="the activities topic and `.watch`")] = ""
    dead_letters_topic: Annotated[str, setting("Where what cannot be published goes.", parse=to_kafka_name, shown="the activities topic and `.dead-letters`")] = ""
    activities_partitions: Annotated[int, setting("Partitions of the activities topic, when it is created.", ge=1, le=10000)] = 6
    checkpoint_partitions: Annotated[int, setting("Partitions of the checkpoint topic, when it is created: the work is divided by them, and they are fixed from then on.", ge=1, le=1000)] = 1
    replication_factor: Annotated[int, setting("Replicas of each partition, when topics are created; -1: as the brokers say.", ge=-1, le=100)] = -1
    partition_by: Annotated[Literal["key", "customer"], setting("What chooses an activity's partition: its key (the type), or its customer, whose activities then stay in order.")] = "key"
    session_seconds: Annotated[float, setting("How soon a silent replica's work goes to another.", unit="seconds", ge=6, le=300)] = 10
    commit_seconds: Annotated[float, setting("How long reads are gathered into one transaction.", unit="seconds", ge=0.02, le=10)] = 0.2
    security_protocol: Annotated[Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], setting("How brokers are spoken to.")] = "PLAINTEXT"
    sasl_mechanism: Annotated[Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], setting("How SASL logs in.")] = "PLAIN"
    sasl_username: Annotated[str, setting("The SASL user.", parse=to_user_name)] | None = None
    sasl_password: Annotated[Secret, setting("The SASL user's password.", parse=to_password)] | None = None
    ca_file: Annotated[Path, setting("Certificates (PEM) that are trusted instead of the usual ones.")] | None = None
    certificate_file: Annotated[Path, setting("The client's own certificate (PEM), where brokers ask for one.")] | None = None
    key_file: Annotated[Path, setting("The key (PEM) of that certificate.")] | None = None
    # fmt: on

    def __post_init__(self) -> None:
        for field, suffix in (("checkpoints_topic", "checkpoints"), ("watch_topic", "watch"), ("dead_letters_topic", "dead-letters")):
            if not getattr(self, field):
                msgspec.structs.force_setattr(self, field, f"{self.activities_topic}.{suffix}")

    @property
    def hints_topic(self) -> str:
        """By which replicas pass on webhooks, where they take any."""
        return f"{self.activities_topic}.hints"


class BudgetSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The calls that we allow ourselves."""

    # fmt: off
    calls_per_minute: Annotated[float, setting("Calls in any minute, at most.", unit="calls", ge=0.001, le=1000000, shown=number(CALLS_PER_MINUTE))] | None = None
    calls_per_hour: Annotated[float, setting("Calls in any hour, at most; instead of those in a minute.", unit="calls", ge=0.001, le=10000000)] | None = None
    calls_per_cycle: Annotated[int, setting("Calls in a billing cycle, at most, spread evenly over it.", unit="calls", ge=1, le=10000000000)] | None = None
    cycle_reset_day: Annotated[int, setting("The day of the month on which the cycle begins; in a shorter month its last day.", ge=1, le=31)] = 1
    cycle_time_zone: Annotated[str, setting("The time zone in which that day begins.", parse=to_time_zone)] = "UTC"
    calls_in_flight_max: Annotated[int, setting("Calls under way at once, at most.", unit="calls", ge=1, le=100)] = 4
    # fmt: on

    def __post_init__(self) -> None:
        if self.calls_per_minute is None and self.calls_per_hour is None:
            msgspec.structs.force_setattr(self, "calls_per_minute", CALLS_PER_MINUTE)

    @property
    def rate(self) -> tuple[float, float]:
        """Calls, and the seconds of the window that may hold so many."""
        if self.calls_per_minute is None and self.calls_per_hour is not None:
            return self.calls_per_hour, 3600.0
        return self.calls_per_minute or 0.0, 60.0

    @property
    def calls_per_second(self) -> float:
        """The lower of the rate and the even pace of the longest cycle."""
        limit, window_seconds = self.rate
        rate = limit / window_seconds
        return rate if self.calls_per_cycle is None else min(rate, self.calls_per_cycle / CYCLE_SECONDS_MAX)


class WebhookSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Webhooks, as hints whom to read next."""

    # fmt: off
    host: Annotated[str, setting("Where webhooks are taken; 0.0.0.0 in a container.", parse=to_host)] = "127.0.0.1"
    port: Annotated[int, setting("The port for them, at /webhooks/voucherify; 0: none are taken.", ge=0, le=65535)] = 0
    secret: Annotated[Secret, setting("The secret key of the webhook, as the project's settings show it; required with a port.", parse=to_credential)] | None = None
    # fmt: on


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All of them."""

    voucherify: VoucherifySettings
    kafka: KafkaSettings
    budget: BudgetSettings = BudgetSettings()
    webhook: WebhookSettings = WebhookSettings()
    # fmt: off
    customers: Annotated[tuple[CustomerId, ...], setting("Whom to watch: Voucherify ids or source ids, separated by commas. Beside these are watched whom the file names, and the watch topic.", parse=to_customers)] = ()
    customers_file: Annotated[Path, setting("A file with one customer a line, its id or a watch entry as JSON; read again when it changes. Lines that begin with `#` do not count.", parse=to_customers_file)] | None = None
    watch: Annotated[Literal["listed", "all"], setting("Who is watched: whom POLLER_CUSTOMERS, POLLER_CUSTOMERS_FILE and the watch topic name (`listed`), or beside them every customer of the project (`all`), found with calls of the budget; the API key must be allowed to list customers, and Kafka to write to the watch topic.")] = "listed"
    customers_match: Annotated[Match, setting("With POLLER_WATCH=all: only customers that match one of these patterns, separated by commas, such as `source_id=*@example.com` or `metadata.tier=gold`.", parse=to_match)] | None = None
    start: Annotated[Literal["now", "earliest"] | int, setting("Where a customer without a checkpoint begins: `now`, `earliest`, or a date-time such as 2026-01-31T00:00:00Z.", parse=to_start)] = "now"
    lookback_seconds: Annotated[float, setting("How late the API may show an activity, after its created_at, and it is still published.", unit="seconds", ge=0, le=86400)] = 300
    staleness_seconds_max: Annotated[float, setting("How long a customer may stay unread, at most.", unit="seconds", ge=1, le=31536000)] | None = None
    checkpoint_retention_days: Annotated[float, setting("How long the checkpoint of a customer is kept whom nobody watches any more: watched again meanwhile, it goes on where it was.", unit="days", ge=1, le=36500)] = 90
    change_feed: Annotated[Literal["off", "on"], setting("Whether to read which customers of the project were changed lately, so that they are read sooner. Costs up to a fifth of the calls, as much as it is worth; the API key must be allowed to list customers.")] = "off"
    admin_host: Annotated[str, setting("Where the admin server listens; 0.0.0.0 in a container.", parse=to_host)] = "127.0.0.1"
    admin_port: Annotated[int, setting("The admin server's port; 0: no admin server.", ge=0, le=65535)] = 8080
    admin_token: Annotated[Secret, setting("With it, as `Authorization: Bearer …`, the admin server takes orders: `POST /log-level` and `POST /customers/{id}/hint`. At least 16 characters. Without it, nothing there changes anything.", parse=to_token)] | None = None
    log_format: Annotated[Literal["json", "console"], setting("How log lines look.", shown="json; console on a terminal")] | None = None
    log_level: Annotated[Literal["debug", "info", "warning", "error"], setting("What is logged: this and worse.")] = "info"
    log_customers: Annotated[Literal["plain", "hashed"], setting("How log lines name customers: by their ids, or by the first 12 digits of their SHA-256, as source ids can be e-mail addresses.")] = "plain"
    drain_seconds: Annotated[float, setting("How long what is under way may take to end, when stopped.", unit="seconds", ge=0, le=3600)] = 25
    # fmt: on
    listed: Entries = {}
    """Whom the customers file named when it was read, and how."""

    @property
    def watch_all(self) -> Match | None:
        """Who is watched though nobody names it; `None`: nobody."""
        return (self.customers_match or Match()) if self.watch == "all" else None

    @property
    def named(self) -> tuple[CustomerId, ...]:
        """Whom the settings name, themselves or by the file; the watch topic may name more."""
        return tuple({**dict.fromkeys(self.customers), **dict.fromkeys(self.listed)})


GROUPS: tuple[tuple[str, type[msgspec.Struct], str], ...] = (
    ("voucherify", VoucherifySettings, f"{PREFIX}VOUCHERIFY_"),
    ("kafka", KafkaSettings, f"{PREFIX}KAFKA_"),
    ("budget", BudgetSettings, PREFIX),
    ("webhook", WebhookSettings, f"{PREFIX}WEBHOOK_"),
    ("", Settings, PREFIX),
)
DECLARED: tuple[Declared, ...] = tuple(one for group, struct, prefix in GROUPS for one in declared(struct, prefix, group))


class Given(msgspec.Struct, frozen=True):
    """What the environment holds for us, by variable."""

    texts: Mapping[str, str]
    values: Mapping[str, Any]
    """Those that can be used."""
    faults: list[str]
    """What is wrong with the others."""

    def fields(self, group: str) -> dict[str, Any]:
        return {one.field: self.values[one.variable] for one in DECLARED if one.group == group and one.variable in self.values}


def load(environ: Mapping[str, str]) -> Settings:
    """The settings that the environment gives. Raises `SettingsError` with every fault, each by its variable."""
    given = _read(environ, DECLARED)
    _refuse([*given.faults, *_unknown(given.texts), *_contradictions(CONTRADICTIONS, given)])
    settings = Settings(
        voucherify=VoucherifySettings(**given.fields("voucherify")),
        kafka=KafkaSettings(**given.fields("kafka")),
        budget=BudgetSettings(**given.fields("budget")),
        webhook=WebhookSettings(**given.fields("webhook")),
        listed=_listed(given),
        **given.fields(""),
    )
    _refuse([*_too_stale(settings), *_too_slow_for_tokens(settings)])
    return settings


def load_kafka(environ: Mapping[str, str]) -> KafkaSettings:
    """The brokers and topics alone, whatever the other settings are. Raises `SettingsError`."""
    return KafkaSettings(**_of_kafka(environ).fields("kafka"))


def _of_kafka(environ: Mapping[str, str], *others: Declared) -> Given:
    """What is given of these, and of some others. Raises `SettingsError`."""
    given = _read(environ, (*others, *(one for one in DECLARED if one.group == "kafka")))
    _refuse([*given.faults, *_contradictions(KAFKA_CONTRADICTIONS, given)])
    return given


class Whereabouts(msgspec.Struct, frozen=True):
    """Where an operator finds what a deployment keeps, and who runs it."""

    kafka: KafkaSettings
    admin_host: str
    admin_port: int
    customers: tuple[CustomerId, ...] | None
    """`None`: the environment names none."""


def load_whereabouts(environ: Mapping[str, str]) -> Whereabouts:
    """These settings alone, whatever the others are. Raises `SettingsError`."""
    wanted = tuple(one for one in DECLARED if one.group == "" and one.field in {"customers", "customers_file", "admin_host", "admin_port"})
    given = _of_kafka(environ, *wanted)
    named = {one.field: one.default for one in wanted} | given.fields("")
    return Whereabouts(
        kafka=KafkaSettings(**given.fields("kafka")),
        admin_host=named["admin_host"],
        admin_port=named["admin_port"],
        customers=_named_here(named["customers"], given),
    )


def load_sources(environ: Mapping[str, str]) -> dict[str, Entries]:
    """Whom this environment names, by variable, the strongest first. What cannot be read is left out: the deployment's may be elsewhere."""
    readers: Mapping[str, Callable[[str], Entries]] = {
        "POLLER_CUSTOMERS_FILE": lambda text: read_entries(Path(text)),
        "POLLER_CUSTOMERS": lambda text: dict.fromkeys(to_customers(text), PLAIN),
    }
    texts, sources = _texts(environ), dict[str, Entries]()
    for variable, read in readers.items():
        if variable in texts:
            with suppress(SettingsError, ValueError):
                sources[variable] = read(texts[variable])
    return sources


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """What decides how fresh the data can be."""

    customers: tuple[CustomerId, ...]
    budget: BudgetSettings
    auth: str
    lookback_seconds: float
    staleness_seconds_max: float | None
    change_feed: str = "off"
    kafka: KafkaSettings | None
    """`None`: the environment names no brokers."""


PLANNED = {"customers", "customers_file", "lookback_seconds", "staleness_seconds_max", "change_feed"}


def load_planned(environ: Mapping[str, str]) -> Planned:
    """These settings alone, whatever the others are: neither credentials nor brokers are required. Raises `SettingsError`."""
    wanted = tuple(one for one in DECLARED if one.group == "budget" or (one.group == "" and one.field in PLANNED) or one.variable == AUTH)
    given = _read(environ, wanted)
    _refuse([*given.faults, *_unknown(given.texts), *_contradictions((_whom, _two_rates, _without_what_they_need), given)])
    named = {one.field: one.default for one in wanted} | given.fields("") | given.fields("voucherify")
    return Planned(
        customers=tuple(dict.fromkeys([*named["customers"], *_listed(given)])),
        budget=BudgetSettings(**given.fields("budget")),
        **{field: named[field] for field in ("auth", "lookback_seconds", "staleness_seconds_max", "change_feed")},
        kafka=load_kafka(environ) if f"{PREFIX}KAFKA_BOOTSTRAP_SERVERS" in given.texts else None,
    )


def _named_here(customers: tuple[CustomerId, ...], given: Given) -> tuple[CustomerId, ...] | None:
    """With whom the customers file names, where there is one that can be read: the deployment's may be elsewhere."""
    try:
        listed = tuple(_listed(given))
    except SettingsError:
        listed = ()
    return tuple(dict.fromkeys([*customers, *listed])) or None


def _refuse(faults: list[str]) -> None:
    if faults:
        raise SettingsError(faults)


def _listed(given: Given) -> Entries:
    file = given.values.get(f"{PREFIX}CUSTOMERS_FILE")
    return {} if file is None else read_entries(file)


def _read(environ: Mapping[str, str], settings: tuple[Declared, ...]) -> Given:
    given = Given(_texts(environ), values := {}, faults := [])
    for one in settings:
        try:
            value = _value(one, given.texts)
        except ValueError as error:
            faults.append(str(error))
        else:
            if value is not None:
                values[one.variable] = value
    return given


def _texts(environ: Mapping[str, str]) -> dict[str, str]:
    """Our variables that hold something: an empty one, and a known one that holds a Kubernetes service link, are unset."""
    stripped = {name: value.strip() for name, value in environ.items() if name.startswith(PREFIX)}
    return {name: value for name, value in stripped.items() if value and not (name in KNOWN and _is_link(value))}


def _value(one: Declared, texts: Mapping[str, str]) -> Any:
    """None where it is unset and may be. Raises `ValueError` with the fault."""
    file = f"{one.variable}_FILE" if one.secret else ""
    if one.variable in texts and file in texts:
        raise ValueError(f"{one.variable} and {file} are both texts: give one of them")
    if file in texts:
        return _secret_in_file(one, file, texts[file])
    if one.variable not in texts:
        if one.required:
            raise ValueError(f"{one.variable} is required{f' (or {file})' if file else ''}: {one.meta.says}")
        return None
    try:
        return one.convert(texts[one.variable])
    except ValueError as error:
        shown = "" if (one.secret or one.meta.private) else f"={_short(texts[one.variable])!r}"
        raise ValueError(f"{one.variable}{shown}: {error}") from error


def _secret_in_file(one: Declared, variable: str, path: str) -> Secret:
    try:
        return one.convert_file(path)
    except OSError as error:
        raise ValueError(f"{variable}={_short(path)!r}: cannot be read ({error.strerror}): mount the file, or correct the path") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{variable}={_short(path)!r}: is not UTF-8") from error
    except ValueError as error:
        raise ValueError(f"{variable}={_short(path)!r}: {error}") from error


def _short(text: str) -> str:
    return masked(text if len(text) <= 100 else text[:97] + "…")


# Names that are not ours.

KNOWN = frozenset(one.variable for one in DECLARED) | frozenset(f"{one.variable}_FILE" for one in DECLARED if one.secret)
_SERVICE_LINK = re.compile(
    rf"{PREFIX}(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)"
)


def _is_link(value: str) -> bool:
    return value.startswith(("tcp://", "udp://", "sctp://"))


def _unknown(texts: Mapping[str, str]) -> list[str]:
    return [_unknown_fault(name) for name, value in texts.items() if name not in KNOWN and not _is_injected(name, value)]


def _is_injected(name: str, value: str) -> bool:
    """Whether Kubernetes sets it for a Service. It sets links only: `POLLER_ADMN_PORT=8080` is a misspelling."""
    if _SERVICE_LINK.fullmatch(name) is None:
        return False
    return _is_link(value) or not difflib.get_close_matches(name, KNOWN, n=1, cutoff=0.85)


def _unknown_fault(name: str) -> str:
    ours = {known.removeprefix(PREFIX): known for known in sorted(KNOWN)}
    near = difflib.get_close_matches(name.removeprefix(PREFIX), ours, n=1, cutoff=0.5)
    return f"{name} is no setting" + (f": did you mean {ours[near[0]]}?" if near else ": `poller config` lists all of them")


# What contradicts what. Each says what is wrong, with the names.


def _two_rates(given: Given) -> Iterator[str]:
    if "POLLER_CALLS_PER_MINUTE" in given.texts and "POLLER_CALLS_PER_HOUR" in given.texts:
        yield "POLLER_CALLS_PER_MINUTE and POLLER_CALLS_PER_HOUR are both given: give one of them"


def _without_what_they_need(given: Given) -> Iterator[str]:
    for variable in ("POLLER_CYCLE_RESET_DAY", "POLLER_CYCLE_TIME_ZONE"):
        if variable in given.texts and "POLLER_CALLS_PER_CYCLE" not in given.texts:
            yield f"{variable} is given, but no POLLER_CALLS_PER_CYCLE: give it, or leave both out"
    if "POLLER_CUSTOMERS_MATCH" in given.texts and given.texts.get("POLLER_WATCH", "").casefold() != "all":
        yield "POLLER_CUSTOMERS_MATCH is given, but POLLER_WATCH is not `all`: set it, or leave POLLER_CUSTOMERS_MATCH out"


def _whom(given: Given) -> Iterator[str]:
    """Of who asks about them, and has no watch topic to look into."""
    if not {"POLLER_CUSTOMERS", "POLLER_CUSTOMERS_FILE", "POLLER_KAFKA_BOOTSTRAP_SERVERS"} & given.texts.keys():
        yield "POLLER_CUSTOMERS is required (or POLLER_CUSTOMERS_FILE): whom to watch, ids separated by commas"


def _webhook(given: Given) -> Iterator[str]:
    if given.values.get("POLLER_WEBHOOK_PORT") and not {"POLLER_WEBHOOK_SECRET", "POLLER_WEBHOOK_SECRET_FILE"} & given.texts.keys():
        yield "POLLER_WEBHOOK_SECRET is required (or POLLER_WEBHOOK_SECRET_FILE) with POLLER_WEBHOOK_PORT: without it anybody could send webhooks"


def _sasl(given: Given) -> Iterator[str]:
    protocol = given.values.get("POLLER_KAFKA_SECURITY_PROTOCOL", "PLAINTEXT")
    wanted = protocol.startswith("SASL_")
    if wanted and "POLLER_KAFKA_SASL_USERNAME" not in given.texts:
        yield f"POLLER_KAFKA_SASL_USERNAME is required with POLLER_KAFKA_SECURITY_PROTOCOL={protocol}"
    if wanted and not {"POLLER_KAFKA_SASL_PASSWORD", "POLLER_KAFKA_SASL_PASSWORD_FILE"} & given.texts.keys():
        yield f"POLLER_KAFKA_SASL_PASSWORD is required (or POLLER_KAFKA_SASL_PASSWORD_FILE) with POLLER_KAFKA_SECURITY_PROTOCOL={protocol}"
    for variable in sorted(given.texts) if not wanted else ():
        if variable.startswith("POLLER_KAFKA_SASL_") and variable in KNOWN:
            yield f"{variable} is given, but POLLER_KAFKA_SECURITY_PROTOCOL is {protocol}: set it to SASL_SSL (or SASL_PLAINTEXT), or leave {variable} out"


def _tls(given: Given) -> Iterator[str]:
    protocol = given.values.get("POLLER_KAFKA_SECURITY_PROTOCOL", "PLAINTEXT")
    if "POLLER_KAFKA_KEY_FILE" in given.texts and "POLLER_KAFKA_CERTIFICATE_FILE" not in given.texts:
        yield "POLLER_KAFKA_KEY_FILE is given, but no POLLER_KAFKA_CERTIFICATE_FILE: give both"
    for variable in ("POLLER_KAFKA_CA_FILE", "POLLER_KAFKA_CERTIFICATE_FILE", "POLLER_KAFKA_KEY_FILE"):
        if variable in given.texts and not protocol.endswith("SSL"):
            yield f"{variable} is given, but POLLER_KAFKA_SECURITY_PROTOCOL is {protocol}: set it to SSL (or SASL_SSL), or leave {variable} out"


def _replication(given: Given) -> Iterator[str]:
    if given.values.get("POLLER_KAFKA_REPLICATION_FACTOR") == 0:
        yield "POLLER_KAFKA_REPLICATION_FACTOR='0': should be at least 1, or -1 for what the brokers say"


TOPIC_FIELDS = ("activities_topic", "checkpoints_topic", "watch_topic", "dead_letters_topic")


def _topics(given: Given) -> Iterator[str]:
    explicit = {field: topic for field, topic in given.fields("kafka").items() if field in TOPIC_FIELDS}
    topics = KafkaSettings(bootstrap_servers="", **explicit)
    used: dict[str, str] = {}
    for field in TOPIC_FIELDS:
        variable, topic = f"{PREFIX}KAFKA_{field.upper()}", getattr(topics, field)
        if topic in used:
            yield f"{variable} and {used[topic]} are both {topic!r}: each needs a topic of its own"
        used[topic] = variable
    if longer := [variable for topic, variable in used.items() if len(topic) > TOPIC_CHARACTERS_MAX]:
        yield f"POLLER_KAFKA_ACTIVITIES_TOPIC is too long for others to follow it: shorten it, or set {', '.join(longer)}"


Contradiction = Callable[[Given], Iterator[str]]
KAFKA_CONTRADICTIONS: tuple[Contradiction, ...] = (_replication, _topics, _sasl, _tls)
CONTRADICTIONS: tuple[Contradiction, ...] = (*KAFKA_CONTRADICTIONS, _two_rates, _without_what_they_need, _webhook)


def _contradictions(among: tuple[Contradiction, ...], given: Given) -> list[str]:
    return [fault for contradiction in among for fault in contradiction(given)]


def _too_stale(settings: Settings) -> Iterator[str]:
    """Reading everybody once takes a number of seconds; nobody can be promised less."""
    seconds = len(settings.named) / settings.budget.calls_per_second
    if settings.staleness_seconds_max is not None and settings.staleness_seconds_max < seconds:
        yield (
            f"POLLER_STALENESS_SECONDS_MAX={number(settings.staleness_seconds_max)}: reading {len(settings.named)} customers once takes {seconds:.1f} seconds "
            f"with {shown_budget(settings.budget)}: raise it to {math.ceil(seconds * 1.1)} or more, raise the budget, or watch fewer"
        )


def _too_slow_for_tokens(settings: Settings) -> Iterator[str]:
    """A call for a token and the read with it are two calls of the budget: where the second one comes too late, nobody is ever read."""
    calls_per_second = settings.budget.calls_per_second
    if settings.voucherify.auth == "oauth" and calls_per_second * TOKEN_SECONDS < TOKEN_CALLS_MIN:
        yield (
            f"POLLER_VOUCHERIFY_AUTH='oauth': with {shown_budget(settings.budget)} there are {1 / calls_per_second / 60:.0f} minutes between two calls, and a token "
            f"lives {TOKEN_SECONDS // 60}: set it to `token`, or allow {math.ceil(TOKEN_CALLS_MIN * 3600 / TOKEN_SECONDS)} calls an hour or more"
        )


def shown_budget(budget: BudgetSettings) -> str:
    parts = {
        "POLLER_CALLS_PER_MINUTE": budget.calls_per_minute,
        "POLLER_CALLS_PER_HOUR": budget.calls_per_hour,
        "POLLER_CALLS_PER_CYCLE": budget.calls_per_cycle,
    }
    return " and ".join(f"{variable}={number(value)}" for variable, value in parts.items() if value is not None)
