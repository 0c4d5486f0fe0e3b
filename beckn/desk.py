"""What every node answers about itself: health, readiness, metrics, its schemas, and its trading clock.

GET /health                       200 while the process lives
GET /ready                        200, or 503 with what is missing
GET /metrics                      Prometheus text
GET /schemas/                     the list; /schemas/{profile}/{name}.json one schema
GET /api/clock                    {"mode", "trading_time"}
PUT /api/clock                    operator; moves a driven clock and runs what became due before it answers
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
import structlog
from aiohttp import web

from beckn import envelope
from beckn.clock import DrivenClock
from beckn.jobs import JobFailed
from schemas import documents

if TYPE_CHECKING:
    from beckn.node import Node

log = structlog.get_logger("beckn.desk")

#: How long one readiness check may take, seconds.
CHECK_S_MAX = 3.0
_JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What a readiness check found. A failed check that is not `required` makes the node degraded, not unready."""

    ok: bool
    detail: str = ""
    required: bool = True


Check = Callable[[], Awaitable[Finding]]


class Desk:
    """The answers of one node about itself."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._clock_moves = asyncio.Lock()

    def routes(self) -> list[web.RouteDef]:
        """All routes of this desk."""
        return [
            web.get("/health", self.health),
            web.get("/ready", self.ready),
            web.get("/metrics", self.metrics),
            web.get("/schemas/", self.schemas),
            web.get("/schemas/{profile}/{name}.json", self.schema),
            web.get("/api/clock", self.clock),
            web.put("/api/clock", self.move_clock),
        ]

    async def health(self, _request: web.Request) -> web.Response:
        """The process lives and serves."""
        node = self._node
        return _json({"status": "ok", "subscriber_id": node.settings.subscriber_id, "role": node.role.value})

    async def ready(self, _request: web.Request) -> web.Response:
        """Everything this node needs is there; else 503 and what is missing."""
        names = list(self._node.checks)
        findings = await asyncio.gather(*(_find(self._node.checks[name]) for name in names))
        checks = dict(zip(names, findings, strict=True))
        missing = {name: finding.detail for name, finding in checks.items() if finding.required and not finding.ok}
        degraded = {name: finding.detail for name, finding in checks.items() if not finding.required and not finding.ok}
        document = {
            "ready": not missing,
            "missing": missing,
            "degraded": degraded,
            "checks": {name: {"ok": finding.ok, "detail": finding.detail} for name, finding in checks.items()},
        }
        return _json(document, status=503 if missing else 200)

    async def metrics(self, _request: web.Request) -> web.Response:
        """Counters in Prometheus' text format."""
        return web.Response(
            body=self._node.metrics.exposition(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )

    async def schemas(self, _request: web.Request) -> web.Response:
        """The schemas of this network's messages, by profile."""
        return _json(
            {
                profile: {name: f"/schemas/{profile}/{name}.json" for name in documents.schema_names()}
                for profile in documents.PROFILES
            }
        )

    async def schema(self, request: web.Request) -> web.Response:
        """One schema."""
        profile, name = request.match_info["profile"], request.match_info["name"]
        if profile not in documents.PROFILES or name not in documents.schema_names():
            return _problem(404, f"there is no schema {profile}/{name}; /schemas/ lists what there is", field="path")
        return _json(documents.document(profile, name))

    async def clock(self, _request: web.Request) -> web.Response:
        """How energy is dated here, and the trading time now."""
        return _json(self._clock())

    async def move_clock(self, request: web.Request) -> web.Response:
        """Move a driven trading clock forward; answers when the jobs that became due have run."""
        if not self._is_operator(request):
            return _problem(
                401, "moving the clock needs the operator's token: 'Authorization: Bearer <ADMIN_TOKEN>'",
                field="Authorization", headers={"WWW-Authenticate": 'Bearer realm="powershare"'},
            )  # fmt: skip
        trading = self._node.trading
        if not isinstance(trading, DrivenClock):
            return _problem(409, "TRADING_CLOCK is wall; only a driven clock can be moved", field="trading_time")
        try:
            document = orjson.loads(await request.read())
        except orjson.JSONDecodeError:
            document = None
        text = document.get("trading_time") if isinstance(document, dict) else None
        instant = envelope.parse_instant(text) if isinstance(text, str) else None
        if instant is None:
            return _problem(400, 'send {"trading_time": an RFC 3339 instant with a zone}', field="trading_time")
        async with self._clock_moves:
            try:
                trading.move_to(instant)
            except ValueError as error:
                return _problem(409, str(error), field="trading_time")
            await self._node.stores.clock.save(instant)
            try:
                await self._node.jobs.run_due()
            except JobFailed as failure:
                return _problem(500, str(failure), field="trading_time")
        return _json(self._clock())

    def _clock(self) -> dict[str, Any]:
        trading = self._node.trading
        return {
            "mode": "driven" if isinstance(trading, DrivenClock) else "wall",
            "trading_time": envelope.format_instant(trading.now()),
        }

    def _is_operator(self, request: web.Request) -> bool:
        admin_token = self._node.settings.admin_token
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return bool(admin_token) and scheme.lower() == "bearer" and hmac.compare_digest(
            token.strip().encode(), admin_token.encode()
        )  # fmt: skip


async def _find(check: Check) -> Finding:
    try:
        async with asyncio.timeout(CHECK_S_MAX):
            return await check()
    except Exception as error:
        # Whatever a check fails with is the finding.
        return Finding(ok=False, detail=f"{type(error).__name__}: {error}"[:300])


def _json(document: Any, *, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(document), status=status, headers=_JSON)


def _problem(status: int, sentence: str, *, field: str, headers: dict[str, str] | None = None) -> web.Response:
    body = orjson.dumps({"error": {"field": field, "limit": None, "sentence": sentence}})
    return web.Response(body=body, status=status, headers={**_JSON, **(headers or {})})
