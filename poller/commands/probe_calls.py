"""The calls of `poller probe`: carries out what the questions order, one call after the other, never more than announced."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import anyio
import httpx
import msgspec

from poller.errors import (
    CustomerUnknown,
    Explanation,
    Forbidden,
    Limited,
    PlanExceeded,
    Redirected,
    Rejected,
    RouteGone,
    SourceError,
    TokenRenewed,
    Unauthorized,
    Undecodable,
)
from poller.model import Activity
from poller.probe.answers import CALLS_MAX, Answer, Ask, Entry, Name
from poller.probe.questions import next_question
from poller.voucherify.client import SourceSettings, VoucherifySource
from poller.voucherify.route import path

ANSWERS = (Rejected, CustomerUnknown, RouteGone, Redirected, Undecodable)
"""Refusals that answer a question, once the first page was read: what is asked may not be what the API takes."""

FINAL = (*ANSWERS, Limited, PlanExceeded, Unauthorized, Forbidden)
"""Asking again would not help; after any other failure it is done once, and a second one ends the probe."""


class Prober:
    """One probe: what was seen, and what it took."""

    def __init__(self, settings: SourceSettings, customer: str, gap_seconds: float, clock: Callable[[], float]) -> None:
        """`gap_seconds` between two calls; `clock` is Unix time in seconds."""
        self.seen: dict[Name, Answer] = {}
        self.calls = 0
        self.stopped: str | None = None
        self._settings = settings
        self._customer = customer
        self._gap_seconds = gap_seconds
        self._clock = clock
        self._called = False

    async def run(self, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """Ask all that can be settled. Raises `SourceError` where not even one page could be read; later failures only stop it."""
        async with VoucherifySource(self._settings, transport) as source:
            while (ask := next_question(self._settings.endpoint, self._customer, self.seen)) is not None:
                if self.calls >= CALLS_MAX:
                    self.stopped = f"the {CALLS_MAX} calls are spent"
                    return
                try:
                    self.seen[ask.name] = await self._answer(source, ask)
                except SourceError as error:
                    if not self.seen:
                        raise
                    self.stopped = _named(error)
                    return

    async def _answer(self, source: VoucherifySource, ask: Ask) -> Answer:
        failed = False
        while True:
            try:
                return await self._call(source, ask)
            except FINAL:
                raise
            except SourceError as error:
                if self.calls >= CALLS_MAX or failed:
                    raise
                failed = not isinstance(error, TokenRenewed)

    async def _call(self, source: VoucherifySource, ask: Ask) -> Answer:
        if self._called:
            await anyio.sleep(self._gap_seconds)
        self._called = True
        self.calls += 1
        headers: list[tuple[str, str]] = []
        sent = self._clock()
        try:
            response = await source.ask(_target(ask), lambda heard: headers.extend(heard.items()))
            received, entries = self._clock(), source.decode(response).entries
        except ANSWERS as error:
            if not self.seen:
                raise
            return _refusal(error, tuple(headers), sent, self._clock())
        activities = {entry.id: _entry(entry) for entry in entries if isinstance(entry, Activity)}
        return Answer(
            entries=tuple(activities.values()),
            odd=sum(not isinstance(entry, Activity) for entry in entries),
            sent=sent,
            received=received,
            server_time=response.server_time,
            headers=tuple(headers),
            **_envelope(response.body),
        )


def _target(ask: Ask) -> str:
    query = f"?{urlencode(ask.parameters)}" if ask.parameters else ""
    return f"{path(ask.endpoint, ask.customer)}{query}"


def _entry(activity: Activity) -> Entry:
    said = _object(activity.raw)
    data = said.get("data")
    nested = isinstance(data, dict) and isinstance(data.get("data"), dict)
    return Entry(activity.id, activity.created_at_ms, activity.created_at, nested, said.get("group_id") is not None)


def _envelope(body: bytes) -> dict[str, Any]:
    said = _object(body)
    total, more = said.get("total"), said.get("has_more")
    return {
        "fields": tuple(said),
        "total": total if isinstance(total, int) and not isinstance(total, bool) else None,
        "has_more": more if isinstance(more, bool) else None,
    }


def _object(body: bytes) -> dict[str, Any]:
    """Empty where it is no JSON object."""
    try:
        said = msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _refusal(error: SourceError, headers: tuple[tuple[str, str], ...], sent: float, received: float) -> Answer:
    explained = error.explanation if isinstance(error.explanation, Explanation) else Explanation()
    fields = tuple(name for name in ("key", "message", "details", "request_id") if getattr(explained, name) is not None)
    return Answer(
        status=explained.status or 200,
        page=False,
        fields=fields,
        sent=sent,
        received=received,
        server_time=error.server_time,
        headers=headers,
    )


def _named(error: SourceError) -> str:
    """What stopped it, without what the API wrote of it."""
    status = error.explanation.status if isinstance(error.explanation, Explanation) else None
    return f"{(type(error).__doc__ or '').strip().rstrip('.')}{'' if status is None else f' (HTTP {status})'}"
