"""Prosumer's desk, providers: who sells here, what was earned, what buyers thought."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field

from api import meter_claims
from api.desk import Call, Desk
from api.paging import Id, ListOf, Name, Page, Strict
from api.problems import conflict
from api.series import InstantOut
from beckn.claims import EXPORT
from bpp.api_assets import MeterId
from bpp.scope import OPERATOR, PROSUMER, check_is_shop, check_own, find_provider, own_provider
from energy_catalog import matching
from store import custody, providers, transfers
from store.providers import StoredProvider
from trade import ledger

#: Decimals of a degree kept of a position, about 110 m: a cell that holds the house, not the house.
GPS_DECIMALS = 3


def _cell(gps: str) -> str:
    try:
        latitude, longitude = matching.position(gps)
    except matching.GpsInvalid as refusal:
        raise ValueError(f'{refusal}; send degrees such as "34.106, -117.435"') from refusal
    return f"{latitude:.{GPS_DECIMALS}f}, {longitude:.{GPS_DECIMALS}f}"


class ProviderIn(Strict):
    """A provider to be registered. Its position is rounded to a cell of about 110 m before it is kept."""

    provider_id: Id | None = Field(default=None, description="Chosen by us when left out")
    name: Name
    short_desc: Annotated[str, Field(max_length=500)] = ""
    image_url: Annotated[str, Field(max_length=2048, pattern=r"^(https?://\S+)?$")] = ""
    gps: Annotated[str, Field(max_length=60), AfterValidator(_cell)] = Field(description='"latitude, longitude"')
    meter_id: MeterId = Field(
        description="The meter whose export is sold, an mRID or der://meter/...; each meter has one provider"
    )
    code: str = Field(default="", max_length=1024, description="The utility's code that proves whose meter it is")


class ClaimIn(Strict):
    """The proof of ownership, where one is needed."""

    code: str = Field(default="", max_length=1024, description="The utility's code that proves whose meter it is")


class ProviderOut(BaseModel):
    """A provider as buyers see it."""

    provider_id: str
    name: str
    short_desc: str
    image_url: str
    gps: str
    meter_id: str
    rating: str = Field(description="Mean rating by buyers' nodes, 1 to 5; empty when nobody rated it")
    rating_count: int = Field(description="How many ratings that is")
    delivered_per_mille: int | None = Field(description="Delivered of what was contracted, in settled orders")
    settled: int = Field(description="Orders settled so far")


class BalanceItem(BaseModel):
    """What was earned in one currency and not paid out yet."""

    currency: str
    balance_milli: int


class BalanceOut(BaseModel):
    """What a provider has earned by settled orders and cancellation fees."""

    provider_id: str
    items: list[BalanceItem]


class RatingOut(BaseModel):
    """What a buyer's node thought."""

    rater_id: str
    category: str
    subject_id: str
    value: str
    at: InstantOut


async def create_provider(call: Call[ProviderIn]) -> ProviderOut:
    """Register a provider and its meter.

    A prosumer registers its own (the provider_id its token speaks for, and `<that>:<anything>` for further meters) with
    a code of its utility for each. 409 when the id or the meter is taken, here or at another node of the network, and
    at a utility's node, which sells nothing; 503 when the registry is silent; 422 for a code that is missing where one
    is needed, or proves nothing.
    """
    check_is_shop(call)
    body = call.body
    check_own(call, body.provider_id or "")
    provider = StoredProvider(
        provider_id=body.provider_id or str(uuid.uuid4()),
        name=body.name,
        short_desc=body.short_desc,
        image_url=body.image_url,
        gps=body.gps,
        meter_id=body.meter_id,
        rating="",
        rating_count=0,
        delivered_per_mille=None,
        settled=0,
    )
    async with call.node.database.unit_of_work() as uow:
        try:
            await providers.add(uow, provider, now=call.now)
        except providers.ProviderExists as taken:
            raise conflict(f"Another provider has this {taken.field}; choose another.", field=taken.field) from taken
        # Last before the commit: what is refused here is kept nowhere, and what is kept here is held at the registry.
        await meter_claims.register(call, body.meter_id, EXPORT, code=body.code)
    return ProviderOut(**provider)


async def list_providers(call: Call[None]) -> ListOf[ProviderOut]:
    """List providers; a prosumer sees its own."""
    own, query = own_provider(call), call.query
    async with call.node.database.unit_of_work() as uow:
        rows = await providers.list_for(uow, own=own, after=query.after, limit=query.limit)
    following = rows[-1]["provider_id"] if len(rows) == query.limit else None
    return ListOf[ProviderOut](items=[ProviderOut(**row) for row in rows], next=following)


async def get_provider(call: Call[None]) -> ProviderOut:
    """Show one provider."""
    async with call.node.database.unit_of_work() as uow:
        provider = await find_provider(call, uow, call.path["provider_id"])
    return ProviderOut.model_validate(provider, from_attributes=True)


async def release_meter(call: Call[None]) -> ProviderOut:
    """Let go of a provider's meter, so that it can be registered with another node; the provider sells no more here.

    409 while it has published offers or live orders. 503 when the registry is silent: nothing is sold from the meter
    here any more, and the call can be repeated to tell the registry.
    """
    async with call.node.database.unit_of_work() as uow:
        provider = await find_provider(call, uow, call.path["provider_id"])
        await custody.lock(uow, provider.provider_id)
        business = await custody.business_on(uow, provider.provider_id, now_trading=call.node.trading.now())
        if business:
            raise conflict(
                f"Provider '{provider.provider_id}' still has {business}; withdraw and finish them first.",
                field="provider_id",
            )
        await custody.release(uow, provider.provider_id, now=call.now)
    # Not before the commit: a meter that is free at the registry must not be for sale here, whatever happens between.
    await meter_claims.release(call.node.claims, provider.meter_id, EXPORT)
    return ProviderOut.model_validate(provider, from_attributes=True)


async def claim_meter(call: Call[ClaimIn]) -> ProviderOut:
    """Hold a provider's meter again after it was let go of; 409 when another node holds it now, 422 as at first."""
    async with call.node.database.unit_of_work() as uow:
        provider = await find_provider(call, uow, call.path["provider_id"])
        await custody.lock(uow, provider.provider_id)
        await custody.take_again(uow, provider.provider_id)
        await meter_claims.register(call, provider.meter_id, EXPORT, code=call.body.code)
    return ProviderOut.model_validate(provider, from_attributes=True)


async def get_balance(call: Call[None]) -> BalanceOut:
    """Show what a provider has earned, by currency."""
    async with call.node.database.unit_of_work() as uow:
        provider = await find_provider(call, uow, call.path["provider_id"])
        held = await transfers.balances(uow, ledger.provider_earnings(provider.provider_id))
    items = [BalanceItem(currency=currency, balance_milli=amount) for currency, amount in held.items()]
    return BalanceOut(provider_id=provider.provider_id, items=items)


async def list_ratings(call: Call[None]) -> ListOf[RatingOut]:
    """List the newest ratings of a provider and of what it sold."""
    async with call.node.database.unit_of_work() as uow:
        provider = await find_provider(call, uow, call.path["provider_id"])
        rows = await providers.ratings_of(uow, provider.provider_id, limit=call.query.limit)
    return ListOf[RatingOut](items=[RatingOut.model_validate(row, from_attributes=True) for row in rows], next=None)


class Newest(Strict):
    """Query of a list that shows its newest entries only."""

    limit: int = Field(default=50, ge=1, le=500)


def add_routes(desk: Desk) -> None:
    """Add the calls of this module."""
    tags: Any = ["providers"]
    one = "/api/providers/{provider_id}"
    desk.route("POST", "/api/providers", role=PROSUMER, body=ProviderIn, answer=ProviderOut, status=201, tags=tags)(
        create_provider
    )
    desk.route("GET", "/api/providers", role=PROSUMER, query=Page, answer=ListOf[ProviderOut], tags=tags)(
        list_providers
    )
    desk.route("GET", one, role=PROSUMER, answer=ProviderOut, tags=tags)(get_provider)
    desk.route("POST", f"{one}/meter/release", role=OPERATOR, answer=ProviderOut, tags=tags)(release_meter)
    desk.route("POST", f"{one}/meter/claim", role=OPERATOR, body=ClaimIn, answer=ProviderOut, tags=tags)(claim_meter)
    desk.route("GET", f"{one}/balance", role=PROSUMER, answer=BalanceOut, tags=tags)(get_balance)
    desk.route("GET", f"{one}/ratings", role=PROSUMER, query=Newest, answer=ListOf[RatingOut], tags=tags)(list_ratings)
