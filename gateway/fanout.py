"""Who gets a copy of a search: the gateway's one decision, without I/O.

A seller (BPP) gets a copy when it

1. is SUBSCRIBED in the search's domain with a key that is valid now;
2. serves the search's country and city; a place that either side leaves open (absent or `*`) fits any;
3. is not who asked, and not this gateway;
4. is the seller the search names, if it names one.

One copy per URL, and no more copies than the limit: of too many sellers some are drawn by lot, a different lot for
every message, so that no seller is left out for good.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from beckn.envelope import Context
from beckn.records import Record

_ANYWHERE = frozenset({"", "*"})


@dataclass(frozen=True, slots=True)
class Fanout:
    """Who gets a copy, and a sentence for people when not everybody, or nobody, does."""

    copies: tuple[Record, ...]
    note: str = ""


def destinations(context: Context, sellers: Iterable[Record], *, me: str, copies_max: int, now: datetime) -> Fanout:
    """The copies to send of one search."""
    if context.expires_at is not None and context.expires_at <= now:
        return Fanout((), "the search had outlived its ttl before it could be passed on")
    in_domain = [
        seller
        for seller in sellers
        if seller.type == "BPP" and seller.domain == context.domain and seller.is_valid(now)
        and seller.subscriber_id not in {context.bap_id, me}
    ]  # fmt: skip
    if not in_domain:
        return Fanout((), f"no seller is subscribed in the domain '{context.domain}'")
    here = [seller for seller in in_domain if _serves(seller, context)]
    if not here:
        place = f"country '{context.country}', city '{context.city}'"
        return Fanout((), f"none of the {len(in_domain)} sellers in the domain serves {place}")
    if context.bpp_id:
        here = [seller for seller in here if seller.subscriber_id == context.bpp_id]
        if not here:
            return Fanout((), f"the seller '{context.bpp_id}' that the search names is none of them")
    by_url = {seller.url: seller for seller in here}
    chosen = sorted(by_url.values(), key=lambda seller: seller.subscriber_id)
    if len(chosen) > copies_max:
        lot = random.Random(context.message_id)  # noqa: S311 - fairness, not secrecy
        return Fanout(tuple(lot.sample(chosen, copies_max)), f"{copies_max} of {len(chosen)} sellers, drawn by lot")
    return Fanout(tuple(chosen))


def _serves(seller: Record, context: Context) -> bool:
    return _fits(seller.country, context.country) and _fits(seller.city, context.city)


def _fits(theirs: str, asked: str) -> bool:
    return theirs == asked or theirs in _ANYWHERE or asked in _ANYWHERE
