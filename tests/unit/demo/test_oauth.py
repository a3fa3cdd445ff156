"""How the simulated API may be told to authorise calls, and that its tokens can be revoked from outside."""

import httpx
import pytest

from poller.demo.api import Simulator
from poller.demo.options import SimulatorOptions

pytestmark = pytest.mark.anyio

CREDENTIALS = {"X-App-Id": "simulator-app-id", "X-App-Token": "simulator-app-token"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def client(simulator: Simulator) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=simulator.app), base_url="http://api.test")


async def statuses(simulator: Simulator) -> list[int]:
    """What a read by the credentials, a call for a token, and a read by a token are answered."""
    path = f"/v1/customers/{simulator.customers[0]}/activities"
    bearer = {"Authorization": f"Bearer {simulator.tokens.issue(simulator.clock() + 900)}"}
    form = {"grant_type": "client_credentials", "scope": "customers"}
    async with client(simulator) as asking:
        answers = [
            await asking.get(path, headers=CREDENTIALS),
            await asking.post("/v1/oauth/token", headers=CREDENTIALS, data=form),
            await asking.get(path, headers=bearer),
        ]
    return [answer.status_code for answer in answers]


async def test_calls_are_authorised_in_the_ways_that_are_accepted() -> None:
    def simulator(accepts: str) -> Simulator:
        return Simulator(SimulatorOptions(customers=1, accepts=accepts), lambda: 1_800_000_000.0)  # type: ignore[arg-type]

    assert await statuses(simulator("both")) == [200, 200, 200]
    assert await statuses(simulator("token")) == [200, 404, 401]
    assert await statuses(simulator("oauth")) == [401, 200, 200]


async def test_tokens_are_revoked_from_outside() -> None:
    simulator = Simulator(SimulatorOptions(customers=1), lambda: 1_800_000_000.0)
    token = simulator.tokens.issue(simulator.clock() + 900)
    async with client(simulator) as asking:
        answer = await asking.post("/simulator/revoke")

    assert answer.status_code == 200
    assert not simulator.tokens.valid(token, simulator.clock())
