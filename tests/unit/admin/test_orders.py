"""What changes something, and for whom."""

from collections.abc import Mapping

import anyio
import pytest

from poller.admin.orders import BODY_BYTES_MAX
from tests.support.admin import TOKEN, Process, direct_client_of, turned

ORDERS = ["/log-level", "/customers/c1/hint"]
AUTHORISED = {"authorization": f"Bearer {TOKEN}"}


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ORDERS)
async def test_without_the_setting_there_are_no_orders(path: str) -> None:
    process = Process()
    async with direct_client_of(process) as client:
        answer = await client.post(path, json={"level": "debug"}, headers=AUTHORISED)

    assert (answer.status_code, process.levels, process.hinted, process.told) == (404, [], [], [])


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ORDERS)
@pytest.mark.parametrize(
    "headers",
    [{}, {"authorization": ""}, {"authorization": TOKEN}, {"authorization": f"Basic {TOKEN}"}, {"authorization": f"Bearer {TOKEN}x"}, {"authorization": "Bearer \xe9"}],
    ids=str,
)  # fmt: skip
async def test_without_the_token_nothing_is_done_and_that_is_told(path: str, headers: Mapping[str, str]) -> None:
    process = Process(TOKEN)
    async with direct_client_of(process) as client:
        answer = await client.post(
            path, json={"level": "debug"}, headers=[(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        )

    assert (answer.status_code, answer.headers["www-authenticate"], process.levels, process.hinted) == (401, "Bearer", [], [])
    assert (process.told, process.refused) == ([], 1)
    assert TOKEN not in answer.text


@pytest.mark.asyncio
async def test_the_log_level_is_another_for_a_while() -> None:
    process = Process(TOKEN)
    async with direct_client_of(process) as client:
        answer = await client.post("/log-level", json={"level": "debug", "seconds": 60}, headers=AUTHORISED)
        usual = await client.post("/log-level", json={"level": "warning"}, headers={"authorization": f"bearer  {TOKEN}"})

    assert (answer.status_code, answer.json()) == (200, {"level": "debug", "until": 1060.0})
    assert usual.json() == {"level": "warning", "until": 1600.0}
    assert process.levels == ["debug", "warning"]
    assert process.told == [("the log level is debug for 60 seconds", None), ("the log level is warning for 600 seconds", None)]


@pytest.mark.anyio
async def test_the_log_level_goes_back_by_itself_and_a_later_order_takes_the_place_of_the_last(
    virtual_time: object,
) -> None:
    process = Process(TOKEN)
    process.log_levels._clock = anyio.current_time
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(process.log_levels.go_back)
        await turned(lambda: True)
        process.log_levels.change("debug", 10)
        await anyio.wait_all_tasks_blocked()
        process.log_levels.change("error", 100)
        with anyio.move_on_after(99):
            await anyio.sleep_forever()
        before = list(process.levels)
        with anyio.move_on_after(2):
            await anyio.sleep_forever()
        tasks.cancel_scope.cancel()

    assert (before, process.levels) == (["debug", "error"], ["debug", "error", "info"])


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'{"level":"loud"}', b'{"level":"debug","seconds":0}', b'{"level":"debug","seconds":86401}', b'{"level":"debug","x":1}', b"\xff"],
)  # fmt: skip
async def test_an_order_that_cannot_be_read_changes_nothing(body: bytes) -> None:
    process = Process(TOKEN)
    async with direct_client_of(process) as client:
        answer = await client.post("/log-level", content=body, headers=AUTHORISED)

    assert (answer.status_code, process.levels) == (400, [])


@pytest.mark.asyncio
async def test_a_body_that_is_too_large_is_refused() -> None:
    process = Process(TOKEN)
    async with direct_client_of(process) as client:
        answer = await client.post("/log-level", content=b" " * (BODY_BYTES_MAX + 1), headers=AUTHORISED)

    assert (answer.status_code, process.levels) == (413, [])


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("whose", "status"),
    [(("ours", True), 202), (("another's", True), 202), (("another's", False), 409), (("nobody's", True), 404)],
    ids=str,
)  # fmt: skip
async def test_a_customer_is_read_next_by_whoever_reads_it(whose: tuple[object, bool], status: int) -> None:
    process = Process(TOKEN)
    process.whose = whose  # type: ignore[assignment]
    async with direct_client_of(process) as client:
        answer = await client.post("/customers/a%2Fb/hint", headers=AUTHORISED)

    assert (answer.status_code, process.hinted) == (status, ["a/b"])
    assert process.told == ([("it is read next", "a/b")] if status == 202 else [])


@pytest.mark.asyncio
async def test_an_id_that_no_customer_can_have_is_refused() -> None:
    process = Process(TOKEN)
    async with direct_client_of(process) as client:
        answer = await client.post("/customers/%00/hint", headers=AUTHORISED)

    assert (answer.status_code, process.hinted) == (400, [])
