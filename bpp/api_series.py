"""A contract's series, for the provider whose order it is."""

from __future__ import annotations

from api.contract_series import ContractSeriesOut
from api.desk import Call, Desk
from api.problems import not_found
from bpp.scope import PROSUMER, check_own
from store import orders


def add_routes(desk: Desk) -> None:
    """Give the desk the call for a contract's series."""

    @desk.route("GET", "/api/orders/{order_id}/series", role=PROSUMER, answer=ContractSeriesOut, tags=["orders"])
    async def get_series(call: Call[None]) -> ContractSeriesOut:
        """Show the order as one OpenADR-3.1-shaped series that grows with its life, from price to final allocation."""
        async with call.node.database.unit_of_work() as uow:
            order = await orders.get(uow, call.path["order_id"])
        if order is None:
            raise not_found("order", call.path["order_id"])
        check_own(call, order.provider_id)
        return ContractSeriesOut.of(order)
