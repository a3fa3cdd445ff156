"""What aiokafka raises, translated once into the tree of `errors.py`.

After a fatal error aiokafka raises what happens to break first: AssertionError, IllegalOperation, AttributeError. None of it is lost, and
none of it leaves: whatever is neither a fence nor a refusal is `LogUnavailable`, whose receiver begins anew with a new producer.
"""

import os
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from aiokafka import errors

from poller.errors import Fenced, LogError, LogRefused, LogUnavailable

ERRNO = re.compile(r"\[Errno (\d+)\]")

FENCED = (errors.ProducerFenced, errors.InvalidProducerEpoch)

PERMISSION = "give this user the permission"
RECORD_SIZE = "raise the topic's max.message.bytes"
SESSION = "POLLER_KAFKA_SESSION_SECONDS must lie between the brokers' group.min.session.timeout.ms and group.max.session.timeout.ms"

REFUSED: dict[type[Exception], str] = {
    errors.TopicAuthorizationFailedError: f"{PERMISSION} to describe, read and write the topic (and to create it, where it is missing)",
    errors.GroupAuthorizationFailedError: f"{PERMISSION} to read the group named as POLLER_KAFKA_APPLICATION_ID",
    errors.TransactionalIdAuthorizationFailed: f"{PERMISSION} to write the transactional ids that begin with POLLER_KAFKA_APPLICATION_ID",
    errors.ClusterAuthorizationFailedError: f"{PERMISSION} to write idempotently and to create topics, or create them by hand",
    errors.SaslAuthenticationFailed: "check POLLER_KAFKA_SASL_USERNAME and POLLER_KAFKA_SASL_PASSWORD",
    errors.AuthenticationFailedError: "check POLLER_KAFKA_SASL_USERNAME and POLLER_KAFKA_SASL_PASSWORD",
    errors.UnsupportedSaslMechanismError: "check POLLER_KAFKA_SASL_MECHANISM",
    errors.AuthenticationMethodNotSupported: "check POLLER_KAFKA_SASL_MECHANISM",
    errors.IllegalSaslStateError: "no login is asked for there: check POLLER_KAFKA_SECURITY_PROTOCOL",
    errors.SecurityDisabled: "check POLLER_KAFKA_SECURITY_PROTOCOL",
    errors.MessageSizeTooLargeError: RECORD_SIZE,
    errors.RecordListTooLargeError: RECORD_SIZE,
    errors.InvalidTopicError: "the topic's name, or its clean-up policy, will not do",
    errors.UnknownTopicOrPartitionError: "a topic is missing: it was there when this process started, so restart to create it, or create it by hand",
    errors.InvalidSessionTimeoutError: SESSION,
    errors.InconsistentGroupProtocolError: "another program is a member of the group named as POLLER_KAFKA_APPLICATION_ID: choose another one",
    errors.InvalidGroupIdError: "choose another POLLER_KAFKA_APPLICATION_ID",
    errors.InvalidTransactionTimeout: "raise the brokers' transaction.max.timeout.ms",
    errors.InvalidReplicationFactorError: "POLLER_KAFKA_REPLICATION_FACTOR is more than there are brokers",
    errors.InvalidPartitionsError: "check POLLER_KAFKA_ACTIVITIES_PARTITIONS and POLLER_KAFKA_CHECKPOINT_PARTITIONS",
    errors.InvalidConfigurationError: "the brokers do not take a topic's settings: create the topics by hand",
    errors.PolicyViolationError: "the brokers' policy forbids the topics as we create them: create them by hand",
    errors.InvalidTimestampError: "this machine's clock and the brokers' differ",
    errors.UnsupportedVersionError: "the brokers are too old, or too new for this version",
    errors.IncompatibleBrokerVersion: "the brokers are too old, or too new for this version",
    ssl.SSLCertVerificationError: "check POLLER_KAFKA_CA_FILE: it must hold the authority that signed the brokers' certificates",
}


BY_NAME = "the brokers' names as POLLER_KAFKA_BOOTSTRAP_SERVERS has them, and as they advertise them, must be in their certificates"
X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH = 62, 64


def _of_another_host(error: BaseException) -> bool:
    mismatches = (X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH)
    return isinstance(error, ssl.SSLCertVerificationError) and getattr(error, "verify_code", None) in mismatches


def was_cut(error: BaseException) -> bool:
    """Whether there was a connection, which the other side ended: it may speak another protocol."""
    cut = (errors.KafkaConnectionError, ConnectionResetError, BrokenPipeError, EOFError, ssl.SSLError)
    return isinstance(error, cut) and not any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error))


def remedy_of_cut(protocol: str, tls_spoken: bool, logged_in: bool) -> tuple[str, bool]:
    """Of a connection that was made and then cut: what to look at, and whether that is certain.

    `tls_spoken`: whether a TLS handshake comes to its end there. `logged_in`: whether it was cut only by the first request of a client that
    is let in.
    """
    setting = f"POLLER_KAFKA_SECURITY_PROTOCOL={protocol}"
    match protocol:
        case "PLAINTEXT" | "SASL_PLAINTEXT" if tls_spoken:
            return f"TLS is spoken there: set POLLER_KAFKA_SECURITY_PROTOCOL={protocol.replace('PLAINTEXT', 'SSL')}, not {protocol}", True
        case "SSL" | "SASL_SSL" if not tls_spoken:
            return (
                f"no TLS is spoken there: set POLLER_KAFKA_SECURITY_PROTOCOL={protocol.replace('SSL', 'PLAINTEXT')}, not {protocol}",
                True,
            )
        case "PLAINTEXT" | "SSL" if logged_in:
            return f"a login may be asked for there: check {setting}, which may have to be SASL_{protocol}", False
        case "SSL" | "SASL_SSL":
            return (
                "it may ask for a certificate, or not take this one: check POLLER_KAFKA_CERTIFICATE_FILE and POLLER_KAFKA_KEY_FILE",
                False,
            )
        case _:
            return f"check {setting}", False


DENIED = (
    errors.TopicAuthorizationFailedError,
    errors.GroupAuthorizationFailedError,
    errors.TransactionalIdAuthorizationFailed,
    errors.ClusterAuthorizationFailedError,
)


def denied(error: BaseException | type[BaseException]) -> bool:
    """Whether this error, or what caused it, is that this user may not do what was asked."""
    if isinstance(error, type):
        return issubclass(error, DENIED)
    return any(isinstance(cause, DENIED) for cause in _causes(error))


class NoBroker(Exception):
    """None of the brokers that are asked first can be used."""

    def __init__(self, bootstrap_servers: str, why: BaseException | None, remedy: str = "", *, certain: bool = False) -> None:
        reason = "for a moment" if why is None else reason_of(why)
        super().__init__(f"no broker answers at {bootstrap_servers} ({reason}){f': {remedy}' if remedy else ''}")
        self.certain = certain
        """It is the settings that are wrong: no waiting helps."""


def reason_of(error: BaseException) -> str:
    """Why a connection failed, as the system names it: asyncio's message repeats the address, once for each that the name has."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, socket.gaierror):
        return str(error.strerror)
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
        numbers = [error.errno] if error.errno else [int(number) for number in ERRNO.findall(str(error))]
        if numbers:
            return ", ".join(dict.fromkeys(map(os.strerror, numbers)))
    return _said(error)


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Lets nothing out but `LogError` (and what ends the task)."""
    try:
        yield
    except LogError:
        raise
    except TimeoutError as error:
        raise LogUnavailable(doing, "no answer in time") from error
    except Exception as error:
        raise translate(doing, error) from error


def translate(doing: str, error: Exception) -> LogError:
    """What aiokafka raised, or the first of its causes that says what to do."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, FENCED):
            return Fenced(doing, _said(cause))
        for refused, remedy in REFUSED.items():
            if isinstance(cause, refused):
                return LogRefused(doing, _said(cause), BY_NAME if _of_another_host(cause) else remedy)
    if isinstance(error, NoBroker):
        return (LogRefused if error.certain else LogUnavailable)(doing, str(error))
    return LogUnavailable(doing, *(_said(cause) for cause in causes))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__


def _said(error: BaseException) -> str:
    """The error's name, and its message where it has one; aiokafka's messages often hold the name already."""
    name, message = type(error).__name__, str(error).strip()
    if name in message:
        return message
    return f"{name}: {message}" if message else name
