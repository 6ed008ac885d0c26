"""What every handler is given besides the request."""

import asyncio
from dataclasses import dataclass

from threadmill_gateway.abandoned import AbandonedRuns
from threadmill_gateway.clients import Clients
from threadmill_gateway.metrics import HttpMetrics
from threadmill_gateway.settings import GatewaySettings
from threadmill_gateway.store_calls import StoreCalls
from threadmill_gateway.webhooks import Resolver


@dataclass(frozen=True, slots=True)
class Gateway:
    """The parts of the process. `closing` is set when it shuts down: streams then end."""

    settings: GatewaySettings
    clients: Clients
    store_calls: StoreCalls
    abandoned: AbandonedRuns
    metrics: HttpMetrics
    closing: asyncio.Event
    resolve: Resolver
