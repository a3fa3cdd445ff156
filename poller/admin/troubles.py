"""The last warnings and errors that were logged, for the page. Those of one kind are one, counted, with what was said last."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from poller.admin.status import Trouble
from poller.errors import Forbidden, Limited, LogRefused, LogUnavailable, PlanExceeded, PollerError, TokenRefused, Unauthorized
from poller.telemetry import EVENTS, EventName

TROUBLES_MAX = 20
SAID_CHARACTERS_MAX = 400

RUNBOOK: Mapping[EventName, str] = {
    "waiting_for_kafka": "pollerreplicanotready",
    "membership_failed": "pollerpartitionsunowned",
    "owners_unheard": "pollerkafkarefuses",
    "partition_failed": "pollerkafkarefuses",
    "partition_lost": "pollerrebalancestorm",
    "commit_undone": "pollercommitundone",
    "dead_lettered": "pollerdeadletters",
    "gap_suspected": "pollergapssuspected",
    "recent_ids_dropped": "pollerrecentidsdropped",
    "endpoint_cannot_be_followed": "pollerendpointcannotbefollowed",
    "customer_failed": "pollercustomersfailing",
    "customer_unknown": "pollercustomersfailing",
    "feed_failed": "pollerfeedorlistfailing",
    "listing_failed": "pollerfeedorlistfailing",
    "listing_gap": "pollerlistinggap",
    "webhook_refused": "pollerwebhooksrefused",
    "hints_unshared": "pollerkafkarefuses",
    "calls_paused": "pollercallsfailing",
    "cycle_used_up": "pollerbudgetendsearly",
    "watch_unread": "pollerkafkarefuses",
    "lookup_failed": "pollerkafkarefuses",
}
"""Entries of docs/runbook.md, by what was said; of the others docs/events.md says what there is to say."""

RUNBOOK_OF_ERROR: Mapping[type[PollerError], str] = {
    Unauthorized: "pollerunauthorized",
    Forbidden: "pollerunauthorized",
    TokenRefused: "pollerunauthorized",
    Limited: "pollerquotaspentbyothers",
    PlanExceeded: "pollerquotaspentbyothers",
    LogUnavailable: "pollernothingcommitted",
    LogRefused: "pollerkafkarefuses",
}
"""Entries by what the error is, which say more than those by the event."""

TOLD_APART_BY = "warning"
"""A field whose text makes it another kind: what is doubtful about one setting hides no other."""


class Troubles:
    """`hear` each; `scrubbed` takes out of a text what must not be shown."""

    def __init__(self, clock: Callable[[], float], scrubbed: Callable[[str], str]) -> None:
        self._clock = clock
        self._scrubbed = scrubbed
        self._kinds: dict[tuple[EventName, str], Trouble] = {}

    def hear(self, event: EventName, fields: Mapping[str, Any]) -> None:
        """What is milder than a warning is none."""
        level = EVENTS[event].level
        if level < logging.WARNING:
            return
        key = (event, str(fields.get(TOLD_APART_BY, "")))
        before, now = self._kinds.pop(key, None), self._clock()
        if before is None and len(self._kinds) >= TROUBLES_MAX:
            del self._kinds[next(iter(self._kinds))]
        self._kinds[key] = Trouble(
            at=now,
            first_at=now if before is None else before.first_at,
            event=event,
            level="error" if level >= logging.ERROR else "warning",
            means=EVENTS[event].help,
            said=_short(self._scrubbed(said(fields))),
            see=see(event, str(fields.get("error", ""))),
            times=1 if before is None else before.times + 1,
        )

    @property
    def last(self) -> tuple[Trouble, ...]:
        """The last first."""
        return tuple(reversed(self._kinds.values()))


def see(event: EventName, error: str) -> str:
    """Where to read on. An error is known by its message, which its text begins with."""
    kind = next((kind for kind in RUNBOOK_OF_ERROR if error.startswith((kind.__doc__ or "").strip().removesuffix("."))), None)
    entry = RUNBOOK.get(event) if kind is None or event not in RUNBOOK else RUNBOOK_OF_ERROR[kind]
    return "docs/events.md" if entry is None else f"docs/runbook.md#{entry}"


def said(fields: Mapping[str, Any]) -> str:
    """Its fields in words: what went wrong first, then by name what that does not say already."""
    first = " · ".join(str(fields[name]) for name in ("error", "warning") if name in fields)
    rest = {name: _plain(value) for name, value in fields.items() if name not in {"error", "warning"}}
    return " · ".join([*([first] if first else []), *(f"{name}: {text}" for name, text in rest.items() if text not in first)])


def _plain(value: Any) -> str:
    match value:
        case list() | tuple() | set() | frozenset():
            return ", ".join(map(str, value))
        case Mapping():
            return ", ".join(f"{key}: {part}" for key, part in value.items())
        case _:
            return str(value)


def _short(text: str) -> str:
    return text if len(text) <= SAID_CHARACTERS_MAX else f"{text[:SAID_CHARACTERS_MAX]}…"
