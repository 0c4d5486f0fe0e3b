"""Calling the nodes of the demo: the typed client, with the node's name on whatever goes wrong.

A demo makes a call for every few milliseconds of everybody's work, on the same cores; httpx takes one for itself. So
its calls go through one aiohttp session, at a tenth of that.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from api.client import ANSWER_S_MAX, CONNECT_S_MAX, CONNECTIONS_MAX, Json, NoAnswer, NodeClient, Refused


class CallFailed(Exception):
    """A node refused a call (`status`, its own sentence) or did not answer it (status 0)."""

    def __init__(self, node: str, call: str, failure: Refused | NoAnswer) -> None:
        super().__init__(f"{node}: {call}: {failure}")
        self.node, self.status = node, failure.status if isinstance(failure, Refused) else 0


@asynccontextmanager
async def open_session() -> AsyncIterator[aiohttp.ClientSession]:
    """The connections that all calls of a demo share, while the block runs."""
    # The nodes' answers are large and local: reading them in larger pieces saves as many turns of the loop.
    connector = aiohttp.TCPConnector(limit_per_host=CONNECTIONS_MAX)
    async with aiohttp.ClientSession(connector=connector, read_bufsize=1 << 18) as session:
        yield session


class Node(NodeClient):
    """One node's JSON API, called with one token over a shared session."""

    def __init__(self, session: aiohttp.ClientSession, *, name: str, url: str, token: str) -> None:
        super().__init__(url, token)
        self.name, self._session = name, session

    def with_token(self, token: str) -> Node:
        """The same node, called by somebody else."""
        return Node(self._session, name=self.name, url=self.base_url, token=token)

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        wait_s: float = 0,
        prefer: str = "",
        idempotency_key: str = "",
    ) -> Json:
        """One call, as the typed client makes it; raises CallFailed."""
        try:
            return await super().call(
                method, path, body, query=query, wait_s=wait_s, prefer=prefer, idempotency_key=idempotency_key
            )
        except (Refused, NoAnswer) as failure:
            raise CallFailed(self.name, f"{method} {path}", failure) from failure

    async def metrics(self) -> str:
        """The node's Prometheus page; raises CallFailed."""
        try:
            _, page = await self._exchange("GET", "/metrics", None, query={}, headers={}, wait_s=0)
        except NoAnswer as failure:
            raise CallFailed(self.name, "GET /metrics", failure) from failure
        return page.decode()

    async def _exchange(
        self,
        method: str,
        path: str,
        content: bytes | None,
        *,
        query: Mapping[str, Any],
        headers: Mapping[str, str],
        wait_s: float,
    ) -> tuple[int, bytes]:
        try:
            async with self._session.request(
                method,
                self.base_url + path,
                data=content,
                params=query,
                headers={**self._headers, **headers},
                timeout=aiohttp.ClientTimeout(total=ANSWER_S_MAX + wait_s, sock_connect=CONNECT_S_MAX),
                allow_redirects=False,
            ) as answer:
                return answer.status, await answer.read()
        except (aiohttp.ClientError, TimeoutError) as failure:
            raise NoAnswer(f"{type(failure).__name__}: {failure}") from failure
