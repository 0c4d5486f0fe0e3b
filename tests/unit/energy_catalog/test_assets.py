"""What stands behind a meter: every refusal names field, unit and limit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from energy_catalog.assets import FIGURES, Asset, AssetInvalid, AssetKind, check_asset, check_sells
from energy_catalog.offers import FulfillmentType, Source
from tests.support.trade_cases import EVENING_BEFORE

FIT: dict[AssetKind, dict[str, Any]] = {
    AssetKind.SOLAR: {"inverter_w": 4600, "efficiency_per_mille": 850, "tilt_degrees": 30, "azimuth_degrees": 180},
    AssetKind.WIND: {"efficiency_per_mille": 400, "hub_height_m": 20, "rotor_diameter_m": 5},
    AssetKind.BATTERY: {"capacity_wh": 10_000, "charge_efficiency_per_mille": 950, "charge_least_per_mille": 100},
    AssetKind.EV_CHARGER: {"connector": "CCS2", "power_type": "DC", "vehicle_to_grid": True, "discharge_w": 7000},
    AssetKind.LOAD: {"sheddable_w": 1500, "shift_s": 7200},
    AssetKind.GRID_CONNECTION: {"export_limit_w": 5000, "import_limit_w": 8000, "phases": 3},
}


def an_asset(kind: AssetKind = AssetKind.SOLAR, **changes: Any) -> Asset:
    details = {**FIT[kind], **changes.pop("details", {})}
    asset = Asset("roof", "home-7", "meter-7", kind, "Roof", 5000, details, EVENING_BEFORE, sanctioned_load_w=8000)
    return replace(asset, **changes)


@pytest.mark.parametrize("kind", AssetKind)
def test_every_kind_can_be_described(kind: AssetKind) -> None:
    check_asset(an_asset(kind))
    assert {figure.name for figure in FIGURES[kind]} >= FIT[kind].keys()


@pytest.mark.parametrize(
    ("asset", "field", "sentence"),
    [
        (an_asset(rating_w=0), "rating_w", "is 0 W; send 1 to 1000000000 W"),
        (an_asset(sanctioned_load_w=-1), "sanctioned_load_w", "is -1 W; send 1 to 1000000000 W"),
        (an_asset(gps="here"), "gps", "is not a latitude and a longitude"),
        (an_asset(gps="91, 0"), "gps", "lies outside"),
        (an_asset(gps="1e1, 0"), "gps", "unusual form"),
        (an_asset(details={"capacity_wh": 5}), "details.capacity_wh", "is no figure of a SOLAR"),
        (an_asset(details={"tilt_degrees": 91}), "details.tilt_degrees", "is 91 degrees; send 0 to 90 degrees"),
        (an_asset(details={"tilt_degrees": True}), "details.tilt_degrees", "is true; send 0 to 90 degrees"),
        (an_asset(details={"tilt_degrees": "30"}), "details.tilt_degrees", 'is "30"; send 0 to 90 degrees'),
        (
            an_asset(details={"tilt_degrees": 30.5}),
            "details.tilt_degrees",
            "is 30.5 degrees; send a whole number, 0 to 90 degrees",
        ),
        (
            an_asset(AssetKind.WIND, details={"efficiency_per_mille": 593}),
            "details.efficiency_per_mille",
            "is 593 per mille; send 1 to 592 per mille",
        ),
        (an_asset(AssetKind.BATTERY, details={"capacity_wh": 0}), "details.capacity_wh", "is 0 Wh; send 1 to"),
        (
            replace(an_asset(AssetKind.BATTERY), details={}),
            "details.capacity_wh",
            "is missing; send 1 to 10000000000 Wh",
        ),
        (
            an_asset(AssetKind.BATTERY, details={"charge_least_per_mille": 901, "charge_most_per_mille": 900}),
            "details.charge_least_per_mille",
            "is 901 per mille; charge_most_per_mille is 900 per mille",
        ),
        (
            an_asset(AssetKind.EV_CHARGER, details={"connector": "SCHUKO"}),
            "details.connector",
            'is "SCHUKO"; send one of CCS2, TYPE2, CHADEMO, GB_T',
        ),
        (
            an_asset(AssetKind.EV_CHARGER, details={"vehicle_to_grid": 1}),
            "details.vehicle_to_grid",
            "is 1; send true or false",
        ),
        (
            an_asset(AssetKind.EV_CHARGER, details={"vehicle_to_grid": False}),
            "details.discharge_w",
            "is 7000 W, but vehicle_to_grid is not true",
        ),
        (
            an_asset(AssetKind.LOAD, details={"sheddable_w": 5001}),
            "details.sheddable_w",
            "is 5001 W; the rated power is 5000 W",
        ),
        (
            an_asset(AssetKind.GRID_CONNECTION, details={"import_limit_w": 8001}),
            "details.import_limit_w",
            "is 8001 W; the sanctioned load is 8000 W",
        ),
        (
            replace(an_asset(AssetKind.GRID_CONNECTION), details={}),
            "details.export_limit_w",
            "is missing; send 0 to 1000000000 W",
        ),
    ],
)
def test_an_asset_that_cannot_be_is_refused_by_field_unit_and_limit(asset: Asset, field: str, sentence: str) -> None:
    with pytest.raises(AssetInvalid) as refusal:
        check_asset(asset)
    assert refusal.value.field == field
    assert sentence in refusal.value.sentence


@pytest.mark.parametrize(
    ("asset", "source", "way", "field"),
    [
        (an_asset(retired_at=EVENING_BEFORE), Source.SOLAR, FulfillmentType.GRID_INJECTION, "asset_id"),
        (an_asset(), Source.WIND, FulfillmentType.GRID_INJECTION, "source"),
        (an_asset(), Source.SOLAR, FulfillmentType.BATTERY_SWAP, "fulfillment_type"),
        (an_asset(AssetKind.LOAD), Source.OTHER, FulfillmentType.GRID_INJECTION, "source"),
        (an_asset(AssetKind.BATTERY), Source.SOLAR, FulfillmentType.GRID_INJECTION, "source"),
        (
            an_asset(AssetKind.EV_CHARGER, details={"vehicle_to_grid": False, "discharge_w": 0}),
            Source.BATTERY,
            FulfillmentType.V2G,
            "fulfillment_type",
        ),
    ],
)
def test_an_asset_sells_only_what_it_can_make(asset: Asset, source: Source, way: str, field: str) -> None:
    with pytest.raises(AssetInvalid) as refusal:
        check_sells(asset, source=source, fulfillment_type=way)
    assert refusal.value.field == field


def test_each_way_of_delivery_has_an_asset_that_can() -> None:
    for kind, source, way in (
        (AssetKind.SOLAR, Source.SOLAR, FulfillmentType.GRID_INJECTION),
        (AssetKind.EV_CHARGER, Source.SOLAR, FulfillmentType.EV_CHARGING),
        (AssetKind.BATTERY, Source.BATTERY, FulfillmentType.BATTERY_SWAP),
        (AssetKind.EV_CHARGER, Source.BATTERY, FulfillmentType.V2G),
        (AssetKind.WIND, Source.RENEWABLE, FulfillmentType.VIRTUAL),
    ):
        check_sells(an_asset(kind), source=source, fulfillment_type=way)


def test_only_a_connection_in_use_limits_its_meter() -> None:
    assert an_asset().export_limit_w is None
    connection = an_asset(AssetKind.GRID_CONNECTION)
    assert connection.export_limit_w == 5000
    assert replace(connection, retired_at=EVENING_BEFORE).export_limit_w is None
