"""What the program says of its settings when it starts: each of them, safe to log, and what may not be meant so."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from poller.config import DECLARED, Settings, shown_budget
from poller.matching import Match
from poller.secret import Secret
from poller.setting import ProxyUrl, masked, number


def warnings(settings: Settings) -> list[str]:
    """What is allowed, but may not be meant; with the numbers."""
    return [
        *_watched_warnings(settings),
        *_start_warnings(settings),
        *_lookback_warnings(settings),
        *_staleness_warnings(settings),
        *_cleartext_warnings(settings),
    ]


def _watched_warnings(settings: Settings) -> Iterator[str]:
    if not settings.customers and not settings.listed and settings.watch_all is None:
        yield (
            "neither POLLER_CUSTOMERS nor POLLER_CUSTOMERS_FILE is given: only whom the watch topic names is watched; add customers with `poller watch add`"
        )


def _start_warnings(settings: Settings) -> Iterator[str]:
    if isinstance(settings.start, int) and settings.start > (now_ms := round(time.time() * 1000)):
        days = (settings.start - now_ms) / 86_400_000
        yield (
            f"POLLER_START lies {days:.1f} days ahead: nothing that happens before is published, and each customer's checkpoint keeps that, "
            "whatever this setting says later"
        )


def _lookback_warnings(settings: Settings) -> Iterator[str]:
    lookback, staleness = settings.lookback_seconds, settings.staleness_seconds_max
    if lookback == 0:
        yield "POLLER_LOOKBACK_SECONDS=0: an activity that the API shows later than its created_at may never be published"
    if staleness is not None and lookback > 60 * staleness:
        yield (
            f"POLLER_LOOKBACK_SECONDS={number(lookback)} is {lookback / staleness:.0f} times POLLER_STALENESS_SECONDS_MAX={number(staleness)}: each read asks "
            "again for all of the lookback, so a customer with 100 activities in it costs more than one call every time"
        )


def _staleness_warnings(settings: Settings) -> Iterator[str]:
    seconds = len(settings.named) / settings.budget.calls_per_second
    staleness = settings.staleness_seconds_max
    if staleness is not None and staleness < 1.1 * seconds:
        yield (
            f"POLLER_STALENESS_SECONDS_MAX={number(staleness)} leaves less than a tenth to spare: reading {len(settings.named)} customers once takes "
            f"{seconds:.1f} seconds with {shown_budget(settings.budget)}"
        )


def _cleartext_warnings(settings: Settings) -> Iterator[str]:
    url = urlsplit(settings.voucherify.url)
    if url.scheme == "http" and not re.fullmatch(r"localhost|127(\.\d+){3}|::1", url.hostname or ""):
        yield f"POLLER_VOUCHERIFY_URL={settings.voucherify.url}: the credentials travel in clear text"


def start_report(settings: Settings) -> list[tuple[str, Any]]:
    """Each setting's variable and value, safe to log: secrets as such, customers by their number."""
    return [(one.variable, _reported(getattr(getattr(settings, one.group) if one.group else settings, one.field))) for one in DECLARED]


def _reported(value: Any) -> Any:
    match value:
        case Secret(path=None):
            return "<secret>"
        case Secret():
            return f"<secret in {value.path}>"
        case ProxyUrl():
            return masked(value)
        case Path() | Match():
            return str(value)
        case tuple():
            return f"{len(value)} customers"
        case _:
            return value
