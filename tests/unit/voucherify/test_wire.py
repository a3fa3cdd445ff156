"""The body of an answer: which pages are read, what becomes of odd entries, and what is no page."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller import instant
from poller.errors import Undecodable
from poller.model import Activity, ActivityId, DeadLetter, Page, Quota, Response
from poller.voucherify import wire

AT = "2022-08-30T09:14:07.660Z"
AT_MS = 1_661_850_847_660
HALF_A_PAIR = rb"\ud83d"
DEEP_LIST = b"[" * 100_000 + rb'"]\"\\"' + b"]" * 100_000
DEEP_OBJECT = b'{"id":"evcus_1","type":"t","created_at":"%s","data":' % AT.encode() + b'{"}":' * 100_000 + b"1" + b"}" * 100_001


def entry(id: object = "evcus_1", type: object = "customer.confirmed", created_at: object = AT, **more: Any) -> bytes:
    head = {"id": id, "type": type, "created_at": created_at} | more
    return json.dumps({name: value for name, value in head.items() if value is not ...}).encode()


def body(*entries: bytes, name: bytes = b"data", more: bytes = b'"total":1') -> bytes:
    return b'{"object":"list","data_ref":"%s","%s":[%s],%s}' % (name, name, b",".join(entries), more)


def activity(raw: bytes, id: str = "evcus_1") -> Activity:
    return Activity(id=ActivityId(id), type="customer.confirmed", created_at=AT, created_at_ms=AT_MS, raw=raw)


def entries(content: bytes) -> tuple[Activity | DeadLetter, ...]:
    return wire.decode(Response(body=content)).entries


def test_a_page_holds_the_activities_in_the_order_of_the_body_and_what_the_answer_said() -> None:
    first, second = entry("evcus_2", data={"a": [1]}), entry("evcus_1")
    content = body(first, second)
    quota = Quota(limit=100, remaining=99, resets_at=1.7e9)

    page = wire.decode(Response(body=content, quota=quota, server_time=12.0))

    assert page == Page(
        entries=(activity(first, "evcus_2"), activity(second, "evcus_1")), quota=quota, server_time=12.0, body_bytes=len(content)
    )


@pytest.mark.parametrize(
    "raw",
    [
        b'{ "created_at" : "2022-08-30T09:14:07.660Z",\n\t"type":"customer.confirmed", "id":"evcus_1" }',
        b'{"id":"evcus_1","type":"customer.confirmed","created_at":"2022-08-30T09:14:07.660Z","n":1.10,"e":1E+2,"big":123456789012345678901234567890}',
        b'{"id":"evcus_1","type":"customer.confirmed","created_at":"2022-08-30T09:14:07.660Z","s":"\\u00e9\\/\\ud83d\\ude00"}',
        '{"id":"evcus_1","type":"customer.confirmed","created_at":"2022-08-30T09:14:07.660Z","s":"é🙂"}'.encode(),
        b'{"id":"other","id":"evcus_1","type":"customer.confirmed","created_at":"2022-08-30T09:14:07.660Z"}',
        b'{"\\u0069d":"evcus_1","type":"customer.confirmed","created_at":"2022-08-30T09:14:07.660Z"}',
        b'{"id":"evcus_1","type":"customer.confirmed","created_at":"2022-08-30T09:14:07.660Z","n":' + b"9" * 10_000 + b"}",
        b'{"id":"evcus_1","type":"customer.confirmed","created_at":"2022-08-30T09:14:07.660Z","s":"cut \\ud83d"}',
        b'{"s":"\\ude00 cut","id":"evcus_1","type":"customer.confirmed","created_at":"2022-08-30T09:14:07.660Z","n":'
        + b"9" * 10_000
        + b"}",
    ],
)
def test_an_activity_goes_on_byte_for_byte(raw: bytes) -> None:
    assert entries(body(raw)) == (activity(raw),)
    assert entries(b" " + body(b"\n " + raw + b" ", entry("evcus_2"), more=b'"x":"' + HALF_A_PAIR + b'"') + b"\r\n") == (
        activity(raw),
        activity(entry("evcus_2"), "evcus_2"),
    )


@pytest.mark.parametrize(
    ("raw", "letter"),
    [
        (b"7", DeadLetter("not an object", b"7")),
        (b"null", DeadLetter("not an object", b"null")),
        (b'["a"]', DeadLetter("not an object", b'["a"]')),
        (b"{}", DeadLetter("id is missing", b"{}")),
        (entry(id=...), DeadLetter("id is missing", entry(id=...), AT_MS)),
        (entry(id=None), DeadLetter("id is missing", entry(id=None), AT_MS)),
        (entry(id=7), DeadLetter("id is not text", entry(id=7), AT_MS)),
        (entry(id=7.5), DeadLetter("id is not text", entry(id=7.5), AT_MS)),
        (entry(id=""), DeadLetter("id is empty or longer than 1024 characters", entry(id=""), AT_MS)),
        (entry(id="x" * 1025), DeadLetter("id is empty or longer than 1024 characters", entry(id="x" * 1025), AT_MS)),
        (entry(id="\ud83d"), DeadLetter("id is no text that can be encoded", entry(id="\ud83d"), AT_MS)),
        (entry(type=...), DeadLetter("type is missing", entry(type=...), AT_MS)),
        (entry(type=["a"]), DeadLetter("type is not text", entry(type=["a"]), AT_MS)),
        (entry(type=""), DeadLetter("type is empty or longer than 249 characters", entry(type=""), AT_MS)),
        (entry(type="x" * 250), DeadLetter("type is empty or longer than 249 characters", entry(type="x" * 250), AT_MS)),
        (entry(type="\ude00"), DeadLetter("type is no text that can be encoded", entry(type="\ude00"), AT_MS)),
        (entry(created_at=...), DeadLetter("created_at is missing", entry(created_at=...))),
        (entry(created_at=AT_MS), DeadLetter("created_at is not text", entry(created_at=AT_MS))),
        (entry(created_at="soon"), DeadLetter("created_at is no instant", entry(created_at="soon"))),
        (entry(created_at="\ud83d"), DeadLetter("created_at is no text that can be encoded", entry(created_at="\ud83d"))),
        (entry(created_at=AT[:-1] + "0" * 60 + "Z"), DeadLetter("created_at is no instant", entry(created_at=AT[:-1] + "0" * 60 + "Z"))),
        (entry(id=7, n=int("9" * 4000)), DeadLetter("id is not text", entry(id=7, n=int("9" * 4000)), AT_MS)),
        (entry(s="?").replace(b"?", b"\xff"), DeadLetter("not UTF-8", entry(s="?").replace(b"?", b"\xff"), AT_MS)),
        (entry(id="?").replace(b"?", b"\xed\xa0\xbd"), DeadLetter("not UTF-8", entry(id="?").replace(b"?", b"\xed\xa0\xbd"), AT_MS)),
        (
            entry(created_at=1, s="?").replace(b"?", b"\xc0\x80"),
            DeadLetter("not UTF-8", entry(created_at=1, s="?").replace(b"?", b"\xc0\x80")),
        ),
        (b"NaN", DeadLetter("not JSON", b"NaN")),
        (b'["a\nb"]', DeadLetter("not JSON", b'["a\nb"]')),
        (entry(n=math.nan), DeadLetter("not JSON", entry(n=math.nan), AT_MS)),
        (entry(id=7, n=[-math.inf]), DeadLetter("not JSON", entry(id=7, n=[-math.inf]), AT_MS)),
        (entry(s="?").replace(b"?", b"a\r\n\x00b"), DeadLetter("not JSON", entry(s="?").replace(b"?", b"a\r\n\x00b"), AT_MS)),
        (DEEP_LIST, DeadLetter("nested too deeply", DEEP_LIST)),
        (DEEP_OBJECT, DeadLetter("nested too deeply", DEEP_OBJECT)),
    ],
)
def test_what_is_no_activity_is_a_dead_letter_in_its_place(raw: bytes, letter: DeadLetter) -> None:
    before, after = entry("evcus_0", s="é"), entry("evcus_9", s="🙂")

    assert entries(body(before, raw, after)) == (activity(before, "evcus_0"), letter, activity(after, "evcus_9"))


@pytest.mark.parametrize(("id", "type"), [("x" * 1024, "t"), ("i", "x" * 249), ("é" * 1024, "é" * 249)])
def test_the_longest_id_and_type_are_taken(id: str, type: str) -> None:
    (taken,) = entries(body(entry(id, type)))

    assert isinstance(taken, Activity)
    assert (taken.id, taken.type) == (id, type)


def test_the_list_may_stand_under_the_name_that_data_ref_gives() -> None:
    assert entries(body(entry(), name=b"activities")) == (activity(entry()),)


def test_data_counts_where_data_ref_names_another_list() -> None:
    content = b'{"data_ref":"others","others":[],"data":[%s]}' % entry()

    assert entries(content) == (activity(entry()),)


def test_the_last_of_two_lists_counts() -> None:
    assert entries(b'{"data":[1],"data":[%s]}' % entry()) == (activity(entry()),)
    assert entries(b'{"data":7,"data":[%s]}' % entry()) == (activity(entry()),)


def test_an_empty_page_has_no_entries() -> None:
    assert entries(body()) == ()
    assert entries(b'{"data":[ ]}') == ()
    assert entries(b' { "data_ref" : "none" , "none" : [ ] } ') == ()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "not a JSON object"),
        (b"<html>", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b'"data"', "not a JSON object"),
        (b"\xef\xbb\xbf{}", "no list of activities"),
        (b"\xef\xbb\xbf\xef\xbb\xbf{}", "not a JSON object"),
        ('{"data":[]}'.encode("utf-16"), "not a JSON object"),
        (b"{}", "no list of activities"),
        (b'{"code":500,"message":"no"}', "no list of activities"),
        (b'{"data":null}', "no list of activities"),
        (b'{"data":{}}', "no list of activities"),
        (b'{"data":{},"data_ref":"other","other":[]}', "no list of activities"),
        (b'{"data_ref":7}', "no list of activities"),
        (b'{"data_ref":"data"}', "no list of activities"),
        (b'{"data":[', "not JSON from character 8 on"),
        (b'{"data":[]', "`,` is missing at character 10"),
        (b'{"data":[1 2]}', "not JSON from character 8 on"),
        (b'{"data":[1,]}', "not JSON from character 8 on"),
        (b'{"data":[],}', "a key is missing at character 11"),
        (b'{"data" []}', "`:` is missing at character 8"),
        (b'{"data":[]} x', "more after the object"),
        (b'{"data":[],"x":"\xff"}', "not UTF-8"),
        (b'{"data":[{}],"\xff":1}', "not UTF-8"),
        (b'{"data":[nan]}', "not JSON from character 8 on"),
        (b'{"da\nta":[]}', "no list of activities"),
        (b'{"data":[' + DEEP_LIST, "not JSON from character 8 on"),
        (b'{"data":[' + DEEP_OBJECT[:-1] + b"]}", "`,` is missing at character 600086"),
        (b'{"data":' + b"[" * 100_000 + b'"' + rb"\"" * 1_000_000, "not JSON from character 8 on"),
        (b'{"data":' + b"[" * 400_002, "too many values in one body"),
        (b'{"data":[' + b"0," * 10_000 + b"0]}", "more than 10000 entries in one page"),
        (b'{"data":[' + b"0," * 10_000 + b'"' + HALF_A_PAIR + b'"]}', "more than 10000 entries in one page"),
        (b'{"data":[' + b"0," * 1_000_001 + b"0]}", "too many values in one body"),
    ],
)
def test_what_is_no_page_is_undecodable_with_a_short_reason(content: bytes, why: str) -> None:
    with pytest.raises(Undecodable) as caught:
        entries(content)

    assert caught.value.explanation == why


def test_at_the_depth_that_one_reader_bears_and_the_other_does_not_an_entry_is_still_judged_by_what_it_is() -> None:
    for depth in range(600, 1010):
        data = b"[" * depth + b"]" * depth
        good, bad = (
            b'{"id":%s,"type":"customer.confirmed","created_at":"%s","data":%s}' % (id, AT.encode(), data) for id in (b'"e"', b"7")
        )
        of_good, of_bad = entries(body(good, bad))

        assert isinstance(of_bad, DeadLetter)
        assert of_good == activity(good, "e") or isinstance(of_good, DeadLetter), depth
        assert {one.reason for one in (of_good, of_bad) if isinstance(one, DeadLetter)} <= {"id is not text", "nested too deeply"}, depth


def test_a_byte_order_mark_is_no_part_of_the_page() -> None:
    content = b"\xef\xbb\xbf" + body(entry())

    assert wire.decode(Response(body=content)) == Page(entries=(activity(entry()),), body_bytes=len(content))


@pytest.mark.parametrize("odd", [DEEP_LIST, DEEP_OBJECT, b"NaN", b'"a\nb"'])
def test_what_is_odd_beside_the_list_is_not_looked_at(odd: bytes) -> None:
    assert entries(body(entry(), more=b'"x":' + odd)) == (activity(entry()),)


def test_as_many_entries_as_may_be_are_read() -> None:
    assert len(entries(body(*[b"0"] * 10_000))) == 10_000


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(json_values, max_size=5), st.dictionaries(st.text(), json_values, max_size=3), st.booleans())
def test_both_ways_of_reading_agree_on_every_json(values: list[Any], more: dict[str, Any], ascii_only: bool) -> None:
    content = json.dumps(more | {"data": values}, ensure_ascii=ascii_only).encode()

    found = entries(content)

    assert found == tuple(wire._patient(content))
    assert [json.loads(one.raw) for one in found] == values
    assert all(one.raw in content for one in found)


@given(
    st.lists(
        st.sampled_from([b"{", b"}", b"[", b"]", b",", b":", b'"', b'"data"', b"\\", HALF_A_PAIR, b"1", b"\xff", b"\n", entry()]),
        max_size=14,
    )
)
def test_no_bytes_make_it_raise_anything_but_undecodable(pieces: list[bytes]) -> None:
    for content in (b"".join(pieces), b'{"data":[' + b"".join(pieces) + b"]}"):
        try:
            found = entries(content)
        except Undecodable:
            continue
        assert all(one.raw in content for one in found)


@given(st.binary(max_size=60))
def test_any_bytes_inside_an_entry_leave_its_neighbours_alone(content: bytes) -> None:
    quoted = content.replace(b"\\", b"").replace(b'"', b"").translate(None, bytes(range(32)))
    odd = entry("evcus_5", s="?").replace(b"?", quoted)

    first, middle, last = entries(body(entry("evcus_0"), odd, entry("evcus_9")))

    assert (first, last) == (activity(entry("evcus_0"), "evcus_0"), activity(entry("evcus_9"), "evcus_9"))
    assert middle.raw == odd
    assert middle.created_at_ms == instant.parse(AT)
