"""The simulator behind an httpx client of the same process: no socket, and connections that fail as real ones do."""

import httpx

from poller.demo.api import Simulator
from poller.demo.faults import ConnectionBroke, NoAnswer


class SimulatorTransport(httpx.AsyncBaseTransport):
    """Calls the application directly; its broken connections become httpx's errors."""

    def __init__(self, simulator: Simulator) -> None:
        self._transport = httpx.ASGITransport(app=simulator.app)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return await self._transport.handle_async_request(request)
        except ConnectionBroke as error:
            raise httpx.ConnectError("the connection broke", request=request) from error
        except NoAnswer as error:
            raise httpx.ReadTimeout("no answer came", request=request) from error
