"""The URL guard: an address that a stranger wrote must not make this node talk to its own house.

A URL is checked twice: when it is given (`check`), and at every connect (`GuardedResolver`), because a name may point
somewhere else by then. Loopback, private, link-local and other addresses that are not on the public internet are
refused, unless ALLOW_PRIVATE_URLS says that this network is such a house.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from api.problems import ApiError

#: Longest URL that is kept.
URL_CHARACTERS_MAX = 2048
#: How long resolving a name may take when a URL is given, seconds.
RESOLVE_S_MAX = 5.0

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_public(address: str) -> bool:
    """True for an address on the public internet, also when it is wrapped in an IPv6 one (mapped, 6to4, NAT64)."""
    try:
        ip: _Address = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or _nat64(ip)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast


def _nat64(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if ip in ipaddress.ip_network("64:ff9b::/96"):
        return ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    return None


async def check(url: str, *, allow_private: bool, field: str = "url") -> None:
    """Refuse a URL that this node must not call; raises ApiError 422 that names the field and the fix."""
    if len(url) > URL_CHARACTERS_MAX or any(ord(character) <= 32 for character in url):
        raise ApiError(422, f"'{field}' must be one URL of at most {URL_CHARACTERS_MAX} characters.", field=field)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ApiError(422, f"'{field}' is no URL; send one such as https://example.com/hook.", field=field) from None
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise ApiError(422, f"'{field}' must begin with http:// or https:// and name a host.", field=field)
    if parts.username is not None or parts.password is not None:
        raise ApiError(422, f"'{field}' must not carry a user or password.", field=field)
    if allow_private:
        return
    for address in await _addresses(host, field):
        if not is_public(address):
            raise ApiError(
                422,
                f"'{field}' points at {address}, which is not on the public internet; use a public address.",
                field=field,
                limit="public address",
            )


async def _addresses(host: str, field: str) -> list[str]:
    try:
        async with asyncio.timeout(RESOLVE_S_MAX):
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        raise ApiError(422, f"'{field}': the host {host} cannot be found; correct it.", field=field) from None
    return [str(entry[4][0]) for entry in found]


def literal_is_refused(url: str, *, allow_private: bool) -> bool:
    """True for a URL whose host is a refused address itself: those never reach a resolver."""
    host = urlsplit(url).hostname or ""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return not allow_private and not is_public(host)


class GuardedResolver(AbstractResolver):
    """Resolves names for outgoing connections and leaves out every address that is not public."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses a connection may go to; raises OSError when none is left."""
        found = await self._resolver.resolve(host, port, family)
        allowed = [entry for entry in found if self._allow_private or is_public(entry["host"])]
        if not allowed:
            raise OSError(errno.EACCES, f"{host} is not on the public internet")
        return allowed

    async def close(self) -> None:
        """Nothing is held."""
        await self._resolver.close()
