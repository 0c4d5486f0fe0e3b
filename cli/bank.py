"""`powershare bank`: bank statements into a node's books, what could not be matched, payouts on their way.

Speaks to the JSON API of a buyer's or a seller's node as its operator.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import orjson
import typer

from cli import ask, show, where
from cli.options import Directory, NodeName
from cli.where import DIRECTORY, NotFound

app = typer.Typer(help="Money by bank: statements in, what waits for you, payouts out.", no_args_is_help=True)

#: How long the node may take to book a file, seconds.
BOOKED_S_MAX = 120.0


@app.command("import")
def import_(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="CSV with a header, or CAMT.053 XML.")
    ],
    *,
    node: NodeName,
    columns: Annotated[
        str, typer.Option(help='Which header is what, where it is not known: "id=Umsatz-ID,text=Verwendungszweck".')
    ] = "",
    directory: Directory = DIRECTORY,
) -> None:
    """Take a bank's statement in; sent again, it books nothing twice. Ends with 1 when a row could not be read."""
    query = f"?{urlencode({'columns': columns})}" if columns else ""
    done = _tell("POST", f"/api/bank/statements{query}", node, directory, raw=file.read_bytes())
    names = ("entries", "new", "matched", "unmatched")
    show.table(names, [[f"{done[name]:,}" for name in names]])
    for problem in done["problems"]:
        typer.echo(f"- {file.name}, {problem['place']}: {problem['sentence']}", err=True)
    if done["unmatched"]:
        typer.echo("`powershare bank waiting` shows what could not be matched.")
    raise typer.Exit(1 if done["problems"] else 0)


@app.command()
def waiting(*, node: NodeName, directory: Directory = DIRECTORY) -> None:
    """List entries that nobody could match, and why."""
    found = _tell("GET", "/api/bank/entries?state=UNMATCHED&limit=500", node, directory)
    show.table(
        ("entry", "booked", "minor units", "", "text", "counterparty", "why it waits"),
        [
            (
                each["entry_id"],
                each["booked_on"],
                f"{'' if each['is_credit'] else '-'}{each['amount_minor']}",
                each["currency"],
                each["text"],
                each["counterparty"],
                each["reason"],
            )
            for each in found["items"]
        ],
    )


@app.command()
def assign(
    entry: Annotated[str, typer.Argument(help="The entry's id.")],
    *,
    node: NodeName,
    account: Annotated[str, typer.Option(help="wallet:<account_id> or provider:<provider_id>.")] = "",
    payout: Annotated[str, typer.Option(help="The payout that the entry carried out.")] = "",
    directory: Directory = DIRECTORY,
) -> None:
    """Say whose an entry is; its money is booked at once."""
    body = {"account": account} if account else {"payout_id": payout}
    done = _tell("POST", f"/api/bank/entries/{quote(entry, safe='')}/assign", node, directory, body=body)
    typer.echo(f"{done['entry_id']} is booked on {done['account'] or 'payout ' + done['payout_id']}.")


@app.command()
def payouts(*, node: NodeName, directory: Directory = DIRECTORY) -> None:
    """List payouts that no bank has confirmed, with the reference to write on each."""
    found = _tell("GET", "/api/payouts?state=PENDING&limit=500", node, directory)
    show.table(
        ("payout", "account", "minor units", "", "reference", "asked for"),
        [
            (
                each["payout_id"],
                each["account"],
                str(each["amount_minor"]),
                each["currency"],
                each["reference"],
                each["requested_at"],
            )
            for each in found["items"]
        ],
    )


def _tell(
    method: str, path: str, node: str, directory: Path, *, body: Any = None, raw: bytes | None = None
) -> dict[str, Any]:
    """One call of the node's operator; ends the command when it is not reached or says no."""
    url, token = _address(node, directory)
    content = raw if raw is not None else None if body is None else orjson.dumps(body)
    media = "application/octet-stream" if raw is not None else "application/json"
    headers = {"Authorization": f"Bearer {token}", "Content-Type": media}
    try:
        reply = ask.exchange(method, url + path, headers=headers, body=content, timeout_s=BOOKED_S_MAX)
        if reply.status >= 300:
            raise ask.Refused(reply.status, reply.json())
    except (ask.NoAnswer, ask.Refused) as failure:
        show.fail(failure)
    document: dict[str, Any] = reply.json()
    return document


def _address(node: str, directory: Path) -> tuple[str, str]:
    """The node's URL and its operator's token: of the network that is up, or the URL itself with ADMIN_TOKEN."""
    if "://" in node:
        token = where.setting("ADMIN_TOKEN")
        if not token:
            show.fail("set ADMIN_TOKEN to the operator's token, or name a node of the network that is up")
        return node.rstrip("/"), token
    try:
        known = where.node(node, directory)
    except NotFound as failure:
        show.fail(failure)
    return known.url, known.admin_token
