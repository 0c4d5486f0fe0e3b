"""Every table of every node, as SQLModel classes: the one declaration the migrations are proven against.

Each node has its own database; one history serves all, and tables a node does not use stay empty. Tables never check
input (a `table=True` model does not validate). The nodes' hot paths speak asyncpg and never import this module.
"""

from store.tables.consumers import CustomerAccount, Event, Search, SearchOffer, Webhook, WebhookDelivery
from store.tables.ledger import (
    BankEntry,
    LedgerAccount,
    LedgerLeg,
    LedgerTransfer,
    PaymentEvent,
    PaymentSession,
    Payout,
)
from store.tables.letters import ClockState, DirectoryRecord, DirectoryState, Inbox, Outbox
from store.tables.market import (
    AssetRow,
    IndexPoint,
    IndexRow,
    MeterLimit,
    OfferRow,
    OrderRow,
    ProviderRow,
    Rating,
)
from store.tables.members import (
    Audit,
    GatewaySearch,
    IdempotencyKey,
    MeterClaim,
    MeterProof,
    MeterSalt,
    RegistryChange,
    Subscription,
    Token,
)
from store.tables.metering import MeterImport, MeterImportChunk, Reading
from store.tables.settling import MeterRead
from store.tables.standing import Invoice, StandingOrder, StandingRun
from store.tables.utility import (
    ReleasedMeter,
    UtilityCode,
    UtilityMeter,
    UtilityQuestion,
    UtilityTrade,
    UtilityUsage,
)

__all__ = [
    "AssetRow",
    "Audit",
    "BankEntry",
    "ClockState",
    "CustomerAccount",
    "DirectoryRecord",
    "DirectoryState",
    "Event",
    "GatewaySearch",
    "IdempotencyKey",
    "Inbox",
    "IndexPoint",
    "IndexRow",
    "Invoice",
    "LedgerAccount",
    "LedgerLeg",
    "LedgerTransfer",
    "MeterClaim",
    "MeterImport",
    "MeterImportChunk",
    "MeterLimit",
    "MeterProof",
    "MeterRead",
    "MeterSalt",
    "OfferRow",
    "OrderRow",
    "Outbox",
    "PaymentEvent",
    "PaymentSession",
    "Payout",
    "ProviderRow",
    "Rating",
    "Reading",
    "RegistryChange",
    "ReleasedMeter",
    "Search",
    "SearchOffer",
    "StandingOrder",
    "StandingRun",
    "Subscription",
    "Token",
    "UtilityCode",
    "UtilityMeter",
    "UtilityQuestion",
    "UtilityTrade",
    "UtilityUsage",
    "Webhook",
    "WebhookDelivery",
]
