"""Settings: every fault at once, by its variable, and no secret anywhere."""

import os
import pickle
from pathlib import Path

import msgspec
import pytest

from poller.config import (
    CONTRADICTIONS,
    DECLARED,
    BudgetSettings,
    Secret,
    Settings,
    load,
    load_kafka,
)
from poller.customers import read_customers
from poller.errors import SettingsError
from poller.matching import Match
from poller.model import PLAIN, CustomerId, WatchEntry
from poller.reference import files, stale, write
from poller.settings_reference import markdown_text, rows
from poller.settings_report import start_report, warnings

ROOT = Path(__file__).parents[2]
CANARY = "canary-5d1f0c"
REQUIRED = {
    "POLLER_VOUCHERIFY_APP_ID": "app-id",
    "POLLER_VOUCHERIFY_APP_TOKEN": "app-token",
    "POLLER_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9092",
    "POLLER_CUSTOMERS": "cust_1",
}


def loaded(**more: str) -> Settings:
    return load(REQUIRED | {f"POLLER_{name}": value for name, value in more.items()})


def faults(environ: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        load(environ)
    return raised.value.faults


def faults_with(**more: str) -> list[str]:
    return faults(REQUIRED | {f"POLLER_{name}": value for name, value in more.items()})


def the_fault_with(**more: str) -> str:
    (fault,) = faults_with(**more)
    return fault


# ---------------------------------------------------------------------------------------------------------------- what is there


def test_the_required_settings_alone_are_enough_and_the_rest_has_its_default() -> None:
    settings = loaded()

    assert settings.voucherify.url == "https://api.voucherify.io"
    assert settings.voucherify.app_token.reveal() == "app-token"
    assert settings.kafka.dead_letters_topic == "voucherify.activities.dead-letters"
    assert settings.budget == BudgetSettings(calls_per_minute=60)
    assert settings.customers == (CustomerId("cust_1"),)
    assert (settings.start, settings.lookback_seconds, settings.admin_port, settings.drain_seconds) == ("now", 300, 8080, 25)


def test_a_setting_is_read_as_its_type() -> None:
    settings = loaded(VOUCHERIFY_TIMEOUT_SECONDS="2.5", CALLS_IN_FLIGHT_MAX="8", KAFKA_SECURITY_PROTOCOL="ssl", LOG_LEVEL="DEBUG")

    assert settings.voucherify.timeout_seconds == 2.5
    assert settings.budget.calls_in_flight_max == 8
    assert settings.kafka.security_protocol == "SSL"
    assert settings.log_level == "debug"


def test_empty_means_unset() -> None:
    assert loaded(LOOKBACK_SECONDS="", KAFKA_CA_FILE="  ", NO_SETTING="").lookback_seconds == 300


def test_other_programs_variables_are_not_ours() -> None:
    assert load(REQUIRED | {"PATH": "/bin", "MY_POLLER_THING": "1", "POLLERS": "2"}) is not None


def test_the_other_topics_follow_the_first_unless_they_are_given() -> None:
    kafka = loaded(KAFKA_ACTIVITIES_TOPIC="a", KAFKA_WATCH_TOPIC="w").kafka

    assert (kafka.checkpoints_topic, kafka.watch_topic, kafka.dead_letters_topic) == ("a.checkpoints", "w", "a.dead-letters")


def test_calls_per_hour_takes_the_place_of_calls_per_minute() -> None:
    assert loaded(CALLS_PER_HOUR="90").budget == BudgetSettings(calls_per_hour=90)
    assert loaded(CALLS_PER_HOUR="90").budget.calls_per_minute is None


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("now", "now"),
        ("Earliest", "earliest"),
        ("1970-01-01T00:00:01.2345Z", 1234),
        ("2026-01-31T01:00:00+01:00", 1769817600000),
    ],
)
def test_start_is_a_word_or_an_instant_in_milliseconds(text: str, start: object) -> None:
    assert loaded(START=text).start == start


def test_a_url_loses_its_last_slash() -> None:
    assert loaded(VOUCHERIFY_URL="http://127.0.0.1:8081/").voucherify.url == "http://127.0.0.1:8081"


def test_customers_are_folded_in_their_order(tmp_path: Path) -> None:
    file = tmp_path / "customers"
    file.write_text("# whom\n\ncust_2\r\n  cust_1 \ncust_2\n#cust_3\nanna@example.com")

    assert loaded(CUSTOMERS="b, a,,b").customers == ("b", "a")
    assert tuple(loaded(CUSTOMERS="", CUSTOMERS_FILE=str(file)).listed) == ("cust_2", "cust_1", "anna@example.com")
    assert loaded(CUSTOMERS="", CUSTOMERS_FILE=str(file)).customers_file == file


def test_whom_the_setting_names_and_whom_the_file_names_are_watched_together(tmp_path: Path) -> None:
    file = tmp_path / "customers"
    file.write_text('cust_2\n{"id":"cust_1","weight":2}\n')
    settings = loaded(CUSTOMERS_FILE=str(file))

    assert (settings.customers, settings.listed) == (("cust_1",), {"cust_2": PLAIN, "cust_1": WatchEntry(weight=2)})
    assert settings.named == ("cust_1", "cust_2")


def test_where_nobody_is_named_the_watch_topic_may_name_them_and_that_is_told() -> None:
    settings = loaded(CUSTOMERS="")

    assert settings.named == ()
    assert [warning.split(":")[0] for warning in warnings(settings)] == ["neither POLLER_CUSTOMERS nor POLLER_CUSTOMERS_FILE is given"]


def test_a_watch_list_that_became_unusable_is_an_error_and_not_an_empty_list(tmp_path: Path) -> None:
    file = tmp_path / "customers"
    file.write_text("cust_1\n")
    assert read_customers(file) == ("cust_1",)

    file.write_text("\n")
    with pytest.raises(SettingsError, match="names no customer"):
        read_customers(file)


def test_the_brokers_can_be_had_without_the_other_settings() -> None:
    environ = {"POLLER_KAFKA_BOOTSTRAP_SERVERS": "kafka-0:9092, kafka-1:9092", "POLLER_CALLS_PER_MINUTE": "many", "POLLER_NO_SETTING": "x"}

    assert load_kafka(environ).bootstrap_servers == "kafka-0:9092,kafka-1:9092"
    with pytest.raises(SettingsError, match="POLLER_KAFKA_BOOTSTRAP_SERVERS is required"):
        load_kafka({})


# ------------------------------------------------------------------------------------------------------------------- faults


def test_all_faults_are_named_at_once_each_by_its_variable() -> None:
    named = faults(
        {
            "POLLER_VOUCHERIFY_APP_ID": "app-id",
            "POLLER_KAFKA_BOOTSTRAP_SERVERS": "kafka",
            "POLLER_CALLS_PER_MINUTE": "0",
            "POLLER_LOOKBACK_SECONDS": "nan",
            "POLLER_LOOKBAK_SECONDS": "1",
            "POLLER_START": "yesterday",
            "POLLER_ADMIN_PORT": "65536",
        }
    )

    assert [fault.split("=")[0].split(" ")[0] for fault in named] == [
        "POLLER_VOUCHERIFY_APP_TOKEN",
        "POLLER_KAFKA_BOOTSTRAP_SERVERS",
        "POLLER_CALLS_PER_MINUTE",
        "POLLER_START",
        "POLLER_LOOKBACK_SECONDS",
        "POLLER_ADMIN_PORT",
        "POLLER_LOOKBAK_SECONDS",
    ]


def test_a_fault_says_what_was_given_and_what_to_give() -> None:
    assert the_fault_with(ADMIN_PORT="x") == "POLLER_ADMIN_PORT='x': should be a whole number from 0 to 65535"
    assert the_fault_with(CALLS_PER_MINUTE="0") == "POLLER_CALLS_PER_MINUTE='0': should be a number of calls from 0.001 to 1000000"
    assert the_fault_with(KAFKA_PARTITION_BY="id") == "POLLER_KAFKA_PARTITION_BY='id': should be `key` or `customer`"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("VOUCHERIFY_URL", "api.voucherify.io"),
        ("VOUCHERIFY_URL", "ftp://api.voucherify.io"),
        ("VOUCHERIFY_URL", "https://"),
        ("VOUCHERIFY_URL", "https://api.voucherify.io/v1/"),
        ("VOUCHERIFY_URL", "https://api.voucherify.io?x=1"),
        ("VOUCHERIFY_URL", "https://api.voucherify.io:99999"),
        ("VOUCHERIFY_URL", "https://api.vouch erify.io"),
        ("VOUCHERIFY_URL", "https://api.voucherify.io\r\nx: y"),
        ("VOUCHERIFY_ENDPOINT", "events"),
        ("VOUCHERIFY_AUTH", "basic"),
        ("VOUCHERIFY_TIMEOUT_SECONDS", "0.5"),
        ("VOUCHERIFY_TIMEOUT_SECONDS", "inf"),
        ("VOUCHERIFY_BODY_BYTES_MAX", "1e6.5"),
        ("VOUCHERIFY_CA_FILE", "/no/such/file"),
        ("VOUCHERIFY_PROXY_URL", "proxy:3128"),
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka:9092,"),
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka:70000"),
        ("KAFKA_BOOTSTRAP_SERVERS", "http://kafka:9092"),
        ("KAFKA_APPLICATION_ID", "a b"),
        ("KAFKA_ACTIVITIES_TOPIC", "a/b"),
        ("KAFKA_ACTIVITIES_TOPIC", ".."),
        ("KAFKA_ACTIVITIES_TOPIC", "a" * 245),
        ("KAFKA_WATCH_TOPIC", "voucherify.activities"),
        ("KAFKA_REPLICATION_FACTOR", "0"),
        ("KAFKA_SESSION_SECONDS", "5"),
        ("KAFKA_CA_FILE", __file__),
        ("KAFKA_SASL_USERNAME", "anna"),
        ("CALLS_PER_CYCLE", "1.5"),
        ("CYCLE_RESET_DAY", "5"),
        ("CALLS_IN_FLIGHT_MAX", "١"),
        ("CUSTOMERS", ","),
        ("CUSTOMERS", "cust_1,.."),
        ("CUSTOMERS", "cust_1,a\tb"),
        ("START", "2026-01-31"),
        ("START", "2026-01-31T00:00:00"),
        ("START", "1969-12-31T00:00:00Z"),
        ("STALENESS_SECONDS_MAX", "0"),
        ("ADMIN_HOST", "http://x"),
        ("LOG_FORMAT", "text"),
        ("DRAIN_SECONDS", "-1"),
    ],
)
def test_what_cannot_be_used_is_one_fault_of_its_variable(name: str, text: str) -> None:
    assert the_fault_with(**{name: text}).startswith(f"POLLER_{name}")


@pytest.mark.parametrize("zone", ["Europe/Nowhere", "../etc/passwd", "/etc", "UTC\0"])
def test_a_time_zone_that_is_unknown_is_a_fault(zone: str) -> None:
    assert the_fault_with(CALLS_PER_CYCLE="100", CYCLE_TIME_ZONE=zone).startswith("POLLER_CYCLE_TIME_ZONE")


def test_a_misspelt_name_is_refused_with_the_nearest_and_without_its_value() -> None:
    fault = the_fault_with(VOUCHERIFY_APP_TOKN=CANARY)

    assert fault == "POLLER_VOUCHERIFY_APP_TOKN is no setting: did you mean POLLER_VOUCHERIFY_APP_TOKEN?"


def test_a_name_like_no_other_is_refused_too() -> None:
    assert the_fault_with(ZZZ="1") == "POLLER_ZZZ is no setting: `poller config` lists all of them"


SERVICE_LINKS = {
    "SERVICE_HOST": "10.0.0.1",
    "SERVICE_PORT": "80",
    "SERVICE_PORT_HTTP": "80",
    "PORT": "tcp://10.0.0.1:80",
    "PORT_80_TCP": "tcp://10.0.0.1:80",
    "PORT_80_TCP_PROTO": "tcp",
    "PORT_80_TCP_PORT": "80",
    "PORT_80_TCP_ADDR": "10.0.0.1",
}


@pytest.mark.parametrize("service", ["", "REDIS_", "ADMN_", "VOUCHERIFY_ACTIVITY_"])
def test_what_kubernetes_injects_for_services_is_no_setting(service: str) -> None:
    assert loaded(**{service + name: value for name, value in SERVICE_LINKS.items()}).admin_port == 8080


def test_a_known_setting_that_holds_a_service_link_reads_as_unset() -> None:
    assert loaded(ADMIN_PORT="tcp://10.0.0.1:80").admin_port == 8080


def test_a_misspelt_port_is_not_taken_for_a_service_link() -> None:
    assert "did you mean POLLER_ADMIN_PORT?" in the_fault_with(ADMN_PORT="9000")


# ----------------------------------------------------------------------------------------------------------- contradictions


def test_two_rates_contradict_each_other() -> None:
    assert "POLLER_CALLS_PER_MINUTE and POLLER_CALLS_PER_HOUR" in the_fault_with(CALLS_PER_MINUTE="1", CALLS_PER_HOUR="1")


def test_a_secret_given_twice_is_a_contradiction(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("x")

    assert "POLLER_VOUCHERIFY_APP_TOKEN and POLLER_VOUCHERIFY_APP_TOKEN_FILE" in the_fault_with(VOUCHERIFY_APP_TOKEN_FILE=str(file))


def test_oauth_is_refused_where_calls_are_so_far_apart_that_each_would_go_into_a_token() -> None:
    for given in ({"CALLS_PER_HOUR": "4"}, {"CALLS_PER_MINUTE": "0.05"}, {"CALLS_PER_CYCLE": "3000"}):
        assert the_fault_with(**given, VOUCHERIFY_AUTH="oauth").startswith("POLLER_VOUCHERIFY_AUTH='oauth': with POLLER_CALLS_PER_")
        assert loaded(**given).voucherify.auth == "token"

    assert (
        "there are 20 minutes between two calls, and a token lives 15: set it to `token`, or allow 5 calls an hour or more"
        in the_fault_with(VOUCHERIFY_AUTH="oauth", CALLS_PER_HOUR="3")
    )
    assert loaded(VOUCHERIFY_AUTH="oauth", CALLS_PER_HOUR="5").voucherify.auth == "oauth"


def test_a_staleness_that_the_budget_cannot_keep_is_refused_with_the_numbers() -> None:
    customers = ",".join(f"c{number}" for number in range(100))

    fault = the_fault_with(CUSTOMERS=customers, CALLS_PER_MINUTE="10", STALENESS_SECONDS_MAX="500")

    assert fault == (
        "POLLER_STALENESS_SECONDS_MAX=500: reading 100 customers once takes 600.0 seconds with POLLER_CALLS_PER_MINUTE=10: "
        "raise it to 660 or more, raise the budget, or watch fewer"
    )
    assert loaded(CUSTOMERS=customers, CALLS_PER_MINUTE="10", STALENESS_SECONDS_MAX="660").staleness_seconds_max == 660


def test_the_cycles_cap_counts_in_that_too() -> None:
    assert "POLLER_CALLS_PER_CYCLE=1000" in the_fault_with(CALLS_PER_CYCLE="1000", STALENESS_SECONDS_MAX="2000")


def test_sasl_wants_a_user_and_a_password() -> None:
    assert len(faults_with(KAFKA_SECURITY_PROTOCOL="SASL_SSL")) == 2
    assert loaded(KAFKA_SECURITY_PROTOCOL="SASL_SSL", KAFKA_SASL_USERNAME="anna", KAFKA_SASL_PASSWORD="p w").kafka.sasl_mechanism == "PLAIN"


def test_a_key_wants_its_certificate() -> None:
    fault = the_fault_with(KAFKA_SECURITY_PROTOCOL="SSL", KAFKA_KEY_FILE=__file__)

    assert fault == "POLLER_KAFKA_KEY_FILE is given, but no POLLER_KAFKA_CERTIFICATE_FILE: give both"


def test_what_is_allowed_but_doubtful_is_said_with_its_numbers() -> None:
    assert warnings(loaded()) == []
    assert "POLLER_LOOKBACK_SECONDS=0" in warnings(loaded(LOOKBACK_SECONDS="0"))[0]
    assert "300 is 100 times POLLER_STALENESS_SECONDS_MAX=3" in warnings(loaded(STALENESS_SECONDS_MAX="3"))[0]
    assert "takes 1.0 seconds" in warnings(loaded(LOOKBACK_SECONDS="1", STALENESS_SECONDS_MAX="1"))[0]
    assert "clear text" in warnings(loaded(VOUCHERIFY_URL="http://api.example.com"))[0]
    assert [warnings(loaded(VOUCHERIFY_URL=url)) for url in ("http://127.0.0.1:8081", "http://localhost", "http://[::1]:80")] == [[]] * 3
    for host in ("localhost.example.com", "127.example.com", "127.0.0.1.example.com"):
        assert "clear text" in warnings(loaded(VOUCHERIFY_URL=f"http://{host}"))[0]
    assert "ahead: nothing that happens before is published" in warnings(loaded(START="2999-01-01T00:00:00Z"))[0]


def test_contradictions_are_asked_for_once_each() -> None:
    assert len(set(CONTRADICTIONS)) == len(CONTRADICTIONS)


# ------------------------------------------------------------------------------------------------------------------- secrets


def test_a_secret_comes_from_a_file_without_its_line_end(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{CANARY}\n")
    environ = {name: value for name, value in REQUIRED.items() if name != "POLLER_VOUCHERIFY_APP_TOKEN"}

    settings = load(environ | {"POLLER_VOUCHERIFY_APP_TOKEN_FILE": str(file)})

    assert settings.voucherify.app_token.reveal() == CANARY


@pytest.mark.parametrize("content", [b"", b"\n", b"a b", b"a\nb", b"\xff", b"x" * 70000])
def test_a_secrets_file_that_cannot_be_used_is_a_fault(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    environ = {name: value for name, value in REQUIRED.items() if name != "POLLER_VOUCHERIFY_APP_TOKEN"}

    (fault,) = faults(environ | {"POLLER_VOUCHERIFY_APP_TOKEN_FILE": str(file)})

    assert fault.startswith(f"POLLER_VOUCHERIFY_APP_TOKEN_FILE={str(file)!r}: ")


def test_a_secret_is_read_again_when_its_file_is_replaced_and_kept_while_it_is_broken(tmp_path: Path) -> None:
    file, next_file = tmp_path / "token", tmp_path / "next"
    file.write_text("first")
    secret = Secret.from_file(file)
    told: list[bool] = []
    secret.tell(told.append)
    seen = [secret.reveal()]

    next_file.write_text("other")
    next_file.replace(file)
    seen.append(secret.reveal())
    file.unlink()
    seen.append(secret.reveal())
    file.write_text("")
    seen.append(secret.reveal())
    file.write_text("third")
    os.utime(file, ns=(1, 1))
    seen.extend(secret.reveal() for _ in range(2))
    file.unlink()
    seen.append(secret.reveal())

    assert seen == ["first", "other", "other", "other", "third", "third", "third"]
    assert told == [True, False, True, False]  # what is broken in several ways, one after the other, is broken once


def test_a_secret_shows_itself_to_nobody_but_who_asks() -> None:
    secret = Secret(CANARY)
    shown = f"{secret} {secret!r} {secret:>20} {[secret]} {secret!s}"

    assert CANARY not in shown
    assert secret.reveal() == CANARY
    assert secret != CANARY
    assert secret != Secret(CANARY)
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        msgspec.json.encode(secret)
    with pytest.raises(TypeError):
        hash(secret)


def test_no_secret_stands_in_the_settings_their_report_or_an_error() -> None:
    settings = loaded(
        VOUCHERIFY_APP_TOKEN=CANARY,
        VOUCHERIFY_PROXY_URL=f"http://anna:{CANARY}@proxy:3128",
        KAFKA_SECURITY_PROTOCOL="SASL_SSL",
        KAFKA_SASL_USERNAME="anna",
        KAFKA_SASL_PASSWORD=CANARY,
    )
    errors = faults_with(
        VOUCHERIFY_APP_TOKEN=f"{CANARY} {CANARY}",
        VOUCHERIFY_URL=f"https://anna:{CANARY}/@api.voucherify.io",
        VOUCHERIFY_PROXY_URL=f"socks://anna:{CANARY}@proxy",
        KAFKA_BOOTSTRAP_SERVERS=f"kafka:9092,http://anna:{CANARY}@kafka",
        KAFKA_SASL_PASSWORD=f"{CANARY}\1",
    )

    assert CANARY not in repr(settings)
    assert CANARY not in repr(start_report(settings))
    assert CANARY not in "".join(errors)
    assert len(errors) == 6
    assert settings.voucherify.proxy_url == f"http://anna:{CANARY}@proxy:3128"


def test_the_start_report_names_every_setting_and_no_customer() -> None:
    report = dict(start_report(loaded(CUSTOMERS="anna@example.com,b")))

    assert list(report) == [one.variable for one in DECLARED]
    assert report["POLLER_CUSTOMERS"] == "2 customers"
    assert report["POLLER_VOUCHERIFY_APP_TOKEN"] == "<secret>"
    assert report["POLLER_KAFKA_SESSION_SECONDS"] == 10


# ----------------------------------------------------------------------------------------------------------------- reference


def test_the_settings_files_are_current() -> None:
    assert stale(ROOT) == [], "run `poller config --write`"


def test_the_reference_is_written_once_and_is_current_then(tmp_path: Path) -> None:
    assert write(tmp_path) == list(files())
    assert (stale(tmp_path), write(tmp_path)) == ([], [])

    (tmp_path / "docs/settings.md").write_text("old")
    assert stale(tmp_path) == [Path("docs/settings.md")]


def test_every_default_that_is_shown_can_be_given() -> None:
    shown = {row.variable: row.default for row in rows() if row.default and " " not in row.default}
    rate_and_cycle = {"POLLER_CALLS_PER_CYCLE": "1000"}
    sasl = {name for name in shown if "SASL" in name}

    given = load(REQUIRED | rate_and_cycle | {name: text for name, text in shown.items() if name not in sasl})

    assert start_report(given) == start_report(load(REQUIRED | rate_and_cycle))


def test_every_setting_stands_in_the_reference_with_a_help() -> None:
    assert all(f"`{one.variable}`" in markdown_text() and one.meta.says.endswith(".") for one in DECLARED)


def test_all_customers_are_watched_where_that_is_said_and_narrowed_by_patterns() -> None:
    assert (loaded().watch_all, loaded(WATCH="listed").watch_all) == (None, None)
    assert loaded(WATCH="ALL").watch_all == Match()
    gold = loaded(WATCH="all", CUSTOMERS_MATCH="metadata.tier=gold, source_id=*@a.example")
    assert gold.watch_all == Match((("metadata.tier", "gold"), ("source_id", "*@a.example")))
    assert dict(start_report(gold))["POLLER_CUSTOMERS_MATCH"] == "metadata.tier=gold,source_id=*@a.example"


def test_patterns_without_all_customers_are_refused() -> None:
    said = "POLLER_CUSTOMERS_MATCH is given, but POLLER_WATCH is not `all`: set it, or leave POLLER_CUSTOMERS_MATCH out"

    assert the_fault_with(CUSTOMERS_MATCH="source_id=*") == the_fault_with(CUSTOMERS_MATCH="source_id=*", WATCH="listed") == said
    assert the_fault_with(WATCH="all", CUSTOMERS_MATCH="gold").startswith("POLLER_CUSTOMERS_MATCH='gold': should be patterns such as")


def test_where_all_customers_are_watched_nobody_need_be_named() -> None:
    environ = {name: value for name, value in REQUIRED.items() if name != "POLLER_CUSTOMERS"}

    assert len(warnings(load(environ))) == 1
    assert warnings(load(environ | {"POLLER_WATCH": "all"})) == []
