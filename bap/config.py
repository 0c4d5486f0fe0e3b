"""Settings that only the buyer's node has."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field

from books import periods
from books.policies import PolicySettings


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
