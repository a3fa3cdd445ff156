"""The watched set as it is configured: ids between commas, or a file with one customer a line, by its id alone or as a JSON object."""

import hashlib
import io
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from poller.customer_id import refusal
from poller.errors import SettingsError
from poller.model import PLAIN, CustomerId, WatchEntry
from poller.watch_entry import VALUE_BYTES_MAX, decode_line, to_customer

CUSTOMERS_MAX = 1_000_000
FILE_BYTES_MAX = 256 * 1024 * 1024
ILL_FORMED_SHOWN_MAX = 5
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

SETTLED_NS = 2_000_000_000
"""A file that was written less than so long ago may be written once more within the same tick of the file system's clock, which nothing would show."""

Entries = Mapping[CustomerId, WatchEntry]


def to_customers(text: str) -> tuple[CustomerId, ...]:
    """The ids between commas, each once. Raises `ValueError`."""
    return _unique(part.strip() for part in text.split(","))


def to_customers_file(text: str) -> Path:
    """A file that can be read and names customers. Raises `ValueError`."""
    entries_in(_content_at(Path(text)))
    return Path(text)


def read_customers(path: Path) -> tuple[CustomerId, ...]:
    """The customers that the file names now, each once. Raises `SettingsError`."""
    return tuple(read_entries(path))


def read_entries(path: Path) -> Entries:
    """The same, and how each is to be watched. Raises `SettingsError`."""
    try:
        return entries_in(_content_at(path))
    except ValueError as error:
        raise _of_setting(path, error) from error


def _of_setting(path: Path, error: ValueError) -> SettingsError:
    return SettingsError([f"POLLER_CUSTOMERS_FILE={str(path)!r}: {error}"])


class CustomersFile:
    """A file that is looked at again and again, and read only where it may have changed: a list may be long."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, ...] | None = None
        self._digest = b""
        self._fault = ""

    def look(self) -> Entries | None:
        """Whom it names, where it says something else than when it was last told; `None`: it does not. Blocks while it is read.

        Raises `SettingsError` where it cannot be used, once for each fault: the last list stays in force.
        """
        # What it is now is noted before it is read: what is written meanwhile shows the next time.
        found = fingerprint(self._path)
        if found is not None and found == self._seen:
            return None
        try:
            entries = self._read()
        except ValueError as error:
            self._seen = found
            if str(error) == self._fault:
                return None
            self._fault = str(error)
            raise _of_setting(self._path, error) from error
        self._seen, self._fault = found, ""
        return entries

    def _read(self) -> Entries | None:
        """`None`: what stands there is what was read last, whatever came of it."""
        content = _content_at(self._path)
        digest = hashlib.blake2b(content).digest()
        if digest == self._digest:
            return None
        self._digest = digest
        return entries_in(content)


def fingerprint(path: Path, now_ns: int | None = None) -> tuple[int, ...] | None:
    """What changes whenever the file does, whether it is written in place or another one takes its place, by a symbolic link on the way too (a mounted
    ConfigMap changes so). `None`: that cannot be told, as it is missing, or has just been written.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    if abs((time.time_ns() if now_ns is None else now_ns) - found.st_mtime_ns) < SETTLED_NS:
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def entries_in(content: bytes) -> dict[CustomerId, WatchEntry]:
    """One customer a line: its id, or a JSON object with its `id` and what else its watch entry holds. Blank lines and those that begin with `#`
    do not count. Raises `ValueError` with the first faults, each by its line.
    """
    entries: dict[CustomerId, WatchEntry] = {}
    shared: dict[WatchEntry, WatchEntry] = {}
    faults: list[str] = []
    for number, line in _lines(content):
        try:
            customer, entry = _customer(line)
            if entry is not PLAIN:
                entry = shared.setdefault(entry, entry)
            if entries.setdefault(customer, entry) != entry:
                raise ValueError(f"names {customer!r}, which a line above names with another entry: keep one of them")
        except ValueError as error:
            faults.append(f"line {number}: {error}")
    if faults:
        more = f"; and {len(faults) - ILL_FORMED_SHOWN_MAX} more lines" if len(faults) > ILL_FORMED_SHOWN_MAX else ""
        raise ValueError("; ".join(faults[:ILL_FORMED_SHOWN_MAX]) + more)
    _check_number(len(entries))
    return entries


def _lines(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Those that count, with their numbers."""
    for number, line in enumerate(io.BytesIO(content.removeprefix(BYTE_ORDER_MARK)), start=1):
        stripped = line.strip()
        if stripped and not stripped.startswith(b"#"):
            yield number, stripped


def _customer(line: bytes) -> tuple[CustomerId, WatchEntry]:
    if line.startswith(b"{"):
        return decode_line(line)
    if len(line) > VALUE_BYTES_MAX:
        raise ValueError(f"is longer than {VALUE_BYTES_MAX} bytes")
    try:
        return to_customer(line.decode().strip()), PLAIN
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 (byte {error.start})") from None


def _content_at(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror}): mount the file, or correct the path") from error
    if len(content) > FILE_BYTES_MAX:
        raise ValueError(f"is larger than {FILE_BYTES_MAX} bytes")
    return content


def _unique(ids: Iterator[str]) -> tuple[CustomerId, ...]:
    unique = tuple(CustomerId(one) for one in dict.fromkeys(ids) if one)
    ill_formed = [f"{one!r} ({why})" for one in unique if (why := refusal(one)) is not None]
    if ill_formed:
        more = f", and {len(ill_formed) - ILL_FORMED_SHOWN_MAX} more" if len(ill_formed) > ILL_FORMED_SHOWN_MAX else ""
        raise ValueError("names customers that cannot be asked for: " + ", ".join(ill_formed[:ILL_FORMED_SHOWN_MAX]) + more)
    _check_number(len(unique))
    return unique


def _check_number(count: int) -> None:
    if not count:
        raise ValueError("names no customer")
    if count > CUSTOMERS_MAX:
        raise ValueError(f"names {count} customers; at most {CUSTOMERS_MAX} can be watched")
