"""How many lookups a second the registry answers, one process on one core's worth of CPU."""

from __future__ import annotations

import statistics
from typing import Any

import orjson

from bench import load
from bench.processes import cpu_ns
from cli.network import Network


async def measure(network: Network, *, lookups: int, rounds: int) -> dict[str, Any]:
    """Lookups of one subscriber per second (median of the rounds), and CPU of the registry for each."""
    registry, bap = network.registry, network["bap"]
    body = orjson.dumps({"subscriber_id": bap.subscriber_id, "type": "BAP", "domain": "uei:p2p_trading"})
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
