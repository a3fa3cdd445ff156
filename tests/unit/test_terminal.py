"""What may reach a terminal, and the lines of `tail`."""

import json

import pytest

from poller.commands.tail_lines import PREVIEW_CHARACTERS, Shown, is_json, json_line, readable_line
from poller.terminal import json_escaped, printable, printable_lines

COMMANDS = ["\x1b[2J", "\x00", "\x07", "\r", "\x7f", "\x9b31m", "\u202e", "\u2028", "\u200b", "\U000e0041", "\ud83d"]


@pytest.mark.parametrize("command", COMMANDS)
def test_what_commands_a_terminal_is_shown_as_an_escape(command: str) -> None:
    shown = printable(f"a{command}b\n")

    assert shown.isprintable()
    assert shown.startswith("a\\")
    assert shown.endswith("b\\x0a")
    assert printable_lines(f"a{command}b\n\t").endswith("b\n\t")


def test_text_of_any_script_stays_as_it_is() -> None:
    assert printable("José Núñez ☕ 漢字 😀") == "José Núñez ☕ 漢字 😀"


@pytest.mark.parametrize("command", COMMANDS[3:-1])
def test_escaped_json_means_the_same(command: str) -> None:
    text = json.dumps({"a": f"x{command}y"}, ensure_ascii=False)

    assert json.loads(json_escaped(text)) == json.loads(text)
    assert json_escaped(text).isascii()


def shown(value: bytes | None = b"{}", key: bytes | None = b"customer.created", *headers: tuple[str, bytes]) -> Shown:
    return Shown(2, 17, 1767225600123, key, value, headers)


def test_a_record_is_one_json_line_with_its_value_as_it_is() -> None:
    value = b'{"n":1.10,"big":12345678901234567890123,"e":1E+2, "u":"caf\\u00e9 \\/ \xc3\xa9","half":"\\ud83d"}'

    line = json_line(shown(value, b"customer.created", ("ce_id", b"evcus_1")))

    assert line == (
        b'{"partition":2,"offset":17,"timestamp":1767225600123,"key":"customer.created","headers":{"ce_id":"evcus_1"},"value":'
        + value
        + b"}"
    )


def test_a_value_with_line_ends_still_makes_one_line() -> None:
    line = json_line(shown(b'{\r\n "a": 1\n}\n'))

    assert len(line.splitlines()) == 1
    assert json.loads(line)["value"] == {"a": 1}


@pytest.mark.parametrize("value", [b"", b"{", b'{"a":"\xff"}', b'"a\nb"', b"NaN", b"[" * 100_000, b"\x1b[2J"])
def test_a_value_that_is_no_json_is_given_as_base64(value: bytes) -> None:
    fields = json.loads(json_line(shown(value)))

    assert not is_json(value)
    assert fields["value"] is None
    assert "value_base64" in fields


def test_a_tombstone_has_no_value_and_no_key_is_null() -> None:
    fields = json.loads(json_line(shown(None, None)))

    assert (fields["key"], fields["value"], "value_base64" in fields) == (None, None, False)


def test_a_json_line_on_a_terminal_commands_nothing_and_means_the_same() -> None:
    record = shown('{"name":"\x7f\u202e\u009b2J"}'.encode(), b"\x1bkey", ("h\u202e", b"\xff\x9b"))

    line = json_line(record, for_terminal=True).decode()

    assert line.isprintable()
    assert json.loads(line) == json.loads(json_line(record))


def test_a_readable_line_says_when_what_and_whose() -> None:
    head, place, value = readable_line(
        shown(b'{"a":1}', b"customer.created", ("ce_time", b"2026-01-01T00:00:00Z"), ("ce_subject", b"anna"))
    )

    assert (head, place, value) == ("2026-01-01T00:00:00Z  customer.created  anna", "2@17", '{"a":1}')


def test_a_readable_line_without_headers_has_the_records_own_time() -> None:
    assert readable_line(shown())[0] == "2026-01-01T00:00:00.123Z  customer.created"


def test_a_readable_line_commands_nothing_and_is_short() -> None:
    head, _, value = readable_line(shown(b"\x1b[2J\xff" + b"x" * 100_000, b"\x1b]0;title\x07", ("ce_subject", "\u202e".encode())))

    assert head.isprintable()
    assert value.isprintable()
    assert len(value) < 2 * PREVIEW_CHARACTERS
