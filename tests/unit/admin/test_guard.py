"""Whom the admin server answers, and with which headers."""

import pytest

from poller.admin.guard import HEADERS, is_loopback, names_this_machine
from tests.support.admin import Process, client_of


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "localhost.", "a.localhost:1", "127.0.0.1", "127.0.0.1:8080", "[::1]:8080", "[::1]", "10.1.2.3", ""])  # fmt: skip
def test_who_asks_by_address_or_as_localhost_is_answered(host: str) -> None:
    assert names_this_machine(host)


@pytest.mark.parametrize("host", ["attacker.example", "127.0.0.1.attacker.example:8080", "localhost.attacker.example", "x@localhost", "1.2.3", "a:b:c", "[::1"])  # fmt: skip
def test_who_asks_by_another_name_is_not(host: str) -> None:
    assert not names_this_machine(host)


def test_what_is_no_address_is_no_loopback() -> None:
    assert [
        is_loopback(address)
        for address in ("127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1", "10.0.0.1", "::ffff:10.0.0.1", "/run/socket")
    ] == [
        True,
        True,
        True,
        True,
        False,
        False,
        False,
    ]


@pytest.mark.asyncio
async def test_a_page_that_gave_its_own_name_to_our_address_learns_nothing() -> None:
    async with client_of(Process()) as client:
        tricked = await client.get("/status", headers={"host": "attacker.example"})
        asked = await client.get("/status", headers={"host": "localhost:8080"})

    assert (tricked.status_code, list(tricked.json())) == (421, ["error"])
    assert asked.status_code == 200


@pytest.mark.asyncio
async def test_every_answer_bears_the_headers_refusals_and_the_stream_too() -> None:
    async with client_of(Process()) as client:
        answers = [await client.get(path) for path in ("/livez", "/readyz", "/status", "/metrics", "/nowhere", "/customers/%00")]
        answers += [await client.post("/log-level"), await client.head("/events"), await client.get("/", headers={"host": "x.example"})]
        page = await client.get("/")

    for answer in answers:
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS, answer.url
    assert {name: page.headers.get(name) for name in HEADERS if name != "content-security-policy"} == {
        name: value for name, value in HEADERS.items() if name != "content-security-policy"
    }
    assert page.headers["content-security-policy"].startswith("default-src 'none'; script-src 'sha256-")
