"""How brokers are spoken to: the settings as aiokafka's arguments.

Made anew for each client, so that a rotated certificate or password is used from the next one on.
"""

import ssl
from typing import Any

from poller.config import KafkaSettings
from poller.errors import LogRefused


def connection_arguments(settings: KafkaSettings) -> dict[str, Any]:
    """For any of aiokafka's clients. Raises `LogRefused` where a file cannot be used."""
    arguments: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap_servers,
        "client_id": settings.application_id,
        "security_protocol": settings.security_protocol,
    }
    if settings.security_protocol in ("SSL", "SASL_SSL"):
        arguments["ssl_context"] = ssl_context(settings)
    if settings.security_protocol.startswith("SASL"):
        arguments |= sasl_arguments(settings)
    return arguments


def sasl_arguments(settings: KafkaSettings) -> dict[str, str]:
    if settings.sasl_username is None or settings.sasl_password is None:
        raise LogRefused(
            f"POLLER_KAFKA_SECURITY_PROTOCOL={settings.security_protocol} needs POLLER_KAFKA_SASL_USERNAME and POLLER_KAFKA_SASL_PASSWORD"
        )
    return {
        "sasl_mechanism": settings.sasl_mechanism,
        "sasl_plain_username": settings.sasl_username,
        "sasl_plain_password": settings.sasl_password.reveal(),
    }


def ssl_context(settings: KafkaSettings) -> ssl.SSLContext:
    """Trusts the given authorities instead of the usual ones, checks the brokers' names, and shows our own certificate where there is one."""
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except (OSError, ValueError) as error:
        raise LogRefused(f"POLLER_KAFKA_CA_FILE={settings.ca_file} cannot be used: {error}") from error
    if settings.certificate_file is not None:
        try:
            context.load_cert_chain(settings.certificate_file, settings.key_file, password=_no_password)
        except (OSError, ValueError) as error:
            raise LogRefused(
                f"POLLER_KAFKA_CERTIFICATE_FILE={settings.certificate_file} and POLLER_KAFKA_KEY_FILE={settings.key_file} cannot be used: {error}"
            ) from error
    return context


def _no_password() -> str:
    """For a key that asks for one: OpenSSL would ask the terminal, and wait."""
    raise ValueError("the key is encrypted: give one that is not")
