"""What stands in Kafka: activities, dead letters, checkpoints and the ownership record, to bytes and back. Pure.

    activity      key: its type · value: its JSON as received · headers: CloudEvents 1.0, binary mode
    dead letter   key: the customer's id · value: as received, cut to what fits · headers: why
    checkpoint    key: the customer's id · value: {"v":1,"cursor":"2024-05-01T12:00:00.000Z","recent":{id: ms},…}
    ownership     key: `OWNERSHIP_KEY` · value: {"v":1,"kind":"ownership",…}, or what is in its place: "kind":"moved" or "preparing" (core/reshard.py)

All of them are made to be read with kcat. Instants are ISO 8601 with milliseconds, those of the recent ids whole milliseconds (there may be
ten thousand of them), and `last_read` is Unix time in seconds, for it must come back as exactly the number that it was: a checkpoint that
is restored is compared with the one that was held.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import msgspec

from poller.core.reshard import Moved, Preparing, Said, being_prepared, moved_to
from poller.errors import CheckpointsMoved, LogRefused
from poller.model import (
    ALIVE,
    NO_IDS,
    Activity,
    Batch,
    Checkpoint,
    CustomerId,
    DeadLetter,
    Feed,
    Learned,
    Ledger,
    Life,
    Listing,
    Ownership,
    Rates,
    Replay,
    Restored,
    Rewind,
    Share,
)

OWNERSHIP_KEY: Final = b"\townership"
"""No customer id begins with a tab, for none holds a control character; kcat shows it as white space and a word."""

VERSION: Final = 1

REPLAY_HEADER: Final = "replay"
"""Of a record that is published again: the id of the replay. No watch entry's header has this name."""

CHECKPOINT_BYTES_MAX: Final = 900_000
"""An encoded checkpoint stays below; the checkpoint topic must take records of this size."""

HEADER_BYTES_MAX: Final = 1024
"""Of a dead letter's header: what is too large must not be so again."""

BATCH_OVERHEAD_BYTES: Final = 61
RECORD_OVERHEAD_BYTES: Final = 36
"""Length, attributes, offset and time of a record, and the lengths of its key, its value and its headers, each as long as it can be."""
HEADER_OVERHEAD_BYTES: Final = 10

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND: Final = timedelta(milliseconds=1)

Topic = Literal["activities", "checkpoints", "dead_letters"]
Headers = tuple[tuple[str, bytes], ...]


class Record(msgspec.Struct, frozen=True, gc=False):
    """One record as it is sent."""

    topic: Topic
    key: bytes
    value: bytes
    headers: Headers = ()
    spread_by: bytes = b""
    """What chooses its partition, by Kafka's murmur2 …"""
    partition: int | None = None
    """… unless it must go to this one."""
    null: bool = False
    """It has no value: a tombstone."""


class Limits(msgspec.Struct, frozen=True):
    """The topics' `max.message.bytes`: of a batch, which holds at least one record."""

    activities_bytes_max: int = 1_048_588
    dead_letters_bytes_max: int = 1_048_588
    checkpoints_bytes_max: int = 1_048_588


class Destination(msgspec.Struct, frozen=True):
    """What is the same for all records of one writer."""

    partition: int
    source_url: str
    partition_by: Literal["key", "customer"] = "key"
    limits: Limits = Limits()


def records_of(batches: Sequence[Batch], ownership: Ownership, to: Destination) -> list[Record]:
    """All that one transaction publishes; what would not fit its topic is a dead letter instead. Raises `LogRefused`, and then nothing may be sent."""
    records = [record for batch in batches for record in _records_of_batch(batch, to)]
    records.append(_to_own_partition(OWNERSHIP_KEY, encode_ownership(ownership), to))
    return records


def _records_of_batch(batch: Batch, to: Destination) -> Iterator[Record]:
    replayed = batch.checkpoint.replayed or ""
    for activity in batch.records:
        headers = (*batch.headers, (REPLAY_HEADER, replayed)) if activity.id in batch.again else batch.headers
        yield activity_record(activity, batch.customer, to, headers)
    for letter in batch.dead_letters:
        yield dead_letter_record(letter, batch.customer, to.limits)
    if batch.removes:
        yield Record(topic="checkpoints", key=batch.customer.encode(), value=b"", null=True, partition=to.partition)
    else:
        yield _to_own_partition(batch.customer.encode(), encode_checkpoint(batch.checkpoint), to)


def _to_own_partition(key: bytes, value: bytes, to: Destination) -> Record:
    record = Record(topic="checkpoints", key=key, value=value, partition=to.partition)
    if size_bytes(record) > to.limits.checkpoints_bytes_max:
        raise LogRefused(
            f"the checkpoint {key!r} has {len(value)} bytes, more than the checkpoint topic takes: raise its max.message.bytes"
        )
    return record


def activity_record(activity: Activity, customer: CustomerId, to: Destination, headers: Sequence[tuple[str, str]] = ()) -> Record:
    """The activity as published, with these headers beside those that each has; or the dead letter that it becomes when the topic would refuse it: one refused record spoils its whole transaction."""
    key = activity.type.encode()
    record = Record(
        topic="activities",
        key=key,
        value=activity.raw,
        headers=(*_cloud_event(activity, customer, to.source_url), *((name, value.encode()) for name, value in headers)),
        spread_by=customer.encode() if to.partition_by == "customer" else key,
    )
    size, limit = size_bytes(record), to.limits.activities_bytes_max
    if size <= limit:
        return record
    reason = f"too large: {size} bytes as a record, and the activities topic takes {limit} (max.message.bytes)"
    letter = DeadLetter(reason=reason, raw=activity.raw, created_at_ms=activity.created_at_ms)
    replay = {name: value for name, value in headers if name == REPLAY_HEADER}
    return dead_letter_record(letter, customer, to.limits, id=activity.id, type=activity.type, **replay)


def _cloud_event(activity: Activity, customer: CustomerId, source_url: str) -> Headers:
    return (
        ("ce_specversion", b"1.0"),
        ("ce_id", activity.id.encode()),
        ("ce_type", activity.type.encode()),
        ("ce_source", source_url.encode()),
        ("ce_subject", customer.encode()),
        ("ce_time", activity.created_at.encode()),
        ("content-type", b"application/json"),
    )


def dead_letter_record(letter: DeadLetter, customer: CustomerId, limits: Limits, **known: str) -> Record:
    """A dead letter, cut to what its topic takes; `known` is what else its headers say."""
    said = {
        "reason": letter.reason,
        "customer": customer,
        **({} if letter.created_at_ms is None else {"created_at": str(to_instant(letter.created_at_ms))}),
        **known,
        "original_length": str(len(letter.raw)),
    }
    headers = tuple((name, _cut(text)) for name, text in said.items())
    whole = Record(topic="dead_letters", key=customer.encode(), value=letter.raw, headers=headers, spread_by=customer.encode())
    excess = size_bytes(whole) - limits.dead_letters_bytes_max
    if excess <= 0:
        return whole
    return msgspec.structs.replace(whole, value=letter.raw[: max(0, len(letter.raw) - excess)])


def _cut(text: str) -> bytes:
    """At most `HEADER_BYTES_MAX`, without half a character at the end."""
    encoded = text.encode()
    return encoded if len(encoded) <= HEADER_BYTES_MAX else encoded[:HEADER_BYTES_MAX].decode(errors="ignore").encode()


def size_bytes(record: Record) -> int:
    """What a batch of this record alone takes at most, uncompressed: a topic may decompress, and so may a reader."""
    headers = sum(HEADER_OVERHEAD_BYTES + len(name) + len(value) for name, value in record.headers)
    return BATCH_OVERHEAD_BYTES + RECORD_OVERHEAD_BYTES + len(record.key) + len(record.value) + headers


# ------------------------------------------------------------------------------------------------------------ checkpoints


class _WrittenReplay(msgspec.Struct, frozen=True, omit_defaults=True, rename={"origin": "from"}):
    id: str
    origin: str | int
    until: str | int
    recent: dict[str, int] = {}
    missing_only: bool = False
    stalled: bool = False


class _ReadReplay(msgspec.Struct, frozen=True, rename={"origin": "from"}):
    id: str
    origin: datetime | int
    until: datetime | int
    recent: dict[str, int] = {}
    missing_only: bool = False
    stalled: bool = False


class _WrittenCheckpoint(msgspec.Struct, frozen=True, omit_defaults=True):
    v: int
    cursor: str | int
    recent: dict[str, int] = {}
    last_read: float | None = None
    baseline: str | int | None = None
    stepped: str | int | None = None
    rates: Rates | None = None
    life: Life = ALIVE
    replay: _WrittenReplay | None = None
    replayed: str | None = None


class _ReadCheckpoint(msgspec.Struct, frozen=True, gc=False):
    v: int
    cursor: datetime | int
    recent: dict[str, int] = {}
    last_read: float | None = None
    baseline: datetime | int | None = None
    stepped: datetime | int | None = None
    rates: Rates | None = None
    life: Life = ALIVE
    replay: _ReadReplay | None = None
    replayed: str | None = None


class _WrittenOwnership(msgspec.Struct, frozen=True, omit_defaults=False):
    v: int
    kind: Literal["ownership"]
    application_id: str
    url: str
    endpoint: str
    partitions: int
    watched_hash: str
    owner: str
    ledger: Ledger
    learned: Learned = Learned()
    feed: Feed | None = None
    listing: Listing | None = None
    share: Share | None = None


class _WrittenMoved(msgspec.Struct, frozen=True):
    v: int
    kind: Literal["moved"]
    to: str
    partitions: int
    ownership: _WrittenOwnership | None


class _WrittenPreparing(msgspec.Struct, frozen=True, rename={"origin": "from"}):
    v: int
    kind: Literal["preparing"]
    origin: str
    partitions: int


class _Kind(msgspec.Struct):
    kind: str = ""


class _Versioned(msgspec.Struct):
    v: int


_encoder = msgspec.json.Encoder()
_checkpoints = msgspec.json.Decoder(_ReadCheckpoint)
_ownerships = msgspec.json.Decoder(_WrittenOwnership)
_moved = msgspec.json.Decoder(_WrittenMoved)
_preparing = msgspec.json.Decoder(_WrittenPreparing)
_kinds = msgspec.json.Decoder(_Kind)
_versions = msgspec.json.Decoder(_Versioned)


def encode_checkpoint(checkpoint: Checkpoint) -> bytes:
    written = _WrittenCheckpoint(
        v=VERSION,
        cursor=to_instant(checkpoint.cursor_ms),
        recent=dict(checkpoint.recent),
        last_read=checkpoint.last_read,
        baseline=None if checkpoint.baseline_ms is None else to_instant(checkpoint.baseline_ms),
        stepped=None if checkpoint.stepped_ms is None else to_instant(checkpoint.stepped_ms),
        rates=checkpoint.rates,
        life=checkpoint.life,
        replay=None if checkpoint.replay is None else _written_replay(checkpoint.replay),
        replayed=checkpoint.replayed,
    )
    return _encoder.encode(written)


def decode_checkpoint(value: bytes) -> Checkpoint:
    """Raises `ValueError` or `RecursionError` for what `encode_checkpoint` has not written."""
    read = _checkpoints.decode(value)
    if read.v != VERSION:
        raise ValueError(f"format version {read.v}")
    known_to = None if read.rates is None else read.rates.at
    return Checkpoint(
        cursor_ms=to_ms(read.cursor),
        recent=read.recent or NO_IDS,
        last_read=known_to if known_to == read.last_read else read.last_read,  # one number serves both, where there are very many
        baseline_ms=None if read.baseline is None else to_ms(read.baseline),
        stepped_ms=None if read.stepped is None else to_ms(read.stepped),
        rates=read.rates,
        life=read.life,
        replay=None if read.replay is None else _replay_of(read.replay),
        replayed=read.replayed,
    )


def _written_replay(replay: Replay) -> _WrittenReplay:
    origin, until = to_instant(replay.rewind.from_ms), to_instant(replay.until_ms)
    return _WrittenReplay(replay.rewind.id, origin, until, dict(replay.recent), replay.rewind.missing_only, replay.stalled)


def _replay_of(read: _ReadReplay) -> Replay:
    return Replay(Rewind(read.id, to_ms(read.origin), read.missing_only), to_ms(read.until), read.recent or NO_IDS, read.stalled)


def encode_ownership(ownership: Ownership) -> bytes:
    return _encoder.encode(_written(ownership))


def _written(ownership: Ownership) -> _WrittenOwnership:
    return _WrittenOwnership(v=VERSION, kind="ownership", **msgspec.structs.asdict(ownership))


def decode_ownership(value: bytes) -> Ownership:
    """Raises `ValueError` or `RecursionError` for what `encode_ownership` has not written."""
    return _read(_ownerships.decode(value))


def encode_said(said: Ownership | Moved | Preparing) -> bytes:
    """What is to stand under the ownership key."""
    match said:
        case Ownership():
            return encode_ownership(said)
        case Moved(to=to, partitions=partitions, ownership=ownership):
            owned = None if ownership is None else _written(ownership)
            return _encoder.encode(_WrittenMoved(v=VERSION, kind="moved", to=to, partitions=partitions, ownership=owned))
        case Preparing(origin=origin, partitions=partitions):
            return _encoder.encode(_WrittenPreparing(v=VERSION, kind="preparing", origin=origin, partitions=partitions))


def decode_said(value: bytes) -> Ownership | Moved | Preparing:
    """Raises `ValueError` or `RecursionError` for what `encode_said` has not written."""
    match _kinds.decode(value).kind:
        case "moved":
            moved = _moved.decode(value)
            _check_version(moved.v)
            return Moved(moved.to, moved.partitions, None if moved.ownership is None else _read(moved.ownership))
        case "preparing":
            preparing = _preparing.decode(value)
            _check_version(preparing.v)
            return Preparing(preparing.origin, preparing.partitions)
        case _:
            return decode_ownership(value)


def _check_version(version: int) -> None:
    if version != VERSION:
        raise ValueError(f"format version {version}")


def _read(read: _WrittenOwnership) -> Ownership:
    _check_version(read.v)
    return Ownership(
        application_id=read.application_id,
        url=read.url,
        endpoint=read.endpoint,
        partitions=read.partitions,
        watched_hash=read.watched_hash,
        owner=read.owner,
        ledger=read.ledger,
        learned=read.learned,
        feed=read.feed,
        listing=read.listing,
        share=read.share,
    )


def to_instant(ms: int) -> str | int:
    """ISO 8601 in UTC with milliseconds; beyond the years that it can say, the milliseconds themselves."""
    try:
        return (EPOCH + ms * MILLISECOND).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except OverflowError:
        return ms


def to_ms(instant: datetime | int) -> int:
    return instant if isinstance(instant, int) else (instant - EPOCH) // MILLISECOND


# --------------------------------------------------------------------------------------------------------------- restore


class Found(msgspec.Struct, frozen=True, gc=False):
    """The last value of a key, and where it stood."""

    offset: int
    value: bytes


class Latest:
    """The last value of each key, understood as soon as it is read: the bytes of all of them, kept until then, would take as much room again.

    What cannot be understood matters only if it is still there at the end, as it may have been put right since.
    """

    def __init__(self) -> None:
        self._checkpoints: dict[CustomerId, Checkpoint] = {}
        self._ownership: Found | None = None
        self._not_understood: dict[bytes, LogRefused] = {}

    def take(self, key: bytes, found: Found | None) -> None:
        """The next record; `None`: its value is null."""
        if key == OWNERSHIP_KEY:
            self._ownership = found
            return
        self._not_understood.pop(key, None)
        if found is None:
            self._checkpoints.pop(CustomerId(key.decode(errors="surrogateescape")), None)  # a key that is no text is nobody's
            return
        try:
            self._checkpoints[customer_of(key, found)] = checkpoint_of(key, found)
        except LogRefused as error:
            self._not_understood[key] = error

    def ownership(self) -> Ownership | None:
        """What the last owner said. Raises `LogRefused` where that cannot be understood."""
        return None if self._ownership is None else ownership_of({OWNERSHIP_KEY: self._ownership})

    def restored(self) -> Restored:
        """All of it. Raises `LogRefused` where it cannot be understood: a checkpoint passed over would be published again, or lost."""
        ownership = self.ownership()
        for error in self._not_understood.values():
            raise error
        return Restored(checkpoints=self._checkpoints, ownership=ownership)


def restored_of(latest: Mapping[bytes, Found]) -> Restored:
    """What a partition of the checkpoint topic says. Raises `LogRefused`."""
    taken = Latest()
    for key, found in latest.items():
        taken.take(key, found)
    return taken.restored()


def customer_of(key: bytes, found: Found) -> CustomerId:
    try:
        return CustomerId(key.decode())
    except UnicodeDecodeError as error:
        raise _not_understood(key, found, error) from error


def checkpoint_of(key: bytes, found: Found) -> Checkpoint:
    try:
        return decode_checkpoint(found.value)
    except (ValueError, TypeError, RecursionError) as error:
        raise _not_understood(key, found, error) from error


def ownership_of(latest: Mapping[bytes, Found]) -> Ownership | None:
    """Raises `LogRefused`, also where `poller reshard` says that nobody may own it (any more, or yet)."""
    match said_of(latest.get(OWNERSHIP_KEY)):
        case Moved() as moved:
            raise CheckpointsMoved(moved_to(moved))
        case Preparing() as preparing:
            raise LogRefused(being_prepared(preparing))
        case said:
            return said


def said_of(found: Found | None) -> Said:
    """What stands under a partition's ownership key. Raises `LogRefused` where that cannot be understood."""
    if found is None:
        return None
    try:
        return decode_said(found.value)
    except (ValueError, TypeError, RecursionError) as error:
        raise _not_understood(OWNERSHIP_KEY, found, error) from error


def _not_understood(key: bytes, found: Found, error: Exception) -> LogRefused:
    where = f"the checkpoint topic's record {key!r} at offset {found.offset}"
    version = _version(found.value)
    if version is not None and version > VERSION:
        return LogRefused(f"{where} was written by a newer version (format {version}, this one reads {VERSION}): upgrade")
    return LogRefused(f"{where} is no checkpoint ({error}): write its last good value again, or a null if the customer shall begin anew")


def _version(value: bytes) -> int | None:
    try:
        return _versions.decode(value).v
    except (ValueError, RecursionError):
        return None
