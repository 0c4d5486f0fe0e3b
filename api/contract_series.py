"""How either node's JSON API shows a contract's series, in the shape of OpenADR 3.1."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from trade import contract_series, policy
from trade.order import Order


class ContractSeriesOut(BaseModel):
    """A contract as one series: price, energy asked for and taken back, allocations, final. Energy in kWh."""

    order_id: str
    policy: str = Field(description="The policy it is settled by")
    policy_digest: str
    intervalPeriod: dict[str, str] = Field(description="Start of the first interval (UTC) and length of each")
    payloadDescriptors: list[dict[str, str]] = Field(description="What each payload type is, and who says it")
    intervals: list[dict[str, Any]] = Field(description="For each slot its id and the payloads known by now")

    @classmethod
    def of(cls, order: Order) -> ContractSeriesOut:
        """From the rules' order."""
        return cls.model_construct(
            order_id=order.order_id,
            policy=order.policy.id,
            policy_digest=policy.digest(order.policy),
            **contract_series.document(order),
        )
