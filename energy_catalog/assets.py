"""What stands behind a meter: things that make, store or use energy, and the connection that joins them to the grid.

Every kind has its own figures, declared in one table (`FIGURES`) that checks them, describes them in the API and says
in every refusal which field is wrong, in what unit, and what its limits are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from energy_catalog.matching import GpsInvalid, position
from energy_catalog.offers import FulfillmentType, Source

#: Most power that one asset is believed to have, W (a gigawatt).
POWER_W_MAX = 1_000_000_000
#: Most energy that one storage holds, Wh.
CAPACITY_WH_MAX = 10_000_000_000

_POSITION = re.compile(r"-?\d{1,2}(\.\d{1,8})?, ?-?\d{1,3}(\.\d{1,8})?", re.ASCII)


class AssetKind(StrEnum):
    """What an asset is."""

    SOLAR = "SOLAR"
    WIND = "WIND"
    BATTERY = "BATTERY"
    EV_CHARGER = "EV_CHARGER"  # with `vehicle_to_grid` it also feeds in
    LOAD = "LOAD"  # use that can be shifted or shed
    GRID_CONNECTION = "GRID_CONNECTION"  # the point that limits all the others together


class AssetInvalid(ValueError):
    """An asset that cannot be as it says; names the field, its unit and its limit."""

    def __init__(self, field: str, sentence: str, limit: int | str | None = None) -> None:
        super().__init__(f"{field}: {sentence}")
        self.field, self.sentence, self.limit = field, sentence, limit


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a kind of asset: a whole number in a unit, one of some words, or yes and no."""

    name: str
    meaning: str
    unit: str = ""
    least: int = 0
    most: int = 0
    words: tuple[str, ...] = ()
    is_needed: bool = False

    @property
    def allowed(self) -> str:
        """What the figure may be, in words."""
        if self.words:
            return f"one of {', '.join(self.words)}"
        return f"{self.least} to {self.most} {self.unit}" if self.unit else "true or false"

    def refuses(self, value: Any) -> bool:
        """True when the figure cannot be this."""
        if self.words:
            return value not in self.words
        if not self.unit:
            return not isinstance(value, bool)
        return isinstance(value, bool) or not isinstance(value, int) or not self.least <= value <= self.most

    def refusal(self, value: Any) -> str:
        """Why it cannot be this, and what it may be. A number is said with the unit it would have been read in."""
        if self.unit and isinstance(value, int | float) and not isinstance(value, bool):
            whole = "" if isinstance(value, int) else "a whole number, "
            return f"is {value} {self.unit}; send {whole}{self.allowed}"
        return f"is {json.dumps(value)[:40]}; send {self.allowed}"


def _power(name: str, meaning: str, *, least: int = 0, is_needed: bool = False) -> Figure:
    return Figure(name, meaning, "W", least, POWER_W_MAX, is_needed=is_needed)


def _share(name: str, meaning: str, *, least: int = 1, most: int = 1000) -> Figure:
    return Figure(name, meaning, "per mille", least, most)


#: The figures of each kind, beside its rated power.
FIGURES: Mapping[AssetKind, tuple[Figure, ...]] = {
    AssetKind.SOLAR: (
        _power("inverter_w", "most the inverter gives out"),
        _share("efficiency_per_mille", "what reaches the meter of what the panels are rated for"),
        Figure("tilt_degrees", "from the horizontal", "degrees", 0, 90),
        Figure("azimuth_degrees", "clockwise from north", "degrees", 0, 359),
    ),
    AssetKind.WIND: (
        # Betz (1920): no rotor takes more than 16/27 of the wind's power.
        _share("efficiency_per_mille", "of the wind's power through the rotor, 592 at most by Betz' law", most=592),
        Figure("hub_height_m", "above the ground", "m", 1, 300),
        Figure("rotor_diameter_m", "of the swept circle", "m", 1, 300),
    ),
    AssetKind.BATTERY: (
        Figure("capacity_wh", "what it holds when full", "Wh", 1, CAPACITY_WH_MAX, is_needed=True),
        _power("charge_w", "most it takes in; as rated when left out"),
        _power("discharge_w", "most it gives out; as rated when left out"),
        _share("charge_efficiency_per_mille", "stored of what it takes in"),
        _share("discharge_efficiency_per_mille", "given out of what is taken from store"),
        _share("charge_least_per_mille", "of its capacity that always stays in", least=0),
        _share("charge_most_per_mille", "of its capacity that is ever filled"),
    ),
    AssetKind.EV_CHARGER: (
        Figure("connector", "the plug", words=("CCS2", "TYPE2", "CHADEMO", "GB_T")),
        Figure("power_type", "the current", words=("AC_SINGLE_PHASE", "AC_3_PHASE", "DC")),
        Figure("vehicle_to_grid", "whether a vehicle can feed in"),
        _power("discharge_w", "most a vehicle feeds in; needs vehicle_to_grid"),
        _share("efficiency_per_mille", "reaching the vehicle of what the meter sees"),
    ),
    AssetKind.LOAD: (
        _power("sheddable_w", "how much can be left out"),
        Figure("shift_s", "by how long it can be put off", "s", 0, 7 * 86_400),
    ),
    AssetKind.GRID_CONNECTION: (
        _power("export_limit_w", "most the meter may export, all offers together", is_needed=True),
        _power("import_limit_w", "most the meter may import; the sanctioned load when left out"),
        Figure("phases", "of the connection", "phases", 1, 3),
    ),
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One asset. `rating_w` is its rated power; `gps` its exact position, which never leaves the node.

    `sanctioned_load_w` is what the utility has granted the premises. `details` holds the figures of its kind.
    """

    asset_id: str
    provider_id: str
    meter_id: str
    kind: AssetKind
    name: str
    rating_w: int
    details: Mapping[str, Any]
    created_at: datetime
    gps: str = ""
    sanctioned_load_w: int | None = None
    retired_at: datetime | None = None

    @property
    def export_limit_w(self) -> int | None:
        """Most that its meter may export, where this is the connection and in use."""
        if self.kind is not AssetKind.GRID_CONNECTION or self.retired_at is not None:
            return None
        return int(self.details["export_limit_w"])


def check_asset(asset: Asset) -> None:
    """Refuse an asset that cannot be as it says; raises AssetInvalid naming the first field that is wrong."""
    if not 1 <= asset.rating_w <= POWER_W_MAX:
        raise AssetInvalid("rating_w", f"is {asset.rating_w} W; send 1 to {POWER_W_MAX} W", POWER_W_MAX)
    if asset.sanctioned_load_w is not None and not 1 <= asset.sanctioned_load_w <= POWER_W_MAX:
        raise AssetInvalid(
            "sanctioned_load_w", f"is {asset.sanctioned_load_w} W; send 1 to {POWER_W_MAX} W", POWER_W_MAX
        )
    if asset.gps:
        _check_position(asset.gps)
    known = {figure.name: figure for figure in FIGURES[asset.kind]}
    for name in asset.details:
        if name not in known:
            raise AssetInvalid(f"details.{name}"[:120], f"is no figure of a {asset.kind}; known are {', '.join(known)}")
    for figure in known.values():
        if figure.name not in asset.details:
            if figure.is_needed:
                raise AssetInvalid(f"details.{figure.name}", f"is missing; send {figure.allowed}", figure.allowed)
        elif figure.refuses(asset.details[figure.name]):
            raise AssetInvalid(f"details.{figure.name}", figure.refusal(asset.details[figure.name]), figure.allowed)
    _check_together(asset)


def _check_position(gps: str) -> None:
    try:
        position(gps)
    except GpsInvalid as refusal:
        raise AssetInvalid("gps", f'{refusal}; send degrees such as "34.10624, -117.43511"') from refusal
    if not _POSITION.fullmatch(gps):
        raise AssetInvalid("gps", 'has an unusual form; send degrees such as "34.10624, -117.43511"')


def _check_together(asset: Asset) -> None:
    """What one figure says of another."""
    said = asset.details
    pairs = (
        ("sheddable_w", "the rated power", asset.rating_w),
        ("import_limit_w", "the sanctioned load", asset.sanctioned_load_w),
        ("charge_least_per_mille", "charge_most_per_mille", said.get("charge_most_per_mille")),
    )
    for name, other, most in pairs:
        if most is not None and name in said and said[name] > most:
            unit = name.rpartition("_")[2].replace("mille", "per mille").replace("w", "W")
            raise AssetInvalid(f"details.{name}", f"is {said[name]} {unit}; {other} is {most} {unit}", most)
    if said.get("discharge_w") and asset.kind is AssetKind.EV_CHARGER and not said.get("vehicle_to_grid"):
        raise AssetInvalid(
            "details.discharge_w", f"is {said['discharge_w']} W, but vehicle_to_grid is not true; send it or leave out"
        )


#: What each kind can sell: which source its energy may be called, and how it may reach the buyer.
_SELLS: Mapping[AssetKind, tuple[frozenset[Source], frozenset[FulfillmentType]]] = {
    AssetKind.SOLAR: (
        frozenset({Source.SOLAR, Source.RENEWABLE, Source.HYBRID}),
        frozenset({FulfillmentType.GRID_INJECTION, FulfillmentType.EV_CHARGING, FulfillmentType.VIRTUAL}),
    ),
    AssetKind.WIND: (
        frozenset({Source.WIND, Source.RENEWABLE, Source.HYBRID}),
        frozenset({FulfillmentType.GRID_INJECTION, FulfillmentType.EV_CHARGING, FulfillmentType.VIRTUAL}),
    ),
    AssetKind.BATTERY: (frozenset(Source) - {Source.SOLAR, Source.WIND}, frozenset(FulfillmentType)),
    AssetKind.EV_CHARGER: (
        frozenset(Source),
        frozenset({FulfillmentType.EV_CHARGING, FulfillmentType.BATTERY_SWAP, FulfillmentType.V2G}),
    ),
    AssetKind.LOAD: (frozenset(), frozenset()),
    AssetKind.GRID_CONNECTION: (frozenset(Source), frozenset(FulfillmentType)),
}


def check_sells(asset: Asset, *, source: Source, fulfillment_type: str) -> None:
    """Refuse an offer that its asset cannot keep; raises AssetInvalid naming the offer's field."""
    if asset.retired_at is not None:
        raise AssetInvalid("asset_id", f"asset '{asset.asset_id}' is retired; offer from one in use")
    sources, ways = _SELLS[asset.kind]
    if source not in sources:
        known = ", ".join(sorted(sources)) or "nothing"
        raise AssetInvalid("source", f"a {asset.kind} asset sells {known}, not {source}")
    if fulfillment_type not in ways:
        raise AssetInvalid("fulfillment_type", f"a {asset.kind} asset delivers by {', '.join(sorted(ways))}")
    if (
        fulfillment_type == FulfillmentType.V2G
        and asset.kind is AssetKind.EV_CHARGER
        and not asset.details.get("vehicle_to_grid")
    ):
        raise AssetInvalid("fulfillment_type", "V2G needs a charger with vehicle_to_grid")
