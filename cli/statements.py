"""`powershare statement` and `powershare reconcile`: signed statements to keep, and two nodes' books compared.

Speaks to the JSON API of a buyer's or a seller's node like anybody: as its operator, or with the token of an app or a
prosumer in POWERSHARE_TOKEN.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer

from cli import show, where
from cli.options import Directory, NodeName, Token
from cli.where import DIRECTORY, NotFound

_FORMS = ("json", "csv", "pdf")
app = typer.Typer(help="Statements and invoices: fetch them signed, check a signature.", no_args_is_help=True)


#: Settled orders asked for at once.
_PAGE = 200


class Unusable(Exception):
    """What was asked cannot be done; the sentence says why."""


@app.command("get")
def get(
    *,
    node: NodeName,
    account: Annotated[str, typer.Option(help="Of this account of a buyer's node.")] = "",
    provider: Annotated[str, typer.Option(help="Of this provider of a seller's node.")] = "",
    order: Annotated[str, typer.Option(help="Of this order.")] = "",
    period: Annotated[str, typer.Option(help="A month such as 2017-05, or a day such as 2017-05-03.")] = "",
    invoice: Annotated[bool, typer.Option("--invoice", help="The account's invoice of the month.")] = False,
    form: Annotated[str, typer.Option("--format", help="json, csv or pdf; none: by the file's ending.")] = "",
    zone: Annotated[str, typer.Option(help="IANA zone of the days; none: the node's own.")] = "",
    output: Annotated[Path, typer.Option("--output", "-o", help="Write it here, and its signature beside it as .sig.")],
    token: Token = "",
    directory: Directory = DIRECTORY,
) -> None:
    """Fetch a statement, an order's statement or an invoice, with the node's signature."""
    from cli.ask import NoAnswer, exchange

    ending = output.suffix.removeprefix(".").lower()
    if form not in ("", *_FORMS):
        show.fail(f"--format is {form!r}; say json, csv or pdf", code=2)
    if not form and ending not in _FORMS:
        show.fail(f"{output} ends in none of .json, .csv and .pdf; say --format", code=2)
    form = form or ending
    try:
        url, token = _node(node, token, directory)
        path = _path(account=account, provider=provider, order=order, period=period, invoice=invoice)
        query = {"format": form} | ({"zone": zone} if zone and not invoice else {})
        headers = {"Authorization": f"Bearer {token}"}
        reply = exchange("GET", f"{url}{path}?{urlencode(query)}", headers=headers)
        if reply.status != 200:
            raise Unusable(_refusal(reply.status, reply.json()))
    except (NotFound, NoAnswer, Unusable) as error:
        show.fail(error)
    output.write_bytes(reply.body)
    _beside(output).write_text(f"{reply.headers['signature']}\n", encoding="ascii")
    typer.echo(f"{output} ({len(reply.body)} bytes), signature in {_beside(output)}")


@app.command("verify")
def verify(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="The statement.")],
    *,
    signature: Annotated[Path | None, typer.Option(help="Its signature; none: FILE.sig.")] = None,
    public_key: Annotated[str, typer.Option(help="The node's Ed25519 key, base64; none: the registry's record.")] = "",
    directory: Directory = DIRECTORY,
) -> None:
    """Check that a node signed exactly this file: with its key from the registry, or with the key given.

    Ends with 1 when it did not.
    """
    from beckn import signing
    from books import signed
    from cli.ask import NoAnswer, Refused

    try:
        made = signed.parse((signature or _beside(file)).read_text(encoding="utf-8"))
        key = signing.import_public_key(public_key) if public_key else _key_of(made, directory)
        signed.verify(file.read_bytes(), made, public_key=key)
    except OSError as error:
        show.fail(f"cannot read the signature {error.filename}: {error.strerror}")
    except (NotFound, NoAnswer, Refused, Unusable, ValueError, signed.SignatureRefused) as error:
        show.fail(error)
    typer.echo(f"{file} is what {made.subscriber_id} signed with its key {made.key_id}.")


def _beside(file: Path) -> Path:
    return file.with_name(f"{file.name}.sig")


def _path(*, account: str, provider: str, order: str, period: str, invoice: bool) -> str:
    """The path of what was asked for; raises Unusable when that is not one thing."""
    if [bool(account), bool(provider), bool(order)].count(True) != 1:
        raise Unusable("name one of --account, --provider and --order")
    if order:
        return f"/api/orders/{quote(order, safe='')}/statement"
    if not period:
        raise Unusable("a statement needs --period, a month such as 2017-05 or a day such as 2017-05-03")
    if account:
        return f"/api/accounts/{quote(account, safe='')}/{'invoices' if invoice else 'statements'}/{quote(period)}"
    return f"/api/providers/{quote(provider, safe='')}/statements/{quote(period)}"


def _refusal(status: int, document: Any) -> str:
    error = document.get("error") if isinstance(document, dict) else None
    return f"HTTP {status}: {error['sentence'] if isinstance(error, dict) else document}"


def _node(name: str, token: str, directory: Path) -> tuple[str, str]:
    """A node's URL and a token for it; raises NotFound."""
    if "://" in name:
        return name.rstrip("/"), token or where.setting("ADMIN_TOKEN")
    node = where.node(name, directory)
    return node.url, token or node.admin_token


def _key_of(made: Any, directory: Path) -> bytes:
    """The public key the registry has for whoever says to have signed."""
    from beckn import signing
    from cli.ask import tell

    url, _ = where.registry(directory)
    records = tell("POST", f"{url}/lookup", body={"subscriber_id": made.subscriber_id, "key_id": made.key_id})
    for record in records if isinstance(records, list) else []:
        if (record.get("subscriber_id"), record.get("key_id")) == (made.subscriber_id, made.key_id):
            return signing.import_public_key(record["signing_public_key"])
    raise Unusable(f"the registry knows no key {made.key_id} of {made.subscriber_id}; give it with --public-key")


# --- Reconcile --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Side:
    """One node of the two."""

    name: str
    url: str
    token: str
    subscriber_id: str


def reconcile(
    *,
    bap: Annotated[str, typer.Option(help="The buyer's node: its URL, or its name in the network that is up.")],
    bpp: Annotated[str, typer.Option(help="The seller's node, likewise.")],
    day: Annotated[str, typer.Option(help="Orders whose delivery ended on this day, or in this month.")] = "",
    zone: Annotated[str, typer.Option(help="IANA zone of the day.")] = "UTC",
    dispute: Annotated[
        bool, typer.Option(help="Open a dispute about every order that differs, with the difference as its reason.")
    ] = True,
    bap_token: Annotated[str, typer.Option(envvar="BAP_TOKEN", help="The buyer's operator's token.")] = "",
    bpp_token: Annotated[str, typer.Option(envvar="BPP_TOKEN", help="The seller's operator's token.")] = "",
    directory: Directory = DIRECTORY,
) -> None:
    """Compare what a buyer's and a seller's node settled with each other, line by line and slot by slot.

    Every difference is a sentence with both figures; it makes the order DISPUTED on both nodes. Ends with 1 when there
    is any.
    """
    from books import reconcile as comparing
    from cli.ask import NoAnswer, Refused

    try:
        buyer, seller = _side(bap, bap_token, directory), _side(bpp, bpp_token, directory)
        bought = list(_settled(buyer, seller.subscriber_id, day, zone))
        sold = list(_settled(seller, buyer.subscriber_id, day, zone))
        differences = comparing.compare(bought, sold)
    except (NotFound, NoAnswer, Refused) as error:
        show.fail(error)
    for difference in differences:
        typer.echo(difference.sentence)
    by_order = {difference.wire_order_id: difference for difference in reversed(differences)}
    for difference in by_order.values() if dispute else ():
        typer.echo(_open_dispute(buyer, seller, difference))
    if differences:
        show.fail(f"{len(by_order)} of {len(bought)} orders differ between {buyer.name} and {seller.name}.")
    typer.echo(f"{buyer.name} and {seller.name} agree on {len(bought)} settled order(s), line by line.")


def _side(name: str, token: str, directory: Path) -> _Side:
    from cli.ask import tell

    url, token = _node(name, token, directory)
    return _Side(name, url, token, str(tell("GET", f"{url}/health")["subscriber_id"]))


def _settled(side: _Side, counterparty_id: str, day: str, zone: str) -> Iterable[dict[str, Any]]:
    """Every order the node has settled with the other, page by page."""
    from cli.ask import tell

    query = {"counterparty_id": counterparty_id, "limit": str(_PAGE)} | ({"period": day, "zone": zone} if day else {})
    while True:
        page = tell("GET", f"{side.url}/api/settled-orders?{urlencode(query)}", token=side.token)
        yield from page["items"]
        if page["next"] is None:
            return
        query["after"] = page["next"]


def _open_dispute(buyer: _Side, seller: _Side, difference: Any) -> str:
    """Open a dispute at the buyer's node, or at the seller's when the buyer's has not settled the order."""
    from cli.ask import Refused, tell

    side, order_id = (
        (buyer, difference.buyers_order_id) if difference.buyers_order_id else (seller, difference.sellers_order_id)
    )
    body = {"reason": difference.sentence[:500]}
    try:
        opened = tell("POST", f"{side.url}/api/orders/{quote(order_id, safe='')}/disputes", token=side.token, body=body)
    except Refused as refusal:
        return f"- no dispute about {difference.wire_order_id} at {side.name}: {refusal}"
    return f"- dispute {opened['dispute_id']} about {difference.wire_order_id} opened at {side.name}"
