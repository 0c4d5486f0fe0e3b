"""The buyer's dictionary: domain objects <-> wire messages. Nothing else in this shop knows how the wire looks.

Functions take and return `message` dicts (the part under "message"). Readers expect a message that has passed the
`accept` profile and raise WireRefusal for values nobody can trade on.
"""

from bap.translate.answers import (
    categories_from_wire,
    error_from_wire,
    rating_form_from_wire,
    reasons_from_wire,
    support_from_wire,
    tracking_from_wire,
)
from bap.translate.catalog import catalog_from_wire, offers_from_wire
from bap.translate.orders import order_from_wire, quote_from_wire
from bap.translate.outcomes import allocation_to_wire, dispute_to_wire, resolution_to_wire
from bap.translate.requests import (
    cancel_to_wire,
    confirm_to_wire,
    init_to_wire,
    rating_to_wire,
    search_to_wire,
    select_to_wire,
    status_to_wire,
    support_to_wire,
    track_to_wire,
    update_to_wire,
    wire_id,
)
from bap.translate.views import (
    AllocationView,
    CatalogView,
    DisputeView,
    FormView,
    OrderView,
    OutcomeView,
    QuoteView,
    ReasonView,
    ResolutionView,
    SettlementView,
    SupportView,
    TrackingView,
)
from schemas.values import WireRefusal

__all__ = [
    "AllocationView",
    "CatalogView",
    "DisputeView",
    "FormView",
    "OrderView",
    "OutcomeView",
    "QuoteView",
    "ReasonView",
    "ResolutionView",
    "SettlementView",
    "SupportView",
    "TrackingView",
    "WireRefusal",
    "allocation_to_wire",
    "cancel_to_wire",
    "catalog_from_wire",
    "categories_from_wire",
    "confirm_to_wire",
    "dispute_to_wire",
    "error_from_wire",
    "init_to_wire",
    "offers_from_wire",
    "order_from_wire",
    "quote_from_wire",
    "rating_form_from_wire",
    "rating_to_wire",
    "reasons_from_wire",
    "resolution_to_wire",
    "search_to_wire",
    "select_to_wire",
    "status_to_wire",
    "support_from_wire",
    "support_to_wire",
    "track_to_wire",
    "tracking_from_wire",
    "update_to_wire",
    "wire_id",
]
