"""Whatever the environment and its files hold: settings, or every fault by its variable; and never a secret in one."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from poller.config import DECLARED, KNOWN, load, load_whereabouts
from poller.customer_id import refusal
from poller.customers import read_customers
from poller.errors import SettingsError
from poller.secret import Secret
from poller.settings_report import start_report, warnings
from tests.support.fuzzing import damaged, examples, in_time

ENOUGH = {
    "POLLER_VOUCHERIFY_APP_ID": "an-app-id",
    "POLLER_VOUCHERIFY_APP_TOKEN": "an-app-token",
    "POLLER_KAFKA_BOOTSTRAP_SERVERS": "kafka:9092",
    "POLLER_CUSTOMERS": "cust_1",
}
PIECES = (
    *(
        "",
        " ",
        "-1",
        "0",
        "1",
        "1e308",
        "1e999",
        "nan",
        "inf",
        "-0",
        "0x10",
        "1_000",
        "٣",
        "9" * 5000,
        "true",
        "tcp://10.0.0.1:80",
        "..",
        "/",
        "\x1b[2J",
    ),
    *(
        "http://",
        "https://[",
        "https://a@b",
        "https://a:99999",
        "https://é.example",
        "http://[::1]:80",
        "a:1,b:2",
        "a:0",
        "UTC",
        "../etc/passwd",
        "Europe",
    ),
    *(
        "now",
        "earliest",
        "2026-01-31T00:00:00Z",
        "9999-12-31T23:59:59-23:59",
        "0001-01-01T00:00:00+23:59",
        "oauth",
        "SASL_SSL",
        "\udcff",
        "\ud83d",
        "a" * 2000,
    ),
    *("/dev/null", "/", "/nowhere", "kafka", "SCRAM-SHA-256", "31", ",", "#", "a,b,a"),
)
text = st.text(st.characters(exclude_characters="\x00"), max_size=12)
values = st.sampled_from(PIECES) | text | st.builds(str.__add__, st.sampled_from(PIECES), text)
known = st.sampled_from(sorted(KNOWN))
names = known | st.builds("POLLER_{}".format, text) | st.builds(lambda name, at: name[:at] + name[at + 1 :], known, st.integers(7, 30))
environs = st.builds(lambda base, more: base | more, st.sampled_from([ENOUGH, {}]), st.dictionaries(names, values, max_size=4))

CANARY = "canary-c0ffee-5d1f"
SECRETS = [one.variable for one in DECLARED if one.secret]


@examples(300)
@given(environs)
@example(ENOUGH | {"POLLER_START": "0001-01-01T00:00:00+23:59"})
@example(ENOUGH | {"POLLER_CYCLE_TIME_ZONE": "Europe", "POLLER_CALLS_PER_CYCLE": "1"})
@example(ENOUGH | {"POLLER_VOUCHERIFY_URL": "https://[" + "a" * 2000})
def test_whatever_the_environment_holds_it_is_settings_or_faults_that_are_told(environ: dict[str, str]) -> None:
    with in_time():
        try:
            settings = load(environ)
        except SettingsError as error:
            faults = error.faults
        else:
            faults = ["none"]
            start_report(settings)
            warnings(settings)
    assert faults and all(fault.strip() for fault in faults)


def test_a_rate_that_is_as_good_as_none_is_a_fault() -> None:
    with pytest.raises(SettingsError, match="POLLER_CALLS_PER_MINUTE"):
        load(ENOUGH | {"POLLER_CALLS_PER_MINUTE": "5e-324"})


@examples(80)
@given(environs)
def test_whatever_the_environment_holds_whereabouts_are_told_or_refused(environ: dict[str, str]) -> None:
    try:
        found = load_whereabouts(environ)
    except SettingsError as error:
        assert error.faults  # noqa: PT017 - what is refused says why
    else:
        assert found.kafka.bootstrap_servers


@examples(100)
@given(environs, st.sampled_from(SECRETS), st.sampled_from(["{}", "{}\x7f", " {} {}", "é{}", "{}\n\n{}"]))
def test_no_fault_nor_report_quotes_a_secret_whatever_is_wrong_with_it(environ: dict[str, str], variable: str, look: str) -> None:
    environ = environ | {variable: look.format(CANARY, CANARY)}
    try:
        said = repr(start_report(load(environ)))
    except SettingsError as error:
        said = str(error)

    assert CANARY not in said


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


file_bytes = damaged(
    st.lists(text, max_size=6).map(lambda lines: "\r\n".join(lines).encode(errors="replace")),
    (b"\xef\xbb\xbf", b"\xff", b"\x00", b"\n\n", b"# "),
)


@examples(100)
@given(content=file_bytes)
@example(content=b"\xff\xfe")
@example(content=b"\n# none\n")
def test_whatever_a_customers_file_holds_it_is_ids_that_can_be_asked_for_or_a_fault(directory: Path, content: bytes) -> None:
    path = directory / "customers"
    path.write_bytes(content)
    try:
        found = read_customers(path)
    except SettingsError as error:
        assert str(path) in str(error)  # noqa: PT017 - what is refused says where
    else:
        assert found and len(set(found)) == len(found)
        assert [one for one in found if refusal(one) is not None] == []


@examples(80)
@given(content=file_bytes, variable=st.sampled_from(SECRETS))
def test_whatever_a_secrets_file_holds_it_is_a_secret_that_can_be_used_or_a_fault(directory: Path, content: bytes, variable: str) -> None:
    path = directory / "secret"
    path.write_bytes(content)
    others = {name: value for name, value in ENOUGH.items() if name != variable}
    sasl = {"POLLER_KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "POLLER_KAFKA_SASL_USERNAME": "u"} if "SASL" in variable else {}
    try:
        settings = load(others | sasl | {f"{variable}_FILE": str(path)})
    except SettingsError as error:
        assert str(path) in str(error)  # noqa: PT017 - what is refused says where
    else:
        secret = settings.kafka.sasl_password if sasl else getattr(settings.voucherify, variable.removeprefix("POLLER_VOUCHERIFY_").lower())
        assert isinstance(secret, Secret) and secret.reveal().isprintable() and secret.reveal()
