"""`poller simulate`."""

import socket
import sys
import time
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from poller.commands.output import say
from poller.commands.until_stopped import run_until_stopped
from poller.demo.api import Simulator
from poller.demo.options import SimulatorOptions
from poller.demo.serve import bind, serve_simulator


def simulate(
    *,
    host: Annotated[str, Parameter(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65535), help="The port; 0: any free one.")] = 8081,
    options: Annotated[SimulatorOptions | None, Parameter(name="*")] = None,
) -> int:
    return run_until_stopped(_serve, Simulator(options or SimulatorOptions(), time.time), bind(host, port), host)


async def _serve(simulator: Simulator, listening: socket.socket, host: str) -> None:
    address = f"http://{host}:{listening.getsockname()[1]}"
    say(f"Simulated API on {address}; its state: {address}/simulator/state; stop it with Ctrl-C.")
    sys.stdout.flush()
    await serve_simulator(simulator, listening)
