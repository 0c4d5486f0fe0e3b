"""`powershare clock`: the trading clocks of the network that is up, moved together so that no node is ahead."""

from __future__ import annotations

from pathlib import Path

from cli import where
from cli.ask import tell


def read(directory: Path, *, to: str = "") -> list[tuple[str, str, str]]:
    """Name, mode and trading time of every node; with `to`, once all were moved there.

    Sellers and the utility go first, as a delivery begins with them. Raises NotFound when no network is up, and
    cli.ask's NoAnswer and Refused: a clock only moves forward, and only a driven one.
    """
    rows = []
    for node in sorted(where.nodes(directory), key=lambda node: node.role == "bap"):
        if to:
            tell("PUT", f"{node.url}/api/clock", token=node.admin_token, body={"trading_time": to})
        said = tell("GET", f"{node.url}/api/clock", token=node.admin_token)
        rows.append((node.name, str(said["mode"]), str(said["trading_time"])))
    return rows
