"""A contract's series, for the app whose order it is."""

from __future__ import annotations

from api.contract_series import ContractSeriesOut
from api.desk import Call, Desk
from api.problems import not_found
from bap.api_calls import READERS, reading, visible_to
from store import buyer_orders


def add_routes(desk: Desk) -> None:
    """Give the desk the call for a contract's series."""

    @desk.route("GET", "/api/orders/{order_id}/series", role=READERS, answer=ContractSeriesOut, tags=["orders"])
    async def get_series(call: Call[None]) -> ContractSeriesOut:
        """Show the order as one OpenADR-3.1-shaped series that grows with its life, from price to final allocation."""
        async with reading(call) as uow:
            order = await buyer_orders.get(uow, call.path["order_id"], token_id=visible_to(call))
        if order is None:
            raise not_found("order", call.path["order_id"])
        return ContractSeriesOut.of(order)
