"""Settings that only the buyer's node has."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from books.payments import PaymentProvider, Stripe
from books.policies import PolicySettings
from trade import periods


class BuyerSettings(PolicySettings):
    """How long a buyer waits for its sellers, beside what every node needs to know."""

    #: How long a seller may take to answer a select before the draft ends, seconds.
    quote_answer_s_max: float = Field(default=30.0, ge=1, le=3600)
    #: How long a seller may take to answer an init before the draft ends, seconds.
    hold_answer_s_max: float = Field(default=60.0, ge=1, le=3600)
    #: How long a seller may take to answer a confirm, cancel or update before it is asked for the order's status,
    #: seconds; the pauses between further questions double.
    contract_answer_s_max: float = Field(default=60.0, ge=1, le=3600)
    #: How long after its last slot (trading clock) an order may stay unsettled before the seller is asked, seconds.
    settle_late_s: float = Field(default=86_400.0, ge=60, le=30 * 86_400)
    #: How long a standing order's run waits for offers before it chooses, seconds.
    standing_offers_s: float = Field(default=10.0, ge=0, le=600)

    #: The IANA zone of invoices' months, and of statements that name none.
    billing_zone: Annotated[str, AfterValidator(periods.zone_name)] = "UTC"

    # --- Deposits by a payment provider; off unless all of these are given ----------------------------------------
    #: Secret key of Stripe's API (sk_...).
    stripe_api_key: str = Field(default="", repr=False)
    #: Secret of the webhook endpoint POST /api/payments/stripe/webhook (whsec_...).
    stripe_webhook_secret: str = Field(default="", repr=False)
    #: Where a payer's browser goes after paying, and after giving up.
    stripe_success_url: str = ""
    stripe_cancel_url: str = ""
    #: Stripe's API.
    stripe_api_url: str = Field(default="https://api.stripe.com", pattern=r"^https?://\S+$")

    @model_validator(mode="after")
    def _stripe_is_whole(self) -> Self:
        given = {
            "STRIPE_API_KEY": self.stripe_api_key,
            "STRIPE_WEBHOOK_SECRET": self.stripe_webhook_secret,
            "STRIPE_SUCCESS_URL": self.stripe_success_url,
            "STRIPE_CANCEL_URL": self.stripe_cancel_url,
        }
        missing = [name for name, value in given.items() if not value]
        if missing and len(missing) < len(given):
            raise ValueError(f"{missing[0]} is missing; payments need all of {', '.join(given)}, or none")
        return self

    @cached_property
    def payments(self) -> PaymentProvider | None:
        """The payment provider that takes deposits; None without one."""
        if not self.stripe_api_key:
            return None
        return Stripe(
            api_key=self.stripe_api_key,
            webhook_secret=self.stripe_webhook_secret,
            success_url=self.stripe_success_url,
            cancel_url=self.stripe_cancel_url,
            api_url=self.stripe_api_url,
        )

    @property
    def quote_wait(self) -> timedelta:
        """QUOTE_ANSWER_S_MAX."""
        return timedelta(seconds=self.quote_answer_s_max)

    @property
    def hold_wait(self) -> timedelta:
        """HOLD_ANSWER_S_MAX."""
        return timedelta(seconds=self.hold_answer_s_max)

    @property
    def contract_wait(self) -> timedelta:
        """CONTRACT_ANSWER_S_MAX."""
        return timedelta(seconds=self.contract_answer_s_max)
