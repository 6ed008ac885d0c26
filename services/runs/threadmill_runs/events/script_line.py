"""One connection to Redis on which the calls of one script travel together.

A command by way of redis-py's client and pool costs several times what it takes to pack it and to parse its answer.
Here, those that are called while others are under way are written at once and answered in order.
"""

import asyncio
import hashlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_exponential

# As redis-py's client: a connection that broke is worth so many others.
ATTEMPTS_AFTER_A_FAILURE = 3
# So much is written at once, unless a single command is larger.
BATCH_BYTES = 4 * 1024 * 1024
BROKEN = (RedisConnectionError, RedisTimeoutError, OSError)

Argument = bytes | str | int


@dataclass(frozen=True, slots=True)
class _Command:
    words: tuple[Argument, ...]
    answer: asyncio.Future[Any]


class ScriptLine:
    """Calls a script. The connection is the pool's, and is closed with it.

    Raises what Redis answers (ResponseError), and RedisError or OSError when it does not; a call may then have been
    carried out. A Redis that has not answered for `timeout_seconds` loses the connection.
    """

    def __init__(self, redis: Redis, script: str, timeout_seconds: float) -> None:
        self._pool = redis.connection_pool
        self._script = script
        self._sha = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
        self._timeout_seconds = timeout_seconds
        self._connection: Any = None
        self._waiting: deque[_Command] = deque()
        self._pump: asyncio.Task[None] | None = None

    async def __call__(self, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """What the script returns."""
        try:
            return await self._call(keys, arguments)
        except BROKEN:
            retrying = AsyncRetrying(
                retry=retry_if_exception_type(BROKEN),
                wait=wait_exponential(0.05, max=0.5),
                stop=stop_after_attempt(ATTEMPTS_AFTER_A_FAILURE),
                reraise=True,
            )
            return await retrying(self._call, keys, arguments)

    async def _call(self, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        try:
            return await self._send("EVALSHA", self._sha, len(keys), *keys, *arguments)
        except NoScriptError:  # Redis is new, or has been flushed; this makes it known
            return await self._send("EVAL", self._script, len(keys), *keys, *arguments)

    def _send(self, *words: Argument) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        command = _Command(words, loop.create_future())
        self._waiting.append(command)
        self._start()
        return command.answer

    def _start(self) -> None:
        if self._pump is None:
            self._pump = asyncio.get_running_loop().create_task(self._work(), name="event appends")

    async def _work(self) -> None:
        """Sends what waits and reads the answers, until nothing waits any more."""
        under_way: list[_Command] = []
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                under_way = self._take()
                timer = loop.call_later(self._timeout_seconds, self._give_up)
                try:
                    await self._exchange(under_way)
                finally:
                    timer.cancel()
        except (RedisError, OSError) as error:
            await self._fail(under_way, error)
        except Exception as error:  # noqa: BLE001  # a defect, of redis-py's or ours: nobody waits for ever
            await self._fail(under_way, RedisConnectionError(f"the commands could not be sent: {error!r}"))
        except asyncio.CancelledError:
            await self._fail(under_way, RedisConnectionError("Redis does not answer"))
        finally:
            self._pump = None
            if self._waiting:  # called while the lost connection was being closed
                self._start()

    def _take(self) -> list[_Command]:
        """The next commands whose callers still wait, as many as may travel together."""
        taken: list[_Command] = []
        size = 0
        while self._waiting and size < BATCH_BYTES:
            command = self._waiting.popleft()
            if not command.answer.done():
                taken.append(command)
                size += sum(len(word) for word in command.words if not isinstance(word, int))
        return taken

    def _give_up(self) -> None:
        if self._pump is not None:
            self._pump.cancel()

    async def _exchange(self, commands: Sequence[_Command]) -> None:
        if self._connection is None:
            self._connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]  # redis-py
        connection = self._connection
        packed = connection.pack_commands([command.words for command in commands])
        await connection.send_packed_command(packed, check_health=False)
        for command in commands:
            try:
                answer = await connection.read_response()
            except ResponseError as error:
                if not command.answer.done():
                    command.answer.set_exception(error)
            else:
                if not command.answer.done():  # its caller may have gone
                    command.answer.set_result(answer)

    async def _fail(self, under_way: Sequence[_Command], error: Exception) -> None:
        """The connection is lost, and with it the answers."""
        connection, self._connection = self._connection, None
        failed = [*under_way, *self._waiting]
        self._waiting.clear()
        for command in failed:
            if not command.answer.done():
                command.answer.set_exception(error)
        if connection is not None:
            await connection.disconnect(nowait=True)
            await self._pool.release(connection)
