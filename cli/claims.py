"""`powershare claim`: which node holds which meter, and freeing one, as the registry's operator."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from cli import registry_desk, show
from cli.options import Directory
from cli.where import DIRECTORY

app = typer.Typer(
    help="Which node holds which meter. Speaks to the registry at REGISTRY_URL with ADMIN_TOKEN, or to that of the "
    "network that is up. Meters are named by their id, or by their hash.",
    no_args_is_help=True,
)

Meter = Annotated[str, typer.Argument(help="A meter's id, or the 64 hex digits the registry knows it by.")]


@app.command("list")
def list_(
    directory: Directory = DIRECTORY,
    node: Annotated[str, typer.Option(help="Only what this subscriber holds.")] = "",
    meter: Annotated[str, typer.Option(help="Only this meter.")] = "",
) -> None:
    """List claims: one line for each direction of each meter that a node holds."""
    narrowed = {"subscriber_id": node, "meter_hash": _hash(meter, directory) if meter else ""}
    rows: list[dict[str, Any]] = []
    after = ""
    while True:
        query = urlencode({**narrowed, "limit": 500} | ({"after": after} if after else {}))
        page = registry_desk.tell("GET", f"/api/meter_claims?{query}", directory)
        rows += page["items"]
        if page["next"] is None:
            break
        after = page["next"]
    show.table(
        ("meter", "flow", "held by", "since"),
        [(row["meter_hash"], row["flow"], row["subscriber_id"], row["claimed_at"]) for row in rows],
    )


@app.command()
def release(
    meter: Meter,
    *,
    flow: Annotated[str, typer.Option(help="EXPORT or IMPORT.")] = "EXPORT",
    reason: Annotated[str, typer.Option(help="Why; it is written into the audit.")] = "release at the terminal",
    directory: Directory = DIRECTORY,
) -> None:
    """Free a meter that its holder does not let go of, so that another node can register it."""
    body = {"meter_hash": _hash(meter, directory), "flow": flow, "reason": reason}
    freed = registry_desk.tell("POST", "/api/meter_claims/release", directory, body)
    typer.echo(f"{freed['flow']} of meter {freed['meter_hash'][:12]}... is free; {freed['subscriber_id']} held it.")


def _hash(meter: str, directory: Path) -> str:
    """What the registry knows a meter by: itself when it is that already."""
    from beckn.claims import meter_hash
    from trade.meter_ids import MeterIdRefused, bare_meter_id

    if len(meter) == 64 and all(digit in "0123456789abcdef" for digit in meter):
        return meter
    try:
        meter_id = bare_meter_id(meter)
    except MeterIdRefused as refusal:
        show.fail(refusal)
    return meter_hash(bytes.fromhex(registry_desk.tell("GET", "/meter_claims/salt", directory)["salt"]), meter_id)
