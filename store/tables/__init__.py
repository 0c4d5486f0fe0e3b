"""Every table of every node, as SQLModel classes: the one declaration the migrations are proven against.

Each node has its own database; one history serves all, and tables a node does not use stay empty. Tables never check
input (a `table=True` model does not validate). The nodes' hot paths speak asyncpg and never import this module.
"""

from store.tables.consumers import CustomerAccount, Event, Search, SearchOffer, Webhook, WebhookDelivery
from store.tables.letters import ClockState, DirectoryRecord, DirectoryState, Inbox, Outbox
from store.tables.market import (
    AssetRow,
    LedgerAccount,
    LedgerTransfer,
    OfferRow,
    OrderRow,
    ProviderRow,
    Rating,
    Reading,
)
from store.tables.members import Audit, GatewaySearch, IdempotencyKey, RegistryChange, Subscription, Token

__all__ = [
    "AssetRow",
    "Audit",
    "ClockState",
    "CustomerAccount",
    "DirectoryRecord",
    "DirectoryState",
    "Event",
    "GatewaySearch",
    "IdempotencyKey",
    "Inbox",
    "LedgerAccount",
    "LedgerTransfer",
    "OfferRow",
    "OrderRow",
    "Outbox",
    "ProviderRow",
    "Rating",
    "Reading",
    "RegistryChange",
    "Search",
    "SearchOffer",
    "Subscription",
    "Token",
    "Webhook",
    "WebhookDelivery",
]
