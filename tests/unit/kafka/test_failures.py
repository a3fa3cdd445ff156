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
from poller.kafka.failures import NoBroker, remedy_of_cut, translate, translated


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


@pytest.mark.parametrize(
    ("protocol", "tls_spoken", "logged_in", "named", "certain"),
    [
        ("PLAINTEXT", True, False, "TLS is spoken there: set POLLER_KAFKA_SECURITY_PROTOCOL=SSL, not PLAINTEXT", True),
        ("SASL_PLAINTEXT", True, False, "TLS is spoken there: set POLLER_KAFKA_SECURITY_PROTOCOL=SASL_SSL, not SASL_PLAINTEXT", True),
        ("SSL", False, False, "no TLS is spoken there: set POLLER_KAFKA_SECURITY_PROTOCOL=PLAINTEXT, not SSL", True),
        ("SASL_SSL", False, False, "no TLS is spoken there: set POLLER_KAFKA_SECURITY_PROTOCOL=SASL_PLAINTEXT, not SASL_SSL", True),
        ("PLAINTEXT", False, True, "check POLLER_KAFKA_SECURITY_PROTOCOL=PLAINTEXT, which may have to be SASL_PLAINTEXT", False),
        ("SSL", True, True, "check POLLER_KAFKA_SECURITY_PROTOCOL=SSL, which may have to be SASL_SSL", False),
        ("SSL", True, False, "check POLLER_KAFKA_CERTIFICATE_FILE and POLLER_KAFKA_KEY_FILE", False),
        ("SASL_SSL", True, True, "check POLLER_KAFKA_CERTIFICATE_FILE and POLLER_KAFKA_KEY_FILE", False),
        ("PLAINTEXT", False, False, "check POLLER_KAFKA_SECURITY_PROTOCOL=PLAINTEXT", False),
        ("SASL_PLAINTEXT", False, True, "check POLLER_KAFKA_SECURITY_PROTOCOL=SASL_PLAINTEXT", False),
    ],
)
def test_a_connection_that_is_cut_names_the_setting_that_the_other_side_may_see_otherwise(
    protocol: str, tls_spoken: bool, logged_in: bool, named: str, certain: bool
) -> None:
    remedy, is_certain = remedy_of_cut(protocol, tls_spoken, logged_in)

    assert (remedy.endswith(named), is_certain) == (True, certain)


@pytest.mark.parametrize(("certain", "expected"), [(True, LogRefused), (False, LogUnavailable)])
def test_only_what_is_certain_to_be_the_settings_is_a_refusal(certain: bool, expected: type[LogError]) -> None:
    error = translate("preparing the topics", NoBroker("kafka:1", ConnectionResetError(), "check it", certain=certain))

    assert type(error) is expected
    assert str(error).endswith("no broker answers at kafka:1 (ConnectionResetError): check it")


@pytest.mark.parametrize(
    ("code", "named"), [(62, "POLLER_KAFKA_BOOTSTRAP_SERVERS"), (64, "POLLER_KAFKA_BOOTSTRAP_SERVERS"), (20, "POLLER_KAFKA_CA_FILE")]
)
def test_a_certificate_is_refused_for_its_name_or_for_who_signed_it(code: int, named: str) -> None:
    error = ssl.SSLCertVerificationError("no")
    error.verify_code = code

    assert named in str(translate("asking the brokers", error))


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
