"""What is asked of the simulator itself, under /simulator; no credentials, no quota: it listens on loopback.

GET  /simulator/state                        who and how much, as it stands
GET  /simulator/customers                    the ids to watch, one a line
GET  /simulator/truth                        what must be in the topics (lookback_seconds, start, by, raw=1); POST: the same as JSON, `start` also by customer
GET  /simulator/calls                        every call's arrival (since, window_seconds)
GET  /simulator/activities/{customer}/{id}   one activity's bytes as sent
POST /simulator/freeze                       nothing is created from now on
POST /simulator/erase/{customer}             the customer and its activities are gone
POST /simulator/revoke                       every OAuth token issued so far is dead
POST /simulator/options                      change options that concern answers (a JSON object; `readings` may be partial)
"""

import math
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import msgspec

from poller.demo.answers import Answer, Problem, Request
from poller.demo.options import SimulatorOptions
from poller.demo.readings import parse_instant_us
from poller.demo.truth import Start

if TYPE_CHECKING:
    from poller.demo.api import Simulator

Handler = Callable[["Simulator", Request], Answer]

encode = msgspec.json.encode


class TruthRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the truth is measured by."""

    lookback_seconds: float = 300.0
    start: str | dict[str, float] = "earliest"
    """`earliest`, `first_call`, Unix seconds, an ISO 8601 date-time; or Unix seconds by customer."""
    by: float | None = None
    raw: bool = False


def control(simulator: "Simulator", request: Request) -> Answer:
    """Answer one request of /simulator."""
    route = f"{request.method} {'/'.join(request.segments[1:2])}"
    try:
        return HANDLERS[route](simulator, request) if route in HANDLERS else not_found(request)
    except (msgspec.ValidationError, msgspec.DecodeError, ValueError, TypeError) as error:
        return Problem(400, "invalid_query_params", "Invalid query params", str(error)).answer("simulator")


def not_found(request: Request) -> Answer:
    return Problem(404, "not_found", "Resource not found", f"Cannot {request.method} /{'/'.join(request.segments)}").answer("simulator")


def state(simulator: "Simulator", _request: Request) -> Answer:
    now = simulator.clock()
    activities = [activity for customer in simulator.population.customers for activity in simulator.population.activities(customer, now)]
    outcomes = [call.outcome for call in simulator.calls]
    return Answer(
        200,
        encode(
            {
                "now": now,
                "started_at": simulator.started_at,
                "frozen_at": None if math.isinf(simulator.frozen_at) else simulator.frozen_at,
                "customers": len(simulator.population.customers),
                "activities": len(activities),
                "activities_shown": sum(activity.shown_at <= now for activity in activities),
                "all_shown_at": max((activity.shown_at for activity in activities), default=now),
                "calls": len(outcomes),
                "calls_accepted": outcomes.count("accepted"),
                "calls_limited": outcomes.count("limited"),
                "statuses": {str(status): count for status, count in sorted(simulator.statuses.items())},
            }
        ),
    )


def customers(simulator: "Simulator", _request: Request) -> Answer:
    return Answer(200, "".join(f"{customer_id}\n" for customer_id in simulator.customers).encode(), b"text/plain; charset=utf-8")


def truth(simulator: "Simulator", request: Request) -> Answer:
    asked = (
        msgspec.json.decode(request.body, type=TruthRequest)
        if request.method == "POST"
        else msgspec.convert(request.parameters, TruthRequest, strict=False)
    )
    return Answer(200, encode(simulator.truth(asked.lookback_seconds, start_of(asked.start), asked.by, asked.raw)))


def start_of(start: str | dict[str, float]) -> Start:
    if isinstance(start, dict):
        return start
    if start in {"earliest", "first_call"}:
        return start  # type: ignore[return-value]
    try:
        return float(start)
    except ValueError:
        return parse_instant_us(start) / 1e6


def calls(simulator: "Simulator", request: Request) -> Answer:
    since, window_seconds = float(request.parameters.get("since", "-inf")), float(request.parameters.get("window_seconds", "60"))
    noted = [call for call in simulator.calls if call.at >= since]
    body: dict[str, Any] = {
        "now": simulator.clock(),
        "total": len(simulator.calls),
        "window_seconds": window_seconds,
        "calls_in_window_max": simulator.calls_in_window_max(window_seconds),
        "calls": noted,
    }
    return Answer(200, encode(body))


def activity(simulator: "Simulator", request: Request) -> Answer:
    customer = simulator.find(request.segments[2]) if len(request.segments) == 4 else None
    stored = simulator.population.activities(customer, simulator.clock()) if customer else ()
    found = next((activity for activity in stored if activity.id == request.segments[3]), None)
    return Answer(200, simulator.raw(customer, found)) if customer and found else not_found(request)


def freeze(simulator: "Simulator", request: Request) -> Answer:
    simulator.freeze()
    return state(simulator, request)


def erase(simulator: "Simulator", request: Request) -> Answer:
    customer_id = request.segments[2] if len(request.segments) == 3 else ""
    if simulator.find(customer_id) is None:
        return not_found(request)
    simulator.erase(customer_id)
    return state(simulator, request)


def revoke(simulator: "Simulator", request: Request) -> Answer:
    simulator.tokens.revoke_all()
    return state(simulator, request)


def options(simulator: "Simulator", request: Request) -> Answer:
    changes = msgspec.json.decode(request.body, type=dict[str, Any])
    before = asdict(simulator.options)
    unknown = sorted(changes.keys() - before.keys())
    if unknown:
        raise ValueError(f"unknown options: {', '.join(unknown)}")
    readings = {**before["readings"], **changes.get("readings", {})}
    simulator.set_options(msgspec.convert({**before, **changes, "readings": readings}, SimulatorOptions))
    return Answer(200, encode(simulator.options))


HANDLERS: dict[str, Handler] = {
    "GET state": state,
    "GET customers": customers,
    "GET truth": truth,
    "POST truth": truth,
    "GET calls": calls,
    "GET activities": activity,
    "POST freeze": freeze,
    "POST erase": erase,
    "POST revoke": revoke,
    "POST options": options,
}
