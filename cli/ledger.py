"""`powershare ledger check`: every transfer added up anew, in one node's books or several, and the books compared."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from books import proof as proofs
from cli import where
from store import transfers
from store.db import Database
from trade.money import amount_from_milli


class Unreadable(Exception):
    """A node's books cannot be read; the sentence says which and why."""


@dataclass(frozen=True, slots=True)
class Book:
    """One node's proof, shortened for a table."""

    subscriber_id: str
    transfers: int
    moved: str
    is_balanced: bool
    document: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of it."""

    books: tuple[Book, ...]
    #: What is wrong, a sentence each: within one node's books, then between nodes.
    problems: tuple[str, ...]

    @property
    def is_right(self) -> bool:
        """True when nothing is wrong."""
        return not self.problems

    @property
    def verdict(self) -> str:
        """One sentence for a person."""
        if not self.is_right:
            return "The books are NOT right."
        if len(self.books) == 1:
            return "The books balance."
        return "All books balance, and they agree with each other."


def check(books: Sequence[str], directory: Path) -> Checked:
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
    problems = [f"{book.subscriber_id}: {problem}" for book in books for problem in book.document["problems"]]
    problems += proofs.disagreements({book.subscriber_id: book.document for book in books})
    return Checked(tuple(books), tuple(problems))


async def _prove(subscriber_id: str, url: str) -> Book:
    try:
        database = await Database.connect(url, pool_max=1)
    except OSError as error:
        raise Unreadable(f"the books of {subscriber_id} cannot be read: {error}") from error
    try:
        async with database.unit_of_work() as uow:
            document = proofs.document(await transfers.proof(uow))
    except asyncpg.UndefinedTableError as error:
        raise Unreadable(f"the books of {subscriber_id} do not exist yet; run `powershare migrate`") from error
    finally:
        await database.close()
    moved = ", ".join(_amount(amount, currency) for currency, amount in sorted(document["moved_milli"].items()))
    return Book(subscriber_id, document["transfers"], moved, document["balanced"], document)


def _amount(amount_milli: int, currency: str) -> str:
    whole, point, fraction = amount_from_milli(amount_milli, currency).partition(".")
    return f"{int(whole):,}{point}{fraction} {currency}"
