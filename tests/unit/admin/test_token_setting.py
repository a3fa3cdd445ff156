"""POLLER_ADMIN_TOKEN: a secret, off by default, and no short one."""

from pathlib import Path

import pytest

from poller.app import secrets_of
from poller.config import Settings, load
from poller.errors import SettingsError
from poller.settings_report import start_report

REQUIRED = {
    "POLLER_VOUCHERIFY_APP_ID": "app-id",
    "POLLER_VOUCHERIFY_APP_TOKEN": "app-token",
    "POLLER_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9092",
}
CANARY = "canary-0123456789"


def loaded(**variables: str) -> Settings:
    return load(REQUIRED | {f"POLLER_{name}": value for name, value in variables.items()})


def test_there_is_none_by_default() -> None:
    assert loaded().admin_token is None


def test_it_is_told_to_nobody_and_taken_out_of_the_log() -> None:
    settings = loaded(ADMIN_TOKEN=CANARY)

    assert CANARY not in f"{settings!r} {start_report(settings)}"
    assert CANARY in [secret.reveal() for secret in secrets_of(settings)]


def test_it_is_read_from_a_file_and_again_when_that_changes(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{CANARY}\n")
    token = loaded(ADMIN_TOKEN_FILE=str(file)).admin_token
    assert token is not None
    before = token.reveal()
    file.write_text(f"{CANARY}-another\n")

    assert (before, token.reveal()) == (CANARY, f"{CANARY}-another")


@pytest.mark.parametrize("token", ["short", "fifteen-letters", "with a space in it"])
def test_one_that_could_be_guessed_or_not_be_sent_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(SettingsError) as refused:
        loaded(ADMIN_TOKEN=token)

    (fault,) = refused.value.faults
    assert fault.startswith("POLLER_ADMIN_TOKEN: ") and token not in fault
