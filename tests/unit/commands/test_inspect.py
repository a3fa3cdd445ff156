"""What `poller inspect` says of a customer in each situation, and whom it asks."""

import socket
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest

from poller.admin.http import make_app
from poller.cli import run_command
from poller.commands.inspect import Inspected, admin_url, as_json, ask, lines
from poller.config import KafkaSettings, Whereabouts
from poller.core.standing import Standing
from poller.kafka.lookup import LookedUp
from poller.model import PLAIN, Checkpoint, CustomerId, Replay, Rewind, WatchEntry
from tests.support.admin import Process, direct_client_of
from tests.support.builders import ownership

NOW = 1_700_000_000.0
CUSTOMER = CustomerId("jane doe/ü@example.com")
OWNED = ownership(partitions=4, owner="pod-7/31")
READ = Checkpoint(cursor_ms=1_699_999_700_000, recent={"evcus_1": 1_699_999_800_000}, last_read=NOW - 12)


def looked_up(**fields: Any) -> LookedUp:
    plausible: dict[str, Any] = {
        "partition": 3,
        "partitions": 4,
        "checkpoint": READ,
        "written_at": NOW - 12,
        "ownership": OWNED,
        "owned_at": NOW - 2,
    }
    return LookedUp(**(plausible | fields))


def standing(**fields: Any) -> Standing:
    plausible: dict[str, Any] = {"partition": 3, "owner": "pod-7/31", "state": "waits"}
    return Standing(**(plausible | fields))


def found(log: LookedUp | None = None, live: Standing | None = None, **fields: Any) -> Inspected:
    plausible: dict[str, Any] = {"customer": CUSTOMER, "at": NOW, "watched": True, "live_unknown": None if live else "nobody answers"}
    return Inspected(log=log or looked_up(), live=live, **(plausible | fields))


def said(of: Inspected) -> dict[str, str]:
    return dict(lines(of))


def test_what_is_committed_is_told_in_words_and_with_its_age() -> None:
    live = standing(calls_before=2, next_call_at=NOW + 180)

    assert said(found(live=live)) == {
        "customer": CUSTOMER,
        "watched": "yes",
        "partition": "3 of 4 (owner pod-7/31, which committed 2.0 s ago)",
        "checkpoint": "committed 12.0 s ago",
        "last read": "2023-11-14T22:13:08.000Z (12.0 s ago)",
        "cursor": "2023-11-14T22:08:20.000Z (5.0 min ago): everything created before is published",
        "recent ids": "1: evcus_1 (2023-11-14T22:10:00.000Z)",
        "now": "waits, at pod-7/31",
        "next call": "in about 3.0 min, by the budget's pace (2 calls come before)",
        "failures": "none",
    }


def test_a_customer_without_a_checkpoint_was_never_read() -> None:
    said_of = said(found(looked_up(checkpoint=None, written_at=None, ownership=None, owned_at=None)))

    assert said_of["partition"] == "3 of 4 (nobody has owned it yet)"
    assert said_of["checkpoint"] == "none: it was never read, and begins as POLLER_START says"
    assert said_of["next call, errors"] == "not known here: nobody answers"


def test_who_is_watched_by_nobody_will_never_begin() -> None:
    never = looked_up(checkpoint=None, written_at=None)

    assert said(found(never, standing(state="not watched")))["checkpoint"] == "none: it was never read"


def test_an_owner_of_this_host_that_does_not_answer_has_ended() -> None:
    ended = msgspec.structs.replace(OWNED, owner=f"{socket.gethostname()}/31")

    assert "it has ended, or its admin server listens elsewhere" in said(found(looked_up(ownership=ended)))["next call, errors"]


def test_an_address_without_a_scheme_is_refused_before_anything_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["inspect", "c", "--admin", "127.0.0.1:8080"]) == 2
    assert "should be a URL" in capsys.readouterr().err


def test_a_first_read_that_is_not_complete_says_what_it_stands_on() -> None:
    begun = Checkpoint(cursor_ms=0, baseline_ms=1_699_999_999_000, stepped_ms=1_699_999_998_000)
    said_of = said(found(looked_up(checkpoint=begun)))

    assert said_of["last read"] == "never to the end yet"
    assert said_of["cursor"] == "at the beginning: nothing is taken as published"
    assert said_of["recent ids"] == "0"
    assert said_of["baseline"].startswith("2023-11-14T22:13:19.000Z")
    assert said_of["stepped over"].startswith("2023-11-14T22:13:18.000Z")


def test_of_many_recent_ids_the_newest_are_named_and_the_others_counted() -> None:
    many = {f"a{number}": number for number in range(25)}
    line = said(found(looked_up(checkpoint=Checkpoint(cursor_ms=1, recent=many))))["recent ids"]

    assert line.startswith("25: a24 (1970-01-01T00:00:00.024Z), a23")
    assert line.endswith(", and 15 older")


def test_a_failing_customer_says_why_and_until_when_it_is_left_alone() -> None:
    live = standing(due=NOW + 60, next_call_at=NOW + 60, calls_before=1, failures=2, error="Voucherify does not know this customer")
    said_of = said(found(live=live))

    assert said_of["failures"] == "2 in a row; the last: Voucherify does not know this customer"
    assert said_of["next call"] == "in about 60.0 s, by the budget's pace (1 call comes before; left alone until 2023-11-14T22:14:20.000Z)"


def test_while_all_calls_are_paused_it_says_until_when_and_why() -> None:
    live = standing(paused_until=NOW + 9, paused_why="Voucherify's quota is used up", next_call_at=NOW + 9, calls_before=0)

    assert said(found(live=live))["calls paused"] == "until 2023-11-14T22:13:29.000Z: Voucherify's quota is used up"


@pytest.mark.parametrize(
    ("live", "line"),
    [
        (standing(state="in flight"), "under way"),
        (
            standing(state="not watched"),
            "none: nobody watches it: `poller watch add` it, or name it in POLLER_CUSTOMERS or POLLER_CUSTOMERS_FILE",
        ),
        (standing(state="paused"), "none: its watch entry says that it is paused"),
        (standing(state="ended"), "none: it is read as far as its watch entry says (`until`)"),
        (standing(state="awaits its commit"), "not known"),
        (standing(state="waits", calls_before=3), "not before the budget has calls again"),
    ],
)
def test_the_next_call_is_told_as_far_as_it_is_known(live: Standing, line: str) -> None:
    assert said(found(live=live))["next call"] == line


def test_a_replica_that_stands_by_says_where_to_ask() -> None:
    line = said(found(live=standing(state="not owned", owner="pod-8/5")))["next call, errors"]

    assert line.startswith("not known here: pod-8/5 does not own partition 3. Its owner knows:")
    assert "kubectl exec pod-7 -- poller inspect" in line


@pytest.mark.parametrize(("watched", "line"), [(None, "not known: the settings here name nobody"), (False, "not by the settings here")])
def test_whether_it_is_watched_is_told_as_far_as_the_settings_tell(watched: bool | None, line: str) -> None:
    assert said(found(watched=watched))["watched"] == line


def test_who_names_it_and_how_it_is_watched_is_told_by_the_process_that_was_asked() -> None:
    paused = standing(sources=("topic", "setting"), entry=WatchEntry(paused=True), state="paused")
    bare = standing(sources=("file",), entry=PLAIN)

    assert [said(found(live=live, watched=None))["watched"] for live in (paused, bare)] == [
        'yes: by the watch topic and POLLER_CUSTOMERS, with {"paused":true}',
        "yes: by POLLER_CUSTOMERS_FILE",
    ]
    assert as_json(found(live=paused))["live"]["entry"] == {"paused": True}


def test_an_instant_ahead_of_this_clock_says_so() -> None:
    assert said(found(looked_up(owned_at=NOW + 3)))["partition"].endswith("committed 3.0 s ahead of the clock here)")


def test_instants_that_no_date_can_say_are_told_in_milliseconds() -> None:
    beyond = Checkpoint(cursor_ms=1, recent={"a": 10**15})
    of = found(looked_up(checkpoint=beyond))

    assert said(of)["recent ids"] == "1: a (1000000000000000)"
    assert as_json(of)["checkpoint"]["recent"] == {"a": 10**15}


def test_a_replay_is_told_while_it_is_under_way_and_when_it_is_done() -> None:
    under_way = Checkpoint(1_000, replay=Replay(Rewind("r1", 500, missing_only=True), 2_000), replayed="r1")
    whole = msgspec.structs.replace(under_way, replay=Replay(Rewind("r1", 500), 2_000))
    done = Checkpoint(1_000, replayed="r1")
    began, reached = "1970-01-01T00:00:00.500Z", "has come to 1970-01-01T00:00:01.000Z, and goes on to 1970-01-01T00:00:02.000Z"

    assert [said(found(looked_up(checkpoint=one)))["replay"] for one in (under_way, whole, done)] == [
        f"r1: under way: publishes again what is missing since {began}, {reached}",
        f"r1: under way: publishes again everything since {began}, {reached}",
        "r1: done",
    ]
    assert as_json(found(looked_up(checkpoint=under_way)))["checkpoint"]["replay"] == {
        "id": "r1",
        "from": began,
        "until": "1970-01-01T00:00:02.000Z",
        "missing_only": True,
    }


def test_as_json_it_is_the_same_as_values() -> None:
    live = standing(next_call_at=NOW + 1, calls_before=0)

    assert as_json(found(live=live)) == {
        "customer": CUSTOMER,
        "at": "2023-11-14T22:13:20.000Z",
        "watched": True,
        "partition": 3,
        "partitions": 4,
        "owner": "pod-7/31",
        "owner_committed_at": "2023-11-14T22:13:18.000Z",
        "checkpoint": {
            "committed_at": "2023-11-14T22:13:08.000Z",
            "cursor": "2023-11-14T22:08:20.000Z",
            "last_read": "2023-11-14T22:13:08.000Z",
            "recent": {"evcus_1": "2023-11-14T22:10:00.000Z"},
            "baseline": None,
            "stepped": None,
            "deleted": None,
            "retired": None,
            "unwatched": None,
            "replay": None,
            "replayed": None,
        },
        "live": {
            "partition": 3,
            "owner": "pod-7/31",
            "state": "waits",
            "sources": (),
            "entry": None,
            "due": None,
            "calls_before": 0,
            "next_call_at": "2023-11-14T22:13:21.000Z",
            "failures": 0,
            "error": "",
            "paused_until": None,
            "paused_why": "",
        },
        "live_unknown": None,
    }


def test_without_anything_the_json_says_null() -> None:
    nothing = as_json(found(looked_up(checkpoint=None, written_at=None, ownership=None, owned_at=None), watched=None))

    assert {name for name, value in nothing.items() if value is None} == {"watched", "owner", "owner_committed_at", "checkpoint", "live"}


# Whom it asks.


def where(host: str, port: int) -> Whereabouts:
    return Whereabouts(KafkaSettings(bootstrap_servers="k:9092"), host, port, None)


@pytest.mark.parametrize(
    ("host", "port", "url"),
    [
        ("127.0.0.1", 8080, "http://127.0.0.1:8080"),
        ("0.0.0.0", 81, "http://127.0.0.1:81"),
        ("::", 81, "http://[::1]:81"),
        ("10.0.0.7", 0, None),
    ],
)
def test_an_admin_server_on_every_address_is_asked_on_this_machine(host: str, port: int, url: str | None) -> None:
    assert admin_url(where(host, port)) == url


class Refusing(httpx.AsyncBaseTransport):
    def __init__(self, answer: httpx.Response | None) -> None:
        self._answer = answer

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._answer is None:
            raise httpx.ConnectError("refused", request=request)
        return self._answer


def answers() -> Iterator[tuple[httpx.Response | None, str]]:
    yield None, "nobody answers at http://h (ConnectError)"
    yield httpx.Response(404, json={"error": "Not Found"}), "what answers at http://h is no poller of this version"
    yield httpx.Response(200, html="<h1>It works</h1>"), "what answers at http://h is no poller of this version"
    yield httpx.Response(200, json={"state": "waits"}), "what answers at http://h is no poller of this version"
    yield httpx.Response(200, content=b"x" * 1_000_000), "what answers at http://h is no poller of this version"
    yield (
        httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b"no gzip")),
        "what answers at http://h is no poller of this version",
    )


@pytest.mark.anyio
@pytest.mark.parametrize(("answer", "why"), list(answers()))
async def test_an_admin_server_that_cannot_tell_is_no_failure(answer: httpx.Response | None, why: str) -> None:
    assert await ask("http://h", CUSTOMER, Refusing(answer)) == (None, why)


@pytest.mark.anyio
async def test_without_an_admin_server_nobody_is_asked() -> None:
    assert await ask(None, CUSTOMER) == (None, "POLLER_ADMIN_PORT=0: there is no admin server to ask")


@pytest.mark.anyio
async def test_the_admin_server_is_asked_for_the_very_id() -> None:
    found, why = await ask("http://localhost", CUSTOMER, httpx.ASGITransport(make_app(Process().admin())))

    assert found is not None
    assert (found.owner, why) == (CUSTOMER, None)


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["", "a%00b"])
async def test_an_id_that_cannot_be_is_refused(path: str) -> None:
    async with direct_client_of(Process()) as client:
        answer = await client.get(f"/customers/{path}")

    assert answer.status_code == 400
    assert answer.json()["error"].startswith("this id ")
