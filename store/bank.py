"""What banks said and what was asked of them: statement entries, each once, and payouts on their way.

An entry is MATCHED (booked), UNMATCHED (waits for the operator) or IGNORED (somebody decided that it is not ours). A
payout is PENDING, PAID or VOID. What moves the money is in `books.bank` and `books.payouts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from store.db import UnitOfWork

MATCHED, UNMATCHED, IGNORED = "MATCHED", "UNMATCHED", "IGNORED"
PENDING, PAID, VOID = "PENDING", "PAID", "VOID"

_ENTRY = (
    "entry_id, is_credit, amount_minor, currency, booked_on, text, counterparty, state, reason, account, payout_id,"
    " imported_at, seq"
)
_PAYOUT = "payout_id, account, currency, amount_minor, reference, state, entry_id, requested_at, finished_at, seq"


class BankRefusal(Exception):
    """What was asked of an entry or a payout cannot be; `status` is the HTTP status, `field` names what is at fault."""

    def __init__(self, sentence: str, *, field: str, status: int = 409) -> None:
        super().__init__(sentence)
        self.sentence, self.field, self.status = sentence, field, status


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a bank's statement. `account` is the ledger's account it was booked on, `reason` why it was not."""

    entry_id: str
    is_credit: bool
    amount_minor: int
    currency: str
    booked_on: date
    text: str
    counterparty: str
    state: str
    reason: str
    account: str
    payout_id: str
    imported_at: datetime
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Payout:
    """Whole minor units on their way from a ledger account to a bank; the payer writes `reference` on the transfer."""

    payout_id: str
    account: str
    currency: str
    amount_minor: int
    reference: str
    state: str
    entry_id: str
    requested_at: datetime
    finished_at: datetime | None
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a file: entries in it, of which new, of which booked; `problems` are (place, sentence)."""

    entries: int
    new: int
    matched: int
    unmatched: int
    problems: tuple[tuple[int, str], ...]


async def insert_entry(uow: UnitOfWork, entry: Entry) -> bool:
    """Keep an entry; False when one of this id is known."""
    done: str = await uow.connection.execute(
        "INSERT INTO bank_entries (entry_id, is_credit, amount_minor, currency, booked_on, text, counterparty, state,"
        " reason, account, payout_id, imported_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
        " ON CONFLICT (entry_id) DO NOTHING",
        entry.entry_id, entry.is_credit, entry.amount_minor, entry.currency, entry.booked_on, entry.text,
        entry.counterparty, entry.state, entry.reason, entry.account, entry.payout_id, entry.imported_at,
    )  # fmt: skip
    return done == "INSERT 0 1"


async def lock_entry(uow: UnitOfWork, entry_id: str) -> Entry | None:
    """One entry, locked until the unit of work ends."""
    row = await uow.connection.fetchrow(
        f"SELECT {_ENTRY} FROM bank_entries WHERE entry_id = $1 FOR UPDATE",  # noqa: S608
        entry_id,
    )
    return Entry(**dict(row)) if row else None


async def mark_entry(
    uow: UnitOfWork, entry_id: str, *, state: str, reason: str = "", account: str = "", payout_id: str = ""
) -> None:
    """Say what became of an entry."""
    await uow.connection.execute(
        "UPDATE bank_entries SET state = $2, reason = $3, account = $4, payout_id = $5 WHERE entry_id = $1",
        entry_id, state, reason, account, payout_id,
    )  # fmt: skip


async def entries(uow: UnitOfWork, *, state: str | None, after: int | None, limit: int) -> list[Entry]:
    """Entries, newest first, of one state or all; `after` is the last one's seq."""
    rows = await uow.connection.fetch(
        f"SELECT {_ENTRY} FROM bank_entries WHERE ($1::text IS NULL OR state = $1)"  # noqa: S608
        " AND ($2::bigint IS NULL OR seq < $2) ORDER BY seq DESC LIMIT $3",
        state, after, limit,
    )  # fmt: skip
    return [Entry(**dict(row)) for row in rows]


async def accounts_named(uow: UnitOfWork, *, bodies: Sequence[str], words: Sequence[str]) -> list[str]:
    """Ledger accounts that an entry's text names: by the body of a payment reference, or by the whole id."""
    rows = await uow.connection.fetch(
        "SELECT name FROM (SELECT 'wallet:' || account_id AS name, account_id AS id FROM customer_accounts"
        " UNION ALL SELECT 'provider:' || provider_id, provider_id FROM providers) named"
        " WHERE upper(substr(encode(sha256(convert_to(name, 'UTF8')), 'hex'), 1, 12)) = ANY ($1)"
        " OR id = ANY ($2) ORDER BY name",
        list(bodies),
        list(words),
    )
    return [row["name"] for row in rows]


async def account_exists(uow: UnitOfWork, account: str) -> bool:
    """True when this wallet or provider account belongs to somebody known here."""
    kind, _, owner_id = account.partition(":")
    question = {
        "wallet": "SELECT EXISTS (SELECT FROM customer_accounts WHERE account_id = $1)",
        "provider": "SELECT EXISTS (SELECT FROM providers WHERE provider_id = $1)",
    }.get(kind)
    return bool(question and await uow.connection.fetchval(question, owner_id))


async def insert_payout(uow: UnitOfWork, payout: Payout) -> None:
    """Keep a payout that was asked for."""
    await uow.connection.execute(
        "INSERT INTO payouts (payout_id, account, currency, amount_minor, reference, state, entry_id, requested_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, '', $7)",
        payout.payout_id, payout.account, payout.currency, payout.amount_minor, payout.reference, payout.state,
        payout.requested_at,
    )  # fmt: skip


async def lock_payout(uow: UnitOfWork, payout_id: str) -> Payout | None:
    """One payout, locked until the unit of work ends."""
    row = await uow.connection.fetchrow(
        f"SELECT {_PAYOUT} FROM payouts WHERE payout_id = $1 FOR UPDATE",  # noqa: S608
        payout_id,
    )
    return Payout(**dict(row)) if row else None


async def payouts_named(uow: UnitOfWork, bodies: Sequence[str]) -> list[str]:
    """Ids of the payouts whose references have these bodies."""
    rows = await uow.connection.fetch(
        "SELECT payout_id FROM payouts WHERE substr(reference, 5) = ANY ($1) ORDER BY payout_id", list(bodies)
    )
    return [row["payout_id"] for row in rows]


async def finish_payout(uow: UnitOfWork, payout_id: str, *, state: str, entry_id: str, now: datetime) -> None:
    """Say how a payout ended."""
    await uow.connection.execute(
        "UPDATE payouts SET state = $2, entry_id = $3, finished_at = $4 WHERE payout_id = $1",
        payout_id, state, entry_id, now,
    )  # fmt: skip


async def payouts(uow: UnitOfWork, *, state: str | None, after: int | None, limit: int) -> list[Payout]:
    """Payouts, newest first, of one state or all; `after` is the last one's seq."""
    rows = await uow.connection.fetch(
        f"SELECT {_PAYOUT} FROM payouts WHERE ($1::text IS NULL OR state = $1)"  # noqa: S608
        " AND ($2::bigint IS NULL OR seq < $2) ORDER BY seq DESC LIMIT $3",
        state, after, limit,
    )  # fmt: skip
    return [Payout(**dict(row)) for row in rows]
