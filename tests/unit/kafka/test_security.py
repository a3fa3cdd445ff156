import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from poller.config import KafkaSettings
from poller.errors import LogRefused
from poller.kafka.security import connection_arguments
from poller.secret import Secret


def arguments(**given: Any) -> dict[str, Any]:
    return connection_arguments(KafkaSettings(bootstrap_servers="one:9092,two:9092", application_id="poller", **given))


def test_plain_text_needs_nothing() -> None:
    assert arguments() == {"bootstrap_servers": "one:9092,two:9092", "client_id": "poller", "security_protocol": "PLAINTEXT"}


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_sasl_logs_in_with_the_user_and_the_password(mechanism: str) -> None:
    given = arguments(security_protocol="SASL_PLAINTEXT", sasl_mechanism=mechanism, sasl_username="me", sasl_password=Secret("sesame"))

    assert given == {
        "bootstrap_servers": "one:9092,two:9092",
        "client_id": "poller",
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": mechanism,
        "sasl_plain_username": "me",
        "sasl_plain_password": "sesame",
    }


def test_sasl_without_a_user_is_refused_by_the_settings_names() -> None:
    with pytest.raises(LogRefused, match="POLLER_KAFKA_SASL_USERNAME and POLLER_KAFKA_SASL_PASSWORD"):
        arguments(security_protocol="SASL_SSL", sasl_password=Secret("sesame"))


@pytest.mark.parametrize("protocol", ["SSL", "SASL_SSL"])
def test_tls_checks_the_brokers_certificate_and_name(protocol: str) -> None:
    context = arguments(security_protocol=protocol, sasl_username="me", sasl_password=Secret("sesame"))["ssl_context"]

    assert isinstance(context, ssl.SSLContext)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize(
    ("field", "named"),
    [("ca_file", "POLLER_KAFKA_CA_FILE=.*"), ("certificate_file", "POLLER_KAFKA_CERTIFICATE_FILE=.* and POLLER_KAFKA_KEY_FILE=None")],
)
@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_that_cannot_be_used_is_refused_by_the_settings_name(tmp_path: Path, field: str, named: str, content: str | None) -> None:
    path = tmp_path / "file.pem"
    if content is not None:
        path.write_text(content)

    with pytest.raises(LogRefused, match=named):
        arguments(security_protocol="SSL", **{field: path})


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the key of this test is made with openssl")
def test_a_key_that_asks_for_a_password_is_refused_and_nobody_is_asked(tmp_path: Path) -> None:
    made = ("-newkey", "rsa:2048", "-passout", "pass:sesame", "-keyout", "own.key", "-out", "own.pem", "-subj", "/CN=poller")
    subprocess.run(["openssl", "req", "-x509", *made], cwd=tmp_path, check=True, capture_output=True)

    with pytest.raises(LogRefused, match="POLLER_KAFKA_KEY_FILE=.* cannot be used: the key is encrypted"):
        arguments(security_protocol="SSL", certificate_file=tmp_path / "own.pem", key_file=tmp_path / "own.key")
