"""`powershare meter`: bring meter data in from files of any length, see what looks wrong, fill gaps.

Speaks to the JSON API of a seller's or a buyer's node like anybody: as its operator, or with the token of a prosumer or
an app in POWERSHARE_TOKEN.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from cli import show, where
from cli.options import Directory, NodeName, Token
from cli.where import DIRECTORY, NotFound

if TYPE_CHECKING:
    from cli.meter_import import Door, Outcome

app = typer.Typer(help="Meter data: bring files in, see what looks wrong, fill gaps.", no_args_is_help=True)

MeterId = Annotated[str, typer.Option("--meter", help="The meter's id: an mRID, or what its provider or account says.")]
Flow = Annotated[str, typer.Option(help="EXPORT or IMPORT; none: what the node usually means.")]
Start = Annotated[str, typer.Option(help="First instant, RFC 3339 with a zone.")]
End = Annotated[str, typer.Option(help="Instant after the last, RFC 3339 with a zone.")]
Zone = Annotated[str, typer.Option(help="IANA zone of the meter's place.")]


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="CSV or Green Button XML.")],
    *,
    meter: MeterId,
    node: NodeName,
    token: Token = "",
    flow: Annotated[str, typer.Option(help="EXPORT or IMPORT, where the file does not say which.")] = "",
    zone: Annotated[str, typer.Option(help="IANA zone of local times, where the mapping names none.")] = "",
    mapping: Annotated[
        str, typer.Option(help="Which column says what: JSON, or the path of a file with it. See docs/meters.md.")
    ] = "",
    directory: Directory = DIRECTORY,
) -> None:
    """Bring a file of readings in. Run it again after an interruption: it goes on where it was.

    Rows that cannot be kept are written to FILE.refused.csv with their line and the reason. Ends with 0 when every row
    was kept, 3 when some were refused.
    """
    from cli.ask import NoAnswer, Refused
    from cli.meter_import import Source, bring_in
    from energy_catalog.meter_files.entries import Unreadable

    if flow.upper() not in ("", "EXPORT", "IMPORT"):
        show.fail(f"--flow is {flow!r}; say EXPORT or IMPORT", code=2)
    source, door = Source(file, flow.upper(), _mapping(mapping), zone), _door(node, meter, token, directory)
    try:
        with show.progress() as report:
            outcome = bring_in(source, door, lambda done, size: report(file.name, done, size))
    except KeyboardInterrupt:
        show.fail("Interrupted. Run the same command again to go on.", code=130)
    except NoAnswer as failure:
        show.fail(f"{failure}\nRun the same command again to go on.")
    except (Unreadable, Refused, OSError) as failure:
        show.fail(failure)
    _tell(outcome, file)
    raise typer.Exit(3 if outcome.refused else 0)


def _tell(outcome: Outcome, file: Path) -> None:
    """What became of the file, so that everybody can add it up."""
    if not outcome.is_whole:
        show.fail(f"{outcome.values} values were read and other numbers were answered; was {file} changed meanwhile?")
    if outcome.was_done:
        typer.echo("This file was brought in before, read in the same way; nothing was sent again.")
    elif outcome.chunks_before:
        typer.echo(f"Went on after {outcome.chunks_before} chunk(s) that were in already.")
    names = ("values", "accepted", "unchanged", "corrected", "refused")
    show.table(names, [[f"{getattr(outcome, name):,}" for name in names]])
    if outcome.report is not None:
        typer.echo(f"What was refused, and why, is in {outcome.report}.")


@app.command()
def findings(
    *,
    meter: MeterId,
    node: NodeName,
    token: Token = "",
    flow: Flow = "",
    start: Start = "",
    end: End = "",
    zone: Zone = "",
    kind: Annotated[str, typer.Option(help="Only of this kind, such as GAP or SPIKE.")] = "",
    directory: Directory = DIRECTORY,
) -> None:
    """Say what looks wrong with a meter's data: gaps, spikes, runs of zeros, a misread unit.

    Ends with 1 when there is anything.
    """
    asked = {"flow": flow.upper(), "start": start, "end": end, "zone": zone, "kind": kind.upper()}
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in asked.items() if value)
    found = _call(_door(node, meter, token, directory), "GET", f"findings?{query}")
    show.table(
        ("kind", "from", "to", "finding"),
        [(each["kind"], each["starts_at"], each["ends_at"], each["sentence"]) for each in found["findings"]],
    )
    total = sum(found["counts"].values())
    typer.echo(
        f"{total} finding(s) in {found['measured']} measured, {found['estimated']} estimated and {found['edited']}"
        f" edited readings of {found['slot_s']} s."
    )
    raise typer.Exit(1 if total else 0)


@app.command()
def estimate(
    *,
    meter: MeterId,
    node: NodeName,
    start: Start,
    end: End,
    token: Token = "",
    flow: Flow = "",
    zone: Zone = "",
    method: Annotated[str, typer.Option(help="auto, linear or profile.")] = "auto",
    directory: Directory = DIRECTORY,
) -> None:
    """Fill the gaps of a range: short ones on a straight line, long ones with the same hours of like days.

    Ends with 1 when a gap was left.
    """
    given = {"flow": flow.upper(), "start": start, "end": end, "zone": zone, "method": method}
    body = {name: value for name, value in given.items() if value}
    made = _call(_door(node, meter, token, directory), "POST", "estimate", body)
    show.table(
        ("slot", "Wh", "how"),
        [(each["starts_at"], each["energy_wh"], each["reason"]) for each in made["estimated"]],
    )
    for left in made["left"]:
        typer.echo(f"- {left['sentence']}", err=True)
    typer.echo(f"{len(made['estimated'])} slot(s) estimated, {len(made['left'])} gap(s) left.")
    raise typer.Exit(1 if made["left"] else 0)


def _call(door: Door, method: str, rest: str, body: Any = None) -> Any:
    from cli.ask import NoAnswer, Refused

    try:
        return door.tell(method, rest, body)
    except (NoAnswer, Refused) as failure:
        show.fail(failure)


def _door(node: str, meter: str, token: str, directory: Path) -> Door:
    """The meter's calls; ends the command when there is no such node or meter."""
    from cli.meter_import import Door
    from trade.meter_ids import MeterIdRefused, bare_meter_id

    try:
        meter_id = bare_meter_id(meter)
    except MeterIdRefused as refusal:
        show.fail(f"--meter: {refusal}", code=2)
    if "://" in node:
        token = token or where.setting("ADMIN_TOKEN")
        if not token:
            show.fail("set POWERSHARE_TOKEN (or ADMIN_TOKEN), or name a node of the network that is up")
        return Door(node, token, meter_id)
    try:
        known = where.node(node, directory)
    except NotFound as failure:
        show.fail(failure)
    return Door(known.url, token or known.admin_token, meter_id)


def _mapping(text: str) -> Any:
    """The mapping, given as JSON or as the path of a file with it."""
    import orjson

    if not text:
        return None
    try:
        return orjson.loads(text if text.lstrip().startswith("{") else Path(text).read_bytes())
    except (OSError, orjson.JSONDecodeError) as failure:
        show.fail(f"--mapping is neither JSON nor a file with JSON: {failure}", code=2)
