"""Settings of a seller's node, beside those that every node has."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from books.policies import PolicySettings
from trade import periods


class SellerSettings(PolicySettings):
    """What a seller's node needs to know."""

    #: Phone number that buyers are given for help, E.164 such as +15550100; empty: none.
    support_phone: str = Field(default="", pattern=r"^(\+[1-9]\d{1,14})?$")
    #: E-mail address that buyers are given for help; empty: none.
    support_email: str = Field(default="", max_length=254, pattern=r"^([^@\s]+@[^@\s]+)?$")
    #: Page that buyers are given for help; empty: none.
    support_url: str = Field(default="", max_length=2048, pattern=r"^(https?://\S+)?$")
    #: The IANA zone of statements that name none.
    billing_zone: Annotated[str, AfterValidator(periods.zone_name)] = "UTC"
    #: Offers that one on_search shows at most, the cheapest first.
    catalog_offers_max: int = Field(default=200, ge=1, le=2000)
    #: Offers that one search considers at most, those with the lowest prices first.
    search_offers_max: int = Field(default=5000, ge=1, le=100_000)
    #: Orders or meters that one job handles in one unit of work at most.
    job_batch_max: int = Field(default=50, ge=1, le=1000)
    #: Whether this node is a utility: it carries trades over its grid, and sells nothing.
    utility: bool = False
    #: What the utility is called in its letters; empty: its subscriber id.
    utility_name: str = Field(default="", max_length=200)
    #: Subscriber id of the utility that must carry every order sold here; empty: none is asked.
    utility_id: str = Field(default="", max_length=255, pattern=r"^[A-Za-z0-9._:-]*$")
    #: How long a code of ownership that this utility gives out is good, days.
    utility_code_days: int = Field(default=14, ge=1, le=365)
    #: How long a buyer's init waits for the utility before it is refused, seconds.
    utility_answer_s_max: float = Field(default=10.0, ge=0.5, le=300)
    #: How often a silent utility is asked again whether it carries a confirmed order, seconds.
    utility_chase_every_s: float = Field(default=5.0, ge=0.1, le=600)
    #: How often it is looked whether a question to the utility has waited long enough, seconds.
    utility_look_every_s: float = Field(default=1.0, ge=0.1, le=60)
    #: How often expired quotes are released, seconds.
    expire_every_s: float = Field(default=1.0, ge=0.1, le=60)
    #: How often deliveries are started and settled, seconds (on a driven clock also whenever it moves).
    deliver_every_s: float = Field(default=5.0, ge=0.1, le=600)

    @property
    def trusted_utilities(self) -> frozenset[str]:
        """The utilities whose codes of ownership count here: those named, and the one that is asked."""
        return super().trusted_utilities | frozenset(filter(None, [self.utility_id]))

    @model_validator(mode="after")
    def _utility_asks_nobody(self) -> Self:
        if self.utility and self.utility_id:
            raise ValueError("UTILITY and UTILITY_ID exclude each other: a utility carries trades itself")
        return self
