"""Groups of a few named values: what is written is read again, what cannot be read is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from schemas import catalog_tags, outcome_tags, tags
from schemas.values import WireRefusal

NOON = datetime(2016, 8, 2, 12, tzinfo=UTC)
GROUPS: list[tuple[Any, Callable[[Any], dict[str, Any]], Callable[..., Any]]] = [
    (tags.OfferTermsTag(), tags.offer_terms_to_wire, tags.offer_terms_from_wire),
    (
        tags.OfferTermsTag(20_000, 3600, "street@1", "ab12", 30_000),
        tags.offer_terms_to_wire,
        tags.offer_terms_from_wire,
    ),
    ("meter-7", tags.buyer_meter_to_wire, tags.buyer_meter_from_wire),
    (tags.TradingLimitTag(None), tags.trading_limit_to_wire, tags.trading_limit_from_wire),
    (tags.TradingLimitTag(0, 5000, NOON), tags.trading_limit_to_wire, tags.trading_limit_from_wire),
    (outcome_tags.SettlementTag(NOON, "1.08432"), outcome_tags.settlement_to_wire, outcome_tags.settlement_from_wire),
    (
        outcome_tags.SettlementTag(NOON, "-1.50", 3, "MIN_OF_TWO", "CORRECTED"),
        outcome_tags.settlement_to_wire,
        outcome_tags.settlement_from_wire,
    ),
    (
        outcome_tags.DisputeTag("d-1", "OPEN", "BUYER", "My meter says less.", "1.05", NOON, NOON),
        outcome_tags.dispute_to_wire,
        outcome_tags.dispute_from_wire,
    ),
    (
        outcome_tags.DisputeTag("d-1", "OPEN", "SELLER", ""),
        outcome_tags.dispute_to_wire,
        outcome_tags.dispute_from_wire,
    ),
    (
        outcome_tags.ResolutionTag("d-1", "ACCEPT_THEIRS", "SELLER", "1.05", "Checked."),
        outcome_tags.resolution_to_wire,
        outcome_tags.resolution_from_wire,
    ),
    (
        catalog_tags.ProviderScoreTag(987, 120, 4),
        catalog_tags.provider_score_to_wire,
        catalog_tags.provider_score_from_wire,
    ),
    (
        catalog_tags.ProviderScoreTag(None, 0, 0),
        catalog_tags.provider_score_to_wire,
        catalog_tags.provider_score_from_wire,
    ),
    (
        catalog_tags.SourceQualityTag(955, ("REC-1", "REC-2")),
        catalog_tags.source_quality_to_wire,
        catalog_tags.source_quality_from_wire,
    ),
    (((1000, 210_000), (None, 190_000)), catalog_tags.block_prices_to_wire, catalog_tags.block_prices_from_wire),
]


@pytest.mark.parametrize(("said", "to_wire", "from_wire"), GROUPS)
def test_what_is_written_is_read_again(
    said: Any, to_wire: Callable[[Any], dict[str, Any]], from_wire: Callable[..., Any]
) -> None:
    assert from_wire([to_wire(said)], path="message.order.tags") == said


@pytest.mark.parametrize(
    "from_wire",
    [
        tags.trading_limit_from_wire,
        outcome_tags.settlement_from_wire,
        outcome_tags.dispute_from_wire,
        outcome_tags.resolution_from_wire,
        catalog_tags.provider_score_from_wire,
        catalog_tags.source_quality_from_wire,
        catalog_tags.block_prices_from_wire,
    ],
)
def test_what_is_not_there_is_none(from_wire: Callable[..., Any]) -> None:
    assert from_wire(None, path="message.order.tags") is None
    assert from_wire([{"descriptor": {"code": "FOREIGN"}}], path="message.order.tags") is None


@pytest.mark.parametrize(
    ("code", "values", "from_wire", "where"),
    [
        (tags.SETTLEMENT, {}, outcome_tags.settlement_from_wire, "settled_at"),
        (
            tags.SETTLEMENT,
            {"settled_at": "2016-08-02T12:00:00Z", "version": "0"},
            outcome_tags.settlement_from_wire,
            "version",
        ),
        (tags.DISPUTE, {"reason": "no"}, outcome_tags.dispute_from_wire, "id"),
        (tags.DISPUTE, {"id": "x" * 256}, outcome_tags.dispute_from_wire, "id"),
        (tags.DISPUTE, {"id": "d", "until": "soon"}, outcome_tags.dispute_from_wire, "until"),
        (tags.RESOLUTION, {"id": "d"}, outcome_tags.resolution_from_wire, "outcome"),
        (tags.BUYER_METER, {"meter_id": "m" * 256}, tags.buyer_meter_from_wire, "meter_id"),
        (tags.TRADING_LIMIT, {"remaining_wh": "-1"}, tags.trading_limit_from_wire, "remaining_wh"),
        (tags.TRADING_LIMIT, {"remaining_wh": "1.5"}, tags.trading_limit_from_wire, "remaining_wh"),
        (tags.OFFER_TERMS, {"gate_closure": "1h"}, tags.offer_terms_from_wire, "gate_closure"),
        (tags.OFFER_TERMS, {"wheeling_seller_per_kwh": "-1"}, tags.offer_terms_from_wire, "wheeling_seller_per_kwh"),
        (
            tags.PROVIDER_SCORE,
            {"delivered_per_mille": "1001"},
            catalog_tags.provider_score_from_wire,
            "delivered_per_mille",
        ),
        (
            tags.SOURCE_QUALITY,
            {"certificates": " ".join(["c"] * 101)},
            catalog_tags.source_quality_from_wire,
            "certificates",
        ),
        (tags.BLOCK_PRICES, {"blocks": ""}, catalog_tags.block_prices_from_wire, "blocks"),
        (tags.BLOCK_PRICES, {"blocks": "1000:1"}, catalog_tags.block_prices_from_wire, "blocks"),
        (tags.BLOCK_PRICES, {"blocks": "*:1 1000:1"}, catalog_tags.block_prices_from_wire, "blocks"),
        (tags.BLOCK_PRICES, {"blocks": "2000:3 1000:2 *:1"}, catalog_tags.block_prices_from_wire, "blocks"),
        (
            tags.BLOCK_PRICES,
            {"blocks": " ".join([f"{n}:1" for n in range(1, 51)] + ["*:1"])},
            catalog_tags.block_prices_from_wire,
            "blocks",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_where_it_is_wrong(
    code: str, values: dict[str, str], from_wire: Callable[..., Any], where: str
) -> None:
    with pytest.raises(WireRefusal) as caught:
        from_wire([tags.group_to_wire(code, values)], path="message.order.tags")
    assert caught.value.path == f"message.order.tags.{code}.{where}"


@pytest.mark.parametrize("code", [tags.BUYER_ALLOC, tags.SELLER_ALLOC, tags.FINAL_ALLOC])
def test_an_allocation_keeps_its_round(code: str) -> None:
    said = tags.AllocationTag(NOON, 900, (0, 250, 100), 3)
    assert tags.allocation_from_wire([tags.allocation_to_wire(code, said)], code, path="message.order.tags") == said


def test_an_allocation_that_names_no_round_is_the_first() -> None:
    group = tags.series_to_wire(tags.BUYER_ALLOC, NOON, 3600, (5,))
    read = tags.allocation_from_wire([group], tags.BUYER_ALLOC, path="message.order.tags")
    assert read == tags.AllocationTag(NOON, 3600, (5,), 1)


@pytest.mark.parametrize("round_", ["0", "100", "1.5", "first"])
def test_an_impossible_round_is_refused(round_: str) -> None:
    group = tags.series_to_wire(tags.BUYER_ALLOC, NOON, 3600, (5,))
    group["list"].append({"descriptor": {"code": "round"}, "value": round_})
    with pytest.raises(WireRefusal) as caught:
        tags.allocation_from_wire([group], tags.BUYER_ALLOC, path="message.order.tags")
    assert caught.value.path == "message.order.tags.BUYER_ALLOC.round"


def test_a_negative_allocation_is_refused_whatever_sign_others_use_for_what_leaves_a_meter() -> None:
    group = tags.series_to_wire(tags.BUYER_ALLOC, NOON, 3600, (-19_200,))
    with pytest.raises(WireRefusal, match="must be whole numbers"):
        tags.allocation_from_wire([group], tags.BUYER_ALLOC, path="message.order.tags")
