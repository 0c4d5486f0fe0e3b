"""A typed client of the nodes' JSON APIs, for applications written in Python.

One `NodeClient` speaks to one node with one token; the facades name the calls of each kind of node:

    async with NodeClient("http://127.0.0.1:8003", token) as node:
        buyer = BuyerApi(node)
        found = await buyer.search({"window": {...}}, wait_s=5, offers=3)
        order = await buyer.order(account_id, found, found["offers"][0], energy, wait_s=5)

Answers are the JSON documents of /openapi.json. A refusal raises `Refused` with the node's own sentence. Nothing is
retried on its own; give an `idempotency_key` to repeat a POST safely after `NoAnswer`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self

import httpx
import orjson

Json = dict[str, Any]

#: How long connecting may take, and how much longer than its wait an answer, seconds.
CONNECT_S_MAX, ANSWER_S_MAX = 5.0, 30.0
#: Connections to one node.
CONNECTIONS_MAX = 50
#: Longest silence of an event stream, seconds: a node sends a heartbeat more often than that.
SILENCE_S_MAX = 45.0


class Refused(Exception):
    """The node said no; `sentence` is its own, `field` and `limit` name what was wrong."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.sentence = str(problem.get("sentence") or "The node gave no reason.")
        self.field, self.limit = problem.get("field"), problem.get("limit")
        super().__init__(f"{status}: {self.sentence}")


class NoAnswer(Exception):
    """The node did not answer, or the connection broke: whether it acted is unknown."""


class NodeClient:
    """One node's JSON API, called with one token."""

    def __init__(self, base_url: str, token: str, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.base_url = base_url
        # Public calls, such as following a delivery by its link, need no token.
        self._headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._transport = transport
        self._opened: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._opened is not None:
            await self._opened.aclose()

    @property
    def _http(self) -> httpx.AsyncClient:
        """Made at the first use: it reads the machine's certificates, which takes a while."""
        if self._opened is None:
            self._opened = httpx.AsyncClient(
                base_url=self.base_url,
                headers=self._headers,
                timeout=httpx.Timeout(ANSWER_S_MAX, connect=CONNECT_S_MAX),
                limits=httpx.Limits(max_connections=CONNECTIONS_MAX),
                follow_redirects=False,
                transport=self._transport,
            )
        return self._opened

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
        """One call; `wait_s` is how long the node may hold its answer. Raises Refused, NoAnswer."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        if wait_s:
            headers["Prefer"] = f"wait={wait_s:g}{prefer}"
        content = None
        if body is not None:
            headers["Content-Type"], content = "application/json", orjson.dumps(body)
        given = {name: value for name, value in (query or {}).items() if value is not None}
        return _read(*await self._exchange(method, path, content, query=given, headers=headers, wait_s=wait_s))

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
        """Status and body of the node's answer; raises NoAnswer. The one place where a call goes over the network."""
        try:
            answer = await self._http.request(
                method,
                path,
                content=content,
                params=query,
                headers=headers,
                timeout=httpx.Timeout(ANSWER_S_MAX + wait_s, connect=CONNECT_S_MAX),
            )
        except httpx.TransportError as failure:
            raise NoAnswer(f"{method} {path}: {type(failure).__name__}: {failure}") from failure
        return answer.status_code, answer.content

    async def get(self, path: str, **query: Any) -> Json:
        """GET; raises Refused, NoAnswer."""
        return await self.call("GET", path, query=query)

    async def post(self, path: str, body: Any = None, *, wait_s: float = 0, idempotency_key: str = "") -> Json:
        """POST; raises Refused, NoAnswer."""
        return await self.call("POST", path, body or {}, wait_s=wait_s, idempotency_key=idempotency_key)

    async def every(self, path: str, **query: Any) -> AsyncIterator[Json]:
        """Every entry of a list, page by page."""
        after: str | None = None
        while True:
            page = await self.get(path, **query, after=after)
            for item in page["items"]:
                yield item
            after = page["next"]
            if after is None:
                return

    async def events(self, path: str, *, after: int = 0) -> AsyncIterator[Json]:
        """A subject's events after a seq, as they happen, until the node ends the stream. Raises Refused, NoAnswer.

        To go on after an interruption call again with the last `seq` seen.
        """
        timeout = httpx.Timeout(SILENCE_S_MAX, connect=CONNECT_S_MAX)
        headers = {"Accept": "text/event-stream"}
        try:
            async with self._http.stream(
                "GET", path, params={"after": after}, headers=headers, timeout=timeout
            ) as stream:
                if stream.status_code >= 400:
                    _read(stream.status_code, await stream.aread())
                async for line in stream.aiter_lines():
                    if line.startswith("data: "):
                        yield orjson.loads(line.removeprefix("data: "))
        except httpx.TransportError as failure:
            raise NoAnswer(f"GET {path}: {type(failure).__name__}: {failure}") from failure


def _read(status: int, content: bytes) -> Json:
    try:
        document = orjson.loads(content) if content else {}
    except orjson.JSONDecodeError:
        document = {}
    if status >= 400:
        problem = document.get("error") if isinstance(document, dict) else None
        raise Refused(status, problem if isinstance(problem, dict) else {})
    return document if isinstance(document, dict) else {"items": document}


class BuyerApi:
    """The calls of a consumer app to a buyer's node."""

    def __init__(self, node: NodeClient) -> None:
        self.node = node

    async def open_account(self, consumer: Mapping[str, str], *, idempotency_key: str = "") -> Json:
        """Open an account for a consumer: name, email, phone, currency."""
        return await self.node.post("/api/accounts", dict(consumer), idempotency_key=idempotency_key)

    async def account(self, account_id: str) -> Json:
        """An account with its balance and what is reserved."""
        return await self.node.get(f"/api/accounts/{account_id}")

    async def give_meter(self, account_id: str, meter_id: str, *, code: str = "") -> Json:
        """Say which meter measures what the account's consumer takes; `code` is its utility's, where one is needed."""
        body = {"meter_id": meter_id, **({"code": code} if code else {})}
        return await self.node.call("PUT", f"/api/accounts/{account_id}/meter", body)

    async def deposit(self, account_id: str, *, amount_minor: int, reference: str, currency: str = "") -> Json:
        """Pay into a wallet (operator), in its own currency or another; a repeat of a reference is the same deposit."""
        body = {"amount_minor": amount_minor, "reference": reference, **({"currency": currency} if currency else {})}
        return await self.node.post(f"/api/accounts/{account_id}/deposits", body)

    async def search(self, wanted: Mapping[str, Any], *, wait_s: float = 0, offers: int | None = None) -> Json:
        """Look for energy; with `wait_s` until that time, or until `offers` sellers answered."""
        prefer = "" if offers is None else f", offers={offers}"
        return await self.node.call("POST", "/api/searches", dict(wanted), wait_s=wait_s, prefer=prefer)

    async def order(
        self,
        account_id: str,
        found: Mapping[str, Any],
        offer: Mapping[str, Any],
        energy: Mapping[str, Any] | int,
        *,
        wait_s: float = 0,
    ) -> Json:
        """Choose energy, a series or Wh in all, of an offer that a search found."""
        body = {
            "account_id": account_id,
            "transaction_id": found["transaction_id"],
            "seller_id": offer["seller_id"],
            "provider_id": offer["provider"]["provider_id"],
            "offer_id": offer["offer_id"],
        }
        wanted = {"energy_wh": energy} if isinstance(energy, int) else {"energy": dict(energy)}
        return await self.node.post("/api/orders", body | wanted, wait_s=wait_s)

    async def act(
        self, order_id: str, action: str, body: Mapping[str, Any] | None = None, *, wait_s: float = 0
    ) -> Json:
        """init, confirm, status, track, update, cancel, rating or support of an order."""
        return await self.node.post(f"/api/orders/{order_id}/{action}", dict(body or {}), wait_s=wait_s)

    async def get_order(self, order_id: str) -> Json:
        """An order as it is now."""
        return await self.node.get(f"/api/orders/{order_id}")

    async def dispute(self, order_id: str, reason: str) -> Json:
        """Object to a settled or cancelled order."""
        return await self.node.post(f"/api/orders/{order_id}/disputes", {"reason": reason})

    async def resolve(self, dispute_id: str, outcome: str, note: str) -> Json:
        """Decide a dispute (operator): ACCEPT_THEIRS or WITHDRAW."""
        return await self.node.post(f"/api/disputes/{dispute_id}/resolve", {"outcome": outcome, "note": note})

    def order_events(self, order_id: str, *, after: int = 0) -> AsyncIterator[Json]:
        """What happens to an order, as it happens."""
        return self.node.events(f"/api/orders/{order_id}/events", after=after)

    async def add_webhook(self, url: str, *, kinds: tuple[str, ...] = ()) -> Json:
        """Have events posted to a URL; the answer carries the secret of their signatures once."""
        return await self.node.post("/api/webhooks", {"url": url, "kinds": list(kinds)})


class SellerApi:
    """The calls of a prosumer, or of the operator, to a seller's node."""

    def __init__(self, node: NodeClient) -> None:
        self.node = node

    async def add_provider(self, provider: Mapping[str, Any]) -> Json:
        """Enter a prosumer and its meter (operator)."""
        return await self.node.post("/api/providers", dict(provider))

    async def release_meter(self, provider_id: str) -> Json:
        """Let go of a provider's meter, so that it can be registered with another node (operator)."""
        return await self.node.post(f"/api/providers/{provider_id}/meter/release")

    async def claim_meter(self, provider_id: str, *, code: str = "") -> Json:
        """Hold a provider's meter again (operator)."""
        return await self.node.post(f"/api/providers/{provider_id}/meter/claim", {"code": code})

    async def publish(self, offer: Mapping[str, Any]) -> Json:
        """Offer energy."""
        return await self.node.post("/api/offers", dict(offer))

    async def withdraw(self, offer_id: str) -> Json:
        """Take an offer off the market; what is sold stays sold."""
        return await self.node.post(f"/api/offers/{offer_id}/withdraw")

    async def read_meter(self, meter_id: str, readings: Mapping[str, Any]) -> Json:
        """Hand in readings."""
        return await self.node.post(f"/api/meters/{meter_id}/readings", dict(readings))

    async def curtail(self, order_id: str, contracted: Mapping[str, Any], *, reason: str) -> Json:
        """Lower a contract; its buyer is told."""
        return await self.node.post(
            f"/api/orders/{order_id}/curtail", {"contracted": dict(contracted), "reason": reason}
        )

    async def balance(self, provider_id: str) -> Json:
        """What a provider has earned."""
        return await self.node.get(f"/api/providers/{provider_id}/balance")


class UtilityApi:
    """The calls of a utility's operator."""

    def __init__(self, node: NodeClient) -> None:
        self.node = node

    async def put_meter(self, meter_id: str, meter: Mapping[str, Any]) -> Json:
        """Enter a meter of the grid, or change its limits and charges."""
        return await self.node.call("PUT", f"/api/utility/meters/{meter_id}", dict(meter))

    async def issue_code(self, meter_id: str, *, days: int | None = None) -> Json:
        """A code of ownership for the meter's owner."""
        return await self.node.post(f"/api/utility/meters/{meter_id}/codes", {} if days is None else {"days": days})

    def trades(self, *, meter_id: str | None = None, state: str | None = None) -> AsyncIterator[Json]:
        """The trades that were logged, newest first."""
        return self.node.every("/api/utility/trades", meter_id=meter_id, state=state)

    async def allocate(self, trade_id: str, side: str, allocation: Mapping[str, Any], *, reason: str) -> Json:
        """Replace a side's figure by the utility's own; the seller's node is told."""
        body = {"side": side, "allocation": dict(allocation), "reason": reason}
        return await self.node.call("PUT", f"/api/utility/trades/{trade_id}/allocation", body)


class RegistryApi:
    """The calls of a network's operator to its registry."""

    def __init__(self, node: NodeClient) -> None:
        self.node = node

    async def add(self, record: Mapping[str, Any]) -> Json:
        """Enter a subscriber by hand."""
        return await self.node.post("/api/subscribers", dict(record))

    async def act(self, subscriber_id: str, action: str, *, reason: str, **which: Any) -> Json:
        """approve, suspend, revoke or rotate a subscriber's keys; `which` narrows it to type, domain, key_id."""
        return await self.node.post(f"/api/subscribers/{subscriber_id}/{action}", {"reason": reason, **which})

    def subscribers(self, *, status: str | None = None) -> AsyncIterator[Json]:
        """Every subscription."""
        return self.node.every("/api/subscribers", status=status)

    def meter_claims(self, *, subscriber_id: str | None = None) -> AsyncIterator[Json]:
        """Which node holds which meter."""
        return self.node.every("/api/meter_claims", subscriber_id=subscriber_id)

    async def free_claims(self, subscriber_id: str, *, reason: str) -> Json:
        """Free every meter that a node holds, as after its keys were revoked."""
        return await self.node.post(f"/api/subscribers/{subscriber_id}/release_claims", {"reason": reason})

    def audit(self) -> AsyncIterator[Json]:
        """Who did what when, newest first."""
        return self.node.every("/api/audit")


class GatewayApi:
    """The calls of a network's operator to its gateway."""

    def __init__(self, node: NodeClient) -> None:
        self.node = node

    async def search(self, transaction_id: str) -> Json:
        """To whom a search was passed on, and what became of each copy."""
        return await self.node.get(f"/api/searches/{transaction_id}")
