"""The ledger's memory: transfers, only ever added to, and the running balance of every account.

A transfer moves money from its debit account to its credit account; a balance is what came in minus what went out. Both
change in one statement, so a balance can never disagree with its transfers for longer than a statement takes, and
`proof` shows that it does not. An account that may not be overdrawn is guarded by a CHECK in the table itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from store.db import UnitOfWork
from trade import ledger
from trade.ledger import Transfer

#: Adds the transfers that are new, moves the balances of exactly those, answers with their ids. Accounts are touched in
#: order of name, so that two units of work never wait for each other. A proposed row must satisfy the CHECK even when
#: it ends as an update, so an account that exists is proposed with zero and moved by its delta.
_POST = """
WITH given AS (
  SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[],
                       $8::timestamptz[], $9::boolean[], $10::boolean[])
    AS t(transfer_id, order_id, debit, credit, amount_milli, currency, memo, at, debit_may, credit_may)
), posted AS (
  INSERT INTO ledger_transfers (transfer_id, order_id, debit, credit, amount_milli, currency, memo, at)
  SELECT transfer_id, order_id, debit, credit, amount_milli, currency, memo, at FROM given
  ON CONFLICT (transfer_id) DO NOTHING
  RETURNING transfer_id
), moves AS (
  SELECT debit AS account, currency, debit_may AS may, -amount_milli AS delta FROM given JOIN posted USING (transfer_id)
  UNION ALL
  SELECT credit, currency, credit_may, amount_milli FROM given JOIN posted USING (transfer_id)
), deltas AS (
  SELECT account, currency, bool_or(may) AS may, sum(delta)::bigint AS delta FROM moves GROUP BY account, currency
), moved AS (
  INSERT INTO ledger_accounts AS a (account, currency, may_overdraw, balance_milli)
  SELECT account, currency, may,
         CASE WHEN EXISTS (SELECT FROM ledger_accounts e WHERE e.account = d.account AND e.currency = d.currency)
              THEN 0 ELSE delta END
    FROM deltas d ORDER BY account, currency
  ON CONFLICT (account, currency) DO UPDATE SET balance_milli = a.balance_milli
     + (SELECT d.delta FROM deltas d WHERE d.account = excluded.account AND d.currency = excluded.currency)
)
SELECT transfer_id FROM posted
"""

_PROOF = """
WITH moves AS (
  SELECT debit AS account, currency, -amount_milli AS delta FROM ledger_transfers
  UNION ALL
  SELECT credit, currency, amount_milli FROM ledger_transfers
), derived AS (
  SELECT account, currency, sum(delta) AS moved_milli FROM moves GROUP BY account, currency
)
SELECT account, currency, coalesce(moved_milli, 0)::bigint AS moved_milli,
       coalesce(balance_milli, 0) AS balance_milli, coalesce(may_overdraw, false) AS may_overdraw
  FROM derived FULL JOIN ledger_accounts USING (account, currency) ORDER BY account, currency
"""


class InsufficientFunds(Exception):
    """The account does not hold what was to be taken from it. The unit of work cannot go on and must end."""

    def __init__(self, account: str) -> None:
        super().__init__(f"account {account} does not hold that much")
        self.account = account


class TransferConflict(Exception):
    """A transfer with this id was posted before with other content: money is never moved under a used id."""

    def __init__(self, transfer_id: str) -> None:
        super().__init__(f"transfer {transfer_id} was posted before with other content")
        self.transfer_id = transfer_id


@dataclass(frozen=True, slots=True)
class AccountProof:
    """One account: the balance kept, and the balance its transfers add up to."""

    account: str
    currency: str
    balance_milli: int
    moved_milli: int


@dataclass(frozen=True, slots=True)
class LedgerProof:
    """Whether the books are right: every balance equals its transfers, every currency sums to zero."""

    balanced: bool
    accounts: tuple[AccountProof, ...]
    problems: tuple[str, ...]
    transfers: int = 0
    #: Sum of all amounts moved, by currency: debits and credits alike.
    moved_milli: dict[str, int] = field(default_factory=dict)


async def post(uow: UnitOfWork, transfers: Sequence[Transfer]) -> list[str]:
    """Post transfers and move their balances; returns the ids that were new.

    A transfer that was posted before is not posted again: the same content is no error, other content raises
    TransferConflict. Raises InsufficientFunds when an account would fall below zero that may not.
    """
    if not transfers:
        return []
    try:
        rows = await uow.connection.fetch(
            _POST,
            *(
                [getattr(transfer, name) for transfer in transfers]
                for name in ("transfer_id", "order_id", "debit", "credit", "amount_milli", "currency", "memo", "at")
            ),
            [ledger.may_overdraw(transfer.debit) for transfer in transfers],
            [ledger.may_overdraw(transfer.credit) for transfer in transfers],
        )
    except asyncpg.CheckViolationError as violation:
        if violation.constraint_name == "ledger_no_overdraft":
            raise InsufficientFunds(_refused_account(violation, transfers)) from violation
        raise
    posted = {row["transfer_id"] for row in rows}
    if len(posted) < len(transfers):
        await _check_repeats(uow, [transfer for transfer in transfers if transfer.transfer_id not in posted])
    return [transfer.transfer_id for transfer in transfers if transfer.transfer_id in posted]


async def balance(uow: UnitOfWork, account: str, currency: str) -> int:
    """What the account holds in minor units; zero when it was never used."""
    amount = await uow.connection.fetchval(
        "SELECT balance_milli FROM ledger_accounts WHERE account = $1 AND currency = $2", account, currency
    )
    return int(amount or 0)


async def balances(uow: UnitOfWork, account: str) -> dict[str, int]:
    """What the account holds in minor units, by currency."""
    rows = await uow.connection.fetch(
        "SELECT currency, balance_milli FROM ledger_accounts WHERE account = $1 ORDER BY currency", account
    )
    return {row["currency"]: row["balance_milli"] for row in rows}


async def statement(uow: UnitOfWork, account: str, *, after: str | None = None, limit: int) -> list[Transfer]:
    """Transfers into and out of an account, newest first; `after` is the last transfer_id of the page before."""
    rows = await uow.connection.fetch(
        "SELECT transfer_id, debit, credit, amount_milli, currency, order_id, memo, at FROM ledger_transfers"
        " WHERE (debit = $1 OR credit = $1)"
        " AND ($2::text IS NULL OR seq < (SELECT seq FROM ledger_transfers WHERE transfer_id = $2))"
        " ORDER BY seq DESC LIMIT $3",
        account,
        after,
        limit,
    )
    return [_transfer(row) for row in rows]


async def proof(uow: UnitOfWork) -> LedgerProof:
    """Add up every transfer anew and compare with the balances kept. Reads the whole ledger."""
    rows = await uow.connection.fetch(_PROOF)
    moved = await uow.connection.fetch(
        "SELECT currency, count(*) AS transfers, sum(amount_milli)::bigint AS moved FROM ledger_transfers"
        " GROUP BY currency ORDER BY currency"
    )
    problems = []
    sums: dict[str, int] = {}
    for row in rows:
        name = f"{row['account']} in {row['currency']}"
        sums[row["currency"]] = sums.get(row["currency"], 0) + row["balance_milli"]
        if row["balance_milli"] != row["moved_milli"]:
            problems.append(f"{name} holds {row['balance_milli']} but its transfers sum to {row['moved_milli']}")
        if row["balance_milli"] < 0 and not row["may_overdraw"]:
            problems.append(f"{name} is overdrawn by {-row['balance_milli']}")
    problems += [f"balances in {currency} sum to {total}, not to zero" for currency, total in sums.items() if total]
    return LedgerProof(
        balanced=not problems,
        accounts=tuple(
            AccountProof(row["account"], row["currency"], row["balance_milli"], row["moved_milli"]) for row in rows
        ),
        problems=tuple(problems),
        transfers=sum(row["transfers"] for row in moved),
        moved_milli={row["currency"]: row["moved"] for row in moved},
    )


async def _check_repeats(uow: UnitOfWork, repeats: Iterable[Transfer]) -> None:
    """Raise TransferConflict unless each transfer was posted before exactly as it is now (its memo and time aside)."""
    wanted = {transfer.transfer_id: transfer for transfer in repeats}
    rows = await uow.connection.fetch(
        "SELECT transfer_id, debit, credit, amount_milli, currency, order_id, memo, at FROM ledger_transfers"
        " WHERE transfer_id = ANY($1)",
        list(wanted),
    )
    for row in rows:
        earlier, now = _transfer(row), wanted[row["transfer_id"]]
        if _content(earlier) != _content(now):
            raise TransferConflict(now.transfer_id)


def _content(transfer: Transfer) -> tuple[str, str, int, str, str]:
    return transfer.debit, transfer.credit, transfer.amount_milli, transfer.currency, transfer.order_id


def _transfer(row: Any) -> Transfer:
    return Transfer(**dict(row))


def _refused_account(violation: asyncpg.CheckViolationError, transfers: Iterable[Transfer]) -> str:
    """The account named in PostgreSQL's "Failing row contains (account, ..." (which cuts long names short)."""
    row = str(violation.detail or "").partition("(")[2]
    guarded = [transfer.debit for transfer in transfers if not ledger.may_overdraw(transfer.debit)]
    for account in guarded:
        if row.startswith(account[:60]):
            return account
    return guarded[0] if guarded else ""
