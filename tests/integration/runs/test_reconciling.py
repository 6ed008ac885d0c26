"""Threads that a crash left busy for nothing are freed; threads that are busy for a reason are not."""

import asyncio

from eventually import until
from threadmill_chassis.ids import new_id
from threadmill_protos.threads.v1 import threads_pb2


def begin(system, thread_id, run_id):
    return system.threads.BeginRun(threads_pb2.BeginRunRequest(thread_id=thread_id, run_id=run_id))


async def test_a_thread_whose_run_was_never_inserted_is_freed(start_system):
    system = await start_system(reconcile_seconds=0.3)
    executor = await system.executor(slots=1).attach()
    alive = await system.create(await system.thread())
    assignment = await executor.assignment()
    waiting = await system.create(alive.thread_id)
    crashed = await system.thread()
    await begin(system, crashed, new_id())
    assert await system.thread_state(crashed) == "busy"

    async def freed():
        return await system.thread_state(crashed) == "idle"

    await until(freed)
    assert await system.thread_state(alive.thread_id) == "busy"
    await executor.finish(assignment, values_json=b"{}")
    assert (await executor.assignment()).fence.run_id == waiting.run_id


async def test_a_run_that_ended_without_its_thread_is_taken_off_it(start_system):
    system = await start_system(reconcile_seconds=0.3)
    executor = await system.executor().attach()
    run = await system.create(await system.thread())
    await executor.finish(await executor.assignment(), values_json=b'{"a":1}')
    await begin(system, run.thread_id, run.run_id)

    async def freed():
        return await system.thread_state(run.thread_id) == "idle"

    await until(freed)
    thread = await system.threads.GetThread(threads_pb2.GetThreadRequest(thread_id=run.thread_id))
    assert thread.values_json == b'{"a":1}'


async def test_many_pages_are_reconciled(start_system):
    system = await start_system(reconcile_seconds=0.3)
    threads = [await system.thread() for _ in range(230)]
    await asyncio.gather(*(begin(system, thread_id, new_id()) for thread_id in threads))

    async def freed():
        return not await system.threads_sql.fetchval(
            "SELECT count(*) FROM threads.thread WHERE cardinality(active_run_ids) > 0"
        )

    await until(freed)
