"""Deposits by a payment provider: a page to pay on, and the provider's word that it was paid."""

from __future__ import annotations

import uuid
from typing import Any

import structlog
from pydantic import BaseModel, Field

from api.desk import Call, Desk
from api.paging import ListOf, Page, Strict
from api.problems import ApiError
from api.series import InstantOut
from bap.api_calls import READERS, find_account, reading
from bap.api_models import AmountMinor, Currency
from books import deposits
from books.payments import EventRefused, PaymentEvent, PaymentProvider, PaymentRefused
from store import customers, payments
from store.db import UnitOfWork
from trade import bank_transfers, ledger

log = structlog.get_logger("bap.payments")
_TAGS = ["payments"]
#: Events are a few kilobytes.
EVENT_BYTES_MAX = 262_144


class PaymentIn(Strict):
    """A deposit to be paid by card or the like, in minor units; in the account's currency unless another is named."""

    amount_minor: AmountMinor
    currency: Currency | None = None


class PaymentOut(BaseModel):
    """A payment: send its payer to `url`. OPEN until the provider says PAID, FAILED or EXPIRED."""

    session_id: str
    amount_minor: int
    currency: str
    url: str
    state: str
    created_at: InstantOut
    finished_at: InstantOut | None


class ReceivedOut(BaseModel):
    """The provider's event is taken in."""

    received: bool
    known: bool = Field(description="True when it was told before")


def add_routes(desk: Desk) -> None:
    """Give the desk the calls about payments."""
    _add_payments(desk)
    _add_webhook(desk)


def _add_payments(desk: Desk) -> None:
    @desk.route(
        "POST",
        "/api/accounts/{account_id}/payments",
        role="app",
        body=PaymentIn,
        answer=PaymentOut,
        status=201,
        tags=_TAGS,
    )
    async def start_payment(call: Call[PaymentIn]) -> PaymentOut:
        """Get a page on which a consumer pays a deposit.

        The wallet is credited when the provider's signed word comes, not when the payer returns. 409 on a node without
        a payment provider, 502 when the provider refuses.
        """
        provider = _provider(call)
        async with reading(call) as uow:
            account = await find_account(call, uow)
        amount_minor, currency = call.body.amount_minor, call.body.currency or account["currency"]
        account_id = account["account_id"]
        try:
            started = await provider.start(
                account_id=account_id, amount_minor=amount_minor, currency=currency, key=str(uuid.uuid4())
            )
        except PaymentRefused as refusal:
            raise ApiError(502, str(refusal), field="amount_minor") from refusal
        async with call.node.database.unit_of_work() as uow:
            await payments.insert(
                uow,
                session_id=started.session_id,
                account_id=account_id,
                amount_minor=amount_minor,
                currency=currency,
                url=started.url,
                now=call.now,
            )
        return PaymentOut(
            session_id=started.session_id,
            amount_minor=amount_minor,
            currency=currency,
            url=started.url,
            state="OPEN",
            created_at=call.now,
            finished_at=None,
        )

    @desk.route(
        "GET", "/api/accounts/{account_id}/payments", role=READERS, query=Page, answer=ListOf[PaymentOut], tags=_TAGS
    )
    async def list_payments(call: Call[None]) -> ListOf[PaymentOut]:
        """List an account's newest payments by a payment provider."""
        async with reading(call) as uow:
            account = await find_account(call, uow)
            rows = await payments.of_account(uow, account["account_id"], limit=call.query.limit)
        return ListOf[PaymentOut](
            items=[PaymentOut.model_validate(row, from_attributes=True) for row in rows], next=None
        )


def _add_webhook(desk: Desk) -> None:
    @desk.route(
        "POST",
        "/api/payments/stripe/webhook",
        role=None,
        answer=ReceivedOut,
        tags=_TAGS,
        body_bytes_max=EVENT_BYTES_MAX,
    )
    async def hear_stripe(call: Call[None]) -> ReceivedOut:
        """Take in what Stripe tells of payments.

        Proven by `Stripe-Signature` (HMAC-SHA256 under the endpoint's secret, at most five minutes old); each event
        counts once, and each payment is one deposit. 400 for what is not proven.
        """
        provider = _provider(call)
        try:
            event = provider.read_event(call.raw, call.request.headers, now=call.now)
        except EventRefused as refusal:
            raise ApiError(400, str(refusal), field="Stripe-Signature") from refusal
        async with call.node.database.unit_of_work() as uow:
            account = await customers.get(uow, event.account_id, token_id=None) if event.state == "PAID" else None
            outcome = event.state if account or event.state != "PAID" else "NO_SUCH_ACCOUNT"
            if not await payments.take_event(uow, event.event_id, kind=event.kind, outcome=outcome, now=call.now):
                return ReceivedOut(received=True, known=True)
            if account:
                await _credit(uow, provider, event, call)
            if event.state:
                await payments.finish(uow, event.session_id, state=event.state, now=call.now)
        if outcome == "NO_SUCH_ACCOUNT":
            log.warning("payment_for_nobody", session_id=event.session_id, account_id=event.account_id)
        return ReceivedOut(received=True, known=False)


async def _credit(uow: UnitOfWork, provider: PaymentProvider, event: PaymentEvent, call: Call[Any]) -> None:
    """One deposit for a payment, named by its session: two events of one payment are the same transfer."""
    wallet = ledger.wallet(event.account_id)
    paid_in = bank_transfers.paid_in(
        transfer_id=f"{provider.name}/{event.session_id}",
        account=wallet,
        amount_minor=event.amount_minor,
        currency=event.currency,
        memo=f"{provider.name} {event.session_id}"[:140],
        at=call.node.trading.now(),
    )
    await deposits.post(uow, paid_in, account=wallet)


def _provider(call: Call[Any]) -> PaymentProvider:
    provider: PaymentProvider | None = call.node.settings.payments
    if provider is None:
        raise ApiError(
            409,
            "This node has no payment provider; the operator sets STRIPE_API_KEY and what belongs to it.",
            field="path",
        )
    return provider
