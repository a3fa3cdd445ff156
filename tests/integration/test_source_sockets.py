"""The source over real sockets: what is sent, byte for byte, and servers that misbehave below HTTP."""

import gzip
import socket
import ssl
import struct
import subprocess
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import pytest
from anyio.streams.tls import TLSListener

from poller.config import VoucherifySettings
from poller.customer_id import refusal
from poller.errors import Limited, Redirected, ServerFault, SourceError, TooLarge, Undecodable, Unreachable
from poller.model import Checkpoint, CustomerId, Fetch, Query, Walk
from poller.secret import Secret
from poller.voucherify.client import VoucherifySource
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

PAGE = b'{"object":"list","data_ref":"data","data":[],"total":0}'
ZIPPED = gzip.compress(PAGE, mtime=0)
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


HEAD = b"HTTP/1.1 200 OK\r\n"
WHOLE = {
    "with a length": HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(PAGE), PAGE),
    "in chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\n14\r\n%s\r\n23;x=y\r\n%s\r\n0\r\nX: y\r\n\r\n" % (PAGE[:20], PAGE[20:]),
    "compressed": HEAD + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(ZIPPED), ZIPPED),
}
"""A page, and every byte of the answer that carries it: status line, headers, what is between them and the body, sizes of chunks, chunks, the end."""


@pytest.mark.parametrize("how", ["with a length", "in chunks"])
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
async def test_an_answer_that_breaks_off_after_any_of_its_bytes_is_none(how: str, reset: bool) -> None:
    cut = 0

    async def break_off(stream: anyio.abc.ByteStream, _head: bytes) -> None:
        await stream.send(WHOLE[how][:cut] if cut else b"")
        if reset:
            _reset(stream)
        await stream.aclose()

    async with serving(break_off) as server, source(server) as api:
        taken = []
        for cut in range(len(WHOLE[how])):
            try:
                taken.append((cut, await api.fetch(fetch())))
            except Unreachable:
                continue
        assert (taken, len(server.heads)) == ([], len(WHOLE[how]))
        server.behave = always(WHOLE[how])

        assert (await api.fetch(fetch())).body == PAGE


@pytest.mark.parametrize("how", WHOLE)
async def test_an_answer_that_comes_byte_by_byte_and_in_time_is_one(how: str) -> None:
    async def drip(stream: anyio.abc.ByteStream, _head: bytes) -> None:
        for at in range(len(WHOLE[how])):
            await stream.send(WHOLE[how][at : at + 1])

    async with serving(drip) as server, source(server) as api:
        for _ in range(2):
            assert (await api.fetch(fetch())).body == PAGE

        assert server.connections == 1


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
            with pytest.raises(Redirected):
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


LIMIT = 8 << 20
"""POLLER_VOUCHERIFY_BODY_BYTES_MAX as it is unless somebody sets it."""
MEGABYTE = 1 << 20


async def poured(stream: anyio.abc.ByteStream, piece: bytes, *headers: bytes, times: int = 1 << 20) -> None:
    await stream.send(b"\r\n".join([b"HTTP/1.1 200 OK", *headers, b"", b""]))
    for _ in range(times):
        await stream.send(piece)


@pytest.mark.parametrize(
    ("name", "headers", "piece", "times"),
    [
        ("a bomb", [b"Content-Encoding: gzip"], gzip.compress(bytes(64 * MEGABYTE), 1), 1),
        ("a body without end", [], b" " * 65_536, 1 << 20),
        ("a body that says how large it is", [b"Content-Length: %d" % (64 * MEGABYTE)], b" " * 65_536, 1 << 10),
        ("a body as large as may be", [b"Content-Length: %d" % LIMIT], b" " * 65_536, LIMIT // 65_536),
        ("a compressed body as large as may be", [b"Content-Encoding: gzip"], gzip.compress(bytes(LIMIT), 1), 1),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
async def test_a_body_takes_no_more_memory_than_twice_its_limit(name: str, headers: list[bytes], piece: bytes, times: int) -> None:
    async def pour(stream: anyio.abc.ByteStream, _head: bytes) -> None:
        await poured(stream, piece, *headers, times=times)
        await stream.aclose()

    async with serving(pour) as server, source(server) as api:
        with suppress(TooLarge):
            await api.fetch(fetch())
        tracemalloc.start()
        try:
            with nullcontext() if "may be" in name else pytest.raises(TooLarge):
                await api.fetch(fetch())
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    print(f"{name}: {peak / MEGABYTE:.1f} MiB at most, with a limit of {LIMIT / MEGABYTE:.0f} MiB")
    assert peak < 2 * LIMIT + MEGABYTE


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


def openssl(*arguments: object) -> None:
    try:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")


def made(folder: Path, name: str, *arguments: str) -> Path:
    """A key and its self-signed certificate for a name, in one file."""
    key, signed, path = folder / "key.pem", folder / "signed.pem", folder / "server.pem"
    openssl(
        "req",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-subj",
        "/CN=server",
        "-keyout",
        key,
        "-out",
        folder / "request.pem",
    )
    (folder / "index.txt").touch()
    (folder / "ca.cnf").write_text(
        f"[ca]\ndefault_ca=own\n[own]\ndatabase={folder}/index.txt\nnew_certs_dir={folder}\nrand_serial=yes\ndefault_md=sha256\npolicy=any\n"
        f"default_days=2\nx509_extensions=names\n[any]\ncommonName=supplied\n[names]\nsubjectAltName={name}\n"
    )
    given = ["-config", folder / "ca.cnf", "-in", folder / "request.pem", "-keyfile", key, "-out", signed]
    openssl("ca", "-selfsign", "-batch", "-notext", *given, *arguments)
    path.write_text(key.read_text() + signed.read_text())
    return path


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for 127.0.0.1 that is as it should be."""
    return made(tmp_path_factory.mktemp("tls"), "IP:127.0.0.1")


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


@pytest.mark.parametrize(
    ("name", "arguments", "why"),
    [
        ("DNS:elsewhere.example", (), "(?i)mismatch"),
        ("IP:127.0.0.1", ("-startdate", "20200101000000Z", "-enddate", "20200102000000Z"), "expired"),
    ],
    ids=["of another host", "expired"],
)
async def test_a_certificate_that_is_trusted_but_not_good_gets_no_credentials(
    name: str, arguments: tuple[str, ...], why: str, tmp_path: Path
) -> None:
    bad = made(tmp_path, name, *arguments)
    async with serving(always(answer()), tls(bad)) as server:
        async with source(server, url=f"https://127.0.0.1:{server.port}", ca_file=bad) as api:
            with pytest.raises(Unreachable, match=why):
                await api.fetch(fetch())

        assert server.heads == []


async def test_a_server_that_speaks_no_tls_gets_no_credentials() -> None:
    async def greet(stream: anyio.abc.ByteStream) -> None:
        async with stream:
            await stream.send(answer())
            received.append(await stream.receive())

    received: list[bytes] = []
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, greet)
        async with VoucherifySource(
            VoucherifySettings(url=f"https://127.0.0.1:{port}", app_id=Secret("the-app-id"), app_token=Secret("the-app-token"))
        ) as api:
            with pytest.raises(Unreachable, match="ConnectError"):
                await api.fetch(fetch())
        tasks.cancel_scope.cancel()

    assert all(b"the-app" not in sent for sent in received)


async def test_a_tls_handshake_that_never_ends_is_closed_in_time(certificate: Path) -> None:
    given = {"ca_file": certificate, "timeout_seconds": 1.0}
    async with serving(always(answer())) as server, source(server, url=f"https://127.0.0.1:{server.port}", **given) as api:
        with pytest.raises(Unreachable, match="ConnectTimeout"):
            await api.fetch(fetch())
        await until(lambda: server.open == 0, within_seconds=5)
