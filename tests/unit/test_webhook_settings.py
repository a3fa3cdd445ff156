"""The settings of webhooks."""

from pathlib import Path

import pytest

from poller.app import secrets_of
from poller.config import Settings, WebhookSettings, load
from poller.errors import SettingsError
from poller.settings_report import start_report

REQUIRED = {
    "POLLER_VOUCHERIFY_APP_ID": "app-id",
    "POLLER_VOUCHERIFY_APP_TOKEN": "app-token",
    "POLLER_KAFKA_BOOTSTRAP_SERVERS": "localhost:9092",
    "POLLER_CUSTOMERS": "cust_1",
}
CANARY = "canary-77c0"


def loaded(**given: str) -> Settings:
    return load(REQUIRED | {f"POLLER_WEBHOOK_{name}": value for name, value in given.items()})


def test_without_a_port_none_are_taken_and_no_secret_is_needed() -> None:
    assert loaded().webhook == WebhookSettings(host="127.0.0.1", port=0, secret=None)
    assert loaded(PORT="0").webhook.port == 0


def test_a_port_without_a_secret_is_refused() -> None:
    with pytest.raises(SettingsError, match="POLLER_WEBHOOK_SECRET is required"):
        loaded(PORT="8090")


def test_the_secret_may_be_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{CANARY}\n")

    for given in ({"SECRET": CANARY}, {"SECRET_FILE": str(file)}):
        secret = loaded(PORT="8090", HOST="0.0.0.0", **given).webhook.secret
        assert secret is not None and secret.reveal() == CANARY


def test_the_secret_is_shown_by_nothing() -> None:
    settings = loaded(PORT="8090", SECRET=CANARY)

    assert CANARY not in f"{settings!r} {start_report(settings)}"
    assert settings.webhook.secret in secrets_of(settings)


def test_a_link_of_kubernetes_is_no_port() -> None:
    assert loaded(PORT="tcp://10.0.0.1:8090").webhook.port == 0


def test_the_topic_of_hints_follows_the_activities() -> None:
    assert load(REQUIRED | {"POLLER_KAFKA_ACTIVITIES_TOPIC": "a"}).kafka.hints_topic == "a.hints"
