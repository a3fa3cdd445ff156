"""What was checked, one line each, as it is found."""

import time
from collections.abc import Awaitable, Callable

import msgspec

NAME_WIDTH = 62


class Row(msgspec.Struct, frozen=True):
    """One check: what was shown, or what is wrong."""

    name: str
    shown: str
    seconds: float
    good: bool


class Report:
    def __init__(self) -> None:
        self.rows: list[Row] = []

    async def check(self, name: str, found: Callable[[], Awaitable[str]]) -> bool:
        """`found` says what was shown, or raises; whatever it raises, the next one is tried."""
        began = time.monotonic()
        try:
            shown, good = await found(), True
        except Exception as error:  # noqa: BLE001  # it is what the row is for
            shown, good = f"{type(error).__name__}: {' '.join(str(error).split())}", False
        self.rows.append(Row(name, shown, time.monotonic() - began, good))
        print(line(self.rows[-1]), flush=True)
        return good

    @property
    def wrong(self) -> int:
        return sum(not row.good for row in self.rows)


def line(row: Row) -> str:
    return f"{'ok   ' if row.good else 'WRONG'} {row.seconds:6.1f} s  {row.name:<{NAME_WIDTH}}  {row.shown}"
