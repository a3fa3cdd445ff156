"""What a deployment has learned of its customers, all partitions of the checkpoint topic: read for an operator, in no group, changing nothing."""

from poller.config import KafkaSettings
from poller.kafka import clients
from poller.kafka.permissions import explained
from poller.kafka.restore import restore
from poller.kafka.workarounds import partitions_of, tolerate_emptied_markers
from poller.model import Restored


async def look_up_learned(settings: KafkaSettings) -> list[Restored]:
    """What each partition holds, in their order; nothing where there is no topic yet. Raises `LogError`."""
    tolerate_emptied_markers()
    topic = settings.checkpoints_topic
    async with explained(f"reading {topic}", settings):
        async with clients.reader(settings) as reader:
            partitions = await partitions_of(reader, topic)
        return [(await restore(settings, partition)).restored() for partition in range(partitions)]
