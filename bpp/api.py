"""The seller's JSON API: what prosumers and the operator do here. Each desk is a module of its own."""

from __future__ import annotations

from functools import partial

from aiohttp import web

from api import ledger, policies
from api.desk import Desk
from bpp import (
    api_assets,
    api_bank,
    api_disputes,
    api_indices,
    api_meters,
    api_offers,
    api_orders,
    api_providers,
    api_series,
    api_statements,
    api_utility,
    casework,
)
from bpp.shop import Shop


def mount(app: web.Application, shop: Shop) -> None:
    """Register the API on the node's application."""
    desk = Desk(
        title="Seller's node",
        version="1.0",
        description="Providers, their offers, what their meters measured, and what was sold. Energy in Wh, money in"
        " thousandths of a minor unit (125000 is 1.25 USD); slots, gates and settlement follow the trading clock.",
    )
    api_providers.add_routes(desk)
    api_assets.add_routes(desk)
    api_offers.add_routes(desk)
    api_indices.add_routes(desk)
    api_meters.Meters(partial(casework.settle_meter, shop)).add_routes(desk)
    api_orders.Orders(shop).add_routes(desk)
    api_disputes.Disputes(shop).add_routes(desk)
    api_series.add_routes(desk)
    api_statements.add_routes(desk)
    if shop.settings.utility:
        api_utility.Utilities(shop).add_routes(desk)
    policies.add_routes(desk)
    ledger.add_routes(desk)
    api_bank.add_routes(desk)
    desk.mount(app, shop.node)
