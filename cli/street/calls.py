"""Calling the nodes of the demo: the typed client, with the node's name on whatever goes wrong."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

import httpx

from api.client import Json, NoAnswer, NodeClient, Refused


class CallFailed(Exception):
    """A node refused a call (`status`, its own sentence) or did not answer it (status 0)."""

    def __init__(self, node: str, call: str, failure: Refused | NoAnswer) -> None:
        super().__init__(f"{node}: {call}: {failure}")
        self.node, self.status = node, failure.status if isinstance(failure, Refused) else 0


class Node(NodeClient):
    """One node's JSON API, called with one token; opened and closed with the others of its `calls`."""

    def __init__(self, calls: AsyncExitStack, *, name: str, url: str, token: str) -> None:
        super().__init__(url, token)
        self.name, self.url, self._calls = name, url, calls
        calls.push_async_exit(self)

    def with_token(self, token: str) -> Node:
        """The same node, called by somebody else."""
        return Node(self._calls, name=self.name, url=self.url, token=token)

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
            async with httpx.AsyncClient() as http:
                page = await http.get(f"{self.url}/metrics")
        except httpx.TransportError as failure:
            raise CallFailed(self.name, "GET /metrics", NoAnswer(str(failure))) from failure
        return page.text
