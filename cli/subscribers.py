"""`powershare subscriber`: the registry's operator at a terminal, who speaks to its JSON API like anybody."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from cli import registry_desk, show
from cli.options import Directory
from cli.where import DIRECTORY

app = typer.Typer(
    help="Who is on the network: list, add, approve, suspend, revoke. Speaks to the registry at REGISTRY_URL with "
    "ADMIN_TOKEN, or to that of the network that is up.",
    no_args_is_help=True,
)

SubscriberId = Annotated[str, typer.Argument(help="The subscriber's id, normally its domain name.")]
Type = Annotated[str, typer.Option("--type", help="Only in this role: BAP, BPP or BG.")]
Domain = Annotated[str, typer.Option(help="Only in this domain.")]
KeyId = Annotated[str, typer.Option(help="Only this key.")]
Reason = Annotated[str, typer.Option(help="Why; it is written into the audit.")]


@app.command("list")
def list_(
    directory: Directory = DIRECTORY,
    status: Annotated[str, typer.Option(help="Only those in this state, such as UNDER_SUBSCRIPTION.")] = "",
) -> None:
    """List subscriptions: one line for each key of each subscriber in each role."""
    rows: list[dict[str, Any]] = []
    after = ""
    while True:
        query = f"?limit=500{status and f'&status={quote(status)}'}{after and f'&after={quote(after)}'}"
        page = registry_desk.tell("GET", f"/api/subscribers{query}", directory)
        rows += page["items"]
        if page["next"] is None:
            break
        after = page["next"]
    show.table(
        ("subscriber", "role", "domain", "key", "status", "valid until", "url"),
        [
            (
                row["subscriber_id"],
                row["type"],
                row["domain"],
                row["key_id"],
                row["status"],
                row["valid_until"],
                row["url"],
            )
            for row in rows
        ],
    )


@app.command()
def add(
    subscriber_id: SubscriberId,
    *,
    type_: Annotated[str, typer.Option("--type", help="BAP, BPP or BG.")],
    url: Annotated[str, typer.Option(help="Where letters to it are posted.")],
    key_id: Annotated[str, typer.Option(help="The id of its key.")],
    public_key: Annotated[str, typer.Option(help="Its Ed25519 public key, base64.")],
    encryption_key: Annotated[str, typer.Option(help="Its X25519 public key, base64.")] = "",
    domain: Annotated[str, typer.Option(help="The domain it trades in.")] = "uei:p2p_trading",
    country: Annotated[str, typer.Option(help="Country code.")] = "IND",
    city: Annotated[str, typer.Option(help="City code.")] = "std:080",
    days: Annotated[int, typer.Option(min=1, max=365, help="How long the key is valid.")] = 365,
    pending: Annotated[bool, typer.Option("--pending", help="Leave it to be approved later.")] = False,
    reason: Reason = "added by hand",
    directory: Directory = DIRECTORY,
) -> None:
    """Add a subscriber by hand, without the challenge: for nodes that cannot answer one."""
    now = datetime.now(UTC).replace(microsecond=0)
    record = {
        "subscriber_id": subscriber_id,
        "type": type_,
        "domain": domain,
        "url": url,
        "country": country,
        "city": city,
        "key_id": key_id,
        "signing_public_key": public_key,
        "encr_public_key": encryption_key,
        "valid_from": _instant(now),
        "valid_until": _instant(now + timedelta(days=days)),
        "status": "INITIATED" if pending else "SUBSCRIBED",
        "reason": reason,
    }
    registry_desk.tell("POST", "/api/subscribers", directory, record)
    typer.echo(f"{subscriber_id} is {record['status']}.")


@app.command()
def approve(
    subscriber_id: SubscriberId,
    *,
    type_: Type = "",
    domain: Domain = "",
    key_id: KeyId = "",
    reason: Reason = "",
    directory: Directory = DIRECTORY,
) -> None:
    """Let a subscriber that has proven its key take part, or a suspended one again."""
    _act("approve", subscriber_id, directory, type=type_, domain=domain, key_id=key_id, reason=reason)


@app.command()
def suspend(
    subscriber_id: SubscriberId,
    *,
    type_: Type = "",
    domain: Domain = "",
    key_id: KeyId = "",
    reason: Reason = "",
    directory: Directory = DIRECTORY,
) -> None:
    """Keep a subscriber out until it is approved again; every node refuses it within five seconds."""
    _act("suspend", subscriber_id, directory, type=type_, domain=domain, key_id=key_id, reason=reason)


@app.command()
def revoke(
    subscriber_id: SubscriberId,
    *,
    type_: Type = "",
    domain: Domain = "",
    key_id: KeyId = "",
    reason: Reason = "",
    directory: Directory = DIRECTORY,
) -> None:
    """Revoke a subscriber's keys for good; every node refuses them within five seconds."""
    _act("revoke", subscriber_id, directory, type=type_, domain=domain, key_id=key_id, reason=reason)


def _act(act: str, subscriber_id: str, directory: Path, **named: str) -> None:
    body = {name: value for name, value in named.items() if value}
    body.setdefault("reason", f"{act} at the terminal")
    answer = registry_desk.tell("POST", f"/api/subscribers/{quote(subscriber_id, safe='')}/{act}", directory, body)
    for row in answer.get("items", [answer]):
        typer.echo(f"{row['subscriber_id']} {row['type']} {row['key_id']} is {row['status']}.")


def _instant(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
