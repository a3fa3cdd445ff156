import logging

from poller.kafka.quiet import EVERY_SECONDS, LINES_KNOWN_MAX, RateLimit, limit_aiokafka_loggers


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def line(message: str, *args: object, name: str = "aiokafka.conn") -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, "conn.py", 1, message, args, None)


def test_a_line_passes_once_in_a_while_and_then_says_how_many_were_kept_back() -> None:
    time = Time()
    limit = RateLimit(time)

    passed = [limit.filter(line("cannot reach node %s", node)) for node in range(40)]
    time.now = EVERY_SECONDS
    last = line("cannot reach node %s", 7)

    assert passed == [True] + [False] * 39
    assert limit.filter(last)
    assert last.getMessage() == "cannot reach node 7 (39 more like this)"


def test_lines_of_other_kinds_and_other_loggers_pass() -> None:
    limit = RateLimit(Time())

    assert all([limit.filter(line("one")), limit.filter(line("two")), limit.filter(line("one", name="aiokafka.producer.sender"))])


def test_what_is_remembered_of_lines_is_bounded() -> None:
    limit = RateLimit(Time())
    for number in range(3 * LINES_KNOWN_MAX):
        limit.filter(line(f"never twice the same {number}"))

    assert len(limit._lines) <= LINES_KNOWN_MAX


def test_every_logger_of_aiokafka_is_limited_once() -> None:
    limit_aiokafka_loggers()
    limit_aiokafka_loggers()
    loggers = [name for name in logging.root.manager.loggerDict if name == "aiokafka" or name.startswith("aiokafka.")]

    assert {"aiokafka", "aiokafka.conn", "aiokafka.producer.sender", "aiokafka.consumer.group_coordinator"} <= set(loggers)
    assert all(
        sum(isinstance(one, RateLimit) for one in logging.getLogger(name).filters) == 1
        for name in loggers
        if name in logging.root.manager.loggerDict and isinstance(logging.root.manager.loggerDict[name], logging.Logger)
    )
