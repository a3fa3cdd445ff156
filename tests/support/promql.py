"""What an expression in PromQL asks for, as far as can be told without a parser of it: metrics, matchers and grouping labels; and what of it cannot be.

A metric or a label that does not exist is no error to Prometheus: the alert keeps silent for ever, and the panel is empty. So every name is compared with
the table in `poller/telemetry.py`, and every value of a label with the values that it can have.
"""

import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from poller.metrics import Metric
from poller.telemetry import METRICS

TARGET_LABELS = frozenset({"namespace", "job", "pod", "instance"})
"""What Prometheus adds: a PodMonitor all of them, a static configuration the second and the last."""

OF_THE_PROCESS = frozenset({"process_cpu_seconds_total", "process_resident_memory_bytes", "process_start_time_seconds"})
"""What prometheus-client shows beside the table."""

OF_ALERTS = {"ALERTS": frozenset({"alertname", "alertstate", "severity"})}
KEYWORDS = frozenset({"and", "or", "unless", "offset", "bool", "inf", "nan"})

STRING = r'"(?:[^"\\]|\\.)*"'
MATCHER = re.compile(rf"\s*([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*({STRING})\s*")
GROUPING = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
BRACES = rf"\{{(?:{STRING}|[^\"}}])*\}}"
SELECTOR = re.compile(rf"(?<![\w.$])([a-zA-Z_:][\w:]*)\s*({BRACES})?(?!\s*\(|[\w:])")
RANGE = re.compile(r"\[[^\]]*\]")


class Selector(NamedTuple):
    metric: str
    matchers: tuple[tuple[str, str, str], ...]
    """Label, operator, value."""


def selectors(expression: str) -> list[Selector]:
    """Each metric that is asked for, with its matchers."""
    bare = re.sub(r"\boffset\s+\w+", "", RANGE.sub("", GROUPING.sub("", expression)))
    found = []
    for name, braces in SELECTOR.findall(_without_free_strings(bare)):
        if name.lower() not in KEYWORDS:
            matchers = tuple((label, operator, value[1:-1]) for label, operator, value in MATCHER.findall(braces))
            found.append(Selector(name, matchers))
    return found


def grouped(expression: str) -> set[str]:
    """Labels that it groups or matches by."""
    return {label.strip() for _, labels in GROUPING.findall(expression) for label in labels.split(",") if label.strip()}


def made(expression: str) -> set[str]:
    """Labels that it makes of others."""
    return set(re.findall(rf'"([a-zA-Z_]\w*)"\s*,\s*"\$\d"\s*,\s*{STRING}', expression))


def faults(expression: str, recorded: Mapping[str, AbstractSet[str]] = {}) -> list[str]:
    """What can never be true of it. `recorded`: labels of the series that rules record, by name."""
    found, known = [], set(TARGET_LABELS) | made(expression)
    asked = selectors(expression)
    for selector in asked:
        labels = labels_of(selector.metric, recorded)
        if labels is None:
            found.append(f"no such metric: {selector.metric}")
        else:
            known |= labels.keys()
            found += _matcher_faults(selector, labels)
    found += [f"no metric of it has the label {label}" for label in sorted(grouped(expression) - known)]
    return found if asked else [*found, "it asks for no metric"]


def labels_of(name: str, recorded: Mapping[str, AbstractSet[str]] = {}) -> dict[str, tuple[str, ...]] | None:
    """Its labels, with the values that each may have; without any: whatever it is. `None`: no such series."""
    free: dict[str, tuple[str, ...]] = dict.fromkeys(TARGET_LABELS, ())
    if name in OF_THE_PROCESS:
        return free
    for others in (recorded, OF_ALERTS):
        if name in others:
            return free | dict.fromkeys(others[name], ())
    metric, part = _metric(name)
    if metric is None or (metric.kind == "histogram") is not bool(part):
        return None
    return (
        free | {label: tuple(filter(None, values)) for label, values in metric.labels.items()} | ({"le": ()} if part == "_bucket" else {})
    )


def _metric(name: str) -> tuple[Metric | None, str]:
    """That of the table, and which part of a histogram is meant."""
    part = next((end for end in ("_bucket", "_sum", "_count") if name.endswith(end) and name.removesuffix(end) in METRICS), "")
    return METRICS.get(name.removesuffix(part)), part


def _matcher_faults(selector: Selector, labels: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    for label, operator, value in selector.matchers:
        if label not in labels:
            yield f"{selector.metric} has no label {label}"
        elif labels[label]:
            wanted = value.split("|") if operator.endswith("~") else [value]
            yield from (f"{selector.metric} is never {label}={one}" for one in wanted if one not in labels[label])


def _without_free_strings(expression: str) -> str:
    """Strings outside of braces are arguments of functions."""
    return re.sub(rf"({BRACES})|{STRING}", lambda found: found[1] or " ", expression)
