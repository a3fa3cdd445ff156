"""Every type that the documentation names, others that occur, and everything odd that an entry or an answer may be: through the client, the
engine and the log, what is an activity is published as it was sent, what is none is a dead letter, and no neighbour of either is lost.
"""

import json
from typing import Any, Literal

import anyio
import httpx
import pytest

from poller.config import VoucherifySettings
from poller.core.engine import Engine
from poller.core.policy import Policy
from poller.demo.api import Simulator
from poller.demo.options import SimulatorOptions
from poller.demo.payloads import TYPES, UNDOCUMENTED_TYPES
from poller.demo.population import Scripted
from poller.demo.readings import Readings, Stored, format_instant
from poller.demo.transport import SimulatorTransport
from poller.journal import Journal
from poller.kafka.memory import MemoryKafka, MemoryLog
from poller.kafka.record import Record
from poller.model import Activity, CustomerId
from poller.secret import Secret
from poller.telemetry import Telemetry
from poller.voucherify.client import VoucherifySource
from poller.worker import Worker
from tests.support.builders import order
from tests.support.virtual_time import pass_time, run_in_virtual_time
from tests.support.world import Told

EVERY_TYPE = (*TYPES, *UNDOCUMENTED_TYPES, "customer.of.a.kind.yet.unknown")
START = 1_800_000_000.0
CUSTOMER = CustomerId("cust_1")
URL = "http://simulator.invalid"
SECOND_US = 1_000_000

Endpoint = Literal["activities", "activity"]
Shape = Literal["nested", "flat"]


# -------------------------------------------------------------------------------------------------------- every type


def stored(index: int, type: str) -> Stored:
    return Stored(
        id=f"event_{index:03}" if index % 7 == 0 else f"evcus_{index:018x}",
        type=type,
        created_at_us=SECOND_US * (index + 1),
        shown_at=0,
        group_id="v-1f",
    )


def simulator(shape: Shape) -> Simulator:
    population = Scripted({CUSTOMER: [stored(index, type) for index, type in enumerate(EVERY_TYPE)]})
    return Simulator(SimulatorOptions(readings=Readings(payload=shape)), lambda: START, population)


def settings(endpoint: Endpoint) -> VoucherifySettings:
    return VoucherifySettings(url=URL, endpoint=endpoint, app_id=Secret("simulator-app-id"), app_token=Secret("simulator-app-token"))


async def read(api: Simulator, endpoint: Endpoint) -> list[Activity]:
    """All of the customer's activities, which fit on one page."""
    async with VoucherifySource(settings(endpoint), SimulatorTransport(api)) as source:
        page = source.decode(await source.fetch(order(CUSTOMER, START)))
    return [entry for entry in page.entries if isinstance(entry, Activity)]


@pytest.mark.parametrize("endpoint", ["activities", "activity"])
@pytest.mark.parametrize("shape", ["nested", "flat"])
def test_every_type_is_read_byte_for_byte(shape: Shape, endpoint: Endpoint) -> None:
    api = simulator(shape)
    (customer,) = api.population.customers

    found = run_in_virtual_time(read, api, endpoint)

    assert len(EVERY_TYPE) == 74 + 4
    assert [(one.id, one.type, one.created_at_ms, one.raw) for one in found] == [
        (one.id, one.type, one.created_at_ms, api.raw(customer, one)) for one in api.population.activities(customer, START)
    ]


@pytest.mark.parametrize("endpoint", ["activities", "activity"])
@pytest.mark.parametrize("shape", ["nested", "flat"])
def test_every_type_is_published_byte_for_byte_under_its_own_name(shape: Shape, endpoint: Endpoint) -> None:
    api = simulator(shape)
    (customer,) = api.population.customers

    published, letters = run_in_virtual_time(publish, SimulatorTransport(api), endpoint)

    assert [(one.key.decode(), one.value) for one in published] == [
        (one.type, api.raw(customer, one)) for one in api.population.activities(customer, START)
    ]
    assert letters == []


async def publish(transport: httpx.AsyncBaseTransport, endpoint: Endpoint) -> tuple[list[Record], list[Record]]:
    """What the whole program makes of the customer in some calls: activities and dead letters."""
    kafka = MemoryKafka()

    def clock() -> float:
        return START + anyio.current_time()

    engine = Engine(Policy(start="earliest", endpoint=endpoint))
    engine.watch([CUSTOMER])
    async with VoucherifySource(settings(endpoint), transport) as source, anyio.create_task_group() as tasks:
        worker = Worker(engine, source, MemoryLog(kafka, clock, source_url=URL), clock, Journal(Telemetry(Told())))
        tasks.start_soon(worker.run)
        await pass_time(10)
        worker.drain()
    return kafka.read_committed("activities"), kafka.read_committed("dead_letters")


# -------------------------------------------------------------------------------------------------------- odd entries

AT = "2022-08-30T09:14:07.660Z"
HEAD = b'"id":"%s","type":"customer.order.paid","created_at":"2022-08-30T09:14:07.660Z"'


def whole(rest: bytes, id: bytes = b"evcus_1") -> bytes:
    """An activity with more in it, as it is written."""
    return b"{" + HEAD % id + b"," + rest + b"}"


def head(**fields: Any) -> bytes:
    """An activity with another head; `...` leaves a field out."""
    values = {"id": "evcus_1", "type": "customer.order.paid", "created_at": AT} | fields
    return json.dumps({name: value for name, value in values.items() if value is not ...}, ensure_ascii=False).encode()


PUBLISHED = {
    "an id of the other kind": head(id="event_0c150c51730c6b60b1"),
    "a very long id": head(id="evcus_" + "9" * 1018),
    "an id of other scripts": head(id="Zażółć-東京-🍊"),
    "an id with spaces": head(id=" a b\tc "),
    "an id of a path": head(id="../a/b?c=d&e#f%2e%00"),
    "an id of quotes": head(id='"\\'),
    "an id of digits": head(id="0"),
    "an id that is written in escapes": whole(b'"data":{}', id=rb"evc\u0075s_\ud83c\udf4a"),
    "a type nobody has heard of": head(type="customer.of.a.kind.yet.unknown.東京"),
    "a type without a dot": head(type="x"),
    "a long type": head(type="x" * 249),
    "microseconds": head(created_at="2022-08-30T09:14:07.660123Z"),
    "an offset of nothing": head(created_at="2022-08-30T09:14:07.660+00:00"),
    "an offset": head(created_at="2022-08-30T11:14:07.660+02:00"),
    "no fraction": head(created_at="2022-08-30T09:14:07Z"),
    "a small z": head(created_at="2022-08-30T09:14:07.660z"),
    "no offset": head(created_at="2022-08-30T09:14:07.660"),
    "a leap second": head(created_at="2016-12-31T23:59:60Z"),
    "no group": head(),
    "a group of null": head(group_id=None),
    "a group that is a number": head(group_id=7),
    "data of null": head(data=None),
    "data that is a list": head(data=[{"customer": {}}]),
    "data that is text": head(data="see there"),
    "data nested deeply": whole(b'"data":' + b'{"data":[' * 100 + b"]}" * 100),
    "data with a head of its own": whole(b'"data":{"id":7,"type":null,"created_at":"2024-05-13T12: 25: 59.620Z"}'),
    "an object called event": b'{"object":"event",' + HEAD % b"ce_1" + b',"customer":{"id":"cust_1"},"referral":null,"loyalty":null}',
    "the head at the end": b'{"data":{"created_at":null},' + HEAD % b"evcus_1" + b"}",
    "the envelope of a webhook": whole(b'"source":{},"event":{"id":"evcus_2","type":"x","created_at":null,"group_id":"v-1"}', id=b"whs_1"),
    "the same key twice": b'{"id":7,"type":[],"created_at":null,' + HEAD % b"evcus_1" + b',"data":1,"data":2}',
    "a number beyond every float": whole(b'"data":[1e400,-1E+9999,123456789012345678901234567890,1.10,-0,-0.0,1e-400]'),
    "text in escapes": whole(rb'"data":"\u00e9\/\ud83c\udf4a\u0000\u2028<\/script>"'),
    "half a surrogate pair": whole(rb'"data":"cut \ud83d"'),
    "the other half": whole(rb'"\ude00":"\ude00\ud83d"'),
    "line separators": whole('"data":"\u2028\u2029\x7f\ufeff\ufffe\U0010ffff"'.encode()),
    "a page in a text": whole(b'"data":"<html><body onload=\\"x()\\">502 Bad Gateway</body></html>"'),
    "names of the language": whole(b'"__proto__":{"a":1},"constructor":null,"":""'),
    "indentation": json.dumps(json.loads(whole(b'"data":{"a":[1,{}]}')), indent=4).replace("\n", "\r\n").encode(),
    "much white space": b"{ \t\r\n" + (HEAD % b"evcus_1").replace(b",", b"\t ,\n\n").replace(b'":"', b'" :\r"') + b" }",
    "much of it": whole(b'"data":"' + b"x" * 300_000 + b'"'),
}
"""Entries that are activities, by what is odd about them."""

DEAD = {
    "no id": (head(id=...), "id is missing"),
    "an id of null": (head(id=None), "id is missing"),
    "an id that is a number": (head(id=7), "id is not text"),
    "an id that is a huge number": (head(id=10**30), "id is not text"),
    "an empty id": (head(id=""), "id is empty or longer than 1024 characters"),
    "an endless id": (head(id="x" * 1025), "id is empty or longer than 1024 characters"),
    "an id of half a pair": (whole(b'"data":{}', id=rb"\ud83d"), "id is no text that can be encoded"),
    "no type": (head(type=...), "type is missing"),
    "a type that is a list": (head(type=["customer.created"]), "type is not text"),
    "an empty type": (head(type=""), "type is empty or longer than 249 characters"),
    "an endless type": (head(type="x" * 250), "type is empty or longer than 249 characters"),
    "no created_at": (head(created_at=...), "created_at is missing"),
    "a created_at of null": (head(created_at=None), "created_at is missing"),
    "a created_at that is a number": (head(created_at=1_661_850_847_660), "created_at is not text"),
    "a created_at with spaces": (head(created_at="2024-05-13T12: 25: 59.620Z"), "created_at is no instant"),
    "a created_at of zeros": (head(created_at="0000-00-00T00:00:00.000Z"), "created_at is no instant"),
    "a day without a time": (head(created_at="2022-08-30"), "created_at is no instant"),
    "an empty created_at": (head(created_at=""), "created_at is no instant"),
    "null": (b"null", "not an object"),
    "a number": (b"1e400", "not an object"),
    "a list": (b'[{"id":"evcus_1"}]', "not an object"),
    "an empty object": (b"{}", "id is missing"),
    "bytes that are no text": (whole(b'"data":"\xff\xfe"'), "not UTF-8"),
    "a surrogate as bytes": (whole(b'"data":"\xed\xa0\xbd"'), "not UTF-8"),
    "NaN": (whole(b'"data":NaN'), "not JSON"),
    "Infinity": (whole(b'"data":[-Infinity]'), "not JSON"),
    "a bare line feed": (whole(b'"data":"a\nb"'), "not JSON"),
    "nested too deeply": (whole(b'"data":' + b"[" * 50_000 + b"]" * 50_000), "nested too deeply"),
}
"""Entries that are none, by what is odd about them, and why they are none."""


def made_their_own(entries: dict[str, bytes]) -> list[bytes]:
    """No two with the same id, as far as they have the usual one."""
    return [raw.replace(b'"evcus_1"', b'"evcus_%d"' % (100 + index), 1) for index, raw in enumerate(entries.values())]


GOOD = made_their_own(PUBLISHED)
BAD = list(zip(made_their_own({name: raw for name, (raw, _) in DEAD.items()}), [why for _, why in DEAD.values()], strict=True))


def mixed() -> list[bytes]:
    """Good ones between bad ones."""
    rest = [raw for raw, _ in BAD]
    return [raw for index, good in enumerate(GOOD) for raw in (good, *rest[index : index + 1])]


@pytest.mark.parametrize("endpoint", ["activities", "activity"])
def test_whatever_stands_in_a_page_is_published_or_is_a_dead_letter_once_and_byte_for_byte(endpoint: Endpoint) -> None:
    script = [
        Stored(id=f"evcus_{index}", type="x", created_at_us=SECOND_US * index, shown_at=0, raw=raw) for index, raw in enumerate(mixed())
    ]
    api = Simulator(SimulatorOptions(), lambda: START, Scripted({CUSTOMER: script}))

    published, letters = run_in_virtual_time(publish, SimulatorTransport(api), endpoint)

    assert [one.value for one in published] == GOOD
    assert [(one.value, dict(one.headers)["reason"].decode()) for one in letters] == BAD


@pytest.mark.parametrize("name", PUBLISHED)
def test_each_odd_activity_alone_is_published(name: str) -> None:
    raw = PUBLISHED[name]

    published, letters = run_in_virtual_time(publish, Always(envelopes([raw])["as documented"]), "activities")

    assert ([one.value for one in published], letters) == ([raw], [])


# -------------------------------------------------------------------------------------------------------- odd answers


def envelopes(entries: list[bytes]) -> dict[str, bytes]:
    """One page in every dress that it may come in."""
    data = b",".join(entries)
    return {
        "as documented": b'{"object":"list","data_ref":"data","data":[%s],"total":%d}' % (data, len(entries)),
        "the successor's": b'{"object":"list","data_ref":"data","data":[%s],"has_more":false,"more_starting_after":null}' % data,
        "the list alone": b'{"data":[%s]}' % data,
        "the list last": b'{"total":"many","total":-1,"has_more":7,"object":"list","data":[%s]}' % data,
        "another name for the list": b'{"object":"list","data_ref":"activities","activities":[%s],"total":2}' % data,
        "a byte order mark": b'\xef\xbb\xbf{"object":"list","data":[%s]}' % data,
        "indentation": b'{\r\n  "object" : "list",\r\n  "data" : [\r\n    %s\r\n  ]\r\n}\r\n' % b"\r\n  ,\r\n    ".join(entries),
        "white space": b" \t\r\n" * 1000 + b'{ "data"\n:\n[ %s ]\t}' % data + b"\n" * 1000,
        "more than is known": b'{"links":{"next":null},"data":[%s],"nan":NaN,"deep":%s}' % (data, b"[" * 5000 + b"]" * 5000),
        "an older list": b'{"data":[{"id":7}],"data":[%s]}' % data,
    }


class Always(httpx.AsyncBaseTransport):
    """A server that gives the same answer to every call."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": "application/json"}, stream=httpx.ByteStream(self._body))


PLAIN = [head(id=f"evcus_{index}", created_at=format_instant(SECOND_US * index), data={"é": [1.5]}) for index in range(1, 4)]


@pytest.mark.parametrize("name", envelopes([]))
@pytest.mark.parametrize("endpoint", ["activities", "activity"])
def test_a_page_in_any_dress_is_published_once_and_byte_for_byte(name: str, endpoint: Endpoint) -> None:
    published, letters = run_in_virtual_time(publish, Always(envelopes(PLAIN)[name]), endpoint)

    assert [one.value for one in published] == PLAIN
    assert letters == []


@pytest.mark.parametrize("name", envelopes([]))
def test_a_page_in_any_dress_without_activities_is_the_end(name: str) -> None:
    published, letters = run_in_virtual_time(publish, Always(envelopes([])[name]), "activities")

    assert (published, letters) == ([], [])
