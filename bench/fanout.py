"""How long the gateway needs to bring one search to 1, 10, 100 and 1,000 sellers' addresses.

The addresses all belong to one process that only acknowledges and counts; time runs from posting the search at the
gateway until the last copy arrived there.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from beckn.signing import Identity
from bench.calls import Node, open_session
from bench.letters import Writer
from bench.parties import a_buyer, subscribe
from bench.processes import free_port
from bench.receive import answers
from cli.network import Network, NodePlan, Plan
from cli.street.stage import in_parallel

COUNTS = (1, 10, 100, 1000)
#: How long all copies may take to arrive, and how often the sink is asked, seconds.
_ARRIVAL_S_MAX, _LOOK_EVERY_S = 60.0, 0.01


def plan() -> Plan:
    """A network of registry and gateway alone."""
    return Plan((NodePlan("registry", "registry"), NodePlan("gateway", "gateway")), {"LOG_LEVEL": "warning"})


async def measure(network: Network, *, repeats: int) -> dict[str, Any]:
    """Milliseconds until the last copy arrived, by number of addresses (medians)."""
    async with _sink() as sink, open_session() as session:
        registry = Node(session, name="registry", url=network.registry.url, token=network.registry.admin_token)
        identity, buyer = await a_buyer(registry, url=f"{sink}/buyer")
        writer = Writer(identity=identity, bap=buyer, bpp=None)
        found: dict[str, float] = {}
        there = 0
        for count in COUNTS:
            new = range(there, count)
            await in_parallel(lambda n: _subscribe_seller(registry, n, sink, identity), new)
            there = count
            await _settled(session, network["gateway"].url, sink, writer, count)
            times = [await _search(session, network["gateway"].url, sink, writer, count) for _ in range(repeats)]
            found[str(count)] = round(statistics.median(times), 1)
    return {"fanout_ms": found}


async def _subscribe_seller(registry: Node, number: int, sink: str, identity: Identity) -> None:
    name = f"bpp-{number}.bench.example"
    await subscribe(registry, name, role="BPP", url=f"{sink}/{number}", public_key=identity.public_key_b64)


async def _settled(session: aiohttp.ClientSession, gateway: str, sink: str, writer: Writer, count: int) -> None:
    """Search until the gateway has heard of every new seller from the registry's change feed."""
    deadline = time.monotonic() + _ARRIVAL_S_MAX
    while time.monotonic() < deadline:
        await _post(session, gateway, writer)
        await asyncio.sleep(1.0)
        if (await _count(session, sink, reset=True))[0] >= count:
            return
    raise RuntimeError(f"the gateway never sent a search to {count} sellers")


async def _search(session: aiohttp.ClientSession, gateway: str, sink: str, writer: Writer, count: int) -> float:
    await _count(session, sink, reset=True)
    start_ns = time.perf_counter_ns()
    await _post(session, gateway, writer)
    deadline = time.monotonic() + _ARRIVAL_S_MAX
    while time.monotonic() < deadline:
        arrived, last_ns = await _count(session, sink)
        if arrived >= count:
            return (last_ns - start_ns) / 1e6
        await asyncio.sleep(_LOOK_EVERY_S)
    raise RuntimeError(f"{arrived} of {count} copies of a search arrived")


async def _post(session: aiohttp.ClientSession, gateway: str, writer: Writer) -> None:
    body = writer.body("search")
    headers = {"Authorization": writer.header(body), "Content-Type": "application/json"}
    async with session.post(f"{gateway}/beckn/search", data=body, headers=headers) as response:
        if response.status != 200:
            raise RuntimeError(f"the gateway refused a search: {await response.text()}")


async def _count(session: aiohttp.ClientSession, sink: str, *, reset: bool = False) -> tuple[int, int]:
    async with session.get(f"{sink}/count", params={"reset": "1"} if reset else {}) as response:
        answer = await response.json()
        return answer["count"], answer["last_ns"]


@contextlib.asynccontextmanager
async def _sink() -> AsyncIterator[str]:
    url = f"http://127.0.0.1:{(port := free_port())}"
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "bench.sink", str(port))
    try:
        await answers(url)
        yield url
    finally:
        process.terminate()
        await process.wait()
