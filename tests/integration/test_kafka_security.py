"""That the security settings open the doors that they should, that the documented permissions are enough and none too many, and what is told
where something is wrong: a real Kafka that asks for TLS, logins and permissions.
"""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio.from_thread
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import GroupAuthorizationFailedError, TopicAuthorizationFailedError

from poller.commands.check import kafka_findings
from poller.config import KafkaSettings
from poller.errors import LogRefused
from poller.journal import Journal
from poller.kafka.hints import KafkaHints
from poller.kafka.log import KafkaLog
from poller.model import Activity, ActivityId, Assigned, Batch, Checkpoint, CustomerId, DeadLetter, Hint, Ownership, Whose
from poller.secret import Secret
from poller.telemetry import Telemetry
from tests.support.acls import Acl, advised, documented_acls, documented_topics
from tests.support.builders import ownership
from tests.support.guarded import PASSWORD, Guarded, SuperUser, guarded_broker
from tests.support.processes import CANARY, Deployment, busy, inherited, one_error, served
from tests.support.topics import all_published, reading
from tests.support.waiting import until
from tests.support.world import Told

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="the certificates of this test are made with openssl"),
]

URL = "https://api.example.com"
CREATOR = documented_acls("The poller that creates its topics")
POLLER = documented_acls("The poller with topics made beforehand")
READER = documented_acls("A consumer of the activities")
WEBHOOKS = documented_acls("A poller that takes webhooks")
OPERATOR = documented_acls("Who changes the watched set")
TOPICS = documented_topics("The poller with topics made beforehand")
WRONG = Secret("not-the-password-7c4d")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    directory = tmp_path_factory.mktemp("guarded")
    with anyio.from_thread.start_blocking_portal() as portal, portal.wrap_async_context_manager(guarded_broker(directory)) as running:
        yield running


async def publish(settings: KafkaSettings) -> None:
    """All that the log does with brokers, once: topics, group, restore, and a transaction on every topic that is written."""
    log = KafkaLog(settings, URL, anyio.current_time)
    assert await log.prepare() == 1
    async with log.join() as events:
        while not isinstance(await anext(events), Assigned):
            pass
        async with log.open(0) as writer:
            await writer.append((), owner(settings))
            await writer.append((batch(),), owner(settings))


def owner(settings: KafkaSettings) -> Ownership:
    return ownership(application_id=settings.application_id, url=URL)


def batch() -> Batch:
    """A record for each topic that is written."""
    activity = Activity(id=ActivityId("a"), type="t", created_at="2024-01-01T00:00:00Z", created_at_ms=1, raw=b"{}")
    return Batch(
        customer=CustomerId("c"),
        partition=0,
        base=None,
        checkpoint=Checkpoint(cursor_ms=1),
        records=(activity,),
        dead_letters=(DeadLetter("no id", b"{}"),),
    )


async def faults(settings: KafkaSettings) -> list[str]:
    """What `poller check` finds wrong with Kafka."""
    return [finding.said for finding in await kafka_findings(settings, URL) if finding.ok is False]


def settings_of(given: Mapping[str, Any]) -> KafkaSettings:
    return KafkaSettings(**given)


# ----------------------------------------------------------------------------------------------------------------- doors


async def test_each_door_opens_with_its_key(guarded: Guarded) -> None:
    async with SuperUser(guarded.super_user) as super_user:
        await super_user.clear()
        await super_user.create(TOPICS)
        await super_user.grant(POLLER)

    for door in ("SASL_PLAINTEXT", "SASL_SSL"):
        for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
            await publish(settings_of(guarded.login("poller", mechanism, door)))
    await publish(settings_of(guarded.at("SSL", ca_file=guarded.directory / "ca.pem", **guarded.certificate("poller"))))


def wrong_keys(guarded: Guarded) -> dict[str, tuple[dict[str, Any], str]]:
    """By what is wrong: the settings, and what the line must say."""
    ca = {"ca_file": guarded.directory / "ca.pem"}
    login, over_tls = guarded.login("poller"), guarded.login("poller", door="SASL_SSL")
    password = "POLLER_KAFKA_SASL_USERNAME and POLLER_KAFKA_SASL_PASSWORD"
    protocol = "POLLER_KAFKA_SECURITY_PROTOCOL"
    certificate = "POLLER_KAFKA_CERTIFICATE_FILE and POLLER_KAFKA_KEY_FILE"

    def to(door: str) -> dict[str, Any]:
        return {"bootstrap_servers": f"127.0.0.1:{guarded.ports[door]}"}

    return {
        "password": (login | {"sasl_password": WRONG}, password),
        "password of SCRAM": (guarded.login("poller", "SCRAM-SHA-512", "SASL_SSL") | {"sasl_password": WRONG}, password),
        "user": (guarded.login("nobody"), password),
        "mechanism": (guarded.login("poller", "PLAIN", "SCRAM_ONLY"), "POLLER_KAFKA_SASL_MECHANISM"),
        "no authority": (over_tls | {"ca_file": None}, "POLLER_KAFKA_CA_FILE"),
        "another authority": (over_tls | {"ca_file": guarded.directory / "other-ca.pem"}, "POLLER_KAFKA_CA_FILE"),
        "no certificate": (guarded.at("SSL", **ca), certificate),
        "a certificate for another host": (guarded.at("ELSEWHERE", **ca), "POLLER_KAFKA_BOOTSTRAP_SERVERS"),
        "no TLS on a door of TLS": (guarded.at("PLAINTEXT", **ca) | to("SSL"), f"{protocol}=SSL, not PLAINTEXT"),
        "a login without TLS on a door of TLS": (login | to("SASL_SSL"), f"{protocol}=SASL_SSL, not SASL_PLAINTEXT"),
        "TLS on a door without": (guarded.at("SSL", **ca) | to("PLAINTEXT"), f"{protocol}=PLAINTEXT, not SSL"),
        "a login over TLS on a door without": (over_tls | to("SASL_PLAINTEXT"), f"{protocol}=SASL_PLAINTEXT, not SASL_SSL"),
        "no login on a door that asks for one": (guarded.at("PLAINTEXT") | to("SASL_PLAINTEXT"), f"{protocol}=PLAINTEXT, which may"),
        "only TLS on a door that asks for a login": (guarded.at("SSL", **ca) | to("SASL_SSL"), f"{protocol}=SSL, which may"),
        "a login on a door that asks for none": (login | to("PLAINTEXT"), f"no login is asked for there: check {protocol}"),
    }


async def test_a_wrong_key_is_told_in_one_line_that_names_the_setting_and_no_secret(guarded: Guarded) -> None:
    for wrong, (given, named) in wrong_keys(guarded).items():
        began = time.monotonic()
        told = await faults(settings_of(given))

        assert len(told) == 1 and named in told[0] and "\n" not in told[0], (wrong, told)
        assert PASSWORD not in told[0] and WRONG.reveal() not in told[0], wrong
        assert time.monotonic() - began < 5, wrong


async def test_a_wrong_key_ends_or_holds_up_the_log_with_the_same_words(guarded: Guarded) -> None:
    for wrong in ("password", "another authority", "no TLS on a door of TLS"):
        given, named = wrong_keys(guarded)[wrong]
        with pytest.raises(LogRefused, match=named):
            await publish(settings_of(given))


def test_the_command_tells_what_is_wrong_and_shows_no_password(guarded: Guarded) -> None:
    for wrong in ("password", "no certificate", "TLS on a door without"):
        given, named = wrong_keys(guarded)[wrong]

        ended = command("check", given)

        assert ended.returncode == 1, wrong
        assert named in " ".join(ended.stdout.decode().split()), ended.stdout.decode()
        assert not any(secret.encode() in ended.stdout + ended.stderr for secret in (PASSWORD, WRONG.reveal(), CANARY))


def command(name: str, given: Mapping[str, Any], *args: str) -> "subprocess.CompletedProcess[bytes]":
    """`poller {name}` as a process, with these settings of Kafka."""
    environment = {
        "POLLER_VOUCHERIFY_URL": "http://127.0.0.1:9",
        "POLLER_VOUCHERIFY_APP_ID": "id",
        "POLLER_VOUCHERIFY_APP_TOKEN": CANARY,
        "POLLER_CUSTOMERS": "cust_1",
        **{f"POLLER_{variable.upper()}": str(value) for variable, value in environment_of(given).items()},
    }
    return subprocess.run(
        [sys.executable, "-m", "poller", name, *args],
        env={**inherited(), "COLUMNS": "2000", **environment},
        capture_output=True,
        timeout=30,
        check=False,
    )


def environment_of(given: Mapping[str, Any]) -> dict[str, object]:
    """As settings: what a variable holds, secrets too."""
    return {f"kafka_{name}": value.reveal() if isinstance(value, Secret) else value for name, value in given.items() if value is not None}


# ----------------------------------------------------------------------------------------------------------- permissions


async def denied_to(acl: Acl, settings: KafkaSettings) -> str:
    """The line that `poller check` says once this permission is gone."""

    async def told() -> list[str]:
        return [line for line in await faults(settings) if advised(line)]

    (line,) = await until(told, within_seconds=5)
    assert advised(line) == [acl]
    return str(line)


async def given_back(settings: KafkaSettings) -> None:
    async def accepted() -> bool:
        return not await faults(settings)

    await until(accepted, within_seconds=5)


async def test_who_may_create_the_topics_needs_each_documented_permission_and_no_other(guarded: Guarded) -> None:
    settings = settings_of(guarded.login("creator"))
    async with SuperUser(guarded.super_user) as super_user:
        await super_user.clear()
        await super_user.grant(CREATOR)
        await given_back(settings)
        for acl in [acl for acl in CREATOR if acl.operation == "Create"]:
            await super_user.revoke([acl])
            line = await denied_to(acl, settings)
            with pytest.raises(LogRefused) as refused:
                await KafkaLog(settings, URL, anyio.current_time).prepare()
            assert line in str(refused.value)
            await super_user.clear()
            await super_user.grant(CREATOR)
            await given_back(settings)

    for _ in range(2):  # the second finds all of it there
        await publish(settings)
    assert await faults(settings) == []


async def test_with_topics_made_beforehand_each_documented_permission_is_needed_and_no_other(guarded: Guarded) -> None:
    settings = settings_of(guarded.login("poller"))
    async with SuperUser(guarded.super_user) as super_user:
        await super_user.clear()
        await super_user.create(TOPICS)
        await super_user.grant(POLLER)
        await given_back(settings)
        await publish(settings)
        for acl in POLLER:
            await super_user.revoke([acl])
            line = await denied_to(acl, settings)
            began = time.monotonic()
            with pytest.raises(LogRefused) as refused:
                await publish(settings)
            assert line in str(refused.value)
            assert time.monotonic() - began < 5
            await super_user.grant([acl])
            await given_back(settings)

    await publish(settings)


async def test_a_topic_denied_in_the_midst_of_publishing_is_the_one_that_is_named(guarded: Guarded) -> None:
    settings = settings_of(guarded.login("poller"))
    log = KafkaLog(settings, URL, anyio.current_time)
    async with SuperUser(guarded.super_user) as super_user:
        await super_user.clear()
        await super_user.create(TOPICS)
        await super_user.grant(POLLER)
        await given_back(settings)
        await log.prepare()
        for acl in [acl for acl in POLLER if acl[1:3] == ("Write", "topic")]:
            async with log.open(0) as writer:
                await writer.append((), owner(settings))
                await super_user.revoke([acl])
                line = await denied_to(acl, settings)
                with pytest.raises(LogRefused) as refused:
                    await writer.append((batch(),), owner(settings))
            assert line in str(refused.value)
            await super_user.grant([acl])
            await given_back(settings)


async def test_a_running_poller_says_the_line_of_the_check_and_goes_on_once_the_permission_is_given_back(
    guarded: Guarded, tmp_path: Path
) -> None:
    given = guarded.login("poller", "SCRAM-SHA-512", "SASL_SSL")
    settings = settings_of(given)
    write, read_group = (
        next(acl for acl in POLLER if acl[1:4] == wanted)
        for wanted in (("Write", "topic", settings.activities_topic), ("Read", "group", settings.application_id))
    )
    names = {"kafka_application_id": None, "kafka_activities_topic": None}
    async with (
        one_error(),
        SuperUser(guarded.super_user) as super_user,
        served(busy()) as api,
        Deployment("", api.url, api.simulator.customers, tmp_path, **environment_of(given), **names) as pollers,
    ):
        await super_user.clear()
        await super_user.create(TOPICS)
        await super_user.grant(POLLER)
        await given_back(settings)
        first = pollers.start()
        await first.active()
        for acl, event in ((write, "partition_failed"), (read_group, "membership_failed")):
            await super_user.revoke([acl])
            line = await denied_to(acl, settings)
            await first.has_said(event)
            assert line in first.events(event)[0]["error"]
            await super_user.grant([acl])
            await until(lambda: first.says("readyz", 200, "owning"), within_seconds=20)

        second = pollers.start()
        await second.standing_by()
        first.send(signal.SIGTERM)
        await second.active()
        async with reading(guarded.super_user, settings.activities_topic) as reader:
            await all_published(reader, api.simulator, within_seconds=20)
        assert await first.ended() == 0
        assert PASSWORD not in first.output() + second.output()


async def test_who_takes_webhooks_needs_each_documented_permission_and_no_other(guarded: Guarded) -> None:
    settings = settings_of(guarded.login("poller"))
    create, *others = WEBHOOKS
    assert create.operation == "Create"
    async with one_error(), SuperUser(guarded.super_user) as super_user:
        await super_user.clear()
        await super_user.grant(others)
        await unshared(settings)
        await super_user.grant([create])
        await shared(settings)
        await super_user.revoke([create])
        await shared(settings)
        for acl in others:
            await super_user.revoke([acl])
            await unshared(settings)
            await super_user.grant([acl])
            await shared(settings)


@asynccontextmanager
async def sharing(settings: KafkaSettings, heard: list[Hint], told: Told) -> AsyncIterator[KafkaHints]:
    """One replica, which hears what it has sent itself."""

    def hear(hint: Hint) -> Whose:
        heard.append(hint)
        return "ours"

    hints = KafkaHints(settings, Journal(Telemetry(told)))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hints.share, hear)
        yield hints
        tasks.cancel_scope.cancel()


async def shared(settings: KafkaSettings) -> None:
    """Hints are written and heard, within a while: brokers learn of permissions one after the other."""
    heard: list[Hint] = []
    async with sharing(settings, heard, Told()) as hints:
        await until(lambda: hints.send(Hint(CustomerId("c"), 1)) and heard, within_seconds=20)


async def unshared(settings: KafkaSettings) -> None:
    """It is said that this user may not."""
    told = Told()
    async with sharing(settings, [], told) as hints:

        def denied() -> bool:
            hints.send(Hint(CustomerId("c"), 1))
            return any("uthoriz" in fields["error"] for name, fields in told.events if name == "hints_unshared")

        await until(denied, within_seconds=20)


async def test_who_changes_the_watched_set_needs_each_documented_permission_and_no_other(guarded: Guarded) -> None:
    given = guarded.login("poller")
    create, *others = [acl._replace(principal="User:poller") for acl in OPERATOR]
    assert create.operation == "Create"
    async with SuperUser(guarded.super_user) as super_user:
        await super_user.clear()
        await super_user.grant(others)
        await until(lambda: refused_for(given, create, "add", "a"), within_seconds=30)
        await super_user.grant([create])
        await until(lambda: command("watch", given, "add", "a").returncode == 0, within_seconds=30)
        await super_user.revoke([create])
        for acl in others:
            await super_user.revoke([acl])
            await until(partial(refused_for, given, acl, "add", "b", "--weight", "2"), within_seconds=30)
            await super_user.grant([acl])
        await until(lambda: command("watch", given, "add", "b").returncode == 0, within_seconds=30)
        await super_user.revoke([acl for acl in others if acl.operation != "Read"])
        assert json.loads(command("watch", given, "list", "--json").stdout) == [{"id": "a"}, {"id": "b"}]


def refused_for(given: Mapping[str, Any], acl: Acl, *arguments: str) -> bool:
    """Whether the command ends with the line that gives just this permission."""
    ended = command("watch", given, *arguments)
    return ended.returncode == 1 and advised(ended.stderr.decode()) == [acl]


async def test_a_consumer_needs_each_documented_permission_and_no_other(guarded: Guarded) -> None:
    read_topic, read_group = READER
    given = guarded.login("reader")
    async with SuperUser(guarded.super_user) as super_user:
        await super_user.clear()
        await super_user.create(TOPICS)
        await super_user.grant([*POLLER, *READER])
        await given_back(settings_of(guarded.login("poller")))
        await publish(settings_of(guarded.login("poller")))

        assert await consumed(given, read_group.name) == b"{}"
        await super_user.revoke([read_group])
        shown = tail(given)
        assert (shown.returncode, len(shown.stdout.splitlines())) == (0, 1), shown
        with pytest.raises(GroupAuthorizationFailedError):
            await consumed(given, read_group.name)
        await super_user.grant([read_group])
        await super_user.revoke([read_topic])
        assert tail(given).returncode == 1
        with pytest.raises(TopicAuthorizationFailedError):
            await consumed(given, read_group.name)


def tail(given: Mapping[str, Any]) -> "subprocess.CompletedProcess[bytes]":
    return command("tail", given, "--from-beginning", "--max", "1", "--idle-seconds", "5")


async def consumed(given: Mapping[str, Any], group: str) -> bytes | None:
    """The first activity, as a member of the group that commits what it has read."""
    consumer = AIOKafkaConsumer(
        "voucherify.activities",
        bootstrap_servers=given["bootstrap_servers"],
        security_protocol=given["security_protocol"],
        sasl_mechanism=given["sasl_mechanism"],
        sasl_plain_username=given["sasl_username"],
        sasl_plain_password=given["sasl_password"].reveal(),
        group_id=group,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    try:
        with anyio.fail_after(3):
            await consumer.start()
            record: Any = await consumer.getone()
            await consumer.commit()
            await consumer.seek_to_beginning()
            await consumer.commit()
            return bytes(record.value)
    finally:
        with anyio.move_on_after(2, shield=True):
            await consumer.stop()
