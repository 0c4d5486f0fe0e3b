"""The `powershare` command. Each command imports what it needs when it runs, so that `--help` comes at once."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from cli import bank, claims, letters, meters, show, statements, subscribers, where
from cli.options import Directory
from cli.where import DIRECTORY, NotFound

app = typer.Typer(
    name="powershare",
    help="A network on which people sell each other energy: its nodes, its keys, its books.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
keys_app = typer.Typer(help="Make keys for a node, show what belongs to the ones it has.", no_args_is_help=True)
ledger_app = typer.Typer(help="Prove the books.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")
app.add_typer(subscribers.app, name="subscriber")
app.add_typer(claims.app, name="claim")
app.add_typer(letters.outbox, name="outbox")
app.add_typer(letters.inbox, name="inbox")
app.add_typer(ledger_app, name="ledger")
app.add_typer(bank.app, name="bank")
app.add_typer(statements.app, name="statement")
app.command()(statements.reconcile)
app.add_typer(meters.app, name="meter")

ROLES = ("registry", "gateway", "bap", "bpp")
NodeName = Annotated[str, typer.Option("--node", help="A node of the network that is up; else the environment's.")]


@app.command()
def demo(
    *,
    days: Annotated[int, typer.Option(min=1, max=365, help="How many days to trade.")] = 1,
    date: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The first day, between 2016-08-01 and 2017-07-31.")
    ] = None,
    homes: Annotated[int, typer.Option(min=3, max=17, help="How many homes take part.")] = 17,
    seed: Annotated[int, typer.Option(help="What the made-up parts (positions, prices) are drawn from.")] = 1,
    policy: Annotated[
        str, typer.Option(help="What the street's contracts are settled by: street@1, iterated@1, plain@1.")
    ] = "street@1",
    record: Annotated[
        Path | None, typer.Option(help="Write every wire message, as received, into this folder.")
    ] = None,
) -> None:
    """Trade recorded days of a real street over a network of its own, and report."""
    import signal

    from cli.street import demo as street

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the network is stopped and cleared away
    options = street.Options(days=days, date=date and date.date(), homes=homes, seed=seed, policy=policy, record=record)
    raise typer.Exit(street.run(options))


@app.command()
def up(
    directory: Directory = DIRECTORY,
    first_port: Annotated[
        int, typer.Option(min=1024, max=65_000, help="The registry's port; the others follow.")
    ] = 8001,
    record: Annotated[
        Path | None, typer.Option(help="Write every wire message, as received, into this folder.")
    ] = None,
    utility: Annotated[
        bool, typer.Option("--utility", help="With a utility's node, which every BPP asks to carry its orders.")
    ] = False,
    trading_start: Annotated[
        str, typer.Option(help="Date energy by a clock of its own from this instant (RFC 3339); see `clock`.")
    ] = "",
) -> None:
    """Start a network that stays up: registry, gateway, BAP and three BPPs, each its own process."""
    from cli import standing

    if where.is_up(directory):
        typer.echo(f"A network is up already in {directory}.", err=True)
    else:
        wish = standing.Wish(directory, first_port, record, has_utility=utility, trading_start=trading_start)
        try:
            with show.progress() as report:
                standing.up(wish, report=report)
        except standing.UnableToStand as failure:
            show.fail(failure)
    rows = [(node.name, node.subscriber_id, node.url, node.admin_token) for node in where.nodes(directory)]
    show.table(("node", "subscriber id", "address", "operator's token"), rows)
    data = where.standing_network(directory)["data"]
    typer.echo(f"Each node describes its JSON API at /docs. Logs are in {directory / 'logs'}, databases in {data}.")
    typer.echo("`powershare down` stops all; `powershare --help` lists what else there is.")


@app.command()
def down(directory: Directory = DIRECTORY) -> None:
    """Stop the network that is up; its databases are kept for the next `up`."""
    from cli import standing

    typer.echo("The network is down." if standing.down(directory) else f"No network is up in {directory}.")


@app.command()
def clock(
    to: Annotated[str, typer.Option(help="Move it to this instant (RFC 3339); without it, only show it.")] = "",
    directory: Directory = DIRECTORY,
) -> None:
    """Show the network's trading clock, or move one that `up --trading-start` began; what falls due is done at once."""
    from cli import clock as clocks
    from cli.ask import NoAnswer, Refused

    try:
        show.table(("node", "clock", "trading time"), clocks.read(directory, to=to))
    except (NotFound, NoAnswer, Refused) as error:
        show.fail(error)


@app.command()
def node(role: Annotated[str, typer.Argument(help="registry, gateway, bap or bpp")]) -> None:
    """Run one node in the foreground, with the settings of the environment."""
    if role not in ROLES:
        show.fail(f"there is no node '{role}'; there are {', '.join(ROLES)}", code=2)
    # A process of its own memory: nothing of this command stays in it.
    os.execv(sys.executable, [sys.executable, "-m", role])  # noqa: S606 - there is nothing a shell could add


@app.command()
def migrate(
    databases: Annotated[
        list[str] | None, typer.Argument(help="Databases on the server of DATABASE_URL; none: the one it names.")
    ] = None,
    *,
    create: Annotated[bool, typer.Option("--create", help="Create those that are not there.")] = False,
    wait: Annotated[float, typer.Option(min=0, max=600, help="How long to wait for PostgreSQL, seconds.")] = 0.0,
    name: NodeName = "",
    directory: Directory = DIRECTORY,
) -> None:
    """Bring a database to the newest schema. Safe to run at any time, and by many at once."""
    from store import migrate as migrations

    try:
        url = where.database_url(name, directory)
        for database in databases or [""]:
            if create and database:
                migrations.create(url, database, wait_s=wait)
            target = migrations.named(url, database) if database else url
            before, after = migrations.upgrade(target, wait_s=wait)
            done = f"already at {after}" if before == after else f"migrated from {before or 'nothing'} to {after}"
            typer.echo(f"{database}: {done}" if database else done)
    except (NotFound, migrations.UnknownRevision, migrations.Unreachable) as error:
        show.fail(error)


@keys_app.command("new")
def keys_new(
    key_id: Annotated[str, typer.Option(help="What the registry will know the key by.")] = "key-1",
) -> None:
    """Make a node's two keys and print them as settings; they are written nowhere."""
    from cli import keys

    made = keys.generate(key_id)
    typer.echo(f"# signing public key:    {made.signing_public_key}")
    typer.echo(f"# encryption public key: {made.encryption_public_key}")
    typer.echo(f"KEY_ID={made.key_id}\nSIGNING_KEY={made.signing_key}\nENCRYPTION_KEY={made.encryption_key}")


@keys_app.command("compose")
def keys_compose() -> None:
    """Make everything secret that compose.yaml asks for, as the .env file that stands beside it."""
    from cli import keys

    for variable, value in keys.for_compose().items():
        typer.echo(f"{variable}={value}")


@keys_app.command("show")
def keys_show(name: NodeName = "", directory: Directory = DIRECTORY) -> None:
    """Show the public keys that belong to a node's private ones, as the registry's record must hold them."""
    from cli import keys

    try:
        environment = where.node(name, directory).environment if name else None
        own = keys.Keys(
            key_id=where.setting("KEY_ID", environment),
            signing_key=where.setting("SIGNING_KEY", environment),
            encryption_key=where.setting("ENCRYPTION_KEY", environment),
        )
        if not own.signing_key:
            raise NotFound("set SIGNING_KEY, or name a node of the network that is up with --node")
        rows = [("key id", own.key_id), ("signing public key (Ed25519)", own.signing_public_key)]
        if own.encryption_key:
            rows.append(("encryption public key (X25519)", own.encryption_public_key))
    except (NotFound, ValueError) as error:
        show.fail(error)
    show.table(("", ""), rows)


@ledger_app.command("check")
def ledger_check(
    books: Annotated[
        list[str] | None,
        typer.Argument(
            help="Nodes of the network that is up, or SUBSCRIBER_ID=DATABASE_URL; none: all that keep books."
        ),
    ] = None,
    directory: Directory = DIRECTORY,
) -> None:
    """Prove the books: do all transfers sum to zero, does each balance hold, is every order covered, do nodes agree?

    Ends with 1 when something is wrong, and names the first row that breaks.
    """
    from cli import ledger

    try:
        checked = ledger.prove(books or [], directory)
    except (NotFound, ledger.Unreadable) as error:
        show.fail(error)
    show.table(
        ("books of", "transfers", "moved", "right"),
        [(book.subscriber_id, book.transfers, book.moved, "yes" if book.is_right else "NO") for book in checked.books],
    )
    for sentence in checked.problems:
        typer.echo(f"- {sentence}", err=True)
    if checked.first_broken:
        typer.echo(f"First row that breaks: {checked.first_broken}", err=True)
    typer.echo(checked.verdict)
    raise typer.Exit(0 if checked.is_right else 1)


@app.command()
def doctor(
    name: NodeName = "",
    directory: Directory = DIRECTORY,
    peer: Annotated[
        list[str] | None, typer.Option(help="Ask these subscribers what they see; else some of each kind.")
    ] = None,
) -> None:
    """Say what disagrees between a node, its registry record and what a peer sees.

    Looks at its settings, its database, the registry, its identity, key and clock there, its route, its schemas, and
    at what its peers say to a letter of its. Ends with 1 when something is wrong.
    """
    from cli import doctor as practice

    try:
        environment = where.node(name, directory).environment if name else os.environ
        findings = practice.examine(environment, peers=tuple(peer or ()))
    except (NotFound, practice.BadConfiguration) as error:
        show.fail(error)
    show.table(
        ("", "about", "finding"),
        [
            ({True: "ok", False: "NO", None: "?"}[finding.is_right], finding.about, finding.sentence)
            for finding in findings
        ],
    )
    raise typer.Exit(1 if any(finding.is_right is False for finding in findings) else 0)


if __name__ == "__main__":
    app()
