"""What a restore makes of a topic that it may not read."""

from typing import Any

import pytest
from aiokafka.errors import TopicAuthorizationFailedError
from aiokafka.structs import TopicPartition

from poller.kafka.restore import may_hold_records

pytestmark = pytest.mark.anyio

TP = TopicPartition("activities", 0)


class Forbidden:
    """A topic whose end is told, and nothing else."""

    def __init__(self, end: int) -> None:
        self._end = end

    def assign(self, partitions: list[TopicPartition]) -> None:
        assert partitions == [TP]

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, self._end)

    async def position(self, _tp: TopicPartition) -> int:
        return 0

    async def getmany(self, *_: Any, **__: Any) -> Any:
        raise TopicAuthorizationFailedError("activities")


@pytest.mark.parametrize(("end", "held"), [(0, False), (3, True)])
async def test_where_something_stands_that_may_not_be_read_it_is_taken_for_records(end: int, held: bool) -> None:
    reader: Any = Forbidden(end)

    assert await may_hold_records(reader, TP) is held
