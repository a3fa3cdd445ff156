"""`poller run` as it is used: environment variables, a simulated API, a real Kafka."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import anyio
import pytest

from poller.demo.api import Simulator
from poller.demo.broker import free_port
from poller.demo.options import SimulatorOptions
from poller.demo.population import Scripted
from poller.demo.readings import Defect, Stored
from tests.support.processes import CANARY, Deployment, busy, inherited, one_error, served
from tests.support.topics import all_published, expected_of, headers_of, name_of, reading
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

TOO_LARGE_BYTES = 1_200_000


async def calls_made(simulator: Simulator, calls: int) -> None:
    await until(lambda: len(simulator.calls) >= calls, within_seconds=15)


async def test_every_activity_is_published_once_as_it_was_sent_keyed_by_its_type(kafka: str, tmp_path: Path) -> None:
    async with one_error(), served(busy()) as api, Deployment(kafka, api.url, api.simulator.customers, tmp_path) as pollers:
        poller = pollers.start()
        await poller.active()

        async with reading(kafka, pollers.name) as reader:
            records = await all_published(reader, api.simulator, within_seconds=15)

        expected = expected_of(api.simulator)
        assert len(records) > 300
        for record in records:
            activity = expected[name_of(record)]
            assert record.key == activity.type.encode()
            assert headers_of(record) == {
                "ce_specversion": "1.0",
                "ce_id": activity.id,
                "ce_type": activity.type,
                "ce_source": api.url,
                "ce_subject": activity.customer,
                "ce_time": activity.created_at,
                "content-type": "application/json",
            }
        partitions = {(record.key, record.partition) for record in records}
        assert len(partitions) == len({key for key, _ in partitions})
        assert {b'"group_id"' in (record.value or b"") for record in records} == {True, False}, "both shapes"
        poller.send(signal.SIGTERM)
        assert await poller.ended() == 0


async def test_what_cannot_be_published_goes_to_the_dead_letters_once_and_reading_goes_on(kafka: str, tmp_path: Path) -> None:
    def stored(number: int, defect: Defect | None = None, pad_bytes: int = 0) -> Stored:
        at = now - 20 + number
        return Stored(
            id=f"a{number}", type="customer.created", created_at_us=int(at * 1000) * 1000, shown_at=at, defect=defect, pad_bytes=pad_bytes
        )

    now = time.time()
    odd: list[Defect] = ["no_id", "no_type", "no_created_at", "bad_created_at", "bad_utf8", "not_an_object"]
    activities = [stored(0), *(stored(1 + i, defect) for i, defect in enumerate(odd)), stored(8, pad_bytes=TOO_LARGE_BYTES), stored(9)]
    simulator = Simulator(SimulatorOptions(app_token=CANARY, calls_per_window=None), time.time, Scripted({"cust_1": activities}))
    (customer,) = simulator.population.customers
    sent = [simulator.raw(customer, activity) for activity in activities]
    async with one_error(), served(simulator) as api, Deployment(kafka, api.url, ["cust_1"], tmp_path) as pollers:
        for _ in range(2):  # a restart remembers them too
            poller = pollers.start(calls_per_minute=600)
            await poller.active()
            read = len(simulator.calls)
            await calls_made(simulator, read + 6)
            poller.send(signal.SIGTERM)
            assert await poller.ended() == 0

        async with reading(kafka, pollers.name) as reader:
            assert [(name_of(record), record.value) for record in await reader.read()] == [
                (("cust_1", "a0"), sent[0]),
                (("cust_1", "a9"), sent[9 - 1]),
            ]
        async with reading(kafka, f"{pollers.name}.dead-letters") as reader:
            letters = await reader.read()
            assert {letter.key for letter in letters} == {b"cust_1"}
            assert sorted(letter.value for letter in letters if letter.value in sent) == sorted(sent[1:7])
            (cut,) = [letter for letter in letters if letter.value not in sent]
            assert sent[7].startswith(cut.value or b"-") and len(letters) == 7
            assert headers_of(cut)["reason"].startswith("too large") and headers_of(cut)["original_length"] == str(len(sent[7]))
            assert all(headers_of(letter)["reason"] for letter in letters)


async def test_while_the_api_is_down_it_says_so_and_stays_ready_and_goes_on_when_it_is_back(kafka: str, tmp_path: Path) -> None:
    simulator, port = busy(), free_port()
    async with one_error(), Deployment(kafka, f"http://127.0.0.1:{port}", simulator.customers, tmp_path) as pollers:
        poller = pollers.start()
        await poller.active()
        await until(lambda: poller.events("calls_paused"), within_seconds=10)
        assert "Voucherify did not answer" in poller.events("calls_paused")[0]["error"]
        assert await poller.says("livez", 200)
        assert await poller.says("readyz", 200)

        async with served(simulator, port), reading(kafka, pollers.name) as reader:
            await all_published(reader, simulator, within_seconds=20)
        assert poller.count("calls_resumed") >= 1


async def test_wrong_credentials_are_told_and_tried_again_slowly_until_they_are_mended(kafka: str, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(f"wrong-{CANARY}\n")
    secrets = {"voucherify_app_token": None, "voucherify_app_token_file": token}
    async with (
        one_error(),
        served(busy(latency_seconds=0.2)) as api,
        Deployment(kafka, api.url, api.simulator.customers, tmp_path, **secrets) as pollers,
    ):
        poller = pollers.start()
        await until(lambda: poller.events("calls_paused"), within_seconds=10)
        assert "check POLLER_VOUCHERIFY_APP_ID, POLLER_VOUCHERIFY_APP_TOKEN" in poller.events("calls_paused")[0]["error"]
        await until(lambda: poller.says("readyz", 503, "does not accept the credentials"), within_seconds=2)
        assert await poller.says("livez", 200)
        with anyio.move_on_after(3):
            await until(lambda: len(api.simulator.calls) > 4, within_seconds=4)
        assert len(api.simulator.calls) <= 4, "those under way at once, and none since"

        token.write_text(f"{CANARY}\n")
        async with reading(kafka, pollers.name) as reader:
            await all_published(reader, api.simulator, within_seconds=40)
        assert await poller.says("readyz", 200, "owning")


async def test_checkpoints_of_another_url_are_refused_at_start(kafka: str, tmp_path: Path) -> None:
    async with one_error(), served(busy(customers=2)) as api, Deployment(kafka, api.url, api.simulator.customers, tmp_path) as pollers:
        first = pollers.start()
        await first.active()
        first.send(signal.SIGTERM)
        assert await first.ended() == 0

        second = pollers.start(voucherify_url="http://127.0.0.1:9")

        assert await second.ended(within_seconds=15) == 2
        last_line = second.output().splitlines()[-1]
        assert f"its checkpoints are of POLLER_VOUCHERIFY_URL='{api.url}', not 'http://127.0.0.1:9'" in last_line
        assert second.count("published") == 0


def test_all_faults_of_the_settings_are_named_at_once_and_nothing_is_started() -> None:
    settings = {
        "POLLER_VOUCHERIFY_URL": "ftp://api.voucherify.io",
        "POLLER_VOUCHERIFY_APP_TOKEN": f"{CANARY} with a blank",
        "POLLER_CALLS_PER_MINUT": "60",
        "POLLER_CUSTOMERS": "cust_1",
        "POLLER_CUSTOMERS_FILE": "/does/not/exist",
        "POLLER_KAFKA_SESSION_SECONDS": "1",
    }

    ended = subprocess.run(
        [sys.executable, "-m", "poller", "run"], env={**inherited(), **settings}, capture_output=True, timeout=20, check=False
    )

    assert (ended.returncode, ended.stdout) == (2, b"")
    said = ended.stderr.decode()
    for variable in (
        *settings.keys() - {"POLLER_CUSTOMERS"},
        "POLLER_CALLS_PER_MINUTE",
        "POLLER_VOUCHERIFY_APP_ID",
        "POLLER_KAFKA_BOOTSTRAP_SERVERS",
    ):
        assert variable in said, variable
    assert CANARY not in said
    assert '"event"' not in said and "Traceback" not in said
