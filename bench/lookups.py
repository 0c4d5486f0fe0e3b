"""How many lookups a second the registry answers, one process on one core's worth of CPU."""

from __future__ import annotations

import statistics
from typing import Any

import orjson

from bench import load
from bench.letters import NETWORK
from bench.processes import cpu_ns
from cli.network import Network


async def measure(network: Network, *, lookups: int, rounds: int) -> dict[str, Any]:
    """Lookups of one subscriber per second (median of the rounds), and CPU of the registry for each."""
    registry = network.registry
    someone = next(node for node in network if node.role == "bpp")
    body = orjson.dumps({"subscriber_id": someone.subscriber_id, "type": "BPP", "domain": NETWORK.domain})
    requests = [load.request("/lookup", body, {})] * lookups
    per_s, cpu_us = [], []
    for _ in range(rounds):
        before = cpu_ns(registry.pid)
        answers = await load.run(registry.url, requests)
        cpu_us.append((cpu_ns(registry.pid) - before) / lookups / 1000)
        if answers.accepted != lookups:
            raise RuntimeError(f"the registry did not answer every lookup: {answers.statuses}")
        per_s.append(lookups / answers.seconds)
    return {"lookup_per_s": round(statistics.median(per_s)), "lookup_cpu_us": round(statistics.median(cpu_us), 1)}
