"""Whatever the API sends for a page: read for what it is, or refused as `Undecodable`, in bounded time and memory."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from poller.core import dedupe
from poller.errors import Undecodable
from poller.kafka.record import Destination, activity_record, dead_letter_record
from poller.model import Activity, CustomerId, DeadLetter, Page, Response
from poller.voucherify import wire
from poller.voucherify.body import Body
from tests.support.fuzzing import JSON_PIECES, damaged, examples, in_time, json_values, within_bytes

TO = Destination(partition=0, source_url="https://api.voucherify.io")
CUSTOMER = CustomerId("cust_1")

instants = st.sampled_from(
    ["2024-05-01T12:00:00.000Z", "2024-05-01T12:00:00Z", "9999-12-31T23:59:60.999Z", "0001-01-01 00:00:00+14:00", "x"]
)
heads = st.fixed_dictionaries(
    {}, optional={"id": json_values | st.text(min_size=1), "type": json_values | st.text(min_size=1), "created_at": json_values | instants}
)
entries = st.builds(lambda head, more: more | head, heads, st.dictionaries(st.text(max_size=4), json_values, max_size=2)) | json_values
names = st.sampled_from(["data", "data_ref", "activities", "total", "has_more", "object"])


@st.composite
def pages(draw: st.DrawFn) -> bytes:
    envelope: dict[str, Any] = draw(st.dictionaries(names, json_values, max_size=3))
    envelope[draw(st.sampled_from(["data", "data", "data", "activities"]))] = draw(st.lists(entries, max_size=4))
    return json.dumps(envelope, ensure_ascii=draw(st.booleans())).encode(errors="surrogatepass")


def decoded(content: bytes) -> Page | None:
    """`None`: it is no page."""
    with in_time():
        try:
            return wire.decode(Response(body=content))
        except Undecodable as error:
            said = str(error)
    assert len(said) < 300 and said.isprintable()
    return None


@examples(150)
@given(damaged(pages(), JSON_PIECES))
@example(b'{"data":[{"id":"\\ud83d"}]}')
@example(b'{"data":[' + b"9" * 5000 + b"]}")
@example(b'{"data":[1e999]}')
@example(b'\xef\xbb\xbf{"data":[]}')
def test_whatever_is_sent_is_a_page_or_undecodable_and_what_is_taken_of_it_stood_there(content: bytes) -> None:
    page = decoded(content)

    for entry in () if page is None else page.entries:
        assert entry.raw in content
        assert dedupe.key_of(entry)
        if isinstance(entry, Activity):
            head = json.loads(entry.raw)
            assert (head["id"], head["type"], head["created_at"]) == (entry.id, entry.type, entry.created_at)


@examples(80)
@given(pages())
def test_every_list_of_a_well_formed_page_is_read_entry_by_entry(content: bytes) -> None:
    said = json.loads(content)
    page = decoded(content)

    if isinstance(said.get("data"), list):
        assert page is not None and [json.loads(entry.raw) for entry in page.entries] == said["data"]


@examples(60)
@given(damaged(pages(), JSON_PIECES))
def test_whatever_is_taken_can_be_published(content: bytes) -> None:
    page = decoded(content)

    for entry in () if page is None else page.entries:
        record = dead_letter_record(entry, CUSTOMER, TO.limits) if isinstance(entry, DeadLetter) else activity_record(entry, CUSTOMER, TO)
        assert record.value == entry.raw


MEGABYTE = 1 << 20
HOSTILE = {
    "brackets": b"[" * MEGABYTE,
    "braces": b'{"a":' * (MEGABYTE // 5),
    "nested in an entry": b'{"data":[' + b"[" * (MEGABYTE // 2) + b"]" * (MEGABYTE // 2) + b"]}",
    "one string": b'{"data":["' + b"a" * MEGABYTE + b'"]}',
    "escapes": b'{"data":["' + b"\\u00e9" * (MEGABYTE // 6) + b'"]}',
    "half pairs": b'{"data":["' + b"\\ud83d" * (MEGABYTE // 6) + b'"]}',
    "one number": b'{"data":[' + b"9" * MEGABYTE + b"]}",
    "many keys": b'{"data":[{' + b",".join(b'"%d":1' % number for number in range(MEGABYTE // 10)) + b"}]}",
    "the same key": b'{"data":[],' + b'"data":[],' * (MEGABYTE // 10) + b'"data":[]}',
    "blanks": b'{"data":[' + b" " * MEGABYTE + b"]}",
    "blanks that end in nothing": b'{"data":[\\ud83d' + b" " * MEGABYTE,
    "bytes that are no text": b'{"data":["' + b"\xff" * MEGABYTE + b'"]}',
    "many entries": b'{"data":[' + b"1," * (MEGABYTE // 2) + b"1]}",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_megabyte_of_anything_is_judged_in_time_and_in_a_bounded_multiple_of_its_size(kind: str) -> None:
    page = decoded(HOSTILE[kind])
    with within_bytes(40 * MEGABYTE), suppress(Undecodable):
        wire.decode(Response(body=HOSTILE[kind]))

    assert page is None or len(page.entries) <= wire.PAGE_ENTRIES_MAX


@examples(80)
@given(
    st.sampled_from(["", "identity", "gzip", "deflate", "br", "gzip, gzip", "\x1b"]),
    st.none() | st.text(st.characters(max_codepoint=255), max_size=25),
    st.lists(st.binary(max_size=40) | st.sampled_from([b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", b"x\x9c"]), max_size=5),
)
def test_whatever_a_body_is_made_of_it_is_whole_and_within_its_limit_or_undecodable(
    coding: str, length: str | None, chunks: list[bytes]
) -> None:
    whole, said = b"", ""
    try:
        body = Body(coding, length, 100)
        for chunk in chunks:
            body.take(chunk)
        whole = body.whole()
    except Undecodable as error:
        said = str(error)

    assert len(whole) <= 100 and said.isprintable()
