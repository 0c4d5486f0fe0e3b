"""Posting to a node's JSON API with as little of our own time as can be.

The typed client of `api.client` costs about a millisecond a call (httpx), which is not the nodes' and would be counted
as theirs; aiohttp's client costs a tenth of that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp

_TIMEOUT = aiohttp.ClientTimeout(total=60.0)


class CallRefused(Exception):
    """A node answered with an error; the message has its own sentence."""


class Node:
    """One node's JSON API, called with one token."""

    def __init__(self, session: aiohttp.ClientSession, *, name: str, url: str, token: str) -> None:
        self.name, self.url = name, url
        self._session, self._headers = session, {"Authorization": f"Bearer {token}"}

    def with_token(self, token: str) -> Node:
        """The same node, called by somebody else."""
        return Node(self._session, name=self.name, url=self.url, token=token)

    async def post(self, path: str, body: Mapping[str, Any], *, prefer: str = "") -> dict[str, Any]:
        """POST; `prefer` is the Prefer header (`wait=10`); raises CallRefused."""
        headers = {**self._headers, "Prefer": prefer} if prefer else self._headers
        async with self._session.post(f"{self.url}{path}", json=body, headers=headers, timeout=_TIMEOUT) as response:
            if response.status >= 400:
                raise CallRefused(f"{self.name}: POST {path} gave {response.status}: {await response.text()}")
            return dict(await response.json())


def open_session() -> aiohttp.ClientSession:
    """A session for calls to any node; the caller closes it."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64))
