"""Every type that the documentation names, and some that it does not, in both shapes and through both endpoints: read as it was sent."""

from typing import Literal

import pytest

from poller.config import VoucherifySettings
from poller.demo.api import Simulator
from poller.demo.options import SimulatorOptions
from poller.demo.payloads import TYPES, UNDOCUMENTED_TYPES
from poller.demo.population import Scripted
from poller.demo.readings import Readings, Stored
from poller.demo.transport import SimulatorTransport
from poller.model import Activity, CustomerId, Fetch, Query
from poller.secret import Secret
from poller.voucherify.client import VoucherifySource
from tests.support.builders import checkpoint, walk
from tests.support.virtual_time import run_in_virtual_time

EVERY_TYPE = (*TYPES, *UNDOCUMENTED_TYPES, "customer.of.a.kind.yet.unknown")
START = 1_800_000_000.0
CUSTOMER = CustomerId("cust_1")


def stored(index: int, type: str) -> Stored:
    return Stored(
        id=f"event_{index:03}" if index % 7 == 0 else f"evcus_{index:018x}", type=type, created_at_us=1_000_000 * (index + 1), shown_at=0
    )


def simulator(shape: Literal["nested", "flat"]) -> Simulator:
    population = Scripted({CUSTOMER: [stored(index, type) for index, type in enumerate(EVERY_TYPE)]})
    return Simulator(SimulatorOptions(readings=Readings(payload=shape)), lambda: START, population)


async def read(api: Simulator, endpoint: Literal["activities", "activity"]) -> list[Activity]:
    """All of the customer's activities, which fit on one page."""
    settings = VoucherifySettings(
        url="http://simulator.invalid", endpoint=endpoint, app_id=Secret("simulator-app-id"), app_token=Secret("simulator-app-token")
    )
    fetch = Fetch(CUSTOMER, 0, Query(), START, walk(sent=START), None, checkpoint())
    async with VoucherifySource(settings, SimulatorTransport(api)) as source:
        page = source.decode(await source.fetch(fetch))
    return [entry for entry in page.entries if isinstance(entry, Activity)]


@pytest.mark.parametrize("endpoint", ["activities", "activity"])
@pytest.mark.parametrize("shape", ["nested", "flat"])
def test_every_type_is_read_byte_for_byte(shape: Literal["nested", "flat"], endpoint: Literal["activities", "activity"]) -> None:
    api = simulator(shape)
    (customer,) = api.population.customers

    found = run_in_virtual_time(read, api, endpoint)

    assert len(EVERY_TYPE) == 74 + 4
    assert [(one.id, one.type, one.created_at_ms, one.raw) for one in found] == [
        (one.id, one.type, one.created_at_ms, api.raw(customer, one)) for one in api.population.activities(customer, START)
    ]
