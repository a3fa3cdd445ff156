"""A secret: given directly or kept in a file, and shown by nothing but `reveal`."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

FILE_BYTES_MAX = 65536

Stamp = tuple[int, int, int]


class Secret:
    """A text that no `repr`, `str`, format, comparison or pickle gives away."""

    __slots__ = ("_broken", "_check", "_path", "_stamp", "_told", "_value")
    __hash__ = None  # type: ignore[assignment]  # a hash is a way of guessing

    def __init__(self, value: str, *, check: Callable[[str], str] = str) -> None:
        """`check` returns the value to use, and raises `ValueError` for one that cannot be used."""
        self._value = check(value.strip("\r\n"))
        self._check = check
        self._path: Path | None = None
        self._stamp: Stamp | None = None
        self._broken = False
        self._told: Callable[[bool], None] = _not_told

    @classmethod
    def from_file(cls, path: Path, *, check: Callable[[str], str] = str) -> "Secret":
        """The file's text without its last line end. Raises `OSError` or `ValueError`."""
        stamp, text = _read(path)
        secret = cls(text, check=check)
        secret._path, secret._stamp = path, stamp
        return secret

    @property
    def path(self) -> Path | None:
        return self._path

    def tell(self, told: Callable[[bool], None]) -> None:
        """Call this whenever the file has another value, with True, and whenever it begins to be of no use, with False."""
        self._told = told

    def reveal(self) -> str:
        """The value now: read again where its file has changed; the last good one where that fails."""
        if self._path is not None:
            self._reread(self._path)
        return self._value

    def _reread(self, path: Path) -> None:
        try:
            if _stamp(path.stat()) == self._stamp:
                self._broken = False
                return
            stamp, text = _read(path)
            self._value, self._stamp = self._check(text.strip("\r\n")), stamp
        except (OSError, ValueError):  # it is replaced in two steps, or is broken for a while: what worked is used until it is whole again
            if not self._broken:
                self._broken = True
                self._told(False)
        else:
            self._broken = False
            self._told(True)

    def __repr__(self) -> str:
        return "<secret>"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __reduce__(self) -> NoReturn:
        raise TypeError("A secret is not copied or pickled.")


def _not_told(_done: bool) -> None:
    pass


def _stamp(status: os.stat_result) -> Stamp:
    return (status.st_mtime_ns, status.st_ino, status.st_size)


def _read(path: Path) -> tuple[Stamp, str]:
    with path.open("rb") as file:
        stamp = _stamp(os.fstat(file.fileno()))
        content = file.read(FILE_BYTES_MAX + 1)
    if len(content) > FILE_BYTES_MAX:
        raise ValueError(f"is larger than {FILE_BYTES_MAX} bytes")
    text = content.decode()
    if not text.strip():
        raise ValueError("is empty")
    return stamp, text
