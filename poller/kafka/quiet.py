"""aiokafka's own log lines, rate-limited: in an outage a producer writes some forty errors a second."""

import logging
import time
from collections.abc import Callable

import aiokafka  # noqa: F401  # its modules make their loggers when they are imported

EVERY_SECONDS = 30.0
LINES_KNOWN_MAX = 1000


class RateLimit(logging.Filter):
    """Lets each line through once in a while, and then says how many of the kind it has kept back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._lines: dict[tuple[str, str], tuple[float, int]] = {}
        """When each kind of line was last let through, and how many have been kept back since."""

    def filter(self, record: logging.LogRecord) -> bool:
        line = (record.name, str(record.msg))
        now = self._clock()
        at, kept_back = self._lines.get(line, (-EVERY_SECONDS, 0))
        if now - at < EVERY_SECONDS:
            self._lines[line] = (at, kept_back + 1)
            return False
        if len(self._lines) >= LINES_KNOWN_MAX:
            self._lines.clear()
        self._lines[line] = (now, 0)
        if kept_back:
            record.msg, record.args = f"{record.getMessage()} ({kept_back} more like this)", None
        return True


_limit = RateLimit()


def limit_aiokafka_loggers() -> None:
    """May be called again: a logger takes a filter once. Each has its own, for a filter does not reach the loggers below."""
    for name in list(logging.root.manager.loggerDict):
        if name.split(".")[0] == "aiokafka":
            logging.getLogger(name).addFilter(_limit)
