"""The deployment for one machine: what it names exists, and nothing is open to others."""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from poller.cli import COMMANDS
from poller.config import KNOWN, load
from poller.demo.broker import KAFKA_VERSION
from poller.demo.options import SimulatorOptions

COMPOSE = Path(__file__).parents[3] / "deploy" / "compose.yaml"
OURS = "voucherify-activity-poller"


def composed() -> dict[str, Any]:
    composed: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return composed


def environment(service: dict[str, Any]) -> dict[str, str]:
    given: dict[str, str] = service.get("environment", {})
    return given


def faults(composed: dict[str, Any]) -> list[str]:
    services = composed["services"]
    return [f"{name}: {fault}" for name, service in services.items() for fault in _faults(service, services)]


def _faults(service: dict[str, Any], services: dict[str, Any]) -> Iterator[str]:
    yield from (f"no setting: {name}" for name in environment(service) if name.startswith("POLLER_") and name not in KNOWN)
    yield from (f"open to others: {port}" for port in service.get("ports", ()) if not port.startswith("127.0.0.1:"))
    yield from (f"no such file: {file}" for file in _mounted(service) if not (COMPOSE.parent / file).is_file())
    yield from (f"no such service: {other}" for other in service.get("depends_on", ()) if other not in services)
    if service["image"] == OURS:
        yield from _faults_of_ours(service)


def _mounted(service: dict[str, Any]) -> list[str]:
    return [volume.partition(":")[0] for volume in service.get("volumes", ())]


def _faults_of_ours(service: dict[str, Any]) -> Iterator[str]:
    if service["command"][0] not in COMMANDS:
        yield f"no command: {service['command'][0]}"
    if not (COMPOSE.parent / service["build"]["context"] / service["build"]["dockerfile"]).is_file():
        yield "no Dockerfile"
    if (service["read_only"], service["cap_drop"], service["security_opt"]) != (True, ["ALL"], ["no-new-privileges:true"]):
        yield "may do more than it needs"


def test_what_is_composed_exists_and_is_open_to_this_machine_alone() -> None:
    assert faults(composed()) == []


def misnamed(services: dict[str, Any]) -> None:
    services["poller-1"]["environment"] = {**environment(services["poller-1"]), "POLLER_CALLS_A_MINUTE": "90"}


def published(services: dict[str, Any]) -> None:
    services["grafana"]["ports"] = ["3000:3000"]


def unmounted(services: dict[str, Any]) -> None:
    services["prometheus"]["volumes"].append("../config/alert.yaml:/etc/prometheus/alert.yaml:ro")


def orphaned(services: dict[str, Any]) -> None:
    services["grafana"]["depends_on"] = ["prometeus"]


def unknown(services: dict[str, Any]) -> None:
    services["simulator"]["command"] = ["simulation"]


def writable(services: dict[str, Any]) -> None:
    services["simulator"]["read_only"] = False


@pytest.mark.parametrize(
    ("mistake", "fault"),
    [
        (misnamed, "poller-1: no setting: POLLER_CALLS_A_MINUTE"),
        (published, "grafana: open to others: 3000:3000"),
        (unmounted, "prometheus: no such file: ../config/alert.yaml"),
        (orphaned, "grafana: no such service: prometeus"),
        (unknown, "simulator: no command: simulation"),
        (writable, "simulator: may do more than it needs"),
    ],
)
def test_a_mistake_is_found(mistake: Callable[[dict[str, Any]], None], fault: str) -> None:
    before, mistaken = composed(), copy.deepcopy(composed())
    mistake(mistaken["services"])

    assert [one for one in faults(mistaken) if one not in faults(before)] == [fault]


def test_the_pollers_settings_can_be_used_and_are_alike() -> None:
    first, second = (composed()["services"][name] for name in ("poller-1", "poller-2"))

    settings = load(environment(first))
    assert environment(second) == environment(first)
    assert settings.drain_seconds < float(first["stop_grace_period"].removesuffix("s"))


def test_the_pollers_are_let_in_by_the_simulator_and_ask_no_more_than_it_grants() -> None:
    services, options = composed()["services"], SimulatorOptions()
    command, settings = services["simulator"]["command"], load(environment(services["poller-1"]))

    assert settings.voucherify.url == f"http://simulator:{command[command.index('--port') + 1]}"
    assert (settings.voucherify.app_id.reveal(), settings.voucherify.app_token.reveal()) == (options.app_id, options.app_token)
    assert options.calls_per_window is not None
    assert settings.budget.calls_per_second <= options.calls_per_window / options.window_seconds


def test_the_pollers_ask_a_listener_that_kafka_names() -> None:
    services = composed()["services"]
    named = dict(listener.split("://") for listener in environment(services["kafka"])["KAFKA_ADVERTISED_LISTENERS"].split(","))

    assert load(environment(services["poller-1"])).kafka.bootstrap_servers in named.values()
    assert services["kafka"]["ports"] == [f"127.0.0.1:{named['MACHINE'].partition(':')[2]}:9092"]


def test_kafka_is_the_version_that_everything_is_tested_with() -> None:
    assert composed()["services"]["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"


def test_prometheus_asks_each_poller_where_it_listens() -> None:
    prometheus = yaml.safe_load((COMPOSE.parent / "compose" / "prometheus.yaml").read_text())
    services = composed()["services"]

    (job,) = prometheus["scrape_configs"]
    (static,) = job["static_configs"]
    assert static["targets"] == [
        f"{name}:{load(environment(services[name])).admin_port}" for name in services if name.startswith("poller-")
    ]
    assert prometheus["rule_files"] == [volume.split(":")[1] for volume in services["prometheus"]["volumes"] if "alerts" in volume]
