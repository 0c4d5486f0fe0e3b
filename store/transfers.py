"""The ledger's memory: transfers, only ever added to, and the running balance of every account.

A transfer's legs sum to zero in every currency (a trigger refuses others), and a balance is the sum of its account's
legs. Legs and balances change in one statement, so a balance can never disagree with its legs for longer than a
statement takes, and `proof` shows that it does not. An account may be overdrawn as far as its row allows, guarded by a
CHECK in the table itself. Amounts are thousandths of a minor unit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from store.db import UnitOfWork
from trade import ledger
from trade.ledger import Leg, Transfer

#: Adds the transfers that are new, with their legs, moves the balances of exactly those, answers with their ids.
#: Accounts are touched in order of name, so that two units of work never wait for each other. A proposed row must
#: satisfy the CHECK even when it ends as an update, so an account that exists is proposed with zero and moved by its
#: delta.
_POST = """
WITH posted AS (
  INSERT INTO ledger_transfers (transfer_id, order_id, memo, at)
  SELECT transfer_id, order_id, memo, at
    FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[]) AS t(transfer_id, order_id, memo, at)
  ON CONFLICT (transfer_id) DO NOTHING
  RETURNING transfer_id, seq
), legs AS (
  INSERT INTO ledger_legs (transfer_id, leg, seq, account, currency, amount_milli)
  SELECT transfer_id, leg, seq, account, currency, amount_milli
    FROM unnest($5::text[], $6::integer[], $7::text[], $8::text[], $9::bigint[])
      AS l(transfer_id, leg, account, currency, amount_milli) JOIN posted USING (transfer_id)
  RETURNING account, currency, amount_milli
), deltas AS (
  SELECT account, currency, sum(amount_milli)::bigint AS delta FROM legs GROUP BY account, currency
), moved AS (
  INSERT INTO ledger_accounts AS a (account, currency, overdraft_milli, balance_milli)
  SELECT account, currency, CASE WHEN split_part(account, ':', 1) = ANY ($10::text[]) THEN NULL ELSE 0 END,
         CASE WHEN EXISTS (SELECT FROM ledger_accounts e WHERE e.account = d.account AND e.currency = d.currency)
              THEN 0 ELSE delta END
    FROM deltas d ORDER BY account, currency
  ON CONFLICT (account, currency) DO UPDATE SET balance_milli = a.balance_milli
     + (SELECT d.delta FROM deltas d WHERE d.account = excluded.account AND d.currency = excluded.currency)
)
SELECT transfer_id FROM posted
"""

#: Every balance beside what its legs add up to.
_PROOF = """
WITH derived AS (
  SELECT account, currency, sum(amount_milli) AS moved_milli FROM ledger_legs GROUP BY account, currency
)
SELECT account, currency, coalesce(moved_milli, 0)::bigint AS moved_milli,
       coalesce(balance_milli, 0) AS balance_milli,
       CASE WHEN a.account IS NULL THEN 0 ELSE overdraft_milli END AS overdraft_milli
  FROM derived FULL JOIN ledger_accounts a USING (account, currency) ORDER BY account, currency
"""

#: Transfers whose legs do not sum to zero, or that have none.
_UNBALANCED = """
SELECT transfer_id, currency, sum(amount_milli)::bigint AS sum_milli FROM ledger_legs
 GROUP BY transfer_id, currency HAVING sum(amount_milli) <> 0
UNION ALL
SELECT transfer_id, '', 0 FROM ledger_transfers t
 WHERE NOT EXISTS (SELECT FROM ledger_legs l WHERE l.transfer_id = t.transfer_id)
 ORDER BY 1 LIMIT 100
"""

_TRANSFERS = """
SELECT t.transfer_id, t.order_id, t.memo, t.at,
       array_agg(l.account ORDER BY l.leg) AS accounts, array_agg(l.currency ORDER BY l.leg) AS currencies,
       array_agg(l.amount_milli ORDER BY l.leg) AS amounts
  FROM ledger_transfers t JOIN ledger_legs l USING (transfer_id)
"""


class InsufficientFunds(Exception):
    """The account does not hold what was to be taken from it. The unit of work cannot go on and must end."""

    def __init__(self, account: str, currency: str, *, taken_milli: int = 0) -> None:
        super().__init__(f"account {account} does not hold that much {currency}")
        self.account = account
        self.currency = currency
        self.taken_milli = taken_milli


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
class Broken:
    """Something in the books that is not right, and the row to look at: its account, transfer and order, if any."""

    sentence: str
    account: str = ""
    transfer_id: str = ""
    order_id: str = ""


@dataclass(frozen=True, slots=True)
class LedgerProof:
    """Whether the books are right: every balance equals its transfers, every currency sums to zero."""

    balanced: bool
    accounts: tuple[AccountProof, ...]
    broken: tuple[Broken, ...] = ()
    transfers: int = 0
    #: Sum of all amounts moved, by currency: what left accounts and what arrived alike.
    moved_milli: dict[str, int] = field(default_factory=dict)

    @property
    def problems(self) -> tuple[str, ...]:
        """What is not right, a sentence each."""
        return tuple(row.sentence for row in self.broken)


async def post(uow: UnitOfWork, transfers: Sequence[Transfer]) -> list[str]:
    """Post transfers and move their balances; returns the ids that were new.

    A transfer that was posted before is not posted again: the same content is no error, other content raises
    TransferConflict. Raises InsufficientFunds when an account would fall below what it may.
    """
    if not transfers:
        return []
    legs = [(transfer.transfer_id, number, leg) for transfer in transfers for number, leg in enumerate(transfer.legs)]
    try:
        rows = await uow.connection.fetch(
            _POST,
            *(
                [getattr(transfer, name) for transfer in transfers]
                for name in ("transfer_id", "order_id", "memo", "at")
            ),
            [transfer_id for transfer_id, _, _ in legs],
            [number for _, number, _ in legs],
            *([getattr(leg, name) for _, _, leg in legs] for name in ("account", "currency", "amount_milli")),
            sorted(ledger.MAY_OVERDRAW),
        )
    except asyncpg.CheckViolationError as violation:
        if violation.constraint_name == "ledger_no_overdraft":
            raise _insufficient(violation, transfers) from violation
        raise
    posted = {row["transfer_id"] for row in rows}
    if len(posted) < len(transfers):
        await _check_repeats(uow, [transfer for transfer in transfers if transfer.transfer_id not in posted])
    return [transfer.transfer_id for transfer in transfers if transfer.transfer_id in posted]


async def balance(uow: UnitOfWork, account: str, currency: str) -> int:
    """What the account holds; zero when it was never used."""
    amount = await uow.connection.fetchval(
        "SELECT balance_milli FROM ledger_accounts WHERE account = $1 AND currency = $2", account, currency
    )
    return int(amount or 0)


async def available(uow: UnitOfWork, account: str, currency: str) -> int | None:
    """What could be taken from the account, its overdraft included; None when that has no limit.

    The row stays locked until the unit of work ends, so that what was seen can be taken.
    """
    row = await uow.connection.fetchrow(
        "SELECT balance_milli + overdraft_milli AS available FROM ledger_accounts"
        " WHERE account = $1 AND currency = $2 FOR UPDATE",
        account,
        currency,
    )
    if row is None:
        return None if ledger.may_overdraw(account) else 0
    amount: int | None = row["available"]
    return amount


async def balances(uow: UnitOfWork, account: str) -> dict[str, int]:
    """What the account holds, by currency."""
    rows = await uow.connection.fetch(
        "SELECT currency, balance_milli FROM ledger_accounts WHERE account = $1 ORDER BY currency", account
    )
    return {row["currency"]: row["balance_milli"] for row in rows}


async def overdrafts(uow: UnitOfWork, account: str) -> dict[str, int | None]:
    """How far the account may be overdrawn, by currency; None is without limit."""
    rows = await uow.connection.fetch(
        "SELECT currency, overdraft_milli FROM ledger_accounts WHERE account = $1 ORDER BY currency", account
    )
    return {row["currency"]: row["overdraft_milli"] for row in rows}


async def allow_overdraft(uow: UnitOfWork, account: str, currency: str, *, overdraft_milli: int | None) -> None:
    """Let an account be overdrawn so far and no further; None is without limit.

    Raises InsufficientFunds when it is overdrawn by more already.
    """
    try:
        await uow.connection.execute(
            "INSERT INTO ledger_accounts (account, currency, overdraft_milli) VALUES ($1, $2, $3)"
            " ON CONFLICT (account, currency) DO UPDATE SET overdraft_milli = excluded.overdraft_milli",
            account,
            currency,
            overdraft_milli,
        )
    except asyncpg.CheckViolationError as violation:
        raise InsufficientFunds(account, currency) from violation


async def get(uow: UnitOfWork, transfer_id: str) -> Transfer | None:
    """One transfer with its legs."""
    row = await uow.connection.fetchrow(
        f"{_TRANSFERS} WHERE t.transfer_id = $1 GROUP BY t.transfer_id",
        transfer_id,
    )
    return _transfer(row) if row else None


async def statement(uow: UnitOfWork, account: str, *, after: str | None = None, limit: int) -> list[Transfer]:
    """Transfers into and out of an account, newest first; `after` is the last transfer_id of the page before."""
    rows = await uow.connection.fetch(
        f"{_TRANSFERS} WHERE t.transfer_id IN (SELECT transfer_id FROM ledger_legs WHERE account = $1"  # noqa: S608
        " AND ($2::text IS NULL OR seq < (SELECT seq FROM ledger_transfers WHERE transfer_id = $2))"
        " GROUP BY transfer_id, seq ORDER BY seq DESC LIMIT $3)"
        " GROUP BY t.transfer_id ORDER BY t.seq DESC",
        account,
        after,
        limit,
    )
    return [_transfer(row) for row in rows]


async def proof(uow: UnitOfWork) -> LedgerProof:
    """Add up every leg anew and compare with the balances kept. Reads the whole ledger."""
    rows = await uow.connection.fetch(_PROOF)
    unbalanced = await uow.connection.fetch(_UNBALANCED)
    moved = await uow.connection.fetch(
        "SELECT currency, sum(amount_milli)::bigint AS moved FROM ledger_legs WHERE amount_milli > 0"
        " GROUP BY currency ORDER BY currency"
    )
    broken = [
        Broken(
            f"transfer {row['transfer_id']} sums to {row['sum_milli']} in {row['currency']}"
            if row["currency"]
            else f"transfer {row['transfer_id']} has no legs",
            transfer_id=row["transfer_id"],
        )
        for row in unbalanced
    ]
    sums: dict[str, int] = {}
    for row in rows:
        account = row["account"]
        name = f"{account} in {row['currency']}"
        sums[row["currency"]] = sums.get(row["currency"], 0) + row["balance_milli"]
        if row["balance_milli"] != row["moved_milli"]:
            sentence = f"{name} holds {row['balance_milli']} but its transfers sum to {row['moved_milli']}"
            broken.append(Broken(sentence, account))
        if row["overdraft_milli"] is not None and row["balance_milli"] < -row["overdraft_milli"]:
            sentence = f"{name} is overdrawn by {-row['balance_milli']}, and may be by {row['overdraft_milli']}"
            broken.append(Broken(sentence, account))
    broken += [
        Broken(f"balances in {currency} sum to {total}, not to zero") for currency, total in sums.items() if total
    ]
    return LedgerProof(
        balanced=not broken,
        accounts=tuple(
            AccountProof(row["account"], row["currency"], row["balance_milli"], row["moved_milli"]) for row in rows
        ),
        broken=tuple(broken),
        transfers=await uow.connection.fetchval("SELECT count(*) FROM ledger_transfers"),
        moved_milli={row["currency"]: row["moved"] for row in moved},
    )


async def _check_repeats(uow: UnitOfWork, repeats: Iterable[Transfer]) -> None:
    """Raise TransferConflict unless each transfer was posted before exactly as it is now (its memo and time aside)."""
    wanted = {transfer.transfer_id: transfer for transfer in repeats}
    rows = await uow.connection.fetch(
        f"{_TRANSFERS} WHERE t.transfer_id = ANY($1) GROUP BY t.transfer_id",
        list(wanted),
    )
    for row in rows:
        earlier, now = _transfer(row), wanted[row["transfer_id"]]
        if (earlier.order_id, set(earlier.legs)) != (now.order_id, set(now.legs)):
            raise TransferConflict(now.transfer_id)


def _transfer(row: Mapping[str, Any]) -> Transfer:
    legs = zip(row["accounts"], row["currencies"], row["amounts"], strict=True)
    return Transfer(
        transfer_id=row["transfer_id"],
        order_id=row["order_id"],
        memo=row["memo"],
        at=row["at"],
        legs=tuple(Leg(account, currency, amount) for account, currency, amount in legs),
    )


def _insufficient(violation: asyncpg.CheckViolationError, transfers: Iterable[Transfer]) -> InsufficientFunds:
    """The leg named in PostgreSQL's "Failing row contains (account, currency, ..." (which cuts long names short)."""
    row = str(violation.detail or "").partition("(")[2]
    legs = [leg for transfer in transfers for leg in transfer.legs if leg.amount_milli < 0]
    guarded = [leg for leg in legs if not ledger.may_overdraw(leg.account)]
    named = [leg for leg in guarded if row.startswith(f"{leg.account}, {leg.currency},")]
    named = named or [leg for leg in guarded if row.startswith(leg.account[:60])] or guarded
    if not named:
        return InsufficientFunds("", "")
    return InsufficientFunds(named[0].account, named[0].currency, taken_milli=-named[0].amount_milli)
