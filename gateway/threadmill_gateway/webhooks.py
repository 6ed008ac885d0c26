"""Which webhook URLs a run may name: absolute http(s) ones whose host resolves, and not to this machine."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from urllib.parse import urlsplit

from threadmill_gateway.errors import refuse

# Host and port to addresses; raises OSError when the name does not resolve.
Resolver = Callable[[str, int], Awaitable[list[str]]]
RESOLVE_SECONDS = 5.0


async def resolve(host: str, port: int) -> list[str]:
    """Addresses of a host by the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


async def check_webhook(url: str, resolver: Resolver, allow_loopback: bool) -> None:
    """Refuses a URL with 422. With `allow_loopback`, loopback hosts and paths relative to the server pass too."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise refuse(422, "Invalid webhook URL") from error
    if allow_loopback and not parts.scheme and url.startswith("/"):
        return
    if parts.scheme not in ("http", "https"):
        raise refuse(422, "Invalid webhook URL: must be absolute and use http or https")
    host = (parts.hostname or "").rstrip(".")
    if not host:
        raise refuse(422, "Invalid webhook URL: it has no host")
    if not allow_loopback:
        await _check_host(host, port or (443 if parts.scheme == "https" else 80), resolver)


async def _check_host(host: str, port: int, resolver: Resolver) -> None:
    if host == "localhost" or host.endswith(".localhost"):
        raise refuse(422, "Webhook must not point to localhost")
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            addresses = await resolver(host, port)
    except (OSError, UnicodeError) as error:
        raise refuse(422, f"Webhook host '{host}' does not resolve") from error
    if any(_is_local(address) for address in addresses):
        raise refuse(422, "Webhook must not point to a loopback address")


def _is_local(text: str) -> bool:
    address = ip_address(text.split("%", 1)[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return any(one.is_loopback or one.is_unspecified for one in (address, mapped) if one is not None)
