"""Calling a node's JSON API as a consumer app, a prosumer or an operator would: bearer token, JSON in, JSON out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp

#: How long one call may take, seconds; longer than any `Prefer: wait` of the demo.
CALL_S_MAX = 60.0


class CallRefused(Exception):
    """A node answered with an error; `sentence` is its own."""

    def __init__(self, node: str, method: str, path: str, status: int, sentence: str) -> None:
        super().__init__(f"{node}: {method} {path} gave {status}: {sentence}")
        self.status, self.sentence = status, sentence


class Node:
    """One node's JSON API, called with one token."""

    def __init__(self, session: aiohttp.ClientSession, *, name: str, url: str, token: str) -> None:
        self.name, self.url = name, url
        self._session, self._headers = session, {"Authorization": f"Bearer {token}"}

    def with_token(self, token: str) -> Node:
        """The same node, called by somebody else."""
        return Node(self._session, name=self.name, url=self.url, token=token)

    async def get(self, path: str, **query: str) -> dict[str, Any]:
        """GET; raises CallRefused."""
        return await self._call("GET", path, query=query)

    async def put(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """PUT; raises CallRefused."""
        return await self._call("PUT", path, body=body)

    async def post(self, path: str, body: Mapping[str, Any] | None = None, *, prefer: str = "") -> dict[str, Any]:
        """POST; `prefer` is the Prefer header (`wait=10`); raises CallRefused."""
        return await self._call("POST", path, body=body or {}, prefer=prefer)

    async def text(self, path: str) -> str:
        """GET of something that is not JSON; raises CallRefused."""
        async with self._session.get(f"{self.url}{path}", timeout=_TIMEOUT) as response:
            text = await response.text()
            if response.status >= 400:
                raise CallRefused(self.name, "GET", path, response.status, text[:200])
            return text

    async def _call(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        prefer: str = "",
    ) -> dict[str, Any]:
        headers = {**self._headers, "Prefer": prefer} if prefer else self._headers
        async with self._session.request(
            method, f"{self.url}{path}", json=body, params=query, headers=headers, timeout=_TIMEOUT
        ) as response:
            answer = await response.json(content_type=None) if response.content_length != 0 else {}
            if response.status >= 400:
                problem = answer.get("error", {}) if isinstance(answer, dict) else {}
                sentence = str(problem.get("sentence", answer))
                raise CallRefused(self.name, method, path, response.status, sentence)
            return dict(answer)


_TIMEOUT = aiohttp.ClientTimeout(total=CALL_S_MAX)


def open_session() -> aiohttp.ClientSession:
    """A session for calls to any node; the caller closes it."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64))
