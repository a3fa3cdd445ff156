"""`poller simulate`."""

import shlex
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from poller.commands.output import say
from poller.commands.until_stopped import run_until_stopped
from poller.demo.api import Simulator
from poller.demo.options import SimulatorOptions, check_given, customer
from poller.demo.serve import bind, serve_simulator

CUSTOMERS_SHOWN = 5


@Parameter(name="*", validator=check_given)
@dataclass(frozen=True, slots=True)
class Lively(SimulatorOptions):
    """With defaults that show something at once to whoever looks for the first time."""

    history_seconds: Annotated[float, customer("How long the customers had been active when the simulation starts.")] = 600.0
    time_compression: Annotated[float, customer("Minutes of the customers' life in a minute of the clock.")] = 240.0


def simulate(
    *,
    host: Annotated[str, Parameter(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65535), help="The port; 0: any free one.")] = 8081,
    options: Annotated[Lively | None, Parameter(name="*")] = None,
) -> int:
    return run_until_stopped(_serve, Simulator(options or Lively(), time.time), bind(host, port), host)


async def _serve(simulator: Simulator, listening: socket.socket, host: str) -> None:
    address = f"http://{host}:{listening.getsockname()[1]}"
    say(f"Simulated API on {address}; its state: {address}/simulator/state; stop it with Ctrl-C.")
    say("Settings for `poller run`, to paste in another terminal:")
    for name, value in settings_of(simulator, address).items():
        say(f"export {name}={shlex.quote(value)}")
    sys.stdout.flush()
    await serve_simulator(simulator, listening)


def settings_of(simulator: Simulator, address: str) -> Mapping[str, str]:
    """What a poller that is to read this API is told of it: a few customers, so that a first look is quick."""
    return {
        "POLLER_VOUCHERIFY_URL": address,
        "POLLER_VOUCHERIFY_APP_ID": simulator.options.app_id,
        "POLLER_VOUCHERIFY_APP_TOKEN": simulator.options.app_token,
        "POLLER_CUSTOMERS": ",".join(busiest(simulator)),
    }


def busiest(simulator: Simulator) -> list[str]:
    """The ids of those who have done most so far."""
    now, customers = simulator.clock(), simulator.population.customers
    ranks = [len(simulator.population.activities(customer, now)) for customer in customers]
    ids = list(simulator.customers)
    return [ids[index] for index in sorted(range(len(ids)), key=lambda index: -ranks[index])[:CUSTOMERS_SHOWN]]
