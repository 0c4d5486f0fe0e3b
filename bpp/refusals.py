"""Everything this seller refuses for a business reason, after a letter was acknowledged.

One class for each thing asked; each refusal carries a code of BECKN-005 and a sentence that a person can act on. It
becomes the `error` of the callback and is logged as info: being refused is part of trading, not a fault.
"""

from __future__ import annotations

# Codes of BECKN-005, by what they mean here.
INVALID_REQUEST = "30000"
PROVIDER_NOT_FOUND = "30001"
ITEM_NOT_FOUND = "30004"
FULFILLMENT_UNAVAILABLE = "30008"
ORDER_NOT_FOUND = "30010"
INVALID_CANCELLATION_REASON = "30011"
UPDATE_INCONSISTENT = "30013"
ENTITY_NOT_FOUND = "30014"
INVALID_RATING = "30015"
NOT_APPLICABLE = "40001"
QUANTITY_UNAVAILABLE = "40002"
QUOTE_UNAVAILABLE = "40003"
CANCELLATION_IMPOSSIBLE = "50001"
UPDATE_IMPOSSIBLE = "50002"
CATEGORY_UNSUPPORTED = "50003"
SUPPORT_UNAVAILABLE = "50004"


class UnableTo(Exception):
    """The seller cannot do what a letter asks."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code, self.sentence = code, sentence


class UnableToQuote(UnableTo):
    """select: no price can be given for this."""


class UnableToHold(UnableTo):
    """init: the energy cannot be held."""


class UnableToConfirm(UnableTo):
    """confirm: there is no contract."""


class UnableToReport(UnableTo):
    """status: there is nothing to tell."""


class UnableToTrack(UnableTo):
    """track: there is nothing to follow."""


class UnableToUpdate(UnableTo):
    """update: the contract stays as it was."""


class UnableToCancel(UnableTo):
    """cancel: the contract stands."""


class UnableToRate(UnableTo):
    """rating: it was not kept."""


class UnableToSupport(UnableTo):
    """support: there is nobody to call."""


class UnableToCurtail(UnableTo):
    """The provider may not take back what it asks to."""


class UnableToDispute(UnableTo):
    """A person may not open or end a dispute so."""
