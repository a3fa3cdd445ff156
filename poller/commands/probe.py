"""`poller probe`: how is the API to be read? A few calls, announced beforehand; a report without personal data."""

import math
import os
import sys
import time
from pathlib import Path
from typing import Annotated

import anyio
from cyclopts import Parameter

from poller.commands.output import say, say_json, say_table
from poller.commands.probe_calls import Prober
from poller.config import Settings, load
from poller.customer_id import refusal
from poller.errors import SettingsError, SourceError
from poller.probe.answers import CALLS_MAX
from poller.probe.report import Asked, Report, make_report
from poller.setting import PREFIX

FAILED = 1
GAP_SECONDS_MAX = 5.0
"""Between two calls, whatever the budget is: a short burst, which is announced."""

NOT_NEEDED = {f"{PREFIX}KAFKA_BOOTSTRAP_SERVERS": "localhost:9092", f"{PREFIX}CUSTOMERS": "none"}
"""Settings that others require."""

ANNOUNCEMENT = """\
At most {calls} calls of {url} will be made, {gap:g} s apart, {seconds} s in all.
What is asked, of endpoint `{endpoint}` unless said, and for this customer unless said:
  5  pages from both ends, without an order, and between two dates twice
  3  pages from a starting_after on, in both orders
  2  pages from a starting_after_id on: one that is there, one that is not
  1  page with a limit over 100
  1  page of the other endpoint
  1  page of a customer that does not exist
  2  spare: an OAuth token, what failed once
They read and change nothing, and count against the project's quota. A running poller does not know of them: its budget must leave them room."""


def probe(
    customer: Annotated[str, Parameter(help="A customer of the project, better one with many activities; its id or source id.")],
    *,
    yes: Annotated[bool, Parameter(negative="", show_default=False, help="Do not ask whether to go on.")] = False,
    json: Annotated[bool, Parameter(negative="", show_default=False, help="Show the report as JSON.")] = False,
    report: Annotated[Path | None, Parameter(help="Also write the report there, as JSON.")] = None,
) -> int:
    settings = load_api(os.environ)
    refuse(customer, report)
    gap_seconds = gap(settings)
    print(announcement(settings, gap_seconds), file=sys.stderr, flush=True)
    if not (yes or confirmed()):
        say("nothing was asked")
        _forget_empty(report)
        return FAILED
    prober = Prober(settings.voucherify, customer, gap_seconds, time.time)
    try:
        anyio.run(prober.run)
    except SourceError:
        _forget_empty(report)
        raise
    made = report_of(settings, prober)
    show(made, json)
    if report is not None:
        report.write_bytes(encoded(made))
    return 0 if prober.stopped is None else FAILED


def load_api(environ: "os._Environ[str] | dict[str, str]") -> Settings:
    """The settings without those of Kafka and of whom to watch, which a probe does not need. Raises `SettingsError`."""
    needed = {name: value for name, value in environ.items() if not name.startswith((f"{PREFIX}KAFKA_", f"{PREFIX}CUSTOMERS"))}
    return load({**needed, **NOT_NEEDED})


def refuse(customer: str, report: Path | None) -> None:
    """Raises `SettingsError` for what would only fail after calls were made."""
    refused = refusal(customer)
    if refused is not None:
        raise SettingsError([f"CUSTOMER {refused}"])
    if report is not None:
        try:
            report.open("ab").close()
        except OSError as error:
            raise SettingsError([f"--report={str(report)!r}: cannot be written ({error.strerror})"]) from error


def _forget_empty(report: Path | None) -> None:
    """The file was made to see whether it can be written."""
    if report is not None and report.stat().st_size == 0:
        report.unlink()


def gap(settings: Settings) -> float:
    return min(GAP_SECONDS_MAX, 1 / settings.budget.calls_per_second)


def announcement(settings: Settings, gap_seconds: float) -> str:
    api = settings.voucherify
    seconds = math.ceil(gap_seconds * CALLS_MAX)
    return ANNOUNCEMENT.format(calls=CALLS_MAX, url=api.url, gap=round(gap_seconds, 3), seconds=f"about {seconds}", endpoint=api.endpoint)


def confirmed() -> bool:
    """Asks whoever sits there. Raises `SettingsError` where nobody does."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise SettingsError(["--yes is required where nobody can be asked: a probe spends calls of the project's quota"])
    print("Go on? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def report_of(settings: Settings, prober: Prober) -> Report:
    api = settings.voucherify
    asked = Asked(
        endpoint=api.endpoint,
        auth=api.auth,
        calls=prober.calls,
        calls_per_minute=settings.budget.calls_per_second * 60,
        lookback_seconds=settings.lookback_seconds,
        stopped=prober.stopped,
    )
    return make_report(asked, prober.seen)


def encoded(made: Report) -> bytes:
    import msgspec

    return msgspec.json.format(msgspec.json.encode(made), indent=2) + b"\n"


def show(made: Report, json: bool) -> None:
    if json:
        say_json(made)
        return
    say_table(
        ("question", "answer", "evidence"),
        [(one.question, "not settled" if one.value is None else one.value, one.evidence) for one in made.findings],
    )
    say()
    say_table(("setting", "what follows"), [(one.setting, one.says) for one in made.settings])
    say(f"\n{made.calls} calls were counted" + (f"; stopped: {made.stopped}" if made.stopped else ""))
