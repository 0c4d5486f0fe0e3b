"""The JSON API of the buyer's node, for consumer apps: accounts, searches, orders, questions, webhooks.

Calls that ask a seller answer 202 at once with what is known; with `Prefer: wait=N` they hold until the seller's answer
has been worked on, N seconds at most, and answer the same document, only newer. Nobody polls: the wait is ended by a
nudge from the handler of the callback.
"""

from __future__ import annotations

from api import ledger, policies, webhooks
from api.desk import Desk
from bap import (
    api_accounts,
    api_bank,
    api_disputes,
    api_meters,
    api_orders,
    api_payments,
    api_searches,
    api_sellers,
    api_series,
    api_standing,
    api_statements,
)

VERSION = "1.1.0"
_DESCRIPTION = """Buy energy from people: search, choose, confirm, and pay for what was delivered.

Make an account for each consumer, let the operator pay into its wallet, search, and take an order through
`orders` -> `init` -> `confirm`. Everything that happens to a search or an order is an event: read them as a stream
(`.../events`), or have them posted to a webhook. Amounts named `_milli` are whole thousandths of a minor
unit (125000 is 1.25 USD), those named `_minor` whole minor units, as banks move them; energy is whole watt-hours."""


def build() -> Desk:
    """The route table of this node."""
    desk = Desk(title="PowerShare buyer's node", version=VERSION, description=_DESCRIPTION)
    api_accounts.add_routes(desk)
    api_bank.add_routes(desk)
    api_payments.add_routes(desk)
    api_meters.add_routes(desk)
    api_searches.add_routes(desk)
    api_orders.add_routes(desk)
    api_disputes.add_routes(desk)
    api_standing.add_routes(desk)
    api_statements.add_routes(desk)
    api_sellers.add_routes(desk)
    api_series.add_routes(desk)
    policies.add_routes(desk)
    ledger.add_routes(desk)
    webhooks.add_routes(desk)
    return desk
