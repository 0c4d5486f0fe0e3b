"""`make bench`: how fast the network is on this machine, in one table and bench.json. Takes a few minutes.

Everything is measured on real processes with durable databases. The figures to reach: receiving a letter costs at
most 6 times the floor's CPU, a trade takes under 60 ms (p50), a node stays under 120 MB after 1,000 trades, a
search among 10,000 offers takes under 20 ms (p50) and grows less than the catalogue.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import uvloop

from bench import fanout, lookups, matching, receive, settlement, trades
from cli import show
from cli.network import Network, NodePlan, Plan

_SELLERS = ("bpp-1", "bpp-2", "bpp-3")


def _plan() -> Plan:
    names = [("registry", "registry"), ("gateway", "gateway"), ("bap", "bap"), *((name, "bpp") for name in _SELLERS)]
    return Plan(tuple(NodePlan(name, role) for name, role in names), {"LOG_LEVEL": "warning"})


def measure(*, quick: bool) -> dict[str, Any]:
    """Run every benchmark; `quick` takes fewer samples, to see that it works."""
    scale = 10 if quick else 1
    found: dict[str, Any] = {
        "machine": f"{os.cpu_count()} x {platform.machine()}, Python {platform.python_version()}",
        # Times are only worth comparing when nothing else kept the machine busy.
        "load_before": round(os.getloadavg()[0], 2),
    }
    with show.progress() as tell:
        tell("settling", 0, 1)
        found |= settlement.measure(books=2000 // scale, contracts=2000 // scale)
        tell("searching catalogues", 0, 1)
        found |= matching.run(quick=quick)
    with show.progress() as tell, Network.start(receive.plan(), report=tell) as network:
        tell("receiving letters", 0, 1)
        found |= uvloop.run(receive.measure(network, letters=4000 // scale, rounds=5))
        tell("looking up", 0, 1)
        found |= uvloop.run(lookups.measure(network, lookups=10_000 // scale, rounds=3))
    with show.progress() as tell, Network.start(_plan(), report=tell) as network:
        tell("searching and trading", 0, 1)
        counts = {"searches": 300 // scale, "trades": 300 // scale, "trades_in_all": 1000 // scale}
        found |= uvloop.run(trades.measure(network, **counts))
    with show.progress() as tell, Network.start(fanout.plan(), report=tell) as network:
        tell("fanning out", 0, 1)
        found |= uvloop.run(fanout.measure(network, repeats=5))
    return found


def rows(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The table: what, how much, and what it should be."""
    lines = [("floor: bare aiohttp + uvloop", f"{found['floor_cpu_us']} us CPU, {found['floor_per_s']:,}/s", "")]
    for action, cpu_us in found["receive_cpu_us"].items():
        size, over = found["receive_bytes"][action], found["receive_over_floor"][action]
        rate = found["receive_per_s"][action]
        lines.append(
            (
                f"receive {action} ({size:,} bytes), durable",
                f"{cpu_us} us CPU, {rate:,}/s: {over} x floor",
                "<= 6 x floor",
            )
        )
    for name, goal in (("search", ""), ("trade", "p50 < 60 ms")):
        times = found[f"{name}_ms"]
        title = "search until all 3 sellers answered" if name == "search" else "trade, search to on_confirm"
        lines.append((title, ", ".join(f"{key} {value} ms" for key, value in times.items()), goal))
    lines.append((f"trades, {trades.AT_ONCE} at a time", f"{found['trades_per_s']}/s", ""))
    for count, ms in found["fanout_ms"].items():
        lines.append((f"fan-out to {int(count):,} addresses", f"{ms} ms", ""))
    lines.append(("registry lookups", f"{found['lookup_per_s']:,}/s, {found['lookup_cpu_us']} us CPU", ""))
    lines += matching.rows(found) + settlement.rows(found)
    for name, mb in found["rss_mb"].items():
        lines.append((f"memory of {name} after {found['trades_before_rss']:,} trades", f"{mb} MB", "< 120 MB"))
    return lines


def main() -> None:
    """Measure, print, write bench.json."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer samples")
    parser.add_argument("--out", type=Path, default=Path("bench.json"))
    arguments = parser.parse_args()
    started = time.monotonic()
    found = measure(quick=arguments.quick)
    found["seconds"] = round(time.monotonic() - started, 1)
    title = f"On {found['machine']}; load average before: {found['load_before']}; took {found['seconds']} s"
    show.table(("what", "measured", "to reach"), rows(found), title=title)
    arguments.out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
