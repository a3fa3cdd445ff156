import pytest

from poller.config import KafkaSettings
from poller.kafka.permissions import Need, needs
from poller.secret import Secret
from tests.support.acls import Acl, advised, documented_acls

SETTINGS = KafkaSettings(
    bootstrap_servers="kafka:9092", security_protocol="SASL_SSL", sasl_username="creator", sasl_password=Secret("sesame")
)


def acls_of(needed: tuple[Need, ...]) -> set[Acl]:
    return {Acl("User:creator", need.operation, need.resource, need.name, "prefixed" if need.prefixed else "literal") for need in needed}


def test_the_documented_permissions_are_those_that_are_checked() -> None:
    assert sorted(documented_acls("The poller that creates its topics")) == sorted(acls_of(needs(SETTINGS)))


def test_with_topics_made_beforehand_only_their_creation_is_not_needed() -> None:
    creator = documented_acls("The poller that creates its topics")

    poller = documented_acls("The poller with topics made beforehand")

    assert poller == [acl._replace(principal="User:poller") for acl in creator if acl.operation != "Create"]


@pytest.mark.parametrize("need", needs(SETTINGS), ids=str)
def test_a_missing_permission_is_told_by_its_resource_its_operation_and_the_command_that_gives_it(need: Need) -> None:
    line = need.line(SETTINGS)

    assert {*advised(line)} == acls_of((need,))
    assert f"User:creator may not {need.operation} the " in line and need.name in line and "\n" not in line


def test_who_shows_a_certificate_has_a_name_that_only_the_brokers_know() -> None:
    line = needs(SETTINGS)[0].line(KafkaSettings(bootstrap_servers="kafka:9092", security_protocol="SSL"))

    assert line.startswith("this user may not Create") and "--allow-principal 'User:…' --operation Create" in line
