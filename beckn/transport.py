"""The port through which letters leave, and the real one: a long-lived aiohttp client with every timeout named."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

import aiohttp

#: No acknowledgement is longer; the rest of a longer answer is not read.
ANSWER_BYTES_MAX = 65_536
#: Idle connections to peers are closed after this long: sooner than servers do, so that a letter is not written into
#: a connection that the peer is just closing.
IDLE_S_MAX = 15.0
#: Connections to all peers together.
CONNECTIONS_MAX = 1024
#: How long a resolved host name is remembered, seconds.
DNS_S_MAX = 30


class NotDelivered(Exception):
    """No answer came. `certain` is True when the peer cannot have received the letter."""

    def __init__(self, sentence: str, *, certain: bool) -> None:
        self.certain = certain
        super().__init__(sentence)


class Transport(Protocol):
    """Something that carries bytes to a URL and brings the answer back."""

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Post `body`; the HTTP status and the body of the answer. Raises NotDelivered when there is none."""
        ...


class HttpTransport:
    """Posts over HTTP. Redirects are not followed: a signature is for one receiver, at its registered URL."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    @classmethod
    @asynccontextmanager
    async def open(cls, *, connect_s: float, answer_s: float, per_host_max: int) -> AsyncIterator[HttpTransport]:
        """A transport with its connections, closed at the end of the block."""
        connector = aiohttp.TCPConnector(
            limit=CONNECTIONS_MAX, limit_per_host=per_host_max, keepalive_timeout=IDLE_S_MAX, ttl_dns_cache=DNS_S_MAX
        )
        timeout = aiohttp.ClientTimeout(
            total=connect_s + answer_s, connect=connect_s, sock_connect=connect_s, sock_read=answer_s
        )
        async with aiohttp.ClientSession(
            connector=connector,
            timeout=timeout,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept-Encoding"),
        ) as session:
            yield cls(session)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Post `body`; the HTTP status and the body of the answer. Raises NotDelivered when there is none."""
        try:
            async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as response:
                answer = b""
                while len(answer) < ANSWER_BYTES_MAX and (chunk := await response.content.readany()):
                    answer += chunk
                return response.status, answer
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
            raise NotDelivered(_sentence(url, error), certain=True) from error
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise NotDelivered(_sentence(url, error), certain=False) from error


def _sentence(url: str, error: Exception) -> str:
    return f"{url}: {type(error).__name__}: {error}"[:500]
