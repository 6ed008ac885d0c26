"""How webhook calls are made, apart from the HTTP client that makes them."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Protocol

from threadmill_runs.webhooks.addresses import AddressRule, Resolver


class SendFailed(Exception):
    """The call did not succeed; `final` when no repetition can help."""

    def __init__(self, cause: str, *, final: bool = False) -> None:
        super().__init__(cause)
        self.final = final


@dataclass(frozen=True, slots=True)
class SendOptions:
    """How calls are made. `base_url`: what relative URLs are relative to. An empty secret: no signature."""

    timeout_seconds: float
    headers: Mapping[str, str]
    secret: str
    base_url: str
    rule: AddressRule


class Sending(Protocol):
    """Makes a call."""

    async def send(self, url: str, call_id: str, body: bytes) -> int:
        """Posts the body and answers the status, one of 2xx; raises SendFailed."""


class SenderOnDemand:
    """Opens the HTTP client with the first call: a server whose runs have no webhooks saves its memory."""

    def __init__(self, stack: AsyncExitStack, options: SendOptions, resolver: Resolver) -> None:
        self._stack = stack
        self._options = options
        self._resolver = resolver
        self._opening = asyncio.Lock()
        self._sender: Sending | None = None

    async def send(self, url: str, call_id: str, body: bytes) -> int:
        """See Sending."""
        async with self._opening:
            if self._sender is None:
                from threadmill_runs.webhooks.sender import Sender, open_http  # noqa: PLC0415 - the purpose of this class

                self._sender = Sender(await self._stack.enter_async_context(open_http()), self._options, self._resolver)
        return await self._sender.send(url, call_id, body)
