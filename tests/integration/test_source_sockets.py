"""The source over real sockets: what is sent, byte for byte, and servers that misbehave below HTTP."""

import gzip
import socket
import ssl
import struct
import subprocess
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import pytest
from anyio.streams.tls import TLSListener

from poller.config import VoucherifySettings
from poller.customer_id import refusal
from poller.errors import Limited, Rejected, ServerFault, SourceError, Undecodable, Unreachable
from poller.model import Checkpoint, CustomerId, Fetch, Query, Walk
from poller.secret import Secret
from poller.voucherify.client import VoucherifySource
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

PAGE = b'{"object":"list","data_ref":"data","data":[],"total":0}'
TIMEOUT_SECONDS = 0.4

Behave = Callable[[anyio.abc.ByteStream, bytes], Awaitable[object]]
"""Answers one request, whose head it is given."""


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return ("asyncio", {"use_uvloop": request.param})


def answer(body: bytes = PAGE, *headers: bytes, status: bytes = b"200 OK", length: int | None = None) -> bytes:
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % (len(body) if length is None else length), *headers]
    return b"\r\n".join([*lines, b"", b""]) + body


class Server:
    """A server on loopback that behaves in one given way, and remembers what it was sent."""

    def __init__(self, behave: Behave) -> None:
        self.behave = behave
        self.heads: list[bytes] = []
        self.connections = 0
        self.open = 0
        self.port = 0

    @property
    def targets(self) -> list[bytes]:
        return [head.split(b" ")[1] for head in self.heads]

    async def serve(self, stream: anyio.abc.ByteStream) -> None:
        self.connections += 1
        self.open += 1
        try:
            async with stream:
                await self._answer_all(stream)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream):
            return  # the other side went away
        finally:
            self.open -= 1

    async def _answer_all(self, stream: anyio.abc.ByteStream) -> None:
        received = b""
        while True:
            while b"\r\n\r\n" not in received:
                received += await stream.receive()
            head, received = received.split(b"\r\n\r\n", 1)
            self.heads.append(head)
            await self.behave(stream, head)


@asynccontextmanager
async def serving(behave: Behave, context: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server(behave)
    listeners = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    server.port = listeners.extra(anyio.abc.SocketAttribute.local_port)
    listener: anyio.abc.Listener[Any] = listeners if context is None else TLSListener(listeners, context, standard_compatible=False)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, server.serve)
        yield server
        tasks.cancel_scope.cancel()


def always(content: bytes) -> Behave:
    async def behave(stream: anyio.abc.ByteStream, _head: bytes) -> None:
        await stream.send(content)

    return behave


def source(server: Server, **given: Any) -> VoucherifySource:
    usual: dict[str, Any] = {
        "url": f"http://127.0.0.1:{server.port}",
        "app_id": Secret("the-app-id"),
        "app_token": Secret("the-app-token"),
        "timeout_seconds": 5,
    }
    return VoucherifySource(VoucherifySettings(**usual | given))


def fetch(customer: str = "cust_1") -> Fetch:
    return Fetch(
        customer=CustomerId(customer),
        partition=0,
        query=Query(),
        at=0.0,
        walk=Walk(sent=0.0, low_ms=0),
        base=None,
        start=Checkpoint(cursor_ms=0),
    )


@pytest.mark.parametrize(
    ("id", "segment"),
    [
        ("cust_eHnSqNkPhpPyBeQIkt6WZNIU", b"cust_eHnSqNkPhpPyBeQIkt6WZNIU"),
        ("a/b", b"a%2Fb"),
        ("a b", b"a%20b"),
        ("ü", b"%C3%BC"),
        ("%2e%2e", b"%252e%252e"),
        ("..%2f", b"..%252f"),
        ("../..", b"..%2F.."),
        ("/", b"%2F"),
        ("...", b"..."),
        ("a?b#c", b"a%3Fb%23c"),
        ("a;b", b"a%3Bb"),
        ("a+b@c:d", b"a%2Bb%40c%3Ad"),
        ("a\\b", b"a%5Cb"),
        ("[a]{b}|'\"<>^`!$&()*,=~", b"%5Ba%5D%7Bb%7D%7C%27%22%3C%3E%5E%60%21%24%26%28%29%2A%2C%3D~"),
        ("é".encode().decode("latin-1"), b"%C3%83%C2%A9"),
        ("🙂" * 1024, b"%F0%9F%99%82" * 1024),
        ("x" * 300, b"x" * 300),
    ],
)
async def test_an_id_arrives_as_one_segment_byte_for_byte(id: str, segment: bytes) -> None:
    assert refusal(id) is None
    async with serving(always(answer())) as server, source(server) as api:
        await api.fetch(fetch(id))

    assert server.targets == [b"/v1/customers/" + segment + b"/activities?order=created_at&limit=100"]


async def test_calls_one_after_the_other_share_a_connection() -> None:
    async with serving(always(answer())) as server, source(server) as api:
        for _ in range(20):
            await api.fetch(fetch())

        assert (len(server.heads), server.connections) == (20, 1)

    assert server.open == 0


async def test_calls_side_by_side_take_a_connection_each_and_share_them_afterwards() -> None:
    arrived = 0

    async def together(stream: anyio.abc.ByteStream, _head: bytes) -> None:
        nonlocal arrived
        arrived += 1
        await until(lambda: arrived >= 4, within_seconds=5)
        await stream.send(answer())

    async with serving(together) as server, source(server) as api:
        for _ in range(2):
            async with anyio.create_task_group() as tasks:
                for _ in range(4):
                    tasks.start_soon(api.fetch, fetch())

        assert (len(server.heads), server.connections) == (8, 4)


async def test_an_error_with_its_body_keeps_the_connection() -> None:
    async with serving(always(answer(b'{"key":"oops"}', status=b"503 Not now"))) as server, source(server) as api:
        for _ in range(3):
            with pytest.raises(ServerFault, match="HTTP 503 key='oops'"):
                await api.fetch(fetch())

        assert server.connections == 1


async def test_a_connection_that_was_closed_while_idle_is_replaced_without_a_failure() -> None:
    async def once(stream: anyio.abc.ByteStream, _head: bytes) -> None:
        await stream.send(answer())
        await stream.aclose()

    async with serving(once) as server, source(server) as api:
        for _ in range(5):
            await api.fetch(fetch())
            await until(lambda: server.open == 0, within_seconds=5)

        assert (len(server.heads), server.connections) == (5, 5)


async def test_a_body_that_drips_ends_with_the_whole_calls_time() -> None:
    async def drip(stream: anyio.abc.ByteStream, _head: bytes) -> None:
        await stream.send(answer(b"", length=10_000))
        while True:
            await anyio.sleep(0.02)
            await stream.send(b" ")

    async with serving(drip) as server, source(server, timeout_seconds=TIMEOUT_SECONDS) as api:
        began = time.monotonic()
        with pytest.raises(Unreachable, match=r"no whole answer within 0\.4 s"):
            await api.fetch(fetch())

        assert TIMEOUT_SECONDS <= time.monotonic() - began < TIMEOUT_SECONDS + 1
        await until(lambda: server.open == 0, within_seconds=5)


async def test_a_head_that_drips_ends_with_the_whole_calls_time() -> None:
    async def drip(stream: anyio.abc.ByteStream, _head: bytes) -> None:
        await stream.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            await anyio.sleep(0.02)
            await stream.send(b"X: y\r\n")

    async with serving(drip) as server, source(server, timeout_seconds=TIMEOUT_SECONDS) as api:
        with pytest.raises(Unreachable):
            await api.fetch(fetch())
        await until(lambda: server.open == 0, within_seconds=5)


async def test_a_429_whose_body_drips_is_a_429() -> None:
    async def drip(stream: anyio.abc.ByteStream, _head: bytes) -> None:
        await stream.send(answer(b"", b"Retry-After: 7", status=b"429 Slow down", length=10_000))
        await anyio.sleep_forever()

    async with serving(drip) as server, source(server, timeout_seconds=10) as api:
        with pytest.raises(Limited) as caught:
            await api.fetch(fetch())

    assert caught.value.wait_seconds == 7


async def test_a_server_that_accepts_and_says_nothing_ends_in_time() -> None:
    async def silence(stream: anyio.abc.ByteStream, _head: bytes) -> None:
        await stream.receive()

    async with serving(silence) as server, source(server, timeout_seconds=TIMEOUT_SECONDS) as api:
        with pytest.raises(Unreachable):
            await api.fetch(fetch())
        await until(lambda: server.open == 0, within_seconds=5)


def _reset(stream: anyio.abc.ByteStream) -> None:
    raw = stream.extra(anyio.abc.SocketAttribute.raw_socket)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-",
        answer(PAGE[:20], length=len(PAGE)),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n" + PAGE[:20],
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: nine\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nContent-Length: 10\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
        b"\x00" * 200_000,
    ],
    ids=["nothing", "head", "body", "chunk", "ssh", "length", "lengths", "chunk-size", "long-head", "zeros"],
)
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
async def test_an_answer_that_breaks_off_or_is_no_http_is_none(sent: bytes, reset: bool) -> None:
    async def break_off(stream: anyio.abc.ByteStream, _head: bytes) -> None:
        if sent:
            await stream.send(sent)
        if reset:
            _reset(stream)
        await stream.aclose()

    async with serving(break_off) as server, source(server) as api:
        with pytest.raises(Unreachable):
            await api.fetch(fetch())
        server.behave = always(answer())

        assert (await api.fetch(fetch())).body == PAGE


async def test_a_body_without_a_length_that_breaks_off_is_undecodable() -> None:
    async def break_off(stream: anyio.abc.ByteStream, _head: bytes) -> None:
        await stream.send(b"HTTP/1.1 200 OK\r\n\r\n" + PAGE[:20])
        await stream.aclose()

    async with serving(break_off) as server, source(server) as api:
        response = await api.fetch(fetch())
        with pytest.raises(Undecodable):
            api.decode(response)


async def test_nobody_listening_is_no_answer() -> None:
    async with serving(always(answer())) as server:
        pass
    async with source(server) as api:
        with pytest.raises(Unreachable, match="ConnectError"):
            await api.fetch(fetch())


@pytest.mark.parametrize("status", [b"301 Moved", b"302 Found", b"303 See other", b"307 Temporary", b"308 Permanent"])
async def test_a_redirect_to_another_host_gets_no_credentials_nor_a_call(status: bytes) -> None:
    async with serving(always(answer())) as elsewhere:
        location = b"Location: http://127.0.0.1:%d/v1/customers/cust_1/activities" % elsewhere.port
        async with serving(always(answer(b"", location, status=status))) as server, source(server) as api:
            with pytest.raises(Rejected, match="redirect refused"):
                await api.fetch(fetch())

            assert (len(server.heads), elsewhere.connections) == (1, 0)


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(always(answer())) as proxy, serving(always(answer())) as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        async with source(server) as api:
            await api.fetch(fetch())

        assert (proxy.connections, server.connections) == (0, 1)


async def test_the_proxy_of_the_settings_is_used() -> None:
    async with serving(always(answer())) as proxy, serving(always(answer())) as server:
        async with source(server, proxy_url=f"http://127.0.0.1:{proxy.port}") as api:
            await api.fetch(fetch("a/b"))

        assert (proxy.connections, server.connections) == (1, 0)
        assert proxy.targets == [b"http://127.0.0.1:%d/v1/customers/a%%2Fb/activities?order=created_at&limit=100" % server.port]


async def test_a_bomb_is_refused_in_bounded_memory_and_not_received_to_its_end() -> None:
    limit = 1 << 20
    piece = gzip.compress(bytes(64 << 20), 9)
    sent = 0

    async def bomb(stream: anyio.abc.ByteStream, _head: bytes) -> None:
        nonlocal sent
        await stream.send(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await stream.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            sent += len(piece)

    async with serving(bomb) as server, source(server, body_bytes_max=limit) as api:
        with pytest.raises(Undecodable):
            await api.fetch(fetch())
        tracemalloc.start()
        try:
            with pytest.raises(Undecodable, match="inflated"):
                await api.fetch(fetch())
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        await until(lambda: server.open == 0, within_seconds=5)

    assert peak < 6 * limit


async def test_an_endless_body_is_refused_at_its_limit() -> None:
    async def endless(stream: anyio.abc.ByteStream, _head: bytes) -> None:
        await stream.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await stream.send(b" " * 65_536)

    async with serving(endless) as server, source(server, body_bytes_max=1 << 20) as api:
        with pytest.raises(Undecodable, match="more than 1048576 bytes"):
            await api.fetch(fetch())
        await until(lambda: server.open == 0, within_seconds=5)
        server.behave = always(answer())

        assert (await api.fetch(fetch())).body == PAGE


async def test_cancelled_calls_leave_no_connection_behind() -> None:
    async def slow(stream: anyio.abc.ByteStream, _head: bytes) -> None:
        await anyio.sleep(0.05)
        await stream.send(answer())

    async with serving(slow) as server, source(server) as api:
        for tenths in range(20):
            with anyio.move_on_after(tenths * 0.005):
                async with anyio.create_task_group() as tasks:
                    for _ in range(4):
                        tasks.start_soon(api.fetch, fetch())
        await until(lambda: server.open <= 4, within_seconds=5)

        for _ in range(3):
            assert (await api.fetch(fetch())).body == PAGE


# -------------------------------------------------------------------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and its self-signed certificate for 127.0.0.1, in one file."""
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    try:
        subprocess.run(
            [*command, "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path), "-out", str(path.with_suffix(".crt"))],
            check=True,
            capture_output=True,
        )
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    path.write_text(path.read_text() + path.with_suffix(".crt").read_text())
    return path


def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


async def test_certificates_of_the_settings_are_trusted(certificate: Path) -> None:
    async with serving(always(answer()), tls(certificate)) as server:
        async with source(server, url=f"https://127.0.0.1:{server.port}", ca_file=certificate) as api:
            assert (await api.fetch(fetch())).body == PAGE
            assert (await api.fetch(fetch())).body == PAGE

        assert server.connections == 1


async def test_a_server_that_nobody_vouches_for_gets_no_credentials(certificate: Path) -> None:
    async with serving(always(answer()), tls(certificate)) as server:
        async with source(server, url=f"https://127.0.0.1:{server.port}") as api:
            with pytest.raises(SourceError, match=r"(?i)certificate verify failed"):
                await api.fetch(fetch())

        assert server.heads == []


async def test_a_tls_handshake_that_never_ends_is_closed_in_time(certificate: Path) -> None:
    given = {"ca_file": certificate, "timeout_seconds": 1.0}
    async with serving(always(answer())) as server, source(server, url=f"https://127.0.0.1:{server.port}", **given) as api:
        with pytest.raises(Unreachable, match="ConnectTimeout"):
            await api.fetch(fetch())
        await until(lambda: server.open == 0, within_seconds=5)
