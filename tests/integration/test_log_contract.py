"""The contract of `Log` and `Writer` (see `poller/worker.py`), held by the log in memory and by the one on Kafka."""

import asyncio
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import msgspec
import pytest

from poller.contracts import Log
from poller.demo.broker import broker
from poller.errors import Fenced, LogError, LogRefused, LogUnavailable, NotOurs
from poller.kafka.record import OWNERSHIP_KEY, Destination, Limits, activity_record, size_bytes
from poller.model import (
    Assigned,
    Batch,
    Checkpoint,
    Confirmed,
    CustomerId,
    DeadLetter,
    Ownership,
    Rebalancing,
    Restored,
    Share,
)
from tests.integration.kafka_worlds import (
    SESSION_SECONDS,
    URL,
    KafkaWorld,
    MemoryWorld,
    Watcher,
    World,
    activity,
    appended,
    batch,
    in_the_end,
    ownership,
    prepared,
    published_ids,
)
from tests.support.virtual_time import virtual_backend
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

FAILOVER_SECONDS_MAX = 2.0
HEARD_SECONDS_MAX = 5.0
UNAVAILABLE_SECONDS_MAX = 25.0
LEAVING_SECONDS_MAX = 6.0
HARD_TO_ESCAPE = b'{"id":"a1", "amount":1.10,\r\n "name":"\xf0\x9f\x8d\x8a \\u00e9 \xc3\xa9"  }'


class LogContract:
    """Each case once for every log. `fragile` is a world like `world` whose brokers are the test's own."""

    async def test_anybody_may_prepare_the_topics_and_again(self, world: World) -> None:
        one, two = world.log(partitions=2), world.log(partitions=2)

        assert [await log.prepare() for log in (one, one, two)] == [2, 2, 2]

    async def test_topics_that_will_not_do_are_refused_until_they_are_mended(self, world: World) -> None:
        log = await prepared(world.log())

        await world.refuse()
        for attempt in (log.prepare, world.log().prepare, lambda: appended(log, 0)):
            with pytest.raises(LogRefused, match=r"cleanup\.policy"):
                await attempt()
        await world.allow()
        await log.prepare()
        await appended(log, 0, ((), ownership(world)))

    async def test_what_fits_is_asked_of_the_topics(self, world: World) -> None:
        await world.limit(Limits(activities_bytes_max=3000, dead_letters_bytes_max=20_000))
        log = await prepared(world.log())
        small, large = activity("a1", random.randbytes(2000)), activity("a2", random.randbytes(50_000))
        await appended(log, 0, ([batch("cust_1", *[small] * 50, large)], ownership(world)))

        assert [one.value for one in await world.committed("activities")] == [small.raw] * 50
        (dead,) = await world.committed("dead_letters")
        assert large.raw.startswith(dead.value)
        assert len(dead.value) > 15_000

    async def test_a_commit_is_seen_whole_with_values_byte_for_byte_and_cloud_events_headers(self, world: World) -> None:
        log = await prepared(world.log())
        letter = DeadLetter(reason="it has no id", raw=b'{"x":1}', created_at_ms=1714564800001)

        async with log.open(0) as writer:
            await writer.append([batch("cust/é 1", activity("a1", HARD_TO_ESCAPE), letters=(letter,))], ownership(world))

        (published,) = await world.committed("activities")
        assert (published.key, published.value) == (b"customer.created", HARD_TO_ESCAPE)
        assert published.headers == (
            ("ce_specversion", b"1.0"),
            ("ce_id", b"a1"),
            ("ce_type", b"customer.created"),
            ("ce_source", URL.encode()),
            ("ce_subject", "cust/é 1".encode()),
            ("ce_time", b"2024-05-01T12:00:00.000Z"),
            ("content-type", b"application/json"),
        )
        (dead,) = await world.committed("dead_letters")
        assert (dead.key, dead.value) == ("cust/é 1".encode(), b'{"x":1}')
        assert dict(dead.headers) == {
            "reason": b"it has no id",
            "customer": "cust/é 1".encode(),
            "created_at": b"2024-05-01T12:00:00.001Z",
            "original_length": b"7",
        }
        assert [one.key for one in await world.committed("checkpoints")] == ["cust/é 1".encode(), OWNERSHIP_KEY]

    async def test_what_stands_in_the_activities_topic_is_told_by_customer_with_all_that_was_ever_appended(self, world: World) -> None:
        log = await prepared(world.log())
        one, other, stranger = (CustomerId(name) for name in ("ü/1", "2", "3"))
        before = await log.published([one], 0)
        async with log.open(0) as writer:
            for number in range(20):
                batches = [batch(one, activity(f"a{number}")), batch(stranger, activity(f"c{number}"))]
                await writer.append(batches, ownership(world))
                found = await log.published([one, other], 1_714_564_800_000)

                assert found == {one: {f"a{seen}" for seen in range(number + 1)}, other: set()}, "just committed"

        assert before == {one: set()}

    async def test_nobody_has_owned_a_new_partition(self, world: World) -> None:
        log = await prepared(world.log())

        async with log.open(0) as writer:
            assert (dict(writer.restored.checkpoints), writer.restored.ownership) == ({}, None)

    async def test_what_owners_commit_about_themselves_is_heard_by_all_from_then_on(self, world: World) -> None:
        ours, theirs = await prepared(world.log(partitions=2)), await prepared(world.log(partitions=2))
        said = [msgspec.structs.replace(ownership(world, partitions=2), share=Share(demand=demand)) for demand in (1.0, 2.0, 3.0, 4.0)]
        await appended(theirs, 0, ((), said[0]))
        heard: list[tuple[int, Ownership]] = []

        async def hear(owners: AsyncIterator[tuple[int, Ownership]]) -> None:
            async for partition, one in owners:
                heard.append((partition, one))

        async def say(log: Log, partition: int, one: Ownership) -> None:
            await appended(log, partition, ([batch("cust_1", activity("a1"))], one))
            await until(lambda: heard[-1:] == [(partition, one)], HEARD_SECONDS_MAX)

        async with ours.owners({0, 1}) as owners, anyio.create_task_group() as tasks:
            tasks.start_soon(hear, owners)
            await say(theirs, 1, said[1])
            await say(ours, 0, said[2])
            await say(theirs, 1, said[3])
            tasks.cancel_scope.cancel()

        of_before = [(0, said[0])]  # brokers may still have been at its commit
        assert [one for one in heard if one not in of_before] == [(1, said[1]), (0, said[2]), (1, said[3])]

    async def test_the_owner_of_an_only_partition_is_heard_though_it_commits_nothing_more(self, world: World) -> None:
        ours, theirs = await prepared(world.log()), await prepared(world.log())
        said = ownership(world)
        await appended(theirs, 0, ((), msgspec.structs.replace(said, owner="earlier")), ([batch("cust_1", activity("a1"))], said))

        async with ours.owners({0}) as owners:
            heard = await first_heard(owners)

        assert heard == (0, said)

    async def test_only_owners_of_the_partitions_that_are_asked_for_are_heard(self, world: World) -> None:
        ours, theirs = await prepared(world.log(partitions=2)), await prepared(world.log(partitions=2))
        said = ownership(world, partitions=2)

        async with ours.owners({1}) as owners:
            await appended(ours, 0, ((), said))
            await appended(theirs, 1, ((), said))
            heard = await first_heard(owners)

        assert heard == (1, said)

    async def test_what_is_restored_is_exactly_what_was_committed_last(self, world: World) -> None:
        log = await prepared(world.log())
        full = Checkpoint(
            cursor_ms=1714564800123, recent={"a": 1714564800123, "ü\n": 5}, last_read=1714564800.1, baseline_ms=9, stepped_ms=10**15
        )
        bare = Checkpoint(cursor_ms=0)
        first, last = ownership(world, level=1.0), ownership(world, level=-3.3333333333333335)
        customers = {CustomerId("cust_1"): full, CustomerId("Zoë 🍊"): bare}

        async with log.open(0) as writer:
            await writer.append((), first)
            await writer.append([batch("cust_1", activity())], first)
            await writer.append([Batch(customer=one, partition=0, base=None, checkpoint=held) for one, held in customers.items()], last)
        async with log.open(0) as writer:
            restored = writer.restored

        assert dict(restored.checkpoints) == customers
        assert restored.ownership == last

    async def test_what_was_restored_is_let_go_and_the_writer_goes_on(self, world: World) -> None:
        log = await prepared(world.log())
        await appended(log, 0, ([batch("cust_1", activity("a1"))], ownership(world)))
        async with log.open(0) as writer:
            writer.let_go()
            await writer.append([batch("cust_2", activity("a2"))], ownership(world))
            kept = writer.restored

        assert kept == Restored(checkpoints={}, ownership=None)
        async with log.open(0) as writer:
            assert set(writer.restored.checkpoints) == {"cust_1", "cust_2"}

    async def test_a_null_value_forgets_its_customer_alone(self, world: World) -> None:
        log = await prepared(world.log())
        kept = batch("cust_2", activity("a2"))
        await appended(log, 0, ([batch("cust_1", activity("a1")), kept], ownership(world)))
        await world.put(b"cust_1", None)
        writer = await appended(log, 0)

        assert (dict(writer.restored.checkpoints), writer.restored.ownership) == ({kept.customer: kept.checkpoint}, ownership(world))

    async def test_what_cannot_be_understood_is_refused_with_its_place_until_it_is_mended(self, world: World) -> None:
        log = await prepared(world.log())
        await appended(log, 0, ([batch("cust_1", activity())], ownership(world)))
        garbage = [
            (b"cust_2", b'{"v":2,"cursor":"2024-05-01T12:00:00.000Z"}', "newer version.*upgrade"),
            (b"cust_2", b"{", "no checkpoint"),
            (b"cust_\xff", b'{"v":1,"cursor":"2024-05-01T12:00:00.000Z"}', "no checkpoint"),
            (OWNERSHIP_KEY, b'{"v":1}', "no checkpoint"),
        ]

        for key, value, said in garbage:
            offset = await world.put(key, value)
            with pytest.raises(LogRefused, match=f"{re.escape(repr(key))}.*offset {offset} .*{said}"):
                await appended(log, 0)
            await world.put(key, None)
        writer = await appended(log, 0)
        assert set(writer.restored.checkpoints) == {"cust_1"}

    async def test_partitions_are_fenced_and_restored_each_by_itself(self, world: World) -> None:
        log, other = await prepared(world.log(partitions=2)), await prepared(world.log(partitions=2))
        owner = ownership(world, partitions=2)

        async with log.open(0) as first, other.open(1) as second:
            await first.append([batch("cust_1", activity("a1"))], owner)
            await second.append([batch("cust_2", activity("a2"), partition=1)], owner)
            await first.append([batch("cust_1", activity("a3"))], owner)
        restored = [set((await appended(log, partition)).restored.checkpoints) for partition in (0, 1)]

        assert restored == [{"cust_1"}, {"cust_2"}]

    async def test_a_second_opener_fences_the_first(self, world: World) -> None:
        log, other = await prepared(world.log()), await prepared(world.log())

        async with log.open(0) as writer:
            await writer.append([batch("cust_1", activity("a1"))], ownership(world))
            async with other.open(0) as successor:
                with pytest.raises(Fenced):
                    await writer.append([batch("cust_1", activity("a2"))], ownership(world))
                await successor.append([batch("cust_1", activity("a3"))], ownership(world))

        assert await published_ids(world) == [b"a1", b"a3"]

    async def test_of_two_who_open_at_once_one_commits_and_the_other_is_fenced(self, world: World) -> None:
        logs = [await prepared(world.log()), await prepared(world.log())]
        opened, outcomes = [anyio.Event(), anyio.Event()], dict[int, type[BaseException] | None]()

        async def contend(number: int) -> None:
            async with logs[number].open(0) as writer:
                opened[number].set()
                await opened[1 - number].wait()
                try:
                    await writer.append([batch(f"cust_{number}", activity(f"a{number}"))], ownership(world))
                    outcomes[number] = None
                except LogError as error:
                    outcomes[number] = type(error)

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(contend, 0)
                tasks.start_soon(contend, 1)

        (winner,) = [number for number, error in outcomes.items() if error is None]
        assert outcomes == {winner: None, 1 - winner: Fenced}
        assert set((await appended(logs[0], 0)).restored.checkpoints) == {f"cust_{winner}"}
        assert await published_ids(world) == [f"a{winner}".encode()]

    async def test_a_transaction_that_was_left_open_leaves_nothing(self, world: World) -> None:
        log = await prepared(world.log())

        async with log.open(0) as left, anyio.create_task_group() as tasks:
            hold = world.hold(left)
            tasks.start_soon(left.append, [batch("cust_1", activity("left"))], ownership(world))
            await hold.reached.wait()
            async with log.open(0) as successor:
                assert (dict(successor.restored.checkpoints), successor.restored.ownership) == ({}, None)
                await successor.append([batch("cust_2", activity("a1"))], ownership(world))
            tasks.cancel_scope.cancel()
            left_at = anyio.current_time()
        assert anyio.current_time() - left_at < LEAVING_SECONDS_MAX

        assert await published_ids(world) == [b"a1"]
        assert set((await appended(log, 0)).restored.checkpoints) == {"cust_2"}

    async def test_a_commit_that_comes_after_its_fencing_does_not_happen(self, world: World) -> None:
        log, other = await prepared(world.log()), await prepared(world.log())

        async with log.open(0) as late, anyio.create_task_group() as tasks:
            hold = world.hold(late)
            tasks.start_soon(raises, Fenced, lambda: late.append([batch("cust_1", activity("late"))], ownership(world)))
            await hold.reached.wait()
            async with other.open(0) as successor:
                await successor.append([batch("cust_1", activity("a1"))], ownership(world))
                hold.over.set()

        assert await published_ids(world) == [b"a1"]

    async def test_a_writer_has_one_transaction_at_a_time(self, world: World) -> None:
        log = await prepared(world.log())

        async with log.open(0) as writer, anyio.create_task_group() as tasks:
            hold = world.hold(writer)
            tasks.start_soon(writer.append, [batch("cust_1", activity("a1"))], ownership(world))
            await hold.reached.wait()
            await raises(LogUnavailable, lambda: writer.append([batch("cust_1", activity("a2"))], ownership(world)))
            hold.over.set()

        assert await published_ids(world) == [b"a1"]

    @pytest.mark.parametrize(("when", "fenced"), [("before", False), ("after", True)])
    async def test_an_opening_that_fails_may_have_fenced_and_is_tried_again(self, world: World, when: Any, fenced: bool) -> None:
        log, other = await prepared(world.log()), await prepared(world.log())

        async with log.open(0) as writer:
            world.fail_opening(other, when)
            await raises(LogUnavailable, lambda: appended(other, 0))
            if fenced:
                await raises(Fenced, lambda: writer.append([batch("cust_1", activity("a1"))], ownership(world)))
            else:
                await writer.append([batch("cust_1", activity("a1"))], ownership(world))
        restored = (await appended(other, 0, ((), ownership(world)))).restored

        assert set(restored.checkpoints) == (set() if fenced else {"cust_1"})

    async def test_who_is_cancelled_while_opening_or_joining_stands_in_nobodys_way(self, world: World) -> None:
        log, other = await prepared(world.log()), await prepared(world.log())
        watcher, leave = Watcher(), anyio.Event()

        for after_seconds in (0.0, 0.004, 0.012, 0.03, 0.08):
            with anyio.fail_after(LEAVING_SECONDS_MAX), anyio.move_on_after(after_seconds):
                async with log.open(0):
                    await anyio.sleep_forever()
            with anyio.fail_after(LEAVING_SECONDS_MAX), anyio.move_on_after(after_seconds):
                async with log.join():
                    await anyio.sleep_forever()

        async with anyio.create_task_group() as tasks:
            await tasks.start(lambda **status: watcher.watch(other, leave=leave, **status))
            await until(lambda: watcher.owned == {0}, within_seconds=FAILOVER_SECONDS_MAX)
            leave.set()
        await appended(other, 0, ((), ownership(world)))

    async def test_an_error_in_the_block_passes_as_it_is(self, world: World) -> None:
        log, error = await prepared(world.log()), NotOurs("it is somebody else's")

        with pytest.raises(NotOurs) as raised:
            async with log.join(), log.open(0):
                raise error
        assert raised.value is error

    async def test_a_writer_that_failed_is_of_no_more_use(self, world: World) -> None:
        log = await prepared(world.log())

        async with log.open(0) as writer:
            world.fail_next(writer, "before")
            with pytest.raises(LogUnavailable):
                await writer.append([batch("cust_1", activity("a1"))], ownership(world))
            with pytest.raises(LogUnavailable):
                await writer.append([batch("cust_1", activity("a1"))], ownership(world))

        assert await world.committed("activities") == []

    @pytest.mark.parametrize("when", ["before", "after"])
    async def test_reopened_after_a_failed_append_the_partition_tells_whether_it_was_committed(self, world: World, when: Any) -> None:
        log = await prepared(world.log())
        held = batch("cust_1", activity("a1"))

        async with log.open(0) as writer:
            world.fail_next(writer, when)
            with pytest.raises(LogUnavailable):
                await writer.append([held], ownership(world))
        async with log.open(0) as writer:
            committed = writer.restored.checkpoints.get(held.customer) == held.checkpoint
            if not committed:
                await writer.append([held], ownership(world))

        assert committed == (when == "after")
        assert len(await world.committed("activities")) == 1

    @pytest.mark.parametrize("after_seconds", [0.0, 0.002, 0.006, 0.03, 0.1])
    async def test_a_cancelled_append_happened_as_a_whole_or_not_at_all(self, world: World, after_seconds: float) -> None:
        log = await prepared(world.log())
        held = batch("cust_1", *(activity(f"a{i}", random.randbytes(500)) for i in range(2000)))

        async with log.open(0) as writer:
            await writer.append((), ownership(world))
            with anyio.move_on_after(after_seconds) as scope:
                await writer.append([held], ownership(world))
            if scope.cancelled_caught:
                await raises(LogUnavailable, lambda: writer.append([], ownership(world)))
        async with log.open(0) as writer:
            committed = held.customer in writer.restored.checkpoints

        assert len(await world.committed("activities")) == (2000 if committed else 0)

    async def test_a_record_too_large_for_its_topic_is_a_dead_letter_in_the_same_transaction(self, world: World) -> None:
        log = await prepared(world.log())
        huge = b'{"x":"' + b"x" * 3_000_000 + b'"}'

        async with log.open(0) as writer:
            await writer.append([batch("cust_1", activity("a1"), activity("a2", huge), activity("a3"))], ownership(world))
        async with log.open(0) as writer:
            restored = writer.restored

        assert await published_ids(world) == [b"a1", b"a3"]
        (dead,) = await world.committed("dead_letters")
        headers = dict(dead.headers)
        assert huge.startswith(dead.value)
        assert len(dead.value) > 1_000_000
        assert (headers["original_length"], headers["id"], headers["type"]) == (b"3000008", b"a2", b"customer.created")
        assert headers["reason"].startswith(b"too large")
        assert set(restored.checkpoints[CustomerId("cust_1")].recent) == {"a1", "a2", "a3"}

    async def test_a_checkpoint_too_large_for_its_topic_is_refused_and_nothing_is_published(self, world: World) -> None:
        log = await prepared(world.log())
        checkpoint = Checkpoint(cursor_ms=0, recent={f"{i:0100}": i for i in range(11_000)})
        huge = Batch(customer=CustomerId("cust_1"), partition=0, base=None, checkpoint=checkpoint, records=(activity("a1"),))

        async with log.open(0) as writer:
            with pytest.raises(LogRefused, match=r"cust_1.*max\.message\.bytes"):
                await writer.append([batch("cust_2", activity("a2")), huge], ownership(world))

        assert dict((await appended(log, 0)).restored.checkpoints) == {}
        assert await world.committed("activities") == []

    async def test_the_largest_record_that_the_topic_takes_is_published(self, world: World) -> None:
        log = await prepared(world.log())
        to = Destination(partition=0, source_url=URL)
        room = Limits().activities_bytes_max - size_bytes(activity_record(activity("a1", b""), CustomerId("cust_1"), to))
        incompressible = random.Random(1).randbytes(room)

        async with log.open(0) as writer:
            await writer.append([batch("cust_1", activity("a1", incompressible), activity("a2", incompressible))], ownership(world))

        assert [one.value for one in await world.committed("activities")] == [incompressible] * 2
        assert await world.committed("dead_letters") == []

    @pytest.mark.parametrize(("field", "named"), [("application", "APPLICATION_ID"), ("url", "VOUCHERIFY_URL")])
    async def test_a_partition_of_another_deployment_is_refused(self, world: World, field: str, named: str) -> None:
        first = await prepared(world.log())
        await appended(first, 0, ((), ownership(world)))
        stranger = await prepared(world.log(**{field: "https://other.example.com" if field == "url" else "other"}))  # type: ignore[arg-type]

        with pytest.raises(NotOurs, match=named):
            await appended(stranger, 0)

    @pytest.mark.parametrize("partition", [0, 1])
    async def test_a_checkpoint_topic_that_was_given_more_partitions_is_refused(self, world: World, partition: int) -> None:
        log = await prepared(world.log())
        await appended(log, 0, ([batch("cust_1", activity())], ownership(world)))
        await world.add_partitions(2)
        grown = world.log()
        await in_the_end(lambda: prepared_with(grown, 2), within_seconds=10)

        with pytest.raises(NotOurs, match="partitions"):
            await appended(grown, partition)

    async def test_a_deleted_checkpoint_topic_is_not_begun_anew_until_somebody_says_so(self, world: World) -> None:
        log = await prepared(world.log())
        await appended(log, 0, ([batch("cust_1", activity())], ownership(world)))
        await world.delete_checkpoints()

        with pytest.raises(LogRefused, match="is missing"):
            await appended(log, 0)
        newcomer = await prepared(world.log())
        for one in (log, newcomer):
            with pytest.raises(LogRefused, match="holds nothing, but .* holds activities"):
                await appended(one, 0)
        await world.put(b"begin anew", None)
        restored = (await appended(newcomer, 0, ((), ownership(world)))).restored
        assert (dict(restored.checkpoints), restored.ownership) == ({}, None)

    async def test_partitioned_by_customer_the_activities_of_one_stay_in_one_partition(self, world: World) -> None:
        log = await prepared(world.log(partition_by="customer"))
        types = ("customer.created", "customer.updated", "redemption.succeeded", "customer.deleted")
        batches = [batch(f"cust_{i}", *(activity(f"a{i}-{type}", type=type) for type in types)) for i in range(20)]
        await appended(log, 0, (batches, ownership(world)))

        places: dict[bytes, set[int | None]] = {}
        for one in await world.committed("activities"):
            places.setdefault(dict(one.headers)["ce_subject"], set()).add(one.partition)
        assert len(places) == 20
        assert all(len(partitions) == 1 for partitions in places.values())
        assert len(set.union(*places.values())) > 1

    async def test_two_members_share_four_partitions_and_who_stays_gets_all_of_them_soon(self, world: World) -> None:
        one, two = world.log(partitions=4), world.log(partitions=4)
        assert (await one.prepare(), await two.prepare()) == (4, 4)
        first, second = Watcher(), Watcher()
        leave_first, leave_second = anyio.Event(), anyio.Event()

        async with anyio.create_task_group() as tasks:
            await tasks.start(lambda **status: first.watch(one, leave=leave_first, **status))
            await until(lambda: first.owned == {0, 1, 2, 3}, within_seconds=10)
            await tasks.start(lambda **status: second.watch(two, leave=leave_second, **status))
            await until(lambda: len(first.owned or ()) == 2 == len(second.owned or ()), within_seconds=10)
            assert (first.owned or set()) | (second.owned or set()) == {0, 1, 2, 3}
            leave_first.set()
            await until(lambda: second.owned == {0, 1, 2, 3}, within_seconds=FAILOVER_SECONDS_MAX)
            leave_second.set()

    async def test_a_rebalance_is_told_before_the_new_assignment(self, world: World) -> None:
        one, two = await prepared(world.log()), await prepared(world.log())
        first, second, leave = Watcher(), Watcher(), anyio.Event()

        async with anyio.create_task_group() as tasks:
            await tasks.start(lambda **status: first.watch(one, leave=leave, **status))
            await until(lambda: first.owned == {0}, within_seconds=10)
            await tasks.start(lambda **status: second.watch(two, leave=leave, **status))
            await until(lambda: second.owned == set(), within_seconds=10)
            await until(lambda: len([event for event in first.events if isinstance(event, Assigned)]) == 2, within_seconds=10)
            leave.set()

        told = [event for event in first.events if not isinstance(event, Confirmed)]
        assert told == [Rebalancing(), Assigned(frozenset({0})), Rebalancing(), Assigned(frozenset({0}))]
        assert re.fullmatch("RAC+RAC+", first.told), "confirmed at once by each assignment, and never while rebalancing"

    async def test_an_expelled_member_loses_everything_and_joins_anew(self, world: World) -> None:
        log = await prepared(world.log())
        watcher, leave = Watcher(), anyio.Event()

        async with anyio.create_task_group() as tasks:
            await tasks.start(lambda **status: watcher.watch(log, leave=leave, **status))
            await until(lambda: watcher.told.endswith("C"), within_seconds=10)
            seen = len(watcher.events)
            await world.expel()
            await until(lambda: re.fullmatch("C*ARAC+", watcher.told[seen:]), within_seconds=5)
            leave.set()

        assert [event for event in watcher.events[seen:] if not isinstance(event, Confirmed)] == [
            Assigned(frozenset()),
            Rebalancing(),
            Assigned(frozenset({0})),
        ]

    async def test_a_member_that_is_cancelled_leaves_at_once_and_may_join_again(self, world: World) -> None:
        one, two = await prepared(world.log()), await prepared(world.log())
        first, second, again, leave = Watcher(), Watcher(), Watcher(), anyio.Event()

        async with anyio.create_task_group() as tasks:
            async with anyio.create_task_group() as cancelled:
                await cancelled.start(lambda **status: first.watch(one, leave=leave, **status))
                await until(lambda: first.owned == {0}, within_seconds=10)
                cancelled.cancel_scope.cancel()
            await tasks.start(lambda **status: second.watch(two, leave=leave, **status))
            await until(lambda: second.owned == {0}, within_seconds=FAILOVER_SECONDS_MAX)
            await tasks.start(lambda **status: again.watch(one, leave=leave, **status))
            await until(lambda: again.owned == set(), within_seconds=10)
            leave.set()

    async def test_membership_is_confirmed_by_answered_heartbeats(self, world: World) -> None:
        log = await prepared(world.log())
        watcher, leave = Watcher(), anyio.Event()

        async with anyio.create_task_group() as tasks:
            await tasks.start(lambda **status: watcher.watch(log, leave=leave, **status))
            await until(lambda: watcher.owned == {0}, within_seconds=10)
            assigned_at = anyio.current_time()
            await until(lambda: watcher.confirmed_at > assigned_at, within_seconds=SESSION_SECONDS / 2)
            assert watcher.confirmed_at <= anyio.current_time()
            let_go = world.silence(log, watcher.raw)
            silent_at = anyio.current_time()
            await anyio.sleep(SESSION_SECONDS / 2)
            assert watcher.confirmed_at <= silent_at
            let_go()
            leave.set()

    async def test_a_member_that_stops_sending_heartbeats_loses_its_partitions_for_good(self, world: World) -> None:
        one, two = await prepared(world.log()), await prepared(world.log())
        first, second, leave = Watcher(), Watcher(), anyio.Event()

        async with anyio.create_task_group() as tasks:
            await tasks.start(lambda **status: first.watch(one, leave=leave, **status))
            await until(lambda: first.owned == {0}, within_seconds=10)
            let_go = world.silence(one, first.raw)
            await tasks.start(lambda **status: second.watch(two, leave=leave, **status))
            await until(lambda: second.owned == {0}, within_seconds=SESSION_SECONDS + 5)
            seen = len(first.events)
            let_go()
            await until(lambda: len([event for event in first.events[seen:] if isinstance(event, Assigned)]) == 2, within_seconds=5)
            assert [event for event in first.events[seen:] if not isinstance(event, Confirmed)] == [
                Assigned(frozenset()),  # lost
                Rebalancing(),
                Assigned(frozenset()),  # a member again
            ]
            assert second.owned == {0}
            leave.set()

    async def test_while_no_broker_answers_everything_is_unavailable_in_bounded_time_and_then_works_again(self, fragile: World) -> None:
        log, standby, left = await prepared(fragile.log()), await prepared(fragile.log()), anyio.Event()
        watcher, second, leave, leave_second = Watcher(), Watcher(), anyio.Event(), anyio.Event()

        async def stand_by(**status: Any) -> None:
            await second.watch(standby, leave=leave_second, **status)
            left.set()

        async with anyio.create_task_group() as tasks:
            await tasks.start(lambda **status: watcher.watch(log, leave=leave, **status))
            await until(lambda: watcher.owned == {0}, within_seconds=10)
            await tasks.start(stand_by)
            await until(lambda: second.owned == set(), within_seconds=10)
            async with log.open(0) as writer:
                await writer.append([batch("cust_1", activity("a1"))], ownership(fragile))
                await fragile.break_down()
                await everything_unavailable(fragile, log, lambda: writer.append([batch("cust_1", activity("a2"))], ownership(fragile)))
                leave_second.set()
                with anyio.fail_after(LEAVING_SECONDS_MAX):
                    await left.wait()
                leaving_at = anyio.current_time()
            assert anyio.current_time() - leaving_at < LEAVING_SECONDS_MAX
            silent_since = watcher.confirmed_at
            await fragile.mend()
            await in_the_end(log.prepare, within_seconds=30)
            await in_the_end(lambda: appended(log, 0, ([batch("cust_1", activity("a2"))], ownership(fragile))), within_seconds=30)
            await until(lambda: watcher.confirmed_at > silent_since, within_seconds=30)
            assert watcher.owned == {0}
            leave.set()

        assert await published_ids(fragile) == [b"a1", b"a2"]


async def raises(error: type[BaseException], attempt: Callable[[], Awaitable[Any]]) -> None:
    with pytest.raises(error):
        await attempt()


async def everything_unavailable(world: World, log: Any, append: Callable[[], Awaitable[Any]]) -> None:
    """All at once, for each takes as long as it may."""

    async def join() -> None:
        async with world.log().join():
            pass

    with anyio.fail_after(UNAVAILABLE_SECONDS_MAX):
        async with anyio.create_task_group() as tasks:
            for attempt in (append, log.prepare, lambda: appended(log, 0), join):
                tasks.start_soon(raises, LogUnavailable, attempt)


async def prepared_with(log: Any, partitions: int) -> None:
    if await log.prepare() != partitions:
        raise LogUnavailable("not everywhere yet")


async def first_heard(owners: AsyncIterator[tuple[int, Ownership]]) -> tuple[int, Ownership]:
    heard: list[tuple[int, Ownership]] = []

    async def hear() -> None:
        async for partition, said in owners:
            heard.append((partition, said))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hear)
        await until(lambda: heard, HEARD_SECONDS_MAX)
        tasks.cancel_scope.cancel()
    return heard[0]


MEMORY_CANNOT = {
    "test_partitioned_by_customer_the_activities_of_one_stay_in_one_partition": "its activities are one list, without partitions",
}
"""What the log in memory does not do, and why."""


class TestMemoryLog(LogContract):
    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, Any]]:
        return virtual_backend()

    @pytest.fixture
    def world(self) -> MemoryWorld:
        return MemoryWorld()

    @pytest.fixture
    def fragile(self) -> MemoryWorld:
        return MemoryWorld()

    @pytest.fixture(autouse=True)
    def what_it_cannot_do_fails(self, request: pytest.FixtureRequest) -> None:
        """A mark on the test itself would be one for the log on Kafka too."""
        assert all(hasattr(LogContract, name) for name in MEMORY_CANNOT)
        why = MEMORY_CANNOT.get(request.node.originalname)
        if why is not None:
            request.node.add_marker(pytest.mark.xfail(strict=True, raises=AssertionError, reason=why))

    async def test_a_commit_that_is_never_answered_is_unavailable_in_bounded_time(self, world: MemoryWorld) -> None:
        """On Kafka it takes as long, and the broker that is away shows it."""
        log = await prepared(world.log())

        async with log.open(0) as writer:
            world.hold(writer)
            with anyio.fail_after(UNAVAILABLE_SECONDS_MAX):
                await raises(LogUnavailable, lambda: writer.append([batch("cust_1", activity("a1"))], ownership(world)))
        assert await world.committed("activities") == []


class TestKafkaLog(LogContract):
    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, Any]]:
        return "asyncio", {"use_uvloop": True}

    @pytest.fixture
    def world(self, kafka: str) -> KafkaWorld:
        return KafkaWorld(kafka)

    @pytest.fixture
    async def fragile(self, anyio_backend: Any) -> AsyncIterator[KafkaWorld]:
        async with broker(log=print) as own:
            yield KafkaWorld(own.bootstrap_servers, own)

    @pytest.fixture(autouse=True)
    async def no_task_outlives_its_block(self, anyio_backend: Any) -> AsyncIterator[None]:
        before = asyncio.all_tasks()
        yield
        assert [task for task in asyncio.all_tasks() - before if not task.done() and "anyio" not in repr(task)] == []

    async def test_missing_topics_are_created_so_that_nothing_is_lost_and_a_restore_stays_short(self, world: KafkaWorld) -> None:
        logs = [world.log(partitions=3) for _ in range(3)]
        counts: list[int] = []

        async def prepare(log: Any) -> None:
            counts.append(await log.prepare())

        async with anyio.create_task_group() as tasks:
            for log in logs:
                tasks.start_soon(prepare, log)
        settings = world.settings()
        activities, dead_letters = await world.configs(settings.activities_topic), await world.configs(settings.dead_letters_topic)
        checkpoints, watch = await world.configs(settings.checkpoints_topic), await world.configs(settings.watch_topic)

        assert counts == [3, 3, 3]
        assert (activities["cleanup.policy"], activities["retention.ms"]) == ("delete", str(30 * 24 * 3600 * 1000))
        assert dead_letters["cleanup.policy"] == "delete"
        for compacted in (checkpoints, watch):
            assert compacted["cleanup.policy"] == "compact"
            assert compacted["max.compaction.lag.ms"] == "86400000"
            assert int(compacted["segment.bytes"]) <= 16 * 1024 * 1024
            assert int(compacted["segment.ms"]) <= 600_000
            assert float(compacted["min.cleanable.dirty.ratio"]) <= 0.1
        assert await world.partitions(settings.activities_topic) == settings.activities_partitions
        assert (await world.partitions(settings.watch_topic), await world.partitions(settings.dead_letters_topic)) == (1, 1)

    @pytest.mark.parametrize(
        ("topic", "configs", "said"),
        [
            ("activities_topic", {"cleanup.policy": "compact"}, "one record a key"),
            ("activities_topic", {"cleanup.policy": "compact,delete"}, "one record a key"),
            ("dead_letters_topic", {"cleanup.policy": "compact"}, "one record a key"),
            ("checkpoints_topic", {"cleanup.policy": "delete"}, "forget customers"),
            ("checkpoints_topic", {"cleanup.policy": "compact,delete"}, "forget customers"),
            ("checkpoints_topic", {"cleanup.policy": "compact", "max.message.bytes": "500000"}, "max.message.bytes"),
            ("watch_topic", {"cleanup.policy": "delete"}, "forget customers"),
        ],
    )
    async def test_a_topic_that_would_lose_data_is_refused(self, world: KafkaWorld, topic: str, configs: dict[str, str], said: str) -> None:
        name = getattr(world.settings(), topic)
        await world.create(name, configs)

        with pytest.raises(LogRefused, match=said) as refused:
            await world.log().prepare()
        assert name in str(refused.value)

    async def test_a_broker_that_cannot_be_reached_is_said_with_its_reason(self) -> None:
        log = KafkaWorld("127.0.0.1:1").log()

        with pytest.raises(LogUnavailable, match="refused|Connect"):
            await log.prepare()
        with pytest.raises(LogUnavailable):
            async with log.join():
                pass


@pytest.fixture(autouse=True)
def _seeded() -> None:
    random.seed(5)
