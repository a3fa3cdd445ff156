"""Ownership: which partition of the checkpoint topic a customer belongs to, and who may own it."""

from poller.model import CustomerId, Ownership

MASK = 0xFFFFFFFF
MULTIPLIER = 0x5BD1E995
SEED = 0x9747B28C


def partition_of(customer: CustomerId, partitions: int) -> int:
    """The partition that Kafka's default partitioner gives a record keyed by this id, so that any producer finds it."""
    return (murmur2(customer.encode()) & 0x7FFFFFFF) % partitions


def murmur2(data: bytes) -> int:
    """Austin Appleby's MurmurHash2, 32 bits, with the seed of `org.apache.kafka.common.utils.Utils.murmur2`."""
    whole = len(data) & ~3
    h = SEED ^ len(data)
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * MULTIPLIER & MASK
        k = (k ^ k >> 24) * MULTIPLIER & MASK
        h = h * MULTIPLIER & MASK ^ k
    if whole < len(data):
        h = (h ^ int.from_bytes(data[whole:], "little")) * MULTIPLIER & MASK
    h = (h ^ h >> 13) * MULTIPLIER & MASK
    return h ^ h >> 15


def refusal(found: Ownership | None, ours: Ownership) -> str | None:
    """Why we may not own a partition that was last owned so; `None`: we may."""
    if found is None:
        return None
    if found.application_id != ours.application_id:
        return f"its checkpoints belong to POLLER_KAFKA_APPLICATION_ID={found.application_id!r}, not {ours.application_id!r}: use another topic"
    if found.url != ours.url:
        return f"its checkpoints are of POLLER_VOUCHERIFY_URL={found.url!r}, not {ours.url!r}: another project needs another topic"
    if found.partitions != ours.partitions:
        return f"its checkpoints were divided over {found.partitions} partitions and now there are {ours.partitions}: customers would be read afresh"
    return None


def differences(found: Ownership | None, ours: Ownership) -> list[str]:
    """What the operator should hear about, though it does not stop us."""
    if found is None:
        return []
    told = []
    if found.endpoint != ours.endpoint:
        told.append(f"the endpoint was {found.endpoint!r} and is {ours.endpoint!r}")
    if found.watched_hash != ours.watched_hash:
        told.append("the list of customers is not the one that the last owner had")
    return told
