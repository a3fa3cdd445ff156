"""The API over HTTP: both endpoints, credentials, quota, errors. The clock is a number."""

import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from poller.demo.api import Simulator
from poller.demo.options import SimulatorOptions
from poller.demo.population import Population, Scripted, Visits
from poller.demo.readings import Readings, Stored
from poller.demo.transport import SimulatorTransport

pytestmark = pytest.mark.anyio

START = 1_800_000_000.0
SECOND = 1_000_000
CREDENTIALS = {"X-App-Id": "simulator-app-id", "X-App-Token": "simulator-app-token"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Clock:
    """A clock that stands where it is put."""

    now = START

    def __call__(self) -> float:
        return self.now


def activity(at: float, name: str | None = None, **fields: Any) -> Stored:
    """An activity `at` seconds after the start."""
    values: dict[str, Any] = {
        "id": name or f"a{at:g}",
        "type": "customer.created",
        "created_at_us": round((START + at) * SECOND),
        "shown_at": START + at,
    }
    return Stored(**(values | fields))


class Api:
    """A simulator with a script, and a client of it."""

    def __init__(self, client: httpx.AsyncClient, simulator: Simulator, clock: Clock) -> None:
        self.client, self.simulator, self.clock = client, simulator, clock

    async def ask(self, customer: str = "c", endpoint: str = "activities", **parameters: Any) -> httpx.Response:
        return await self.client.get(f"/v1/customers/{quote(customer, safe='')}/{endpoint}", params=parameters)

    async def ids(self, customer: str = "c", endpoint: str = "activities", **parameters: Any) -> list[str]:
        response = await self.ask(customer, endpoint, **parameters)
        assert response.status_code == 200, response.text
        return [entry["id"] for entry in response.json()["data"]]


FIVE = [activity(-at) for at in (5, 4, 3, 2, 1)]


@asynccontextmanager
async def api(activities: list[Stored] = FIVE, population: Population | None = None, **options: Any) -> AsyncIterator[Api]:
    clock = Clock()
    simulator = Simulator(SimulatorOptions(**options), clock, population or Scripted({"c": activities}))
    async with httpx.AsyncClient(transport=SimulatorTransport(simulator), base_url="http://simulator", headers=CREDENTIALS) as client:
        yield Api(client, simulator, clock)


# -- lists -------------------------------------------------------------------------------------------------------------


async def test_the_body_is_a_list_as_documented() -> None:
    async with api() as it:
        body = (await it.ask(limit=2)).json()

        assert list(body) == ["object", "data_ref", "data", "total"]
        assert (body["object"], body["data_ref"], body["total"]) == ("list", "data", 5)
        assert [entry["id"] for entry in body["data"]] == ["a-1", "a-2"]
        assert list(body["data"][0]) == ["id", "type", "data", "created_at"]


async def test_the_successor_says_whether_and_how_to_go_on() -> None:
    async with api() as it:
        first = (await it.ask(endpoint="activity", limit=4, order="created_at")).json()
        last = (await it.ask(endpoint="activity", limit=4, order="created_at", starting_after_id=first["more_starting_after"])).json()

        assert (first["total"], first["has_more"], first["more_starting_after"]) == (5, True, "a-2")
        assert (last["has_more"], last["more_starting_after"], [entry["id"] for entry in last["data"]]) == (False, None, ["a-1"])


async def test_each_parameter_of_the_predecessor_is_understood() -> None:
    special = activity(-0.5, "special", campaign_id="camp_1", campaign_type="PROMOTION", product_id="prod_1")
    instant = "2027-01-15T07:59:57.000Z"  # three seconds before the start
    async with api([*FIVE, special]) as it:
        assert await it.ids(order="created_at", start_date=instant, limit=2) == ["a-3", "a-2"]
        assert await it.ids(order="created_at", end_date=instant) == ["a-5", "a-4", "a-3"]
        assert await it.ids(order="created_at", starting_after=instant) == ["a-2", "a-1", "special"]
        assert await it.ids(order="created_at", starting_after_id="a-1") == ["special"]
        assert await it.ids(campaign_id="camp_1") == ["special"]
        assert await it.ids(campaign_type="PROMOTION") == ["special"]
        assert await it.ids(product_id="prod_1") == ["special"]


async def test_each_parameter_of_the_successor_is_understood() -> None:
    special = activity(-0.5, "special", campaign_id="camp_1", campaign_type="PROMOTION", category="EFFECT", type="customer.rewarded")
    async with api([*FIVE, special]) as it:
        assert await it.ids(endpoint="activity", category="EFFECT") == ["special"]
        assert await it.ids(endpoint="activity", type="customer.rewarded") == ["special"]
        assert await it.ids(endpoint="activity", campaign_id="camp_1") == ["special"]
        assert await it.ids(endpoint="activity", campaign_type="PROMOTION") == ["special"]
        assert await it.ids(endpoint="activity", start_date="2027-01-15T07:59:59.500Z") == ["special"]
        assert await it.ids(endpoint="activity", end_date="2027-01-15T07:59:55Z") == ["a-5"]


async def test_ten_are_listed_unless_a_limit_up_to_a_hundred_is_given() -> None:
    async with api([activity(-at) for at in range(1, 151)]) as it:
        assert [len(await it.ids()), len(await it.ids(limit=1)), len(await it.ids(limit=100))] == [10, 1, 100]


@pytest.mark.parametrize(
    ("endpoint", "name", "value"),
    [
        *(("activities", "limit", limit) for limit in ("0", "101", "-1", "ten", "1.5", "", "٣")),
        ("activities", "order", "newest"),
        ("activity", "order", "type"),
        *(("activities", name, "yesterday") for name in ("starting_after", "start_date", "end_date")),
        ("activities", "campaign_type", "NONE"),
        ("activity", "category", "NONE"),
    ],
)
async def test_a_bad_parameter_gets_a_400_that_names_it(endpoint: str, name: str, value: str) -> None:
    async with api() as it:
        response = await it.ask(endpoint=endpoint, **{name: value})
        body = response.json()

        assert response.status_code == body["code"] == 400
        assert name in body["details"]
        assert list(body) == ["code", "key", "message", "details", "request_id"]


async def test_what_an_endpoint_does_not_have_is_ignored() -> None:
    async with api() as it:
        assert len(await it.ids(endpoint="activity", starting_after="yesterday", product_id="prod_1", colour="red")) == 5


async def test_a_reading_of_the_id_cursor_can_refuse_it() -> None:
    async with api(readings=Readings(starting_after_id="refused")) as it:
        assert (await it.ask(starting_after_id="a-5")).status_code == 400


async def test_a_customer_is_found_under_both_ids_whatever_they_contain() -> None:
    async with api(population=Scripted({"a/b c?d=é%2F+#": FIVE})) as it:
        assert len(await it.ids("a/b c?d=é%2F+#")) == 5

    simulator = Simulator(SimulatorOptions(customers=3), Clock())
    async with httpx.AsyncClient(transport=SimulatorTransport(simulator), base_url="http://simulator", headers=CREDENTIALS) as client:
        for customer in simulator.population.customers:
            for name in (customer.id, customer.source_id):
                assert (await client.get(f"/v1/customers/{quote(name, safe='')}/activities")).status_code == 200


async def test_an_unknown_customer_is_a_404_that_names_it() -> None:
    async with api() as it:
        response = await it.ask("nobody")

        assert response.status_code == 404
        assert response.json() | {"request_id": "?"} == {
            "code": 404,
            "key": "not_found",
            "message": "Resource not found",
            "details": "Cannot find customer with id nobody",
            "request_id": "?",
            "resource_id": "nobody",
            "resource_type": "customer",
        }


async def test_an_unknown_customer_can_be_an_empty_list() -> None:
    async with api(readings=Readings(unknown_customer="empty")) as it:
        assert (await it.ask("nobody")).json() == {"object": "list", "data_ref": "data", "data": [], "total": 0}


async def test_an_erased_customer_is_unknown() -> None:
    async with api() as it:
        it.simulator.erase("c")

        assert (await it.ask()).status_code == 404


async def test_a_page_holds_the_activities_byte_for_byte_as_stored() -> None:
    raw = rb'{ "id":"a1" ,"type":"t","created_at":"2022-08-30T09:14:07.660Z","x":1.10,"y":"\u00e9" }'
    async with api([activity(-1, raw=raw)]) as it:
        assert raw in (await it.ask()).content


async def test_total_can_be_absent() -> None:
    async with api(readings=Readings(total="absent", has_more="absent")) as it:
        assert list((await it.ask()).json()) == list((await it.ask(endpoint="activity")).json()) == ["object", "data_ref", "data"]


async def test_the_payload_can_be_flat_nested_or_mixed() -> None:
    async def shapes(payload: Any) -> set[bool]:
        activities = [activity(-at / 1000) for at in range(1, 20)]
        async with api(activities, readings=Readings(payload=payload)) as it:
            return {"event_source" in entry["data"] for entry in (await it.ask(limit=100)).json()["data"]}

    assert [await shapes(payload) for payload in ("nested", "flat", "mixed")] == [{True}, {False}, {True, False}]


async def test_a_body_is_compressed_for_who_accepts_it_when_asked_to() -> None:
    async with api(gzip=True) as it:
        async with it.client.stream("GET", "/v1/customers/c/activities") as response:
            raw = b"".join([chunk async for chunk in response.aiter_raw()])
        plain = await it.client.get("/v1/customers/c/activities", headers={"Accept-Encoding": "identity"})

        assert response.headers["content-encoding"] == "gzip"
        assert gzip.decompress(raw) == plain.content
        assert "content-encoding" not in plain.headers


# -- routes and credentials --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers", [{"X-App-Id": "wrong"}, {"X-App-Token": "wrong"}, {"X-App-Token": ""}, {"Authorization": "Bearer wrong"}]
)
async def test_wrong_credentials_get_a_401_and_spend_nothing(headers: dict[str, str]) -> None:
    async with api() as it:
        response = await it.client.get("/v1/customers/c/activities", headers=headers)

        assert response.status_code == response.json()["code"] == 401
        assert response.json()["key"] == "unauthorized"
        assert response.headers["X-Rate-Limit-Remaining"] == "100"
        assert [call.outcome for call in it.simulator.calls] == ["unauthorized"]


@pytest.mark.parametrize(("permission", "key"), [("missing", "missing_required_permission"), ("wrong_region", "forbidden")])
async def test_missing_permission_and_wrong_region_get_a_403(permission: str, key: str) -> None:
    async with api(permission=permission) as it:
        response = await it.ask()

        assert response.status_code == response.json()["code"] == 403
        assert response.json()["key"] == key


async def test_an_exceeded_plan_gets_a_402() -> None:
    async with api(plan="exceeded") as it:
        assert (await it.ask()).status_code == 402


@pytest.mark.parametrize("status", [404, 405, 410])
async def test_an_endpoint_can_be_gone(status: int) -> None:
    async with api(endpoints="activity", endpoint_gone_status=status) as it:
        gone = await it.ask(endpoint="activities")

        assert gone.status_code == gone.json()["code"] == status
        assert "resource_type" not in gone.json()
        assert (await it.ask(endpoint="activity")).status_code == 200


async def test_another_route_or_method_is_refused() -> None:
    async with api() as it:
        assert (await it.client.get("/v1/vouchers")).status_code == 404
        assert (await it.client.post("/v1/customers")).status_code == 405
        assert (await it.client.post("/v1/customers/c/activities")).status_code == 405


async def test_a_sunset_is_announced_on_the_predecessor_only() -> None:
    async with api(sunset="Wed, 31 Dec 2031 23:59:59 GMT") as it:
        predecessor, successor = await it.ask(), await it.ask(endpoint="activity")

        assert predecessor.headers["Sunset"] == "Wed, 31 Dec 2031 23:59:59 GMT"
        assert predecessor.headers["Deprecation"] == "@1710288000"
        assert "Sunset" not in successor.headers


async def token(it: Api, **form: str) -> httpx.Response:
    return await it.client.post("/v1/oauth/token", data={"grant_type": "client_credentials", "scope": "customers"} | form)


async def test_an_oauth_token_opens_the_api_until_it_expires() -> None:
    async with api() as it:
        body = (await token(it)).json()
        headers = {"Authorization": f"Bearer {body['access_token']}", "X-App-Id": "", "X-App-Token": ""}
        statuses = []
        for it.clock.now in (START, START + 899, START + 900):
            statuses.append((await it.client.get("/v1/customers/c/activities", headers=headers)).status_code)

        assert body | {"access_token": "?"} == {
            "access_token": "?",
            "client_id": "simulator-app-id",
            "expires_at": int(START) + 900,
            "expires_in": 900,
            "scope": "customers",
            "token_type": "Bearer",
        }
        assert statuses == [200, 200, 401]


async def test_an_oauth_request_is_checked_and_spends_a_call() -> None:
    async with api() as it:
        assert (await token(it, scope="everything")).json()["key"] == "invalid_scope"
        assert (await token(it, grant_type="password")).json()["key"] == "invalid_grant_type"
        assert (await it.client.post("/v1/oauth/token", headers={"X-App-Token": "wrong"})).status_code == 401
        assert (await token(it)).headers["X-Rate-Limit-Remaining"] == "97"


async def test_tokens_can_be_revoked_and_the_oldest_of_too_many_dies() -> None:
    async with api() as it:
        tokens = [it.simulator.tokens.issue(START + 900) for _ in range(1_001)]
        alive = [it.simulator.tokens.valid(name, START) for name in tokens]
        it.simulator.tokens.revoke_all()

        assert alive == [False] + [True] * 1_000
        assert not it.simulator.tokens.valid(tokens[-1], START)


# -- quota, dates, errors ----------------------------------------------------------------------------------------------


def quota(response: httpx.Response) -> tuple[str, str, str]:
    return tuple(response.headers[f"X-Rate-Limit-{name}"] for name in ("Limit", "Remaining", "Retry"))  # type: ignore[return-value]


async def test_every_response_says_what_is_left_of_the_quota() -> None:
    async with api(calls_per_window=3) as it:
        responses = [await it.ask(), await it.ask("nobody"), await it.ask(limit=0)]

        assert [response.status_code for response in responses] == [200, 404, 400]
        assert [quota(response) for response in responses] == [
            ("3", "2", "1800000000"),
            ("3", "1", "1800000000"),
            ("3", "0", "1800000060"),
        ]


async def test_a_call_too_many_gets_a_429_with_type_and_time() -> None:
    async with api(calls_per_window=1) as it:
        await it.ask()
        it.clock.now += 12.5
        response = await it.ask()

        assert response.status_code == response.json()["code"] == 429
        assert response.json()["message"] == "Too many requests hit the API too quickly."
        assert response.headers["X-Rate-Limit-Type"] == "api_calls"
        assert response.headers["Retry-After"] == "48"
        assert quota(response) == ("1", "0", "1800000060")
        assert [call.outcome for call in it.simulator.calls] == ["accepted", "limited"]


async def test_calls_are_granted_again_after_the_window() -> None:
    async with api(calls_per_window=1) as it:
        statuses = []
        for seconds in (0, 59.9, 60):
            it.clock.now = START + seconds
            statuses.append((await it.ask()).status_code)

        assert statuses == [200, 429, 200]


async def test_a_cycle_used_up_gets_a_429_until_the_cycle_ends() -> None:
    async with api(calls_per_cycle=1, cycle_seconds=2_592_000) as it:
        await it.ask()
        response = await it.ask()

        assert response.status_code == 429
        assert response.headers["X-Rate-Limit-Type"] == "api_calls_cycle"
        assert response.headers["Retry-After"] == "2592000"
        assert response.headers["X-Rate-Limit-Retry"] == str(int(START) + 2_592_000)
        assert response.headers["X-Rate-Limit-Remaining"] == "99"


async def test_the_code_of_a_429_can_be_text() -> None:
    async with api(calls_per_window=0, readings=Readings(limited_code="text")) as it:
        assert (await it.ask()).json()["code"] == "429"


async def test_quota_headers_and_date_can_be_absent() -> None:
    async with api(quota_headers=False, readings=Readings(date="absent")) as it:
        assert set((await it.ask()).headers) == {"content-type", "content-length"}


@pytest.mark.parametrize(("offset", "expected"), [(0.0, "Fri, 15 Jan 2027 08:00:00 GMT"), (-3600.0, "Fri, 15 Jan 2027 07:00:00 GMT")])
async def test_the_date_may_be_off(offset: float, expected: str) -> None:
    async with api(readings=Readings(date_offset_seconds=offset)) as it:
        assert (await it.ask()).headers["Date"] == expected


async def test_every_request_has_its_own_id_and_a_seed_repeats_them() -> None:
    async def request_ids() -> list[str]:
        async with api() as it:
            return [(await it.ask("nobody")).json()["request_id"] for _ in range(3)]

    assert await request_ids() == await request_ids()
    assert len(set(await request_ids())) == 3


# -- what a judge asks -------------------------------------------------------------------------------------------------


async def test_the_calls_can_be_asked_for() -> None:
    async with api(calls_per_window=2) as it:
        for it.clock.now in (START, START + 30, START + 31, START + 90):
            await it.ask()
        body: dict[str, Any] = (await it.client.get("/simulator/calls", params={"since": START + 30})).json()

        assert body == {
            "now": START + 90,
            "total": 4,
            "window_seconds": 60.0,
            "calls_in_window_max": 3,
            "calls": [
                {"at": START + 30, "outcome": "accepted", "customer": "c"},
                {"at": START + 31, "outcome": "limited", "customer": "c"},
                {"at": START + 90, "outcome": "accepted", "customer": "c"},
            ],
        }


async def test_the_state_and_the_customers_can_be_asked_for() -> None:
    async with api([*FIVE, activity(-1, "late", shown_at=START + 5)]) as it:
        await it.ask()
        state = (await it.client.get("/simulator/state")).json()

        assert (await it.client.get("/simulator/customers")).text == "c\n"
        assert state == {
            "now": START,
            "started_at": START,
            "frozen_at": None,
            "customers": 1,
            "activities": 6,
            "activities_shown": 5,
            "all_shown_at": START + 5,
            "calls": 1,
            "calls_accepted": 1,
            "calls_limited": 0,
            "statuses": {"200": 1},
        }


async def test_the_bytes_of_one_activity_can_be_asked_for() -> None:
    async with api() as it:
        sent = (await it.client.get("/simulator/activities/c/a-3")).content

        assert json.loads(sent)["id"] == "a-3"
        assert sent in (await it.ask()).content
        assert (await it.client.get("/simulator/activities/c/none")).status_code == 404


async def test_freezing_and_erasing_can_be_asked_for() -> None:
    async with api([*FIVE, activity(5)]) as it:
        assert (await it.client.post("/simulator/freeze")).json()["frozen_at"] == START
        it.clock.now += 10
        assert "a5" not in await it.ids()
        assert (await it.client.post("/simulator/erase/c")).status_code == 200
        assert (await it.client.post("/simulator/erase/c")).status_code == 404
        assert (await it.ask()).status_code == 404


REFUSED_OPTIONS: tuple[Any, ...] = ({"colour": "red"}, {"readings": {"ties": "loose"}}, [], {"error_rate": 2})


async def test_options_can_be_changed_while_it_runs_and_are_checked() -> None:
    async with api() as it:
        changed = await it.client.post("/simulator/options", json={"error_rate": 1, "readings": {"ties": "unstable"}})
        refused = [await it.client.post("/simulator/options", json=body) for body in REFUSED_OPTIONS]

        assert (changed.json()["error_rate"], changed.json()["readings"]["ties"], changed.json()["readings"]["total"]) == (
            1,
            "unstable",
            "right",
        )
        assert (await it.ask()).status_code in {500, 502, 503}
        assert [response.status_code for response in refused] == [400] * 4
        assert it.simulator.options.readings.ties == "unstable"


async def test_what_is_asked_of_the_simulator_itself_spends_nothing() -> None:
    async with api() as it:
        assert (await it.client.get("/simulator/nothing")).status_code == 404
        await it.client.get("/simulator/state", headers={"X-App-Id": ""})

        assert not it.simulator.calls
        assert repr(it.simulator) == "<Simulator 1 customers, 0 calls, seed 1>"


# The change feed.


async def test_customers_are_listed_by_when_an_activity_moved_their_updated_at() -> None:
    script = {name: [activity(at)] for name, at in (("early", 0.0), ("late", 10.0), ("idle", 1e6))}
    async with api(population=Scripted(script), update_rate=1.0, update_seconds=13.0) as it:
        it.clock.now = START + 12
        nothing = (await it.client.get("/v1/customers", params={"order": "updated_at"})).json()
        it.clock.now = START + 30
        both = (await it.client.get("/v1/customers", params={"order": "updated_at"})).json()
        since = both["customers"][0]["updated_at"]
        one = (await it.client.get("/v1/customers", params={"order": "updated_at", "starting_after": since})).json()

    assert nothing == {"object": "list", "data_ref": "customers", "customers": [], "total": 0}
    assert [entry["id"] for entry in both["customers"]] == ["early", "late"]
    assert [entry["id"] for entry in one["customers"]] == ["late"]


async def test_only_some_types_of_activities_move_it() -> None:
    async with api([activity(0.0)], update_rate=0.0) as it:
        it.clock.now = START + 100

        assert (await it.client.get("/v1/customers")).json()["customers"] == []


# The list of customers.


async def test_customers_are_listed_in_the_order_of_their_creation_and_not_before_it() -> None:
    options: dict[str, Any] = {"customers": 5, "arriving_customers": 2, "arriving_seconds": 100.0}
    async with api(population=Visits(SimulatorOptions(**options), START)) as it:
        first = (await it.client.get("/v1/customers", params={"order": "created_at"})).json()["customers"]
        there = [customer.id for customer in it.simulator.population.customers]
        unknown = await it.client.get(f"/v1/customers/{there[4]}/activities")
        it.clock.now += 100
        after = {"order": "created_at", "starting_after": first[1]["created_at"]}
        rest = (await it.client.get("/v1/customers", params=after)).json()["customers"]
        known = await it.client.get(f"/v1/customers/{there[4]}/activities")

    assert [one["id"] for one in first] == there[:3]
    assert [one["id"] for one in rest] == there[2:]
    assert (unknown.status_code, known.status_code) == (404, 200)
    assert {one["metadata"]["tier"] for one in first} <= {"bronze", "silver", "gold"}


async def test_nobody_acts_before_they_are_created() -> None:
    options: dict[str, Any] = {"customers": 2, "arriving_customers": 1, "arriving_seconds": 600.0, "activities_per_customer_minute": 10.0}
    async with api(population=Visits(SimulatorOptions(**options), START)) as it:
        it.clock.now += 900
        old, new = it.simulator.population.customers
        acted = {customer.id: it.simulator.population.activities(customer, it.clock.now) for customer in (old, new)}

    assert acted[old.id][0].created_at_us < new.created_at_us <= acted[new.id][0].created_at_us
