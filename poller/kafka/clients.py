"""aiokafka's clients as we use them: every argument that matters, in one place."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Literal, NamedTuple

import anyio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import AIOKafkaConnection, collect_hosts, create_conn
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from poller.config import KafkaSettings
from poller.kafka.failures import NoBroker, remedy_of_cut, was_cut
from poller.kafka.record import Limits
from poller.kafka.security import connection_arguments
from poller.kafka.workarounds import Client, ask_without_creating, discard_consumer, own_assignor, start_client

REQUEST_SECONDS_MAX = 10.0
START_SECONDS_MAX = 20.0
PROBE_SECONDS_MAX = 5.0
CLOSE_SECONDS_MAX = 1.0
"""A connection over TLS says goodbye, which the other side may never answer."""

TRANSACTION_SECONDS_MAX = 20.0
"""Above the longest failover that was seen (10 s); it bounds how long a dead worker blocks read_committed readers."""

BATCH_BYTES = 256 * 1024
FETCH_BYTES = 2 * 1024 * 1024
FETCH_WAIT_MS = 100
REBALANCE_SECONDS_MAX = 60.0


async def start(client: Client, settings: KafkaSettings) -> None:
    """Start within `START_SECONDS_MAX`. aiokafka only says that it could not bootstrap: we ask why, and `NoBroker` says it."""
    ask_without_creating()
    try:
        with anyio.fail_after(START_SECONDS_MAX):
            await start_client(client)
    except KafkaConnectionError as error:
        why = await _why_unreachable(settings)
        if why is None:
            raise NoBroker(settings.bootstrap_servers, None) from error
        remedy, certain = remedy_of_cut(settings.security_protocol, why.tls_spoken, why.logged_in) if why.cut else ("", False)
        raise NoBroker(settings.bootstrap_servers, why.error, remedy, certain=certain) from why.error


IsolationLevel = Literal["read_committed", "read_uncommitted"]


class Unreachable(NamedTuple):
    """Why a broker cannot be used."""

    error: Exception
    logged_in: bool
    tls_spoken: bool
    """Known only where the connection was cut."""

    @property
    def cut(self) -> bool:
        return was_cut(self.error)


async def _why_unreachable(settings: KafkaSettings) -> Unreachable | None:
    """What the last of the brokers that may be asked first answers; `None`: they can be reached by now."""
    arguments = connection_arguments(settings)
    last: Unreachable | None = None
    for host, port, _ in collect_hosts(arguments.pop("bootstrap_servers")):
        logged_in = False
        try:
            with anyio.fail_after(PROBE_SECONDS_MAX):
                connection = await create_conn(host, port, **arguments)
                logged_in = True
                await _ask_once(connection)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is the answer
            last = Unreachable(error, logged_in, was_cut(error) and await _tls_spoken(host, port))
        else:
            return None
    return last


async def _ask_once(connection: AIOKafkaConnection) -> None:
    try:
        await connection.send(MetadataRequest([]))
    finally:
        closed = connection.close()
        with anyio.move_on_after(CLOSE_SECONDS_MAX, shield=True):
            await closed


async def _tls_spoken(host: str, port: int) -> bool:
    """Whether a TLS handshake comes to its end there. Nothing is sent over it, so nobody need be trusted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with anyio.fail_after(PROBE_SECONDS_MAX):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with anyio.move_on_after(CLOSE_SECONDS_MAX, shield=True), suppress(OSError):
        await writer.wait_closed()
    return True


@asynccontextmanager
async def admin(settings: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    """One that is started, for as long as the block takes; to close it is bounded in time. Raises what aiokafka raises, and `NoBroker`."""
    client = make_admin(settings)
    try:
        await start(client, settings)
        yield client
    finally:
        with anyio.move_on_after(CLOSE_SECONDS_MAX, shield=True):
            await client.close()


@asynccontextmanager
async def reader(
    settings: KafkaSettings, isolation_level: IsolationLevel = "read_committed", fetch_wait_ms: int = FETCH_WAIT_MS
) -> AsyncIterator[AIOKafkaConsumer]:
    """The same of what `make_reader` makes."""
    consumer = make_reader(settings, isolation_level, fetch_wait_ms)
    try:
        await start(consumer, settings)
        yield consumer
    finally:
        await discard_consumer(consumer)


def make_admin(settings: KafkaSettings) -> AIOKafkaAdminClient:
    return AIOKafkaAdminClient(**connection_arguments(settings), request_timeout_ms=_ms(REQUEST_SECONDS_MAX))


def make_producer(settings: KafkaSettings, partition: int | Literal["reshard"], limits: Limits) -> AIOKafkaProducer:
    """The one that fences whoever writes for this partition of the checkpoint topic, or reshards it."""
    smallest = min(limits.activities_bytes_max, limits.dead_letters_bytes_max, limits.checkpoints_bytes_max)
    largest = max(limits.activities_bytes_max, limits.dead_letters_bytes_max, limits.checkpoints_bytes_max)
    return AIOKafkaProducer(
        **connection_arguments(settings),
        transactional_id=f"{settings.application_id}-{partition}",
        transaction_timeout_ms=_ms(TRANSACTION_SECONDS_MAX),
        request_timeout_ms=_ms(REQUEST_SECONDS_MAX),
        linger_ms=0,
        compression_type="zstd",
        # aiokafka cannot split a batch that the topic refuses. The first record of a batch may exceed this, so the largest still passes.
        max_batch_size=min(BATCH_BYTES, smallest),
        # Every record has been measured by then; this only must not be what refuses the largest.
        max_request_size=largest,
    )


def make_table_producer(settings: KafkaSettings, bytes_max: int) -> AIOKafkaProducer:
    """For a topic that keeps the last value of each key: nothing is written twice or in another order, whatever is tried again. In no transaction.

    `bytes_max`: the topic's `max.message.bytes`.
    """
    return AIOKafkaProducer(
        **connection_arguments(settings),
        enable_idempotence=True,
        request_timeout_ms=_ms(REQUEST_SECONDS_MAX),
        linger_ms=0,
        compression_type="zstd",
        max_batch_size=min(BATCH_BYTES, bytes_max),
    )


def make_group_consumer(settings: KafkaSettings) -> AIOKafkaConsumer:
    """A member of the group, and nothing else: it commits no offsets and its partitions are paused. Not subscribed yet."""
    return AIOKafkaConsumer(
        **connection_arguments(settings),
        group_id=settings.application_id,
        enable_auto_commit=False,
        partition_assignment_strategy=(own_assignor(),),
        session_timeout_ms=_ms(settings.session_seconds),
        heartbeat_interval_ms=_ms(settings.session_seconds / 10),
        # By default this is the session timeout, which a slow member would make everybody's.
        rebalance_timeout_ms=_ms(REBALANCE_SECONDS_MAX),
        # A join is answered only when all have joined, the dead among them when their session is over.
        request_timeout_ms=_ms(settings.session_seconds + REQUEST_SECONDS_MAX),
    )


def make_reader(
    settings: KafkaSettings, isolation_level: IsolationLevel = "read_committed", fetch_wait_ms: int = FETCH_WAIT_MS
) -> AIOKafkaConsumer:
    """Reads what was committed, from the beginning, in no group. `fetch_wait_ms`: how long a broker waits for more than nothing."""
    return AIOKafkaConsumer(
        **connection_arguments(settings),
        group_id=None,
        enable_auto_commit=False,
        isolation_level=isolation_level,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=FETCH_BYTES,
        fetch_max_bytes=FETCH_BYTES,
        fetch_max_wait_ms=fetch_wait_ms,
        request_timeout_ms=_ms(REQUEST_SECONDS_MAX),
    )


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
