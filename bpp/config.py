"""Settings of a seller's node, beside those that every node has."""

from __future__ import annotations

from pydantic import Field

from books.policies import PolicySettings


class SellerSettings(PolicySettings):
    """What a seller's node needs to know."""

    #: Phone number that buyers are given for help, E.164 such as +15550100; empty: none.
    support_phone: str = Field(default="", pattern=r"^(\+[1-9]\d{1,14})?$")
    #: E-mail address that buyers are given for help; empty: none.
    support_email: str = Field(default="", max_length=254, pattern=r"^([^@\s]+@[^@\s]+)?$")
    #: Page that buyers are given for help; empty: none.
    support_url: str = Field(default="", max_length=2048, pattern=r"^(https?://\S+)?$")
    #: Offers that one on_search shows at most, the cheapest first.
    catalog_offers_max: int = Field(default=200, ge=1, le=2000)
    #: Offers that one search considers at most, those with the lowest prices first.
    search_offers_max: int = Field(default=5000, ge=1, le=100_000)
    #: Orders or meters that one job handles in one unit of work at most.
    job_batch_max: int = Field(default=50, ge=1, le=1000)
    #: How often expired quotes are released, seconds.
    expire_every_s: float = Field(default=1.0, ge=0.1, le=60)
    #: How often deliveries are started and settled, seconds (on a driven clock also whenever it moves).
    deliver_every_s: float = Field(default=5.0, ge=0.1, le=600)
