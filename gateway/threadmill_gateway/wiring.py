"""Builds the gateway's parts; everything closes in reverse order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from threadmill_gateway.abandoned import AbandonedRuns
from threadmill_gateway.clients import open_clients
from threadmill_gateway.context import Gateway
from threadmill_gateway.metrics import HttpMetrics
from threadmill_gateway.settings import GatewaySettings
from threadmill_gateway.store_calls import StoreCalls
from threadmill_gateway.webhooks import resolve


@asynccontextmanager
async def build(settings: GatewaySettings) -> AsyncIterator[Gateway]:
    """The gateway for the block. No service need be there yet: channels connect when used."""
    async with open_clients(settings) as clients:
        abandoned = AbandonedRuns(clients)
        yield Gateway(
            settings=settings,
            clients=clients,
            store_calls=StoreCalls(clients),
            abandoned=abandoned,
            metrics=HttpMetrics(),
            closing=asyncio.Event(),
            resolve=resolve,
        )
        await abandoned.settle(settings.http_drain_seconds)
