"""What the calls of consumer apps share: whose things they may see, waiting for a seller, refusals as HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from api.desk import Call
from api.problems import ApiError, conflict, not_found
from bap import letters
from bap.buyer import NotNow, Unfit
from bap.translate import WireRefusal
from store import customers, transfers
from store.db import UnitOfWork
from trade.money import amount_from_milli

#: Who may look: the app whose things they are, and the operator, who sees all.
READERS = ("app", "operator")


def visible_to(call: Call[Any]) -> str | None:
    """The token whose things the caller may see; None for operators, who see all."""
    return None if call.token.role == "operator" else call.token.token_id


async def find_account(call: Call[Any], uow: UnitOfWork) -> Mapping[str, Any]:
    """The account that the path names, if the caller may see it; 404 otherwise, also for another app's account."""
    account_id = call.path["account_id"]
    account = await customers.get(uow, account_id, token_id=visible_to(call))
    if account is None:
        raise not_found("account", account_id)
    return account


class Waiting:
    """Holds a request until something was nudged, as long as the caller wants to wait."""

    def __init__(self, queue: asyncio.Queue[Any], seconds: float) -> None:
        self._queue, self._seconds = queue, seconds

    async def until(self, is_enough: Callable[[Any], bool] = lambda payload: True) -> Any:
        """Wait until `is_enough` says so of a nudge's payload; the payload, or None when the time is over."""
        if not self._seconds:
            return None
        try:
            async with asyncio.timeout(self._seconds):
                while not is_enough(payload := await self._queue.get()):
                    pass
                return payload
        except TimeoutError:
            return None


@contextmanager
def waiting(call: Call[Any], channel: str) -> Iterator[Waiting]:
    """Listen from before the letter is sent, so that no answer can be too quick to be heard."""
    with call.node.listen(channel) as queue:
        yield Waiting(queue, call.wait.seconds)


@asynccontextmanager
async def reading(call: Call[Any]) -> AsyncIterator[UnitOfWork]:
    """A connection to look with: each statement by itself, nothing to commit."""
    async with call.node.database.connection() as connection:
        yield UnitOfWork(connection)


@asynccontextmanager
async def unit_of_work(call: Call[Any]) -> AsyncIterator[UnitOfWork]:
    """A unit of work whose foreseen refusals become HTTP answers."""
    try:
        async with call.node.database.unit_of_work() as uow:
            yield uow
    except Unfit as refusal:
        raise ApiError(422, refusal.sentence, field=refusal.field, limit=refusal.limit) from refusal
    except NotNow as refusal:
        raise conflict(refusal.sentence, field=refusal.field) from refusal
    except WireRefusal as refusal:
        raise ApiError(422, f"A seller would not understand this: {refusal}", field="body") from refusal
    except transfers.InsufficientFunds as refusal:
        raise await _payment_required(call, refusal) from refusal
    except letters.SellerUnknown as refusal:
        raise ApiError(
            503,
            f"The registry knows no seller '{refusal}' just now; check the id, or try again when it is back.",
            field="seller_id",
            headers={"Retry-After": "5"},
        ) from refusal


async def _payment_required(call: Call[Any], short: transfers.InsufficientFunds) -> ApiError:
    """402 that says, in the order's own currency, what the wallet holds and what would be reserved."""
    async with reading(call) as uow:
        held = await transfers.balances(uow, short.account)
    shown = amount_from_milli(held.get(short.currency, 0), short.currency)
    needed = amount_from_milli(short.taken_milli, short.currency)
    return ApiError(
        402,
        f"The wallet holds {shown} {short.currency} and this would reserve {needed}; deposit more and try again.",
        field="account_id",
        more={"balance_milli": held, "currency": short.currency, "needed_milli": short.taken_milli},
    )
