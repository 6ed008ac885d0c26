"""Which webhook URLs a run may name: absolute http(s) ones whose host resolves, and not to this machine."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class WebhookPolicy:
    """What a deployment permits. Domains are hosts, or `*.example.com` for all below example.com but not itself; no
    domains, ports or length: any. With `allow_loopback`, this machine and paths relative to the server pass too.
    """

    allow_loopback: bool = False
    require_https: bool = False
    allowed_domains: tuple[str, ...] = ()
    allowed_ports: tuple[int, ...] = ()
    max_url_length: int | None = None

    def check(self, scheme: str, host: str, port: int) -> None:
        """Refuses an absolute URL with 422."""
        if self.require_https and scheme != "https":
            raise refuse(422, "Webhook must use https")
        if self.allowed_domains and not any(_is_within(host, domain.lower()) for domain in self.allowed_domains):
            raise refuse(422, "Webhook domain not allowed")
        if self.allowed_ports and port not in self.allowed_ports:
            raise refuse(422, f"Webhook port {port} not allowed")


def _is_within(host: str, domain: str) -> bool:
    return host.endswith(domain[1:]) and host != domain[2:] if domain.startswith("*.") else host == domain


async def check_webhook(url: str, resolver: Resolver, policy: WebhookPolicy) -> None:
    """Refuses a URL that the policy forbids, or that leads to this machine, with 422."""
    if policy.max_url_length is not None and len(url) > policy.max_url_length:
        raise refuse(422, "Webhook URL too long")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise refuse(422, "Invalid webhook URL") from error
    if policy.allow_loopback and not parts.scheme and not parts.netloc and url.startswith("/"):
        return
    if parts.scheme not in ("http", "https"):
        raise refuse(422, "Invalid webhook URL: must be absolute and use http or https")
    host = (parts.hostname or "").rstrip(".")
    if not host:
        raise refuse(422, "Invalid webhook URL: it has no host")
    port = port or (443 if parts.scheme == "https" else 80)
    policy.check(parts.scheme, host, port)
    if not policy.allow_loopback:
        await _check_host(host, port, resolver)


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
