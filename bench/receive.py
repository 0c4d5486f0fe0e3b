"""What receiving a letter costs: signed message in, eight checks, durable row, ACK out; and the floor beside it.

The node under test is a real seller's node that only receives (INBOX_WORKERS=0: its rows wait for a replica that
works). It and the floor get the same letters from the same client, in turns, several rounds; the figures are medians.
CPU is the server process's own, from the kernel's scheduler; the node is kept on one core, the client on another.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from beckn.envelope import Party
from bench import load
from bench.calls import Node, open_session
from bench.letters import Writer
from bench.parties import a_buyer
from bench.processes import cpu_ns, free_port
from cli.network import Network, NodePlan, Plan

ACTIONS = ("select", "confirm")
RECEIVER = "bpp-receiver"
_SETTINGS = {"INBOX_WORKERS": "0", "OUTBOX_WORKERS": "0", "LETTERS_PER_S_MAX": "0"}
_SERVER_CPU, _CLIENT_CPU = 0, 1


@dataclass(frozen=True, slots=True)
class _Run:
    cpu_us: float
    per_s: float


def plan() -> Plan:
    """A network of the registry and the node under test."""
    nodes = (NodePlan("registry", "registry"), NodePlan(RECEIVER, "bpp", _SETTINGS))
    return Plan(nodes, {"LOG_LEVEL": "warning"})


async def measure(network: Network, *, letters: int, rounds: int) -> dict[str, Any]:
    """CPU per letter and letters per second by action, and the floor's."""
    node = network[RECEIVER]
    writer = await _writer(network)
    async with _floor() as (floor_url, floor_pid):
        _pin(node.pid)
        _pin(floor_pid)
        await _run(node.url, node.pid, writer.requests("select", 200))  # fetches the buyer's key, warms up
        await _run(floor_url, floor_pid, writer.requests("select", 200))
        found: dict[str, list[_Run]] = {}
        for _ in range(rounds):
            for action in ACTIONS:
                requests = writer.requests(action, letters)
                found.setdefault(f"floor {action}", []).append(await _run(floor_url, floor_pid, requests))
                found.setdefault(action, []).append(await _run(node.url, node.pid, requests))
    floor_us = statistics.median(run.cpu_us for action in ACTIONS for run in found[f"floor {action}"])
    cpu_us = {action: statistics.median(run.cpu_us for run in found[action]) for action in ACTIONS}
    return {
        "floor_cpu_us": round(floor_us, 1),
        "floor_per_s": round(statistics.median(run.per_s for a in ACTIONS for run in found[f"floor {a}"])),
        "receive_cpu_us": {action: round(us, 1) for action, us in cpu_us.items()},
        "receive_per_s": {a: round(statistics.median(run.per_s for run in found[a])) for a in ACTIONS},
        "receive_over_floor": {action: round(us / floor_us, 2) for action, us in cpu_us.items()},
        "receive_bytes": {action: len(writer.body(action)) for action in ACTIONS},
    }


async def _writer(network: Network) -> Writer:
    """A writer of letters to the node under test, from a buyer whom the registry knows."""
    node, registry = network[RECEIVER], network.registry
    async with open_session() as session:
        operator = Node(session, name=registry.name, url=registry.url, token=registry.admin_token)
        identity, buyer = await a_buyer(operator, url="http://127.0.0.1:9")
    return Writer(identity=identity, bap=buyer, bpp=Party(node.subscriber_id, node.protocol_url))


async def _run(url: str, pid: int, requests: list[bytes]) -> _Run:
    before = cpu_ns(pid)
    answers = await load.run(url, requests, cpu=_CLIENT_CPU)
    used = cpu_ns(pid) - before
    if answers.accepted != len(requests):
        raise RuntimeError(f"{url} did not accept every letter: {answers.statuses}")
    return _Run(used / len(requests) / 1000, len(requests) / answers.seconds)


@contextlib.asynccontextmanager
async def _floor() -> AsyncIterator[tuple[str, int]]:
    url = f"http://127.0.0.1:{(port := free_port())}"
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "bench.floor", str(port))
    try:
        await answers(url)
        yield url, process.pid
    finally:
        process.terminate()
        await process.wait()


async def answers(url: str) -> None:
    """Wait until a server answers at all; raises TimeoutError after ten seconds."""
    async with asyncio.timeout(10), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.post(url, data=b"{}"):
                    return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.05)


def _pin(pid: int) -> None:
    """Keep all threads of a process on one core, so that its rate is that of one core."""
    if (os.cpu_count() or 1) > 1:
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(task.name), {_SERVER_CPU})
