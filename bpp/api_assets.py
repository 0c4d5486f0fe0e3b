"""Prosumer's desk, assets: what stands behind the meter, and the grid connection that limits what it may export."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, JsonValue, StrictInt

from api.desk import Call, Desk
from api.paging import Id, ListOf, Name, Page, Strict
from api.problems import ApiError, conflict, not_found
from api.series import InstantOut
from bpp import shelf
from bpp.scope import OPERATOR, PROSUMER, check_own, find_provider
from energy_catalog import assets as rules
from energy_catalog.assets import FIGURES, Asset, AssetInvalid, AssetKind
from store import assets, meter_limits
from store.assets import AssetExists
from store.meter_limits import LimitBelowTaken
from trade.meter_ids import MeterIdRefused, bare_meter_id

_TAGS = ["assets"]


def meter_id_in(text: str) -> str:
    """A meter's id in a request, as it is stored."""
    try:
        return bare_meter_id(text)
    except MeterIdRefused as refusal:
        raise ValueError(str(refusal)) from refusal


MeterId = Annotated[
    str,
    Field(min_length=1, max_length=140, description="IEEE 2030.5 mRID, der://meter/..., or the utility's own number"),
    AfterValidator(meter_id_in),
]
Details = Annotated[
    dict[str, JsonValue],
    Field(max_length=20, description="The figures of its kind: GET /api/asset-kinds lists them"),
]
Watts = Annotated[StrictInt, Field(description="W")]
Position = Annotated[str, Field(max_length=60, description='Exact "latitude, longitude"; shown to its owner alone')]


class AssetIn(Strict):
    """A thing behind the meter; `meter_id` is that of its provider when left out."""

    asset_id: Id | None = Field(default=None, description="Chosen by us when left out")
    kind: AssetKind
    name: Name
    rating_w: Watts = Field(description="Rated power, W")
    meter_id: MeterId | None = None
    gps: Position = ""
    sanctioned_load_w: Watts | None = Field(default=None, description="What the utility granted the premises, W")
    details: Details = Field(default_factory=dict)


class AssetChange(Strict):
    """What shall be different; what is left out stays. `details` replaces all figures of its kind."""

    name: Name | None = None
    rating_w: Watts | None = None
    gps: Position | None = None
    sanctioned_load_w: Watts | None = None
    details: Details | None = None


class AssetOut(BaseModel):
    """A thing behind the meter."""

    asset_id: str
    provider_id: str
    meter_id: str
    kind: str
    name: str
    rating_w: int
    gps: str
    sanctioned_load_w: int | None
    details: dict[str, Any]
    created_at: InstantOut
    retired_at: InstantOut | None


class FigureOut(BaseModel):
    """One figure of a kind of asset."""

    name: str
    meaning: str
    allowed: str
    is_needed: bool


class KindOut(BaseModel):
    """A kind of asset and its figures."""

    kind: str
    figures: list[FigureOut]


async def list_kinds(call: Call[None]) -> ListOf[KindOut]:
    """List the kinds of asset and the figures each may have, with units and limits."""
    kinds = [
        KindOut(
            kind=kind,
            figures=[FigureOut(name=f.name, meaning=f.meaning, allowed=f.allowed, is_needed=f.is_needed) for f in all_],
        )
        for kind, all_ in FIGURES.items()
    ]
    return ListOf[KindOut](items=kinds, next=None)


async def create_asset(call: Call[AssetIn]) -> AssetOut:
    """Add an asset to a provider.

    A GRID_CONNECTION is the operator's to add: from then on its meter exports no more than `export_limit_w`, whatever
    is sold from it. 409 when the id is taken, the meter has a connection, or more is sold already.
    """
    body = call.body
    async with call.node.database.unit_of_work() as uow:
        provider = await find_provider(call, uow, call.path["provider_id"])
        asset = Asset(
            asset_id=body.asset_id or str(uuid.uuid4()),
            provider_id=provider.provider_id,
            meter_id=body.meter_id or provider.meter_id,
            kind=body.kind,
            name=body.name,
            rating_w=body.rating_w,
            gps=body.gps,
            sanctioned_load_w=body.sanctioned_load_w,
            details=body.details,
            created_at=call.now,
        )
        if asset.kind is AssetKind.GRID_CONNECTION and asset.meter_id != provider.meter_id:
            raise ApiError(
                422,
                f"'meter_id' is refused: a grid connection is that of its provider's meter, '{provider.meter_id}'.",
                field="meter_id",
            )
        _check(call, asset)
        try:
            await assets.add(uow, shelf.stored_asset(asset))
        except AssetExists as taken:
            raise _taken(taken) from taken
        await _keep_limit(call, uow, asset)
    return _shown(asset)


async def change_asset(call: Call[AssetChange]) -> AssetOut:
    """Change an asset's name, ratings, position or figures.

    A lower `export_limit_w` is refused (409) while more than that is held or sold in a slot to come.
    """
    said = call.body.model_dump(exclude_none=True)
    async with call.node.database.unit_of_work() as uow:
        asset = await _lock_own(call, uow)
        if asset.retired_at is not None:
            raise conflict(f"Asset '{asset.asset_id}' is retired; add a new one.", field="asset_id")
        changed = replace(asset, **said)
        _check(call, changed)
        await assets.save(uow, shelf.stored_asset(changed))
        if changed.export_limit_w != asset.export_limit_w:
            await _keep_limit(call, uow, changed)
    return _shown(changed)


async def retire_asset(call: Call[None]) -> AssetOut:
    """Take an asset out of use; a retired grid connection limits no more.

    409 while a published offer of it has slots to come.
    """
    async with call.node.database.unit_of_work() as uow:
        asset = await _lock_own(call, uow)
        if asset.retired_at is None:
            if await assets.is_on_sale(uow, asset.asset_id, call.node.trading.now()):
                raise conflict(
                    f"Asset '{asset.asset_id}' has offers with slots to come; withdraw them first.", field="asset_id"
                )
            _check_may(call, asset.kind)
            if asset.export_limit_w is not None:
                await meter_limits.drop_limit(uow, asset.meter_id)
            asset = replace(asset, retired_at=call.now)
            await assets.save(uow, shelf.stored_asset(asset))
    return _shown(asset)


async def get_asset(call: Call[None]) -> AssetOut:
    """Show one asset."""
    async with call.node.database.unit_of_work() as uow:
        stored = await assets.get(uow, call.path["asset_id"])
    if stored is None:
        raise not_found("asset", call.path["asset_id"])
    check_own(call, stored.provider_id)
    return _shown(shelf.asset_of(stored))


async def list_assets(call: Call[None]) -> ListOf[AssetOut]:
    """List a provider's assets, retired ones, too."""
    async with call.node.database.unit_of_work() as uow:
        provider = await find_provider(call, uow, call.path["provider_id"])
        rows = await assets.of_provider(uow, provider.provider_id, after=call.query.after, limit=call.query.limit)
    following = rows[-1].asset_id if len(rows) == call.query.limit else None
    return ListOf[AssetOut](items=[_shown(shelf.asset_of(row)) for row in rows], next=following)


async def _lock_own(call: Call[Any], uow: Any) -> Asset:
    stored = await assets.lock(uow, call.path["asset_id"])
    if stored is None:
        raise not_found("asset", call.path["asset_id"])
    check_own(call, stored.provider_id)
    return shelf.asset_of(stored)


def _check_may(call: Call[Any], kind: AssetKind) -> None:
    """What the grid allows is the utility's word, not the prosumer's."""
    if kind is AssetKind.GRID_CONNECTION and call.token.role != OPERATOR:
        raise ApiError(
            403,
            "A grid connection is kept by the operator, for it says what the utility allows; ask the operator.",
            field="Authorization",
        )


def _check(call: Call[Any], asset: Asset) -> None:
    _check_may(call, asset.kind)
    try:
        rules.check_asset(asset)
    except AssetInvalid as refusal:
        raise unfit(refusal) from refusal


async def _keep_limit(call: Call[Any], uow: Any, asset: Asset) -> None:
    """Have the database guard the connection's limit; raises ApiError 409 when more is taken already."""
    if asset.export_limit_w is None:
        return
    try:
        await meter_limits.set_limit(
            uow,
            asset.meter_id,
            export_w=asset.export_limit_w,
            now_trading=call.node.trading.now(),
            now_wall=call.now,
        )
    except LimitBelowTaken as refusal:
        raise conflict(
            f"'details.export_limit_w' is refused: {refusal}; curtail first, or allow more.",
            field="details.export_limit_w",
        ) from refusal


def unfit(refusal: AssetInvalid) -> ApiError:
    """A refusal of the rules as a JSON API gives it."""
    return ApiError(422, f"'{refusal.field}' is refused: {refusal.sentence}.", field=refusal.field, limit=refusal.limit)


def _taken(taken: AssetExists) -> ApiError:
    if taken.field == "kind":
        return conflict("This meter has a grid connection already; change or retire that one.", field="kind")
    return conflict("Another asset has this asset_id; choose another.", field="asset_id")


def _shown(asset: Asset) -> AssetOut:
    plain: dict[str, Any] = {name: getattr(asset, name) for name in AssetOut.model_fields}
    return AssetOut.model_validate(plain | {"details": dict(asset.details)})


def add_routes(desk: Desk) -> None:
    """Add the calls of this module."""
    many, one = "/api/providers/{provider_id}/assets", "/api/assets/{asset_id}"
    desk.route("POST", many, role=PROSUMER, body=AssetIn, answer=AssetOut, status=201, tags=_TAGS)(create_asset)
    desk.route("GET", many, role=PROSUMER, query=Page, answer=ListOf[AssetOut], tags=_TAGS)(list_assets)
    desk.route("GET", one, role=PROSUMER, answer=AssetOut, tags=_TAGS)(get_asset)
    desk.route("PATCH", one, role=PROSUMER, body=AssetChange, answer=AssetOut, tags=_TAGS)(change_asset)
    desk.route("POST", f"{one}/retire", role=PROSUMER, answer=AssetOut, tags=_TAGS)(retire_asset)
    desk.route("GET", "/api/asset-kinds", role=PROSUMER, answer=ListOf[KindOut], tags=_TAGS)(list_kinds)
