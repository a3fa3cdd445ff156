import errno
import os
import socket
import ssl

import pytest
from aiokafka import errors

from poller.config import KafkaSettings
from poller.demo.broker import free_port
from poller.errors import Fenced, LogError, LogRefused, LogUnavailable
from poller.kafka.clients import make_admin, start
from poller.kafka.failures import NoBroker, translate, translated


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.ProducerFenced(), Fenced),
        (errors.InvalidProducerEpoch(), Fenced),
        (caused(errors.KafkaError("Unexpected error during batch delivery"), errors.ProducerFenced()), Fenced),
        (errors.TopicAuthorizationFailedError("t"), LogRefused),
        (errors.TransactionalIdAuthorizationFailed("t"), LogRefused),
        (errors.MessageSizeTooLargeError(), LogRefused),
        (errors.UnknownTopicOrPartitionError(), LogRefused),
        (caused(errors.KafkaConnectionError("Unable to bootstrap"), errors.SaslAuthenticationFailed("bad")), LogRefused),
        (caused(errors.KafkaConnectionError("Unable to bootstrap"), ssl.SSLCertVerificationError("self-signed")), LogRefused),
        (errors.KafkaConnectionError("Unable to bootstrap"), LogUnavailable),
        (errors.RequestTimedOutError(), LogUnavailable),
        (errors.InvalidProducerIdMapping(), LogUnavailable),
        (errors.OutOfOrderSequenceNumber(), LogUnavailable),
        (errors.IllegalOperation("Can't send messages while not in transaction"), LogUnavailable),
        (AssertionError("Invalid state transition"), LogUnavailable),
        (TimeoutError(), LogUnavailable),
        (KeyError("node"), LogUnavailable),
    ],
)
def test_what_aiokafka_raises_says_what_to_do_next(error: Exception, expected: type[LogError]) -> None:
    with pytest.raises(LogError) as raised, translated("committing"):
        raise error

    assert type(raised.value) is expected
    assert raised.value.__cause__ is error
    assert "committing" in str(raised.value)


def test_what_is_translated_already_passes() -> None:
    ours = LogRefused("because")

    with pytest.raises(LogRefused) as raised, translated("committing"):
        raise ours

    assert raised.value is ours


def test_a_refusal_says_what_was_refused_and_what_to_do() -> None:
    said = str(translate("opening partition 3", errors.TransactionalIdAuthorizationFailed("poller-3")))

    assert all(part in said for part in ("opening partition 3", "poller-3", "permission", "POLLER_KAFKA_APPLICATION_ID"))


def test_causes_in_a_circle_come_to_an_end() -> None:
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one

    assert isinstance(translate("x", one), LogUnavailable)


@pytest.mark.parametrize(
    ("why", "reason"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 27199)"), "Connection refused"),
        (
            OSError("Multiple exceptions: [Errno 111] Connect call failed ('::1', 1), [Errno 111] Connect call failed ('127.0.0.1', 1)"),
            os.strerror(111),
        ),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
        (TimeoutError(), "no answer in time"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"), "SSLError: [SSL: WRONG_VERSION_NUMBER] wrong version number"),
        (errors.KafkaConnectionError("Connection at kafka:1 closed"), "KafkaConnectionError: Connection at kafka:1 closed"),
    ],
)
def test_an_unreachable_broker_is_told_by_its_address_and_the_short_reason(why: Exception, reason: str) -> None:
    error = translate("preparing the topics", caused(NoBroker("kafka:27199", why), why))

    assert type(error) is LogUnavailable
    assert str(error).endswith(f"preparing the topics: no broker answers at kafka:27199 ({reason})")


def test_a_broker_that_refuses_us_is_told_as_the_refusal() -> None:
    why = errors.SaslAuthenticationFailed("bad")

    assert isinstance(translate("preparing the topics", caused(NoBroker("kafka:1", why), why)), LogRefused)


@pytest.mark.anyio
async def test_where_nobody_listens_the_error_says_so_in_our_words() -> None:
    settings = KafkaSettings(bootstrap_servers=f"127.0.0.1:{free_port()}")

    with pytest.raises(LogUnavailable) as raised, translated("asking the brokers"):
        await start(make_admin(settings), settings)

    assert str(raised.value).endswith(f"asking the brokers: no broker answers at {settings.bootstrap_servers} (Connection refused)")
