"""`powershare outbox` and `powershare inbox`: letters that came to rest, and setting them going again.

They work on the node's database, so they work while the node is down; a running node finds what was queued within a
second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import orjson
import typer

from cli import show, where
from cli.options import Directory
from cli.where import DIRECTORY, NotFound

T = TypeVar("T")

outbox = typer.Typer(
    help="Letters this node sends: what could not be delivered, and sending it again.", no_args_is_help=True
)
inbox = typer.Typer(help="Letters this node received and could not process.", no_args_is_help=True)

NodeName = Annotated[
    str, typer.Option("--node", help="A node of the network that is up; else the one at DATABASE_URL.")
]


@outbox.command("list")
def outbox_list(
    *,
    name: NodeName = "",
    directory: Directory = DIRECTORY,
    state: Annotated[str, typer.Option(help="DEAD, QUEUED, SENT, or ANY.")] = "DEAD",
    transaction: Annotated[str, typer.Option(help="Only letters of this transaction_id.")] = "",
    after: Annotated[int, typer.Option(min=0, help="Only letters after this seq.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 100,
) -> None:
    """List letters to send, oldest first: by default those whose delivery was given up."""
    if state not in ("DEAD", "QUEUED", "SENT", "ANY"):
        show.fail(f"there is no state '{state}'; there are DEAD, QUEUED, SENT and ANY", code=2)

    async def read(uow: Any) -> list[Mapping[str, Any]]:
        from store import dead_letters

        wanted = "" if state == "ANY" else state
        return await dead_letters.outgoing(uow, state=wanted, transaction_id=transaction, after=after, limit=limit)

    rows = _in_unit_of_work(name, directory, read)
    show.table(
        ("seq", "state", "action", "to", "transaction_id", "tries", "written", "outcome"),
        [
            (
                row["seq"],
                row["state"],
                row["action"],
                row["receiver_id"],
                row["transaction_id"],
                row["attempts"],
                f"{row['created_at']:%Y-%m-%dT%H:%M:%SZ}",
                _short(row["outcome"]),
            )
            for row in rows
        ],
    )


@outbox.command("resend")
def outbox_resend(
    seqs: Annotated[list[int] | None, typer.Argument(help="The letters, by seq.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every letter whose delivery was given up.")] = False,
    hours: Annotated[float, typer.Option(min=0.01, max=168, help="How long delivery is tried now.")] = 24.0,
    name: NodeName = "",
    directory: Directory = DIRECTORY,
) -> None:
    """Send dead letters again: the same bytes, signed afresh. A receiver that has one already answers as it did."""
    if bool(seqs) == every:
        show.fail("name letters by seq, or give --all", code=2)

    async def send_again(uow: Any) -> list[int]:
        from beckn.clock import WallClock
        from store import dead_letters

        chosen = list(seqs or [])
        if every:
            chosen = [row["seq"] for row in await dead_letters.outgoing(uow, state="DEAD", limit=1_000_000)]
        return await dead_letters.resend(uow, chosen, now=WallClock().now(), deliver_for_s=hours * 3600)

    queued = _in_unit_of_work(name, directory, send_again)
    typer.echo(f"queued again: {', '.join(map(str, queued)) or 'none'}")
    refused = sorted(set(seqs or []) - set(queued))
    if refused:
        show.fail(f"not dead, so left alone: {', '.join(map(str, refused))}")


@inbox.command("list")
def inbox_list(
    name: NodeName = "",
    directory: Directory = DIRECTORY,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 100,
) -> None:
    """List received letters that were parked because processing them failed, newest first."""

    async def read(uow: Any) -> list[Mapping[str, Any]]:
        from store import dead_letters

        return await dead_letters.parked(uow, limit=limit)

    show.table(
        ("letter_id", "action", "from", "transaction_id", "tries", "received", "error"),
        [
            (
                row["letter_id"],
                row["action"],
                row["signer_id"],
                row["transaction_id"],
                row["attempts"],
                f"{row['received_at']:%Y-%m-%dT%H:%M:%SZ}",
                row["error"],
            )
            for row in _in_unit_of_work(name, directory, read)
        ],
    )


@inbox.command("retry")
def inbox_retry(
    letter_ids: Annotated[list[str], typer.Argument(help="The letters, by letter_id.")],
    name: NodeName = "",
    directory: Directory = DIRECTORY,
) -> None:
    """Let parked letters be processed again."""

    async def again(uow: Any) -> list[str]:
        from store import dead_letters

        return await dead_letters.process_again(uow, letter_ids)

    waiting = _in_unit_of_work(name, directory, again)
    typer.echo(f"processed again: {', '.join(waiting) or 'none'}")
    refused = sorted(set(letter_ids) - set(waiting))
    if refused:
        show.fail(f"not parked, so left alone: {', '.join(refused)}")


def _in_unit_of_work(name: str, directory: Path, work: Callable[[Any], Awaitable[T]]) -> T:
    """Do `work` in one unit of work on the node's database; end the command when there is none."""

    async def run(url: str) -> T:
        from store.db import Database

        database = await Database.connect(url, pool_max=1)
        try:
            async with database.unit_of_work() as uow:
                return await work(uow)
        finally:
            await database.close()

    import asyncpg

    try:
        return asyncio.run(run(where.database_url(name, directory)))
    except (NotFound, OSError) as error:
        show.fail(error)
    except asyncpg.UndefinedTableError:
        show.fail("this database has no tables yet; run `powershare migrate`")


def _short(outcome: Mapping[str, Any] | Sequence[Any] | None, width: int = 120) -> str:
    text = "" if outcome is None else orjson.dumps(outcome).decode()
    return text if len(text) <= width else f"{text[: width - 1]}…"
