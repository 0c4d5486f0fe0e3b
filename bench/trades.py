"""How long a search and a whole trade take, every node its own process, over TCP, durable; and memory afterwards.

Times are those of an app at the buyers' node's JSON API: a search until all sellers have answered, a trade from the
search to the confirmed order.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from api.series import energy_json, rfc3339
from bench.calls import Node, open_session
from bench.processes import rss_mb
from cli.network import Network
from cli.street.stage import in_parallel
from trade.money import Series

_WAIT = "wait=20"
_SLOTS, _WARM_UP = 24, 20
_ENERGY_WH = 100
#: Trades under way at once when only their number matters.
AT_ONCE = 4


async def measure(network: Network, *, searches: int, trades: int, trades_in_all: int) -> dict[str, Any]:
    """Percentiles of searches and trades one by one, then memory of every node after `trades_in_all` trades."""
    selling = [node.name for node in network.of_role("bpp")]
    async with open_session() as session:
        nodes = {n.name: Node(session, name=n.name, url=n.url, token=n.admin_token) for n in network}
        for name in selling:
            await _publish(nodes[name], name)
        app, account = await _open_account(nodes["bap"])
        for _ in range(_WARM_UP):
            await _trade(app, account, len(selling))
        search_ms = [await _timed(_search(app, len(selling))) for _ in range(searches)]
        trade_ms = [await _timed(_trade(app, account, len(selling))) for _ in range(trades)]
        rest = trades_in_all - trades - _WARM_UP
        started = time.perf_counter()
        await in_parallel(lambda _: _trade(app, account, len(selling)), range(rest), at_once=AT_ONCE)
        seconds = time.perf_counter() - started
    return {
        "search_ms": percentiles(search_ms),
        "trade_ms": percentiles(trade_ms),
        "trades_per_s": round(rest / seconds, 1),
        "trades_before_rss": trades_in_all,
        "rss_mb": {node.name: rss_mb(node.pid) for node in network},
    }


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p95 and p99 of some times."""
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": round(cuts[49], 2), "p95": round(cuts[94], 2), "p99": round(cuts[98], 2)}


async def _timed(work: Any) -> float:
    start = time.perf_counter()
    await work
    return (time.perf_counter() - start) * 1000


def _tomorrow() -> datetime:
    return (datetime.now(UTC) + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)


def _series(wh: int) -> dict[str, Any]:
    return energy_json(Series(_tomorrow(), 3600, (wh,) * _SLOTS))


async def _publish(seller: Node, name: str) -> None:
    provider = {"provider_id": f"{name}-home", "name": name, "short_desc": "a home", "meter_id": f"{name}-meter"}
    await seller.post("/api/providers", {**provider, "gps": "34.0922, -117.4350"})
    await seller.post(
        "/api/offers",
        {
            "offer_id": f"{name}-offer",
            "provider_id": f"{name}-home",
            "source": "SOLAR",
            "currency": "USD",
            "energy": _series(10_000_000),
            "price": {"flat_price_per_kwh": "0.15"},
            "wheeling_per_kwh": "0.02",
            "order_wh_min": 100,
            "order_wh_max": 1_000_000,
            "gate_closure_s": 60,
            "quote_ttl_s": 300,
            "cancellation_terms": [{"notice_s_min": 0, "fee_percent": 10}],
            "fulfillment_type": "GRID_INJECTION",
        },
    )


async def _open_account(bap: Node) -> tuple[Node, str]:
    app = bap.with_token(str((await bap.post("/api/tokens", {"role": "app", "name": "bench"}))["token"]))
    person = {"name": "Bench", "email": "bench@example.org", "phone": "+15550100", "currency": "USD"}
    account = str((await app.post("/api/accounts", person))["account_id"])
    await bap.post(f"/api/accounts/{account}/deposits", {"amount_minor": 100_000_000, "reference": "bench"})
    return app, account


async def _search(app: Node, sellers: int) -> dict[str, Any]:
    window = {"start": rfc3339(_tomorrow()), "end": rfc3339(_tomorrow() + timedelta(hours=_SLOTS))}
    found = await app.post("/api/searches", {"window": window}, prefer=f"{_WAIT}, offers={sellers}")
    if len(found["offers"]) < sellers:
        raise RuntimeError(f"{len(found['offers'])} of {sellers} sellers answered a search")
    return found


async def _trade(app: Node, account: str, sellers: int) -> None:
    found = await _search(app, sellers)
    offer = min(found["offers"], key=lambda one: str(one["offer_id"]))
    order = await app.post(
        "/api/orders",
        {
            "account_id": account,
            "transaction_id": found["transaction_id"],
            "seller_id": offer["seller_id"],
            "provider_id": offer["provider"]["provider_id"],
            "offer_id": offer["offer_id"],
            "energy": _series(_ENERGY_WH),
        },
        prefer=_WAIT,
    )
    for step in ("init", "confirm"):
        order = await app.post(f"/api/orders/{order['order_id']}/{step}", {}, prefer=_WAIT)
    if order["state"] != "ACTIVE":
        raise RuntimeError(f"a trade ended {order['state']}: {order.get('refusal')}")
