"""The connection that event logs write by: commands of the same time together, answers to their callers, whatever."""

import asyncio

import pytest
from redis.exceptions import RedisError, ResponseError
from threadmill_runs.events.script_line import ScriptLine

ECHO = "if ARGV[1] == 'fail' then return redis.error_reply('ERR refused') end return ARGV[1]"


@pytest.fixture
def line(redis):
    return ScriptLine(redis, ECHO, timeout_seconds=5)


async def calls_of(redis):
    return int((await redis.info("commandstats")).get("cmdstat_evalsha", {"calls": 0})["calls"])


async def test_everyone_gets_their_own_answer(line):
    answers = await asyncio.gather(*(line(["k"], [f"{number}"]) for number in range(200)))
    assert answers == [b"%d" % number for number in range(200)]


async def test_one_refusal_is_one_callers(line):
    answers = await asyncio.gather(*(line(["k"], [word]) for word in ("a", "fail", "b")), return_exceptions=True)
    assert [answers[0], answers[2]] == [b"a", b"b"]
    assert isinstance(answers[1], ResponseError)


async def test_a_redis_that_has_forgotten_the_script_learns_it_again(line, redis):
    assert await line(["k"], ["a"]) == b"a"
    await redis.script_flush()
    before = await calls_of(redis)
    assert await asyncio.gather(line(["k"], ["b"]), line(["k"], ["c"])) == [b"b", b"c"]
    assert await line(["k"], ["d"]) == b"d"
    assert await calls_of(redis) > before


async def test_a_caller_who_goes_takes_nobodys_answer_along(line):
    gone = asyncio.create_task(line(["k"], ["gone"]))
    stays = asyncio.create_task(line(["k"], ["stays"]))
    await asyncio.sleep(0)
    gone.cancel()
    assert await stays == b"stays"
    assert await line(["k"], ["later"]) == b"later"


async def test_a_lost_connection_is_replaced(line, redis):
    assert await line(["k"], ["a"]) == b"a"
    await redis.client_kill_filter(_type="normal", skipme=True)
    assert await asyncio.gather(*(line(["k"], [f"{number}"]) for number in range(20))) == [
        b"%d" % number for number in range(20)
    ]


async def test_a_redis_that_hangs_is_not_waited_for(redis):
    line = ScriptLine(redis, ECHO, timeout_seconds=0.2)
    assert await line(["k"], ["a"]) == b"a"
    await redis.execute_command("CLIENT", "PAUSE", "1500", "ALL")
    with pytest.raises((RedisError, OSError)):
        async with asyncio.timeout(1.4):
            await line(["k"], ["b"])
    async with asyncio.timeout(10):
        assert await ScriptLine(redis, ECHO, timeout_seconds=5)(["k"], ["c"]) == b"c"
        assert await line(["k"], ["d"]) == b"d"
