"""Which addresses webhooks may reach. The same answer is checked and connected to, so a name that resolves
differently the second time (DNS rebinding) gains nothing.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
# Host and port to addresses; raises OSError when the name does not resolve.
Resolver = Callable[[str, int], Awaitable[list[str]]]
# Ways to write an IPv4 address as IPv6 that a network may translate back: the address is in the last four bytes.
TRANSLATED = (IPv6Network("64:ff9b::/96"), IPv6Network("::ffff:0:0:0/96"), IPv6Network("::/96"))
# Private by another name: a translation of the site's own choice, and what came before unique local addresses.
SITES = (IPv6Network("64:ff9b:1::/48"), IPv6Network("fec0::/10"))


class AddressRefused(Exception):
    """The host has an address that webhooks must not reach."""


async def resolve(host: str, port: int) -> list[str]:
    """Addresses of a host by the system's resolver, without repetition."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True, slots=True)
class AddressRule:
    """Public addresses only, unless loopback or private ones are allowed. Link-local ones (where clouds serve the
    credentials of a machine), multicast and unspecified ones are never.
    """

    allow_loopback: bool = False
    allow_private: bool = False

    def check(self, addresses: list[str]) -> list[str]:
        """The addresses; raises AddressRefused if even one of them is out of bounds."""
        for text in addresses:
            if not all(self._permits(meant) for meant in _meanings(ip_address(text.split("%", 1)[0]))):
                raise AddressRefused(f"{text} is not a public address")
        return addresses

    def _permits(self, address: Address) -> bool:
        if address.is_unspecified or address.is_multicast or address.is_link_local:
            return False
        if address.is_loopback:
            return self.allow_loopback
        site = isinstance(address, IPv6Address) and any(address in network for network in SITES)
        return (address.is_global and not site) or self.allow_private


def _meanings(address: Address) -> list[Address]:
    """The addresses that packets to this one may end at."""
    if isinstance(address, IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    inner = [address.sixtofour, address.teredo[1] if address.teredo else None]
    if not address.is_loopback and any(address in network for network in TRANSLATED):
        inner.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return [address, *(each for each in inner if each is not None)]
