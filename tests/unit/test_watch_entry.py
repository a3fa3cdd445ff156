"""Watch entries as they are written: what is taken, what is refused and in which words."""

import re

import pytest

from poller.model import PLAIN, CustomerId, Rewind, WatchEntry
from poller.watch_entry import HEADER_NAME, VALUE_BYTES_MAX, decode, decode_line, encode, encode_line, schema

FULL = WatchEntry(
    start=1_769_817_600_000,
    until_ms=1_772_236_800_500,
    weight=2.5,
    paused=True,
    campaign_type="LOYALTY_PROGRAM",
    campaign_id="camp_1",
    product_id="prod_1",
    headers=(("region", "eu"), ("tenant", "Ümläut & Söhne")),
    replay=Rewind("r-1", 1_767_225_600_000, missing_only=True),
    forget=True,
    found="all",
)
WRITTEN = (
    '{"start":"2026-01-31T00:00:00.000Z","until":"2026-02-28T00:00:00.500Z","weight":2.5,"paused":true,"campaign_type":"LOYALTY_PROGRAM",'
    '"campaign_id":"camp_1","product_id":"prod_1","headers":{"region":"eu","tenant":"Ümläut & Söhne"},'
    '"replay":{"id":"r-1","from":"2026-01-01T00:00:00.000Z","missing_only":true},"forget":true,"found":"all"}'
).encode()


def refused(value: bytes, strict: bool = True) -> str:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - its words are compared
        decode(value, strict)
    return str(error.value)


@pytest.mark.parametrize(
    ("entry", "written"),
    [
        (FULL, WRITTEN),
        (PLAIN, b"{}"),
        (WatchEntry(start="now"), b'{"start":"now"}'),
        (WatchEntry(start="earliest", weight=3.0), b'{"start":"earliest","weight":3}'),
        (WatchEntry(start=0), b'{"start":"1970-01-01T00:00:00.000Z"}'),
    ],
    ids=["all fields", "none", "now", "earliest", "the epoch"],
)
def test_an_entry_is_written_without_its_defaults_and_read_as_the_same(entry: WatchEntry, written: bytes) -> None:
    assert encode(entry) == written
    assert decode(written, True) == decode(written, False) == entry


def test_whatever_says_nothing_is_the_plain_entry_itself() -> None:
    assert decode(b"{}", True) is decode(b' { "start" : null, "weight":1, "headers":{}, "paused":false } ', True) is PLAIN


def test_equal_entries_are_the_same_bytes_in_whatever_order_they_were_written() -> None:
    one = decode(b'{"weight":2,"headers":{"b":"2","a":"1"},"start":"2026-01-31T01:00:00+01:00"}', True)
    other = decode(b'{"start":"2026-01-31T00:00:00Z","headers":{"a":"1","b":"2"},"weight":2.0}', True)

    assert encode(one) == encode(other) == b'{"start":"2026-01-31T00:00:00.000Z","weight":2,"headers":{"a":"1","b":"2"}}'


def test_what_is_not_known_is_refused_where_it_is_entered_and_passed_over_where_it_is_read() -> None:
    assert refused(b'{"wieght":2}') == "has no field 'wieght': did you mean `weight`?"
    assert refused(b'{"x":2}') == (
        "has no field 'x': there are start, until, weight, paused, campaign_type, campaign_id, product_id, headers, replay, forget, found"
    )
    assert decode(b'{"wieght":2,"of a later version":{"a":[1,{}]},"id":"cust_1","paused":true}', False) == WatchEntry(paused=True)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b"", "is not JSON such as {}"),
        (b"cust_1", "is not JSON such as {}"),
        (b"{} {}", "is not JSON such as {}"),
        (b'{"weight":NaN}', "is not JSON such as {}"),
        (b'{"campaign_id":"\xff"}', "is not JSON such as {}"),
        (b'{"campaign_id":"\\ud800"}', "is not JSON such as {}"),
        (b"null", "expected `object`, got `null`"),
        (b'"cust_1"', "expected `object`, got `str`"),
        (b'{"weight":0}', "weight: expected `float` >= 0.01"),
        (b'{"weight":100.5}', "weight: expected `float` <= 100.0"),
        (b'{"weight":"2"}', "weight: expected `float`, got `str`"),
        (b'{"weight":1e999}', "weight: number out of range"),
        (b'{"paused":1}', "paused: expected `bool`, got `int`"),
        (
            b'{"start":"tomorrow"}',
            "start: should be `now`, `earliest`, or a date-time with its zone, such as 2026-01-31T00:00:00Z, not 'tomorrow'",
        ),
        (b'{"start":"2026-01-31"}', "start: should be `now`, `earliest`, or a date-time with its zone"),
        (b'{"start":1769817600000}', "start: expected `str | null`, got `int`"),
        (b'{"start":"1969-12-31T23:59:59.999Z"}', "start: lies before 1970: use `earliest`"),
        (b'{"until":"now"}', "until: should be a date-time with its zone"),
        (b'{"until":"1960-01-31T00:00:00Z"}', "until: lies before 1970, so nothing would be published"),
        (b'{"campaign_id":""}', "campaign_id: expected `str` of length >= 1"),
        (b'{"product_id":"a\\nb"}', "product_id: holds control characters"),
        (b'{"campaign_type":"' + b"x" * 201 + b'"}', "campaign_type: expected `str` of length <= 200"),
        (b'{"headers":{"a":1}}', "headers: expected `str`, got `int`"),
        (b'{"headers":{' + b",".join(b'"h%d":""' % number for number in range(9)) + b"}}", "headers: expected `object` of length <= 8"),
        (b'{"headers":{"a b":"1"}}', "headers: 'a b' cannot be a name"),
        (b'{"headers":{"CE_id":"1"}}', "headers: 'CE_id' cannot be a name"),
        (b'{"headers":{"Content-Type":"1"}}', "headers: 'Content-Type' cannot be a name"),
        (b'{"headers":{"replay":"1"}}', "headers: 'replay' cannot be a name"),
        (b'{"headers":{"":"1"}}', "headers: '' cannot be a name"),
        (b'{"headers":{"tenant\\n":"1"}}', "headers: 'tenant\\n' cannot be a name"),
        (b'{"headers":{"a":"1\\u0000"}}', "headers: the value of 'a' holds control characters"),
        (b'{"headers":{"a":"' + "ü".encode() * 129 + b'"}}', "headers: the value of 'a' is longer than 256 bytes"),
        (b'{"x":' + b"[" * 5000, "has no field 'x'"),
        (b" " * VALUE_BYTES_MAX + b"{}", "is longer than 16384 bytes"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words_that_name_the_field(value: bytes, words: str) -> None:
    assert refused(value).startswith(words)


@pytest.mark.parametrize("value", [b'{"weight":0}', b'{"headers":{"ce_x":"1"}}', b'{"until":"x"}', b'{"x":' + b"[" * 5000, b"null"])
def test_what_cannot_be_meant_is_refused_where_it_is_read_too(value: bytes) -> None:
    assert refused(value, strict=False)


@pytest.mark.parametrize("name", ["a", "X-Tenant", "ce", "ce-id", "my.ce_id", "content-type2", "replayed", "x" * 64])
def test_a_header_may_have_any_other_name(name: str) -> None:
    assert decode(f'{{"headers":{{"{name}":""}}}}'.encode(), True).headers == ((name, ""),)


def test_only_where_it_is_entered_a_time_needs_its_zone() -> None:
    value = b'{"until":"2026-01-31T00:00:00"}'

    assert refused(value).startswith("until: should be a date-time with its zone")
    assert decode(value, False) == WatchEntry(until_ms=1_769_817_600_000)


def test_only_where_it_is_entered_nothing_between_start_and_end_is_refused() -> None:
    value = b'{"start":"2026-01-31T00:00:00Z","until":"2026-01-31T00:00:00Z"}'

    assert refused(value) == "until: lies not after start, so nothing would be published"
    assert decode(value, False) == WatchEntry(start=1_769_817_600_000, until_ms=1_769_817_600_000)


def test_a_line_of_a_file_is_the_entry_with_its_customer() -> None:
    assert encode_line(CustomerId("anna@example.com"), FULL) == b'{"id":"anna@example.com",' + WRITTEN[1:]
    assert decode_line(encode_line(CustomerId("anna@example.com"), FULL)) == ("anna@example.com", FULL)
    assert decode_line(b'{"id":"{#, b"}') == ("{#, b", PLAIN)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{}", "object missing required field `id`"),
        (b'{"id":".."}', "names a customer that cannot be asked for: '..' (would be taken for a part of the path)"),
        (b'{"id":"a\\u0000"}', "names a customer that cannot be asked for: 'a\\x00' (holds control characters)"),
        (b'{"id":7}', "id: expected `str`, got `int`"),
        (b'{"id":"a","iid":"b"}', "has no field 'iid': did you mean `id`?"),
    ],
)
def test_a_line_that_names_nobody_who_can_be_asked_for_is_refused(line: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(words)}"):
        decode_line(line)


def test_the_schema_has_every_field_with_its_bounds_and_refuses_what_is_not_known() -> None:
    value, line = schema()["$defs"]["WatchValue"], schema()["$defs"]["WatchLine"]

    assert list(value["properties"]) == [
        field for field in re.findall(r'"([a-z_]+)":', WRITTEN.decode()) if field not in ("region", "tenant", "id", "from", "missing_only")
    ]
    assert value["properties"] == {name: its for name, its in line["properties"].items() if name != "id"}
    assert (value["required"], line["required"]) == ([], ["id"])
    assert value["additionalProperties"] is line["additionalProperties"] is False
    assert (value["properties"]["weight"]["minimum"], value["properties"]["weight"]["maximum"]) == (0.01, 100)
    assert value["properties"]["headers"]["propertyNames"] == {"pattern": HEADER_NAME}
    assert all("description" in str(its) for its in line["properties"].values())
