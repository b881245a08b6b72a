"""Which network addresses upstream requests may go to, checked when a connection is made.

Loopback and private networks are where self-hosted apps are, so they are fine where the operator
has written the host. A host that a client or a redirect has a say in must be a public one.
"""

import ipaddress
import socket
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver

from hubbub.service.upstream.outcome import DeliveryError, Kind

__all__ = ["GuardedResolver", "check_host", "forbidden"]

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
# What clouds tell their machines' secrets on, beside the link-local 169.254.169.254.
_METADATA: Final = frozenset(
    map(ipaddress.ip_address, ("168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254"))
)


class GuardedResolver(AbstractResolver):
    """Resolves names as the system does, and leaves out addresses that are forbidden."""

    def __init__(self, resolver: AbstractResolver | None = None) -> None:
        self.literal_hosts: frozenset[str] = frozenset()  # those that the operator has written
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of `host` that may be used. Raises `DeliveryError` where none may be."""
        found = await self._system().resolve(host, port, family)
        is_literal = host.lower() in self.literal_hosts
        reasons = [forbidden(result["host"], is_literal=is_literal) for result in found]
        allowed = [result for result, reason in zip(found, reasons, strict=True) if reason is None]
        if found and not allowed:
            raise _forbidden_host(host, f"resolves to {found[0]['host']}, {reasons[0]}")
        return allowed

    async def check_chosen(self, host: str) -> None:
        """Check a host that a client has a say in, where it is one of the operator's as well.

        What one template may reach inside is not for clients to reach by another. Raises
        `DeliveryError`.
        """
        if host.lower() not in self.literal_hosts:
            return
        check_host(host, is_literal=False)
        try:
            found = await self._system().resolve(host, 0, socket.AF_UNSPEC)
        except OSError:
            return  # connecting will fail with it, and say so
        for result in found:
            if (reason := forbidden(result["host"], is_literal=False)) is not None:
                raise _forbidden_host(host, f"resolves to {result['host']}, {reason}")

    def _system(self) -> AbstractResolver:
        if self._resolver is None:
            self._resolver = DefaultResolver()  # it wants a running loop
        return self._resolver

    async def close(self) -> None:
        """Let go of the system's resolver."""
        if self._resolver is not None:
            await self._resolver.close()


def check_host(host: str, *, is_literal: bool) -> None:
    """Check a host that is an address itself, which nobody resolves. Raises `DeliveryError`."""
    reason = forbidden(host, is_literal=is_literal)
    if reason is not None:
        raise _forbidden_host(host, f"is {reason}")


@lru_cache(maxsize=256)
def forbidden(host: str, *, is_literal: bool) -> str | None:
    """What kind of address `host` is where nothing may be sent to it, else `None`.

    A host that is no address is not forbidden: what it resolves to is looked at later.
    """
    try:
        # A scoped address such as fe80::1%eth0 is as link-local as without its scope.
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    for meant in _meant(address):
        if meant.is_link_local or meant in _METADATA:
            return "an address of cloud metadata or of the link itself"
        # Python counts ::1 among the reserved ones.
        is_odd = meant.is_multicast or meant.is_unspecified or meant.is_reserved
        if is_odd and not meant.is_loopback:
            return "no address of a single machine"
        # Python calls fec0::/10 global: its time as the private ones of IPv6 is over.
        is_site_local = isinstance(meant, ipaddress.IPv6Address) and meant.is_site_local
        if not is_literal and (is_site_local or not meant.is_global):
            return "a private address, and the template does not name this host literally"
    return None


def _meant(address: _Address) -> Iterator[_Address]:
    """The address, and the IPv4 address that is wrapped in it, if one is."""
    if isinstance(address, ipaddress.IPv4Address):
        yield address
        return
    wrapped = address.ipv4_mapped or address.sixtofour
    if address in _NAT64:
        wrapped = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    # A wrapped address is judged by what is in it; Python calls all mapped ones reserved.
    yield wrapped or address


def _forbidden_host(host: str, why: str) -> DeliveryError:
    return DeliveryError(
        Kind.FORBIDDEN_ADDRESS, f"The host {host} {why}; upstream requests never go there."
    )
