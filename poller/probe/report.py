"""The report: what was found, and which settings follow. Pure; nothing in it is personal.

Of an answer only shapes go in: names of the envelope's fields, kinds of instants and ids, names of headers, and values of those headers that
are numbers of our own reading. No id, no payload, no type of an activity, no text of a body.
"""

import re
from collections.abc import Iterator, Mapping

import msgspec

from poller.model import PAGE_ACTIVITIES_MAX
from poller.probe.answers import CALLS_MAX, Entry, Seen, direction, has_page, page
from poller.probe.findings import WHOLE_PAGES, Finding, findings, has_more, open_, settled
from poller.probe.questions import OTHER_ENDPOINT

CLOCK_SECONDS_MAX = 5.0
"""Our clock may be so far off without a word."""

TOKEN = re.compile(r"[a-z0-9!#$%&'*+.^`|~-]{1,60}")
INSTANT = re.compile(r"\d{4}-\d\d-\d\d([Tt ])\d\d:\d\d:\d\d(?:[.,](\d+))?(Z|z|[+-]\d\d:?\d\d)?")
KNOWN_PREFIXES = ("evcus", "event")
KNOWN_CODINGS = ("gzip", "deflate", "br", "zstd", "identity")
FIELD = re.compile(r"[A-Za-z_]{1,40}")
NUMBERS = ("x-rate-limit-limit", "x-rate-limit-remaining", "x-rate-limit-retry", "retry-after")


class Asked(msgspec.Struct, frozen=True):
    """What the probe was run with: nothing of whose activities these are."""

    endpoint: str
    auth: str
    calls: int
    calls_per_minute: float
    lookback_seconds: float
    stopped: str | None = None
    """Why not all was asked; `None`: it was."""


class Advice(msgspec.Struct, frozen=True):
    """What follows for one setting."""

    setting: str
    says: str


class Report(msgspec.Struct, frozen=True):
    """All that a probe tells."""

    endpoint: str
    auth: str
    calls: int
    calls_max: int
    stopped: str | None
    findings: tuple[Finding, ...]
    settings: tuple[Advice, ...]
    headers: tuple[str, ...]
    envelope: tuple[str, ...]


def make_report(asked: Asked, seen: Seen) -> Report:
    found = (*findings(seen), *_shapes(asked, seen))
    return Report(
        endpoint=asked.endpoint,
        auth=asked.auth,
        calls=asked.calls,
        calls_max=CALLS_MAX,
        stopped=asked.stopped,
        findings=found,
        settings=(*_advice(asked, {one.name: one.value for one in found}), *quota_advice(asked, seen)),
        headers=tuple(sorted({name for answer in seen.values() for name, _ in answer.headers if TOKEN.fullmatch(name)})),
        envelope=tuple(sorted(_envelope(seen))),
    )


# -------------------------------------------------------------------------------------------------------------- shapes


def _shapes(asked: Asked, seen: Seen) -> Iterator[Finding]:
    yield _data(seen)
    yield _kinds(seen, "instants", "How are instants written?", {_instant_kind(entry.created_at) for entry in _all_entries(seen)})
    yield _kinds(seen, "ids", "What do ids look like?", {_id_kind(entry.id) for entry in _all_entries(seen)})
    yield _envelope_finding(seen)
    yield _has_more(seen)
    yield _other_endpoint(asked, seen)
    yield _date(seen)
    yield _quota(seen)
    yield _ending(seen)
    yield _encoding(seen)
    yield _lateness(seen)


def _all_entries(seen: Seen) -> list[Entry]:
    return [entry for name in WHOLE_PAGES for entry in page(seen, name)]


def _kinds(seen: Seen, name: str, question: str, kinds: set[str]) -> Finding:
    if not kinds:
        return open_(name, question, "no activity was seen", "a customer with activities")
    odd = sum(seen[one].odd for one in seen)
    return settled(name, question, "; ".join(sorted(kinds)), "of all that was seen" + (f"; {odd} entries were no activity" if odd else ""))


def _instant_kind(text: str) -> str:
    match = INSTANT.fullmatch(text)
    if match is None:
        return "no form that we know"
    mark, fraction, zone = match.groups()
    digits = "." + "f" * len(fraction) if fraction else ""
    return (
        f"YYYY-MM-DD{'T' if mark in 'Tt' else ' '}HH:MM:SS{digits}{'Z' if zone in ('Z', 'z') else '±HH:MM' if zone else ' without offset'}"
    )


def _id_kind(id: str) -> str:
    prefix, mark, tail = id.partition("_")
    known = f"{prefix}_" if mark and prefix in KNOWN_PREFIXES else "another beginning, "
    tail = tail if mark and prefix in KNOWN_PREFIXES else id
    alphabet = "hexadecimal digits" if re.fullmatch(r"[0-9a-f]+", tail) else "other characters"
    return f"{known} and {len(tail)} {alphabet}".replace(",  and", "")


def _data(seen: Seen) -> Finding:
    name, question = "data", "Is an activity's data nested (data.data, data.event_source) or flat?"
    entries = _all_entries(seen)
    if not entries:
        return open_(name, question, "no activity was seen", "a customer with activities")
    nested = {entry.nested for entry in entries}
    groups = {entry.has_group for entry in entries}
    having = "some have" if len(groups) > 1 else "all have" if groups == {True} else "none has"
    return settled(
        name,
        question,
        "mixed" if len(nested) > 1 else "nested" if nested == {True} else "flat",
        f"of all that was seen; {having} a group_id",
    )


def _envelope(seen: Seen) -> set[str]:
    return {
        field for name in ("ascending", "other_endpoint") if has_page(seen, name) for field in seen[name].fields if FIELD.fullmatch(field)
    }


def _envelope_finding(seen: Seen) -> Finding:
    name, question = "envelope", "Which fields does a page have?"
    if not has_page(seen, "ascending"):
        return open_(name, question, "no page was seen")
    fields = [field for field in seen["ascending"].fields if FIELD.fullmatch(field)]
    return settled(name, question, ", ".join(fields), "of the first page, in its order")


def _has_more(seen: Seen) -> Finding:
    name, question = "has_more", "Does has_more tell whether there are more?"
    if not any(answer.has_more is not None for answer in seen.values()):
        return settled(name, question, "absent", "no page had it") if seen else open_(name, question, "no page was seen")
    truth = has_more(seen)
    if truth is None:
        return open_(name, question, "it was there, but whether there were more was not known")
    return settled(name, question, "right" if truth else "wrong", f"it {'agreed' if truth else 'did not agree'} with what other pages held")


def _other_endpoint(asked: Asked, seen: Seen) -> Finding:
    name, other = "other_endpoint", OTHER_ENDPOINT[asked.endpoint]
    question, answer = f"Does the endpoint `{other}` answer, too?", seen.get("other_endpoint")
    if answer is None:
        return open_(name, question, "not asked")
    if not answer.page:
        return (
            settled(name, question, "no", f"HTTP {answer.status}")
            if answer.status != 200
            else open_(name, question, "it answered with no page")
        )
    known = {entry.id for entry in _all_entries(seen)}
    strange = [entry for entry in answer.entries if entry.id not in known]
    return settled(
        name, question, "yes", "with other activities" if strange else "with the same activities" if answer.entries else "with none"
    )


# ------------------------------------------------------------------------------------------------------------- headers


def _header(seen: Seen, name: str) -> str | None:
    """As the last answer that has it says it."""
    return next((value for answer in reversed(list(seen.values())) for one, value in answer.headers if one == name), None)


def _date(seen: Seen) -> Finding:
    name, question = "date", "Is there a Date, and how far is our clock from it?"
    if not seen:
        return open_(name, question, "no answer was seen")
    offsets = clock_offsets(seen)
    if not offsets:
        return settled(name, question, "absent", "no answer had a Date that is one")
    low, high = max(one for one, _ in offsets), min(other for _, other in offsets)
    if low > high:
        low, high = min(one for one, _ in offsets), max(other for _, other in offsets)
    ahead = round((low + high) / 2, 1) + 0.0  # no −0.0
    way = "ahead of" if ahead >= 0 else "behind"
    return settled(
        name, question, f"{ahead:+.1f} s", f"the server's clock is {abs(ahead):.1f} s {way} ours, give or take {(high - low) / 2:.1f} s"
    )


def clock_offsets(seen: Seen) -> list[tuple[float, float]]:
    """Between which two numbers of seconds the server's clock is ahead of ours, by each answer: a Date is cut to its second."""
    return [(a.server_time - a.received, a.server_time + 1 - a.sent) for a in seen.values() if a.server_time is not None]


def _quota(seen: Seen) -> Finding:
    name, question = "quota", "Which headers tell the quota?"
    if not seen:
        return open_(name, question, "no answer was seen")
    said = {header: value for header in NUMBERS if (value := _header(seen, header)) is not None}
    numbers = [f"{header}={value}" for header, value in said.items() if re.fullmatch(r"\d{1,10}", value)]
    return settled(name, question, ", ".join(said) or "none", "; ".join(numbers) or "no numbers")


def _ending(seen: Seen) -> Finding:
    name, question = "ending", "Do Deprecation or Sunset come?"
    if not seen:
        return open_(name, question, "no answer was seen")
    said = [header for header in ("deprecation", "sunset") if _header(seen, header) is not None]
    return settled(name, question, ", ".join(said) or "none", "`poller run` logs what they say" if said else "no answer had them")


def _encoding(seen: Seen) -> Finding:
    name, question = "encoding", "How are bodies encoded?"
    if not seen:
        return open_(name, question, "no answer was seen")
    said = _header(seen, "content-encoding") or "identity"
    return settled(name, question, said if said in KNOWN_CODINGS else "another", "gzip and deflate were offered")


def _lateness(seen: Seen) -> Finding:
    name, question = "lateness", "Was an activity shown after its created_at?"
    seconds = late_seconds(seen)
    if seconds:
        return settled(name, question, f"{seconds:.0f} s", "at least so much later one came that an earlier page should have had")
    return open_(
        name,
        question,
        "none was seen within the probe's seconds, which says little",
        "a longer look at a busy customer: freshness of `poller run`",
    )


def late_seconds(seen: Seen) -> float:
    """How late, at least, an activity was shown that stands on a later page and not on the newest one asked before; 0: none was."""
    newest = seen.get("descending")
    entries = page(seen, "descending")
    if newest is None or newest.server_time is None or direction(entries) != "descending":
        return 0.0
    known = {entry.id for entry in entries}
    names = list(seen)
    later = [entry for name in names[names.index("descending") + 1 :] if name != "unknown_customer" for entry in page(seen, name)]
    missing = [entry for entry in later if entry.id not in known and entry.at_ms > entries[-1].at_ms]
    return max((seconds for entry in missing if (seconds := newest.server_time - entry.at_ms / 1000) >= 1), default=0.0)


# ------------------------------------------------------------------------------------------------------------ settings


def _advice(asked: Asked, found: Mapping[str, str | None]) -> Iterator[Advice]:
    yield from _endpoint_advice(asked, found)
    if found["lateness"] is not None and float(found["lateness"].removesuffix(" s")) * 2 > asked.lookback_seconds:
        yield Advice(
            "POLLER_LOOKBACK_SECONDS",
            f"raise it well above the {found['lateness']} that an activity came late: it is {asked.lookback_seconds:g}",
        )
    if found["longest_page"] is not None and int(found["longest_page"]) < PAGE_ACTIVITIES_MAX:
        yield Advice(
            "POLLER_CALLS_PER_MINUTE", f"pages hold {found['longest_page']} activities at most: a backfill takes so many more calls"
        )
    if found["date"] is not None and found["date"] != "absent" and abs(float(found["date"].removesuffix(" s"))) > CLOCK_SECONDS_MAX:
        yield Advice(
            "(this host's clock)", f"set it: the server's differs by {found['date']}; the cursor stays right, freshness would be wrong"
        )
    if found["unknown_customer"] == "empty":
        yield Advice("POLLER_CUSTOMERS", "a misspelt id gets an empty list and no error: check the ids")


def _endpoint_advice(asked: Asked, found: Mapping[str, str | None]) -> Iterator[Advice]:
    setting, other = "POLLER_VOUCHERIFY_ENDPOINT", OTHER_ENDPOINT[asked.endpoint]
    faults = [
        fault
        for fault, holds in (
            ("order is ignored, newest first", found["order"] == "newest_first"),
            ("start_date is ignored", found["start_date"] == "ignored"),
        )
        if holds
    ]
    if faults:
        yield Advice(
            setting,
            f"this endpoint cannot be followed: {' and '.join(faults)}"
            + (f"; probe `{other}`" if found["other_endpoint"] == "yes" else ""),
        )
    elif found["ending"] not in {None, "none"}:
        yield Advice(
            setting,
            f"`{asked.endpoint}` announces its end: "
            + (f"probe `{other}`, and move" if found["other_endpoint"] == "yes" else f"`{other}` does not answer here"),
        )
    elif found["order"] in {"honoured", "oldest_first"} and found["start_date"] is not None:
        yield Advice(setting, f"`{asked.endpoint}` can be followed")
    else:
        yield Advice(setting, f"not known whether `{asked.endpoint}` can be followed: probe a customer with more activities")


def quota_advice(asked: Asked, seen: Seen) -> Iterator[Advice]:
    said = _header(seen, "x-rate-limit-limit")
    if said is not None and re.fullmatch(r"\d{1,10}", said):
        verb = "is above it: lower it" if asked.calls_per_minute > int(said) else "is within it, if the window is a minute"
        yield Advice(
            "POLLER_CALLS_PER_MINUTE",
            f"the quota is {said} calls in a window whose length is not told; {asked.calls_per_minute:g} a minute {verb}; other clients spend from it, too",
        )
