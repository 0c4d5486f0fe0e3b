"""A stored offer of a search -> the offer as the rules know it. What is stored is what apps are shown (`OfferOut`)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from bap.buyer import Unfit
from books.policies import PolicyBook, UnknownPolicy
from energy_catalog.offers import OfferView, Provider, Source
from trade.money import Series
from trade.policy import PLAIN, Policy
from trade.price_rules import Tier


def offer_from_document(document: dict[str, Any]) -> OfferView:
    """The offer that `OfferOut.of` turned into JSON; the meter is the seller's secret and stays empty."""
    face = document["provider"]
    return OfferView(
        seller_id=document["seller_id"],
        provider=Provider(**face, meter_id=""),
        offer_id=document["offer_id"],
        source=Source(document["source"]),
        currency=document["currency"],
        available_wh=_series(document["available"], "energy_wh"),
        price_micro_per_kwh=_series(document["price"], "price_micro_per_kwh"),
        wheeling_micro_per_kwh=document["wheeling_micro_per_kwh"],
        order_wh_min=document["order_wh_min"],
        order_wh_max=document["order_wh_max"],
        fulfillment_id=document["fulfillment_id"],
        fulfillment_type=document["fulfillment_type"],
        has_series=document["has_series"],
        policy=document.get("policy", PLAIN.id),
        policy_digest=document.get("policy_digest", ""),
        renewable_per_mille=document.get("renewable_per_mille"),
        carbon_g_per_kwh=_series(carbon, "g_per_kwh") if (carbon := document.get("carbon")) else None,
        certificates=tuple(document.get("certificates", ())),
        tiers=tuple(Tier(block["up_to_wh"], block["price_micro_per_kwh"]) for block in document.get("blocks", ())),
    )


def policy_of(offer: OfferView, known: PolicyBook) -> Policy:
    """The policy an offer would be settled by; raises Unfit when this node does not know it as the seller means it."""
    try:
        return known.named(offer.policy, offer.policy_digest)
    except UnknownPolicy as unknown:
        raise Unfit(f"The offer cannot be ordered: {unknown}", field="offer_id") from unknown


def _series(document: dict[str, Any], name: str) -> Series:
    return Series(datetime.fromisoformat(document["start"]), document["slot_s"], tuple(document[name]))
