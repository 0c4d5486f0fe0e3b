"""The seller's dictionary: wire messages <-> domain objects. Nothing else in this shop knows how the wire looks.

Functions take and return `message` dicts (the part under "message"). Readers expect a message that has passed the
`accept` profile and raise WireRefusal, which a handler turns into an error callback with `refusal_to_wire`.
"""

from bpp.translate.answers import (
    categories_to_wire,
    feedback_to_wire,
    reasons_to_wire,
    refusal_to_wire,
    support_to_wire,
    tracking_to_wire,
)
from bpp.translate.catalog import catalog_to_wire
from bpp.translate.orders import order_to_wire, quote_to_wire
from bpp.translate.requests import (
    RATING_CATEGORIES,
    cancel_from_wire,
    intent_from_wire,
    rating_from_wire,
    selection_from_wire,
    status_from_wire,
    support_from_wire,
    total_from_wire,
    track_from_wire,
    update_from_wire,
)
from bpp.translate.views import (
    AllocationNotice,
    CancelRequest,
    DisputeNotice,
    PaymentView,
    RatingRequest,
    ResolutionNotice,
    Selection,
    SupportRequest,
    UpdateNotice,
    UpdateRequest,
)
from schemas.values import WireRefusal

__all__ = [
    "RATING_CATEGORIES",
    "AllocationNotice",
    "CancelRequest",
    "DisputeNotice",
    "PaymentView",
    "RatingRequest",
    "ResolutionNotice",
    "Selection",
    "SupportRequest",
    "UpdateNotice",
    "UpdateRequest",
    "WireRefusal",
    "cancel_from_wire",
    "catalog_to_wire",
    "categories_to_wire",
    "feedback_to_wire",
    "intent_from_wire",
    "order_to_wire",
    "quote_to_wire",
    "rating_from_wire",
    "reasons_to_wire",
    "refusal_to_wire",
    "selection_from_wire",
    "status_from_wire",
    "support_from_wire",
    "support_to_wire",
    "total_from_wire",
    "track_from_wire",
    "tracking_to_wire",
    "update_from_wire",
]
