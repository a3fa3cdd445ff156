"""The watched set as it is configured: ids between commas, or a file with one a line."""

from collections.abc import Iterator
from pathlib import Path

from poller.customer_id import refusal
from poller.errors import SettingsError
from poller.model import CustomerId

CUSTOMERS_MAX = 1_000_000
FILE_BYTES_MAX = 256 * 1024 * 1024
ILL_FORMED_SHOWN_MAX = 5


def to_customers(text: str) -> tuple[CustomerId, ...]:
    """The ids between commas, each once. Raises `ValueError`."""
    return _unique(part.strip() for part in text.split(","))


def to_customers_file(text: str) -> Path:
    """A file that can be read and names customers. Raises `ValueError`."""
    _customers_in(Path(text))
    return Path(text)


def read_customers(path: Path) -> tuple[CustomerId, ...]:
    """The customers that the file names now, each once. Raises `SettingsError`."""
    try:
        return _customers_in(path)
    except ValueError as error:
        raise SettingsError([f"POLLER_CUSTOMERS_FILE={str(path)!r}: {error}"]) from error


def _customers_in(path: Path) -> tuple[CustomerId, ...]:
    """One id a line; blank lines and those that begin with `#` do not count."""
    try:
        text = _content(path).decode("utf-8-sig")
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror}): mount the file, or correct the path") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 (byte {error.start})") from error
    return _unique(line.strip() for line in text.split("\n") if not line.lstrip().startswith("#"))


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(FILE_BYTES_MAX + 1)
    if len(content) > FILE_BYTES_MAX:
        raise ValueError(f"is larger than {FILE_BYTES_MAX} bytes")
    return content


def _unique(ids: Iterator[str]) -> tuple[CustomerId, ...]:
    unique = tuple(CustomerId(one) for one in dict.fromkeys(ids) if one)
    ill_formed = [f"{one!r} ({why})" for one in unique if (why := refusal(one)) is not None]
    if ill_formed:
        more = f", and {len(ill_formed) - ILL_FORMED_SHOWN_MAX} more" if len(ill_formed) > ILL_FORMED_SHOWN_MAX else ""
        raise ValueError("names customers that cannot be asked for: " + ", ".join(ill_formed[:ILL_FORMED_SHOWN_MAX]) + more)
    if not unique:
        raise ValueError("names no customer")
    if len(unique) > CUSTOMERS_MAX:
        raise ValueError(f"names {len(unique)} customers; at most {CUSTOMERS_MAX} can be watched")
    return unique
