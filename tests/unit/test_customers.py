"""The customers file: what it may hold, what is said of its faults, and when it is read again."""

import os
from pathlib import Path

import pytest

from poller.customers import SETTLED_NS, CustomersFile, entries_in, fingerprint, read_customers, read_entries
from poller.errors import SettingsError
from poller.model import PLAIN, WatchEntry

LONG_AGO_NS = 1_700_000_000_000_000_000


def written(path: Path, text: str, at_ns: int = LONG_AGO_NS) -> Path:
    """As it was written then."""
    path.write_text(text, encoding="utf-8")
    os.utime(path, ns=(at_ns, at_ns))
    return path


def faults(content: bytes) -> str:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - its words are compared
        entries_in(content)
    return str(error.value)


def test_a_line_is_an_id_or_an_entry_and_the_order_is_kept() -> None:
    content = '\ufeff# whom\n\n cust_2 \r\n{"id":"cust_1","weight":2}\n  # {"id":"no"}\n{"id":"# anna"}\nÜmit, 7\n\t\ncust_2'.encode()

    assert list(entries_in(content).items()) == [
        ("cust_2", PLAIN),
        ("cust_1", WatchEntry(weight=2.0)),
        ("# anna", PLAIN),
        ("Ümit, 7", PLAIN),
    ]


def test_entries_that_are_the_same_are_one_value() -> None:
    found = entries_in(b'{"id":"a","weight":2}\n{"id":"b","weight":2.0}\nc\n{"id":"d"}')

    a, b, c, d = found.values()
    assert a is b
    assert c is d is PLAIN


def test_every_fault_is_named_by_its_line_up_to_a_number() -> None:
    assert faults(b'a\n\n{"id":"b","wight":1}\n..\n\xff\n{"id":"a","weight":2}\nc') == (
        "line 3: has no field 'wight': did you mean `weight`?; "
        "line 4: names a customer that cannot be asked for: '..' (would be taken for a part of the path); "
        "line 5: is not UTF-8 (byte 0); "
        "line 6: names 'a', which a line above names with another entry: keep one of them"
    )
    assert faults(b".\n" * 7).endswith("; and 2 more lines")
    assert faults(b"x" * 20_000) == "line 1: is longer than 16384 bytes"


@pytest.mark.parametrize("content", [b"", b"\n \n", b"# nobody\n", b"\xef\xbb\xbf"])
def test_a_list_of_nobody_is_taken_for_a_mistake(content: bytes) -> None:
    assert faults(content) == "names no customer"


def test_who_only_wants_to_know_whom_it_names_gets_their_ids(tmp_path: Path) -> None:
    path = written(tmp_path / "customers", 'b\n{"id":"a","paused":true}\n')

    assert read_customers(path) == ("b", "a")
    assert read_entries(path) == {"b": PLAIN, "a": WatchEntry(paused=True)}


def test_a_fault_names_the_setting_and_the_file(tmp_path: Path) -> None:
    path = tmp_path / "customers"

    with pytest.raises(SettingsError, match=f"POLLER_CUSTOMERS_FILE='{path}': cannot be read .No such file or directory.: mount the file"):
        read_entries(path)


def test_a_file_is_read_again_only_when_it_has_changed(tmp_path: Path) -> None:
    path = written(tmp_path / "customers", "a")
    file = CustomersFile(path)

    looks = [file.look(), file.look()]
    written(path, "b", LONG_AGO_NS + 1)
    looks += [file.look(), file.look()]

    assert looks == [{"a": PLAIN}, None, {"b": PLAIN}, None]


def test_a_file_in_its_place_is_noticed_though_size_and_time_are_the_same(tmp_path: Path) -> None:
    file = CustomersFile(written(tmp_path / "customers", "a"))
    first = file.look()
    written(tmp_path / "new", "b").rename(tmp_path / "customers")

    assert (first, file.look(), file.look()) == ({"a": PLAIN}, {"b": PLAIN}, None)


def test_a_mounted_config_map_is_read_again_when_its_link_is_swapped(tmp_path: Path) -> None:
    for version, text in (("..v1", "a"), ("..v2", "b")):
        (tmp_path / version).mkdir()
        written(tmp_path / version / "customers", text)
    (tmp_path / "..data").symlink_to("..v1")
    (tmp_path / "customers").symlink_to("..data/customers")
    file = CustomersFile(tmp_path / "customers")

    looks = [file.look(), file.look()]
    (tmp_path / "..data_tmp").symlink_to("..v2")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    looks += [file.look(), file.look()]

    assert looks == [{"a": PLAIN}, None, {"b": PLAIN}, None]


def test_a_broken_file_is_told_once_for_each_fault_and_again_when_it_can_be_read(tmp_path: Path) -> None:
    path = written(tmp_path / "customers", "a")
    file = CustomersFile(path)
    assert file.look() == {"a": PLAIN}

    written(path, "..", LONG_AGO_NS + 1)
    with pytest.raises(SettingsError, match="line 1"):
        file.look()
    assert file.look() is None
    path.unlink()
    with pytest.raises(SettingsError, match="cannot be read"):
        file.look()
    assert [file.look(), file.look()] == [None, None]
    written(path, "a", LONG_AGO_NS + 2)

    assert [file.look(), file.look()] == [{"a": PLAIN}, None]


def test_a_file_that_was_gone_for_a_moment_or_was_only_touched_says_nothing_new(tmp_path: Path) -> None:
    path = written(tmp_path / "customers", "a")
    file = CustomersFile(path)
    assert file.look() == {"a": PLAIN}

    path.unlink()
    with pytest.raises(SettingsError, match="cannot be read"):
        file.look()
    written(path, "a", LONG_AGO_NS + 1)

    assert file.look() is None
    path.unlink()
    with pytest.raises(SettingsError, match="cannot be read"):
        file.look()


def test_what_was_just_written_may_be_written_again_within_the_same_tick_so_it_is_read_again(tmp_path: Path) -> None:
    path = written(tmp_path / "customers", "a")

    assert fingerprint(path, LONG_AGO_NS + SETTLED_NS - 1) is None
    assert fingerprint(path, LONG_AGO_NS + SETTLED_NS) == fingerprint(path) is not None
    assert fingerprint(path, LONG_AGO_NS - SETTLED_NS) == fingerprint(path), "a clock that is wrong for good must not have it read for ever"
    assert fingerprint(tmp_path / "none") is None
