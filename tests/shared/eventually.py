"""Waiting for a condition, with a deadline."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from tenacity import AsyncRetrying, retry_if_result, stop_after_delay, wait_fixed

T = TypeVar("T")


async def until(condition: Callable[[], Awaitable[T]], seconds: float = 30.0) -> T:
    """Polls until the condition gives something true; tenacity.RetryError after so many seconds."""
    retrying = AsyncRetrying(
        retry=retry_if_result(lambda value: not value), stop=stop_after_delay(seconds), wait=wait_fixed(0.02)
    )

    async def check() -> T:
        return await condition()

    return await retrying(check)


async def until_line(path: Path, line: str, count: int = 1, seconds: float = 30.0) -> None:
    """Waits until a file has a line so many times: the signal that a graph's node gives."""

    def seen() -> bool:
        return path.exists() and path.read_text().splitlines().count(line) >= count

    async def signalled() -> bool:
        return await asyncio.to_thread(seen)

    await until(signalled, seconds)
