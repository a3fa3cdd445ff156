import ssl

import pytest
from aiokafka import errors

from poller.errors import Fenced, LogError, LogRefused, LogUnavailable
from poller.kafka.failures import translate, translated


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
