"""`powershare ledger check`: the books of one node or several, proven row by row and held against each other.

Every transfer is added up anew, every completed order is held against its settlement, no escrow may outlive its order,
and where the books of both sides are at hand they agree about every order (`books.check`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg

from books import check
from books import proof as proofs
from cli import where
from store import transfers
from store.access import ClockRows
from store.db import Database
from store.ledger_checks import Owed
from store.transfers import Broken
from trade.money import amount_from_milli


class Unreadable(Exception):
    """A node's books cannot be read; the sentence says which and why."""


@dataclass(frozen=True, slots=True)
class Book:
    """One node's proof, shortened for a table."""

    subscriber_id: str
    transfers: int
    moved: str
    is_right: bool
    document: dict[str, Any]
    broken: tuple[Broken, ...]
    owed: tuple[Owed, ...]


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of it."""

    books: tuple[Book, ...]
    #: What is wrong and where: within one node's books, then between nodes; each with the node whose row it is.
    broken: tuple[tuple[str, Broken], ...]

    @property
    def is_right(self) -> bool:
        """True when nothing is wrong."""
        return not self.broken

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong, a sentence each."""
        return tuple(f"{node}: {row.sentence}" if node else row.sentence for node, row in self.broken)

    @property
    def first_broken(self) -> str:
        """The first row that breaks, to look at: node, order, transfer and account as far as they are known."""
        if not self.broken:
            return ""
        node, row = self.broken[0]
        named = {"node": node, "order": row.order_id, "transfer": row.transfer_id, "account": row.account}
        return ", ".join(f"{what} {name}" for what, name in named.items() if name)

    @property
    def verdict(self) -> str:
        """One sentence for a person."""
        if not self.is_right:
            return "The books are NOT right."
        if len(self.books) == 1:
            return "The books balance, and every order is covered."
        return "All books balance, every order is covered, and the nodes agree about each."


def prove(books: Sequence[str], directory: Path) -> Checked:
    """Prove the named books: node names, or SUBSCRIBER_ID=DATABASE_URL; none: all of the network that is up.

    Without names and without a network DATABASE_URL is taken. Raises where.NotFound, Unreadable.
    """
    return asyncio.run(_check(_sources(books, directory)))


def _sources(books: Sequence[str], directory: Path) -> dict[str, str]:
    """DATABASE_URL by subscriber id."""
    if not books:
        if url := where.setting("DATABASE_URL"):
            return {where.setting("SUBSCRIBER_ID") or "this node": url}
        keepers = [node for node in where.nodes(directory) if node.role in ("bap", "bpp")]
        return {node.subscriber_id: node.database_url for node in keepers}
    sources = {}
    for book in books:
        subscriber_id, separator, url = book.partition("=")
        if separator and "://" in url:
            sources[subscriber_id] = url
        else:
            node = where.node(book, directory)
            sources[node.subscriber_id] = node.database_url
    return sources


async def _check(sources: dict[str, str]) -> Checked:
    books = [await _prove(subscriber_id, url) for subscriber_id, url in sources.items()]
    broken = [(book.subscriber_id, row) for book in books for row in book.broken]
    broken += check.contradictions({book.subscriber_id: book.owed for book in books})
    totals = proofs.disagreements({book.subscriber_id: book.document for book in books})
    broken += [("", Broken(sentence)) for sentence in totals]
    return Checked(tuple(books), tuple(broken))


async def _prove(subscriber_id: str, url: str) -> Book:
    try:
        database = await Database.connect(url, pool_max=1)
    except OSError as error:
        raise Unreadable(f"the books of {subscriber_id} cannot be read: {error}") from error
    try:
        now_trading = await ClockRows(database).load() or datetime.now(UTC)
        async with database.unit_of_work(snapshot=True) as uow:
            proven = await transfers.proof(uow)
            document = proofs.document(proven)
            broken = (*proven.broken, *await check.orders(uow, now_trading=now_trading))
            owed = tuple(await check.owed(uow))
    except asyncpg.UndefinedTableError as error:
        raise Unreadable(f"the books of {subscriber_id} do not exist yet; run `powershare migrate`") from error
    finally:
        await database.close()
    moved = ", ".join(_amount(amount, currency) for currency, amount in sorted(document["moved_milli"].items()))
    return Book(subscriber_id, document["transfers"], moved, not broken, document, broken, owed)


def _amount(amount_milli: int, currency: str) -> str:
    whole, point, fraction = amount_from_milli(amount_milli, currency).partition(".")
    return f"{int(whole):,}{point}{fraction} {currency}"
