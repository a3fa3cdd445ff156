"""Every log event and every metric, one line each: `docs/events.md` and `docs/metrics.md` are generated from these tables.

How log lines look is `poller/log_output.py`'s, what is counted `poller/journal.py`'s, and how metrics are shown `poller/admin/exposition.py`'s.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, Protocol, get_args

from poller.activity_types import DOCUMENTED_TYPES
from poller.core.overview import CustomerState
from poller.hashed import Shown, fields_without_ids, without_ids
from poller.metrics import Metric, Metrics
from poller.model import Hindrance

# ----------------------------------------------------------------------------------------------------------------- log events

EventName = Literal[
    "starting",
    "settings",
    "settings_doubtful",
    "waiting_for_kafka",
    "kafka_ready",
    "assigned",
    "rebalancing",
    "membership_failed",
    "owners_unheard",
    "partition_restored",
    "partition_lost",
    "partition_failed",
    "commit_undone",
    "read",
    "published",
    "dead_lettered",
    "gap_suspected",
    "recent_ids_dropped",
    "endpoint_cannot_be_followed",
    "deprecated_endpoint",
    "customer_failed",
    "customer_unknown",
    "customer_known",
    "customer_retired",
    "customer_returned",
    "customer_forgotten",
    "checkpoints_removed",
    "same_person",
    "feed_failed",
    "customers_listed",
    "listing_failed",
    "listing_gap",
    "webhook_refused",
    "hints_unshared",
    "calls_paused",
    "calls_resumed",
    "token_renewed",
    "budget_restored",
    "cycle",
    "cycle_used_up",
    "watched_set_changed",
    "watch_entries_ignored",
    "watch_unread",
    "watched_set_differs",
    "replay_begun",
    "replay_done",
    "replay_refused",
    "looked_up",
    "lookup_failed",
    "ordered",
    "order_refused",
    "draining",
    "drained",
    "stopped",
]


class Event(NamedTuple):
    """One line of the table."""

    level: int
    help: str
    fields: str = ""
    """The names of those that it may have, between blanks; one that is not known is left out of the line."""


ALL_SETTINGS = "…"
"""Fields by the names of all settings: too many to name here."""


EVENTS: Mapping[EventName, Event] = {
    "starting": Event(logging.INFO, "The process has begun; nothing is connected yet.", "pid"),
    "settings": Event(logging.INFO, "The settings in force, secrets left out.", ALL_SETTINGS),
    "settings_doubtful": Event(logging.WARNING, "The settings can be used, but may not be meant so.", "warning"),
    "waiting_for_kafka": Event(logging.WARNING, "Kafka cannot be used yet; tried again.", "error retry_seconds"),
    "kafka_ready": Event(logging.INFO, "The topics are there and as they should be.", "partitions"),
    "assigned": Event(logging.INFO, "These partitions are ours from now on; none: standing by.", "partitions"),
    "rebalancing": Event(logging.INFO, "The group divides its partitions anew; no call starts until it has."),
    "owners_unheard": Event(
        logging.WARNING,
        "What the owners of other partitions need cannot be heard: the budget stays divided as it is; tried again.",
        "error retry_seconds",
    ),
    "membership_failed": Event(
        logging.WARNING, "The consumer group cannot be joined, or no longer be heard; tried again.", "error retry_seconds"
    ),
    "partition_restored": Event(
        logging.INFO, "A partition's checkpoints were read; its customers are polled.", "partition checkpoints batches_dropped seconds"
    ),
    "partition_lost": Event(logging.WARNING, "A partition has another owner; what was not committed there is dropped.", "partition"),
    "partition_failed": Event(
        logging.WARNING, "A partition's transaction or restore failed; its state is read anew from Kafka.", "partition error failures"
    ),
    "commit_undone": Event(
        logging.ERROR,
        "Kafka no longer holds a commit that it had confirmed: what of it was published comes again. See the README on replication.",
        "partition customers first",
    ),
    "read": Event(logging.DEBUG, "One call was answered with a page.", "customer entries seconds"),
    "published": Event(logging.INFO, "One transaction was committed.", "partition activities again reads freshness_seconds commit_seconds"),
    "dead_lettered": Event(
        logging.WARNING, "Activities could not be published and went to the dead-letter topic.", "count customers reasons"
    ),
    "gap_suspected": Event(logging.WARNING, "Something may have been missed: the API would not show it.", "customer cursor_ms stepped_ms"),
    "recent_ids_dropped": Event(logging.WARNING, "Too many recent ids: the cursor moved above those forgotten.", "customer dropped"),
    "endpoint_cannot_be_followed": Event(
        logging.ERROR, "The endpoint ignores order or start_date: not everything can be read from it.", "customer"
    ),
    "deprecated_endpoint": Event(logging.WARNING, "The API announces the end of this endpoint: see POLLER_VOUCHERIFY_ENDPOINT.", "says"),
    "customer_failed": Event(
        logging.WARNING, "A customer could not be read; its cursor stays, and it is tried again later.", "customer error request_id"
    ),
    "customer_unknown": Event(
        logging.WARNING,
        "The API does not know a customer: it is tried ever less often, down to once a day; said once, until it is known again.",
        "customer error request_id",
    ),
    "customer_known": Event(logging.INFO, "The API knows a customer again.", "customer"),
    "customer_retired": Event(
        logging.INFO,
        "A customer was deleted, or is no longer known, and all that it did is published: it is read once a day from now on.",
        "customer",
    ),
    "customer_returned": Event(
        logging.INFO, "A customer that had been retired shows something new, and is read as all others.", "customer"
    ),
    "customer_forgotten": Event(logging.INFO, "A customer's checkpoint was removed, as its watch entry says.", "customer"),
    "checkpoints_removed": Event(
        logging.INFO,
        "Checkpoints of customers whom nobody watches any more were removed. See POLLER_CHECKPOINT_RETENTION_DAYS.",
        "count customers",
    ),
    "same_person": Event(
        logging.WARNING,
        "One person is watched under two ids, so that its activities are published for both: stop watching one of them (docs/watching.md).",
        "customer other",
    ),
    "feed_failed": Event(
        logging.WARNING,
        "The change feed could not be read; it is tried again later, and customers are read without its hints.",
        "error request_id",
    ),
    "customers_listed": Event(
        logging.INFO, "All customers of the project are listed; from now on new ones are looked for. See POLLER_WATCH.", "found"
    ),
    "listing_failed": Event(
        logging.WARNING,
        "Customers of the project could not be listed, or not be written to the watch topic; tried again.",
        "error request_id",
    ),
    "listing_gap": Event(
        logging.WARNING,
        "The list of customers does not show all: too many were created in one instant, or it ignores what it is asked.",
        "after_ms",
    ),
    "webhook_refused": Event(
        logging.WARNING, "A webhook is not signed as it should be, or cannot be read; said once a minute at most.", "error refused"
    ),
    "hints_unshared": Event(
        logging.WARNING, "Hints cannot be passed on to other replicas, nor heard from them; tried again.", "error retry_seconds"
    ),
    "calls_paused": Event(
        logging.WARNING, "No call is made until the instant given, or until somebody mends what is named.", "error seconds request_id"
    ),
    "calls_resumed": Event(logging.INFO, "Calls are made again."),
    "token_renewed": Event(logging.INFO, "One call went into an OAuth access token.", "why request_id"),
    "budget_restored": Event(logging.INFO, "The budget goes on where its last owner left it.", "partition calls cycle cycle_spent"),
    "cycle": Event(
        logging.INFO,
        "How the billing cycle stands: told when it begins, and at each tenth that is spent.",
        "begun ends calls spent left calls_per_minute",
    ),
    "cycle_used_up": Event(
        logging.WARNING,
        "What may be spent in this billing cycle is spent: no call is made until the next one begins.",
        "begun ends calls spent left calls_per_minute",
    ),
    "watched_set_changed": Event(
        logging.INFO, "A source of the watched set names others than before, or otherwise.", "source added removed altered"
    ),
    "watch_entries_ignored": Event(
        logging.WARNING,
        "Records of the watch topic that cannot be used: the last good entry of each of these customers stays in force.",
        "count why",
    ),
    "watch_unread": Event(
        logging.WARNING,
        "The watch topic cannot be read: whom it named last stays watched, and is read anew; tried again.",
        "error retry_seconds",
    ),
    "watched_set_differs": Event(
        logging.WARNING, "The last owner of a partition was configured with another list of customers.", "partition difference"
    ),
    "replay_begun": Event(
        logging.INFO, "A customer was rewound: what was published of it is published again, with the header `replay`.", "customer replay"
    ),
    "replay_done": Event(logging.INFO, "All that a rewind asked for is published again.", "customer replay"),
    "replay_refused": Event(
        logging.ERROR,
        "Too much of a customer stands in the activities topic to tell what is missing, and it is not read: rewind it without --missing-only, or to a later date.",
        "customer",
    ),
    "looked_up": Event(
        logging.INFO,
        "What of rewound customers stands in the activities topic is known: what is missing is published.",
        "customers activities",
    ),
    "lookup_failed": Event(
        logging.WARNING,
        "The activities topic cannot be read, so what is missing of rewound customers is not known; tried again.",
        "error retry_seconds",
    ),
    "ordered": Event(logging.WARNING, "The admin server was given an order, and carried it out; see POLLER_ADMIN_TOKEN.", "what customer"),
    "order_refused": Event(
        logging.WARNING,
        "Somebody gave the admin server orders without the token, POLLER_ADMIN_TOKEN; said once a minute at most.",
        "refused",
    ),
    "draining": Event(logging.INFO, "Stopping: what is in flight is finished.", "in_flight"),
    "drained": Event(logging.INFO, "Nothing is in flight any more.", "in_flight"),
    "stopped": Event(logging.INFO, "The process ends."),
}
assert EVENTS.keys() == set(get_args(EventName)), "each event has its line"


# -------------------------------------------------------------------------------------------------------------------- metrics

SECONDS_OF_CALLS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
SECONDS_OF_KAFKA = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
SECONDS_OF_FRESHNESS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 2400, 3600, 7200, 14400, 28800, 43200, 86400)
"""No step over 2.5, so that a quantile is not told much too large."""
SECONDS_OF_LAG = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5)

OTHER_TYPE = "other"
ACTIVITY_TYPES = (*DOCUMENTED_TYPES, OTHER_TYPE)
Purpose = Literal["read", "feed", "list", "token"]
Outcome = Literal[
    "new", "empty", "not_found", "limited", "unauthorized", "timeout", "unreachable", "server_error", "undecodable", "rejected"
]
KafkaError = Literal["unavailable", "fenced", "refused"]
HintFate = Literal["received", "forged", "unreadable", "repeated", "unknown", "forwarded", "heard", "used", "useful", "refused", "dropped"]
Success = Literal["read", "commit", "heartbeat", "feed", "list", "token"]
Reloaded = Literal["customers_file", "secret"]
WINDOWS = ("rate", "cycle")
STATISTICS = ("p50", "p95", "max")

METRICS_BY_SUBJECT: Mapping[str, Mapping[str, Metric]] = {
    "The process": {
        "poller_build_info": Metric("gauge", "1; the labels say which version runs.", {"version": ("",), "python": ("",)}),
        "poller_ready": Metric("gauge", "Whether the process is ready, as /readyz says: 1 or 0."),
        "poller_loop_lag_seconds": Metric(
            "histogram", "How much later than asked for the event loop woke, looked at twice a second.", bounds=SECONDS_OF_LAG
        ),
        "poller_tasks": Metric("gauge", "Tasks of the event loop; they should level off."),
        "poller_reloads_total": Metric(
            "counter",
            "Files that had changed and were read again.",
            {"what": get_args(Reloaded), "outcome": ("done", "failed")},
        ),
        "poller_last_success_timestamp_seconds": Metric(
            "gauge", "Unix time of the last success; absent until there was one.", {"kind": get_args(Success)}
        ),
    },
    "Calls": {
        "poller_calls_total": Metric(
            "counter",
            "Calls made to the API, whatever came of them. read: of one customer; feed: the change feed; list: the project's customers; token: an OAuth access token.",
            {"purpose": get_args(Purpose)},
        ),
        "poller_reads_total": Metric(
            "counter",
            "Calls that were to read a customer, by what came of them; one that went into an access token that was given is not among them. new: a page with "
            "activities that had not been published; empty: one without; not_found: the customer is unknown; limited: a quota or the plan; unauthorized: "
            "credentials or permissions; timeout, unreachable: no answer, in time or at all; undecodable: no page, or one too large; rejected: the endpoint, "
            "the address or the request.",
            {"outcome": get_args(Outcome)},
        ),
        "poller_call_seconds": Metric(
            "histogram", "From the order of a call, of any purpose, to its decoded answer or its failure.", bounds=SECONDS_OF_CALLS
        ),
        "poller_pages_per_read": Metric(
            "histogram", "Calls that one complete read of a customer took.", bounds=(1, 2, 3, 5, 10, 20, 50, 100)
        ),
        "poller_calls_in_flight": Metric("gauge", "Calls under way."),
    },
    "The budget": {
        "poller_budget_calls_limit": Metric(
            "gauge", "Calls that the settings allow this process's partitions in a window.", {"window": WINDOWS}
        ),
        "poller_budget_calls_remaining": Metric(
            "gauge",
            "Calls that may be made now (rate: what the bucket holds) or until the cycle's end, its reserve not included.",
            {"window": WINDOWS},
        ),
        "poller_budget_reset_timestamp_seconds": Metric("gauge", "Unix time at which the billing cycle ends.", {"window": ("cycle",)}),
        "poller_budget_calls_per_second": Metric(
            "gauge", "The pace at which calls may be made now: the rate's, or what the cycle leaves, if that is less."
        ),
        "poller_quota_calls_remaining": Metric(
            "gauge", "What the API last said to be left of its quota, which the whole project shares; absent until it said so."
        ),
        "poller_throttled_seconds_total": Metric(
            "counter",
            "Seconds in which a call was due and none could start, by what held it up. quota: the API's refusal; failures: a pause after the API "
            "failed; membership: the group; watched_set: who is watched was not known yet.",
            {"by": get_args(Hindrance)},
        ),
    },
    "How fresh": {
        "poller_freshness_seconds": Metric(
            "histogram",
            "From an activity's created_at to its commit, but for replays and backfills: of what a customer's first read brings, only what was created since it began is looked at.",
            bounds=SECONDS_OF_FRESHNESS,
        ),
        "poller_staleness_seconds": Metric(
            "gauge",
            "Since owned customers were last read, of those that are read in turn. It ages while nothing is read: a look at all of them, every ten seconds or so while "
            "somebody asks, and what has passed since.",
            {"statistic": STATISTICS},
        ),
        "poller_staleness_objective_seconds": Metric(
            "gauge", "No customer should go unread for longer: POLLER_STALENESS_SECONDS_MAX, or what follows from budget and customers."
        ),
        "poller_schedule_lateness_seconds": Metric(
            "gauge", "By how much the customer that was read longest ago is over that objective; 0: none is."
        ),
    },
    "Customers": {
        "poller_customers_watched": Metric("gauge", "Customers watched, whoever owns them."),
        "poller_customers": Metric(
            "gauge",
            "Customers of owned partitions, each by the first of these that holds: paused; ended: all that its entry wants is read; retired: gone, and read once a day; unknown: "
            "the API does not know it; failing: its last call failed; more_pages: a read under way; never_read; read.",
            {"state": get_args(CustomerState)},
        ),
        "poller_recent_ids": Metric("gauge", "Ids of activities remembered so that none is published twice."),
        "poller_customers_found_total": Metric("counter", "Customers found in the project, which nobody had named."),
        "poller_listing_gaps_total": Metric("counter", "Times that the list of customers would not show all of them."),
    },
    "Data": {
        "poller_activities_published_total": Metric(
            "counter",
            "Activities committed to the activities topic, by type; `other`: a type that is not documented.",
            {"type": ACTIVITY_TYPES},
        ),
        "poller_activities_replayed_total": Metric("counter", "Those of them that were published again, as a rewind asked."),
        "poller_activities_known_total": Metric("counter", "Activities received that had been published before, and dropped."),
        "poller_activities_announced_total": Metric("counter", "Activities published that a hint had announced."),
        "poller_dead_letters_total": Metric("counter", "Entries committed to the dead-letter topic."),
        "poller_gaps_suspected_total": Metric("counter", "Reads after which something may have been missed."),
        "poller_endpoint_unfollowable_total": Metric(
            "counter", "Reads that showed that the endpoint ignores order or start_date, so that not everything can be read from it."
        ),
        "poller_recent_ids_dropped_total": Metric("counter", "Recent ids forgotten because there were too many."),
        "poller_hints_total": Metric(
            "counter",
            "Webhooks (received, forged, unreadable, repeated, unknown: of nobody who is watched; dropped: too many) and hints (forwarded to and heard from other "
            "replicas; used: a read was made; useful: it found what was announced; refused: they had not been worth it of late).",
            {"fate": get_args(HintFate)},
        ),
    },
    "Kafka": {
        "poller_transaction_seconds": Metric(
            "histogram",
            "From a transaction's beginning to its end, by outcome; failed: or it is not known.",
            {"outcome": ("committed", "failed")},
            SECONDS_OF_KAFKA,
        ),
        "poller_kafka_errors_total": Metric(
            "counter",
            "Failures to open a partition or to commit. unavailable: no broker could do it; fenced: another replica owns the partition; refused: permissions, topics or settings do not allow it.",
            {"kind": get_args(KafkaError)},
        ),
        "poller_commits_undone_total": Metric("counter", "Restores that held less than had been confirmed."),
        "poller_records_waiting": Metric("gauge", "Records that await their commit."),
        "poller_bytes_waiting": Metric("gauge", "Bytes of the answers that they came in; calls stop at 32 MiB."),
    },
    "The fleet": {
        "poller_partitions": Metric("gauge", "Partitions that divide the work; 0 until that is known."),
        "poller_partitions_owned": Metric("gauge", "Partitions that this process owns and has restored."),
        "poller_rebalances_total": Metric("counter", "Times that the group divided its partitions anew."),
        "poller_hand_over_seconds": Metric(
            "histogram",
            "From the assignment of a partition to its first commit here, after which its customers are called.",
            bounds=SECONDS_OF_KAFKA,
        ),
        "poller_restore_seconds": Metric(
            "histogram", "From fencing a partition's last owner until its checkpoints were read and taken in.", bounds=SECONDS_OF_KAFKA
        ),
    },
}
METRICS: Mapping[str, Metric] = {name: metric for metrics in METRICS_BY_SUBJECT.values() for name, metric in metrics.items()}
SERIES_MAX = 300
assert sum(metric.series for metric in METRICS.values()) <= SERIES_MAX, "a pod may show so many, whatever happens"


# ------------------------------------------------------------------------------------------------------------------ telling


class Logger(Protocol):
    """structlog's, as far as it is used."""

    def log(self, level: int, event: str, /, **fields: Any) -> Any: ...


class Telemetry:
    """What the program says of itself: log events, and what it counts."""

    def __init__(self, logger: Logger, customers: Shown = "plain") -> None:
        self._logger = logger
        self._hashes = customers == "hashed"
        self._heard: Callable[[EventName, Mapping[str, Any]], None] = _unheard
        self.metrics = Metrics(METRICS)

    def heard_by(self, listener: Callable[[EventName, Mapping[str, Any]], None]) -> None:
        """It hears each event from now on, whatever the logger makes of it, customers as they are shown."""
        self._heard = listener

    def text(self, what: object, customer: str) -> str:
        """What is about this customer, as it may be shown where the customer is not."""
        return without_ids(str(what), [customer]) if self._hashes else str(what)

    def event(self, name: EventName, **fields: Any) -> None:
        """`None` among the fields is left out; an exception shows as its message."""
        fields = fields_without_ids(fields) if self._hashes else fields
        fields = {key: value for key, value in fields.items() if value is not None}
        self._logger.log(EVENTS[name].level, name, **fields)
        self._heard(name, fields)


def _unheard(_name: EventName, _fields: Mapping[str, Any]) -> None: ...
