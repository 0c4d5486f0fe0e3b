"""What a prosumer may put on the shelf and change there. Plain functions, as in `seller`; refusals name the field."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from energy_catalog.offers import Offer, OfferInvalid, OfferState, Provider, Source, check_offer
from energy_catalog.tariffs import Tariff, model_of
from store.offers import SPAN_S_MAX
from trade.money import Series, amount_from_milli, cost_milli
from trade.policy import PLAIN
from trade.price_rules import PriceInvalid, PriceKind
from trade.pricing import TariffInvalid
from trade.quote import CancellationTerm

#: Most money that all of an offer may cost, thousandths of a minor unit: sums stay far inside 64 bits.
COST_MILLI_MAX = 10**15

#: Lengths of slot that can be offered, seconds: what meters and markets know.
SLOT_S_ALLOWED = (900, 1800, 3600)

#: How the prices of an offer are said: a tariff, or a price for every slot.
Pricing = Tariff | Series


@dataclass(frozen=True, slots=True)
class Terms:
    """Everything about an offer but its provider, energy and price."""

    offer_id: str
    source: Source
    currency: str
    wheeling_micro_per_kwh: int
    order_wh_min: int
    order_wh_max: int
    gate_closure_s: int
    quote_ttl_s: int
    cancellation_terms: tuple[CancellationTerm, ...]
    fulfillment_type: str
    valid_from: datetime | None
    valid_until: datetime | None
    policy: str = PLAIN.id
    asset_id: str = ""
    renewable_per_mille: int | None = None
    carbon_g_per_kwh: Series | None = None
    certificates: tuple[str, ...] = ()


def publish(
    provider: Provider,
    energy_wh: Series,
    pricing: Pricing,
    terms: Terms,
    *,
    now_trading: datetime,
    export_limit_w: int | None = None,
) -> Offer:
    """A new offer of a provider's meter, which may export `export_limit_w`; raises OfferInvalid naming the field."""
    if energy_wh.slot_s not in SLOT_S_ALLOWED:
        raise OfferInvalid(
            "energy.slot_s", f"a slot of {energy_wh.slot_s} s cannot be metered; offer slots of 900, 1800 or 3600 s"
        )
    if energy_wh.end <= now_trading:
        raise OfferInvalid("energy", "its slots are over; offer later ones")
    nothing = Series.flat(energy_wh, 0)
    offer = Offer(
        offer_id=terms.offer_id,
        provider_id=provider.provider_id,
        meter_id=provider.meter_id,
        source=terms.source,
        currency=terms.currency,
        offered_wh=energy_wh,
        held_wh=nothing,
        sold_wh=nothing,
        price_micro_per_kwh=_prices(pricing, energy_wh),
        price_model=model_of(pricing),
        wheeling_micro_per_kwh=terms.wheeling_micro_per_kwh,
        order_wh_min=terms.order_wh_min,
        order_wh_max=terms.order_wh_max,
        gate_closure_s=terms.gate_closure_s,
        quote_ttl_s=terms.quote_ttl_s,
        cancellation_terms=terms.cancellation_terms,
        fulfillment_type=terms.fulfillment_type,
        valid_from=terms.valid_from or now_trading,
        valid_until=terms.valid_until or energy_wh.end,
        policy=terms.policy,
        asset_id=terms.asset_id,
        renewable_per_mille=terms.renewable_per_mille,
        carbon_g_per_kwh=terms.carbon_g_per_kwh,
        certificates=terms.certificates,
    )
    span_s = energy_wh.slot_s * len(energy_wh.values)
    if span_s > SPAN_S_MAX:
        raise OfferInvalid("energy", f"an offer covers {SPAN_S_MAX // 86_400} days at most; publish several")
    _check(offer)
    check_export(offer, export_limit_w)
    if not any(offer.open_wh(now_trading).values):
        raise OfferInvalid("energy", "no slot with energy can be ordered any more; offer later slots")
    return offer


def change(
    offer: Offer,
    *,
    energy_wh: Series | None,
    pricing: Pricing | None,
    order_wh_min: int | None,
    order_wh_max: int | None,
    valid_until: datetime | None,
    export_limit_w: int | None = None,
    carbon_g_per_kwh: Series | None = None,
) -> Offer:
    """A published offer with other energy, prices or limits; what was held and sold stays as it is.

    Energy may rise, or fall to what is taken. New prices bind new quotes only. Raises OfferInvalid.
    """
    if offer.state is not OfferState.PUBLISHED:
        raise OfferInvalid("offer_id", "the offer is withdrawn; publish a new one")
    if energy_wh is not None and not energy_wh.is_aligned(offer.offered_wh):
        slots = offer.offered_wh
        raise OfferInvalid(
            "energy",
            f"an offer keeps its slots: send {len(slots.values)} of {slots.slot_s} s from {slots.start.isoformat()}",
        )
    changed = replace(
        offer,
        offered_wh=energy_wh or offer.offered_wh,
        price_micro_per_kwh=_prices(pricing, offer.offered_wh) if pricing else offer.price_micro_per_kwh,
        price_model=model_of(pricing) if pricing else offer.price_model,
        carbon_g_per_kwh=carbon_g_per_kwh or offer.carbon_g_per_kwh,
        order_wh_min=order_wh_min or offer.order_wh_min,
        order_wh_max=order_wh_max or offer.order_wh_max,
        valid_until=valid_until or offer.valid_until,
    )
    _check(changed)
    if energy_wh is not None:
        check_export(changed, export_limit_w)
    return changed


def withdraw(offer: Offer) -> Offer:
    """The offer, off the shelf: contracts and quotes that were made stand."""
    return replace(offer, state=OfferState.WITHDRAWN)


def check_export(offer: Offer, export_limit_w: int | None) -> None:
    """Refuse an offer of more than its meter may export in a slot; raises OfferInvalid."""
    if export_limit_w is None:
        return
    most_wh = export_limit_w * offer.offered_wh.slot_s // 3600
    for slot, offered_wh in offer.offered_wh.items():
        if offered_wh > most_wh:
            raise OfferInvalid(
                "energy",
                f"{offered_wh} Wh are offered in the slot from {slot.start:%Y-%m-%dT%H:%M:%SZ}; the meter's grid"
                f" connection exports {export_limit_w} W, which is {most_wh} Wh at most",
            )


def _check(offer: Offer) -> None:
    check_offer(offer)
    cost = cost_milli(
        energy_wh=offer.offered_wh,
        price_micro_per_kwh=Series.flat(offer.offered_wh, _dearest(offer) + offer.wheeling_micro_per_kwh),
        currency=offer.currency,
    )
    if cost > COST_MILLI_MAX:
        said, most = (amount_from_milli(milli, offer.currency) for milli in (cost, COST_MILLI_MAX))
        raise OfferInvalid("price", f"all of the offer would cost {said} {offer.currency}; the most is {most}")


def _dearest(offer: Offer) -> int:
    """The highest price that any Wh of the offer may have."""
    tiers = (tier.price_micro_per_kwh for tier in offer.price_model.tiers)
    return max(*offer.price_micro_per_kwh.values, 0, *tiers)


def _prices(pricing: Pricing, energy_wh: Series) -> Series:
    if isinstance(pricing, Series):
        return pricing
    try:
        return pricing.series(energy_wh)
    except TariffInvalid as refusal:
        raise OfferInvalid("price.time_of_use", str(refusal)) from refusal
    except PriceInvalid as refusal:
        raise OfferInvalid(_FIELDS[model_of(pricing).kind], str(refusal)) from refusal


#: The member of a price that says it, by its kind.
_FIELDS = {
    PriceKind.BLOCK: "price.blocks",
    PriceKind.INDEXED: "price.index",
    PriceKind.SUPPLY_DEMAND: "price.supply_demand",
}
