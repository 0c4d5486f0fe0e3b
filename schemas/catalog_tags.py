"""Tag groups of a search and its catalogue: SEARCH_FILTERS, PROVIDER_SCORE, SOURCE_QUALITY, BLOCK_PRICES."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from schemas.tags import (
    BLOCK_PRICES,
    PROVIDER_SCORE,
    SEARCH_FILTERS,
    SOURCE_QUALITY,
    group_from_wire,
    group_to_wire,
    numbers_in,
    optional_whole_in,
    whole_in,
)
from schemas.values import ENERGY_WH_MAX, PRICE_MICRO_MAX, refuse

#: Most blocks of a block price, most certificates of one lot of energy.
BLOCKS_MAX, CERTIFICATES_MAX = 50, 100

#: Category codes of the network's Layer 2, by energy source; other sources travel in the tag group ENERGY_SOURCE.
SOURCE_CODES = {"SOLAR": "SOLAR_ENERGY", "WIND": "WIND_ENERGY"}
#: The source that such a code means.
SOURCES_BY_CODE = {code: source for source, code in SOURCE_CODES.items()}


class ProviderScoreTag(NamedTuple):
    """How much of what it sold a provider delivered, over how many settled orders, and how many ratings it has."""

    delivered_per_mille: int | None
    settled: int
    rating_count: int


def provider_score_to_wire(score: ProviderScoreTag) -> dict[str, Any]:
    """PROVIDER_SCORE as a tag group; a provider that settled nothing yet has no share to show."""
    said = {"settled": str(score.settled), "rating_count": str(score.rating_count)}
    if score.delivered_per_mille is not None:
        said["delivered_per_mille"] = str(score.delivered_per_mille)
    return group_to_wire(PROVIDER_SCORE, said)


def provider_score_from_wire(groups: Iterable[Mapping[str, Any]] | None, *, path: str) -> ProviderScoreTag | None:
    """The score; None when there is none. Raises WireRefusal."""
    said = group_from_wire(groups, PROVIDER_SCORE)
    if said is None:
        return None
    where = f"{path}.{PROVIDER_SCORE}"
    return ProviderScoreTag(
        optional_whole_in(said, "delivered_per_mille", where, largest=1000),
        whole_in(said, "settled", where, smallest=0, largest=10**12, default=0),
        whole_in(said, "rating_count", where, smallest=0, largest=10**12, default=0),
    )


class SourceQualityTag(NamedTuple):
    """How green energy is: its renewable share, and references of certificates (no spaces in them)."""

    renewable_per_mille: int | None
    certificates: tuple[str, ...] = ()


def source_quality_to_wire(quality: SourceQualityTag) -> dict[str, Any]:
    """SOURCE_QUALITY with what is said."""
    said = {}
    if quality.renewable_per_mille is not None:
        said["renewable_per_mille"] = str(quality.renewable_per_mille)
    if quality.certificates:
        said["certificates"] = " ".join(quality.certificates)
    return group_to_wire(SOURCE_QUALITY, said)


def source_quality_from_wire(groups: Iterable[Mapping[str, Any]] | None, *, path: str) -> SourceQualityTag | None:
    """The quality; None when nothing is said. Raises WireRefusal."""
    said = group_from_wire(groups, SOURCE_QUALITY)
    if said is None:
        return None
    where = f"{path}.{SOURCE_QUALITY}"
    certificates = tuple(said.get("certificates", "").split())
    if len(certificates) > CERTIFICATES_MAX:
        raise refuse(f"{where}.certificates", f"names {len(certificates)}; at most {CERTIFICATES_MAX} are read.")
    return SourceQualityTag(optional_whole_in(said, "renewable_per_mille", where, largest=1000), certificates)


#: One block of a block price: up to how many Wh of an order (None: without end), micro-units of the currency per kWh.
Block = tuple[int | None, int]


def block_prices_to_wire(blocks: Iterable[Block]) -> dict[str, Any]:
    """BLOCK_PRICES: `blocks` as "1000:210000 *:190000", Wh and micro-units per kWh, in rising order."""
    words = [f"{'*' if up_to_wh is None else up_to_wh}:{price}" for up_to_wh, price in blocks]
    return group_to_wire(BLOCK_PRICES, {"unit": "Wh:micro/kWh", "blocks": " ".join(words)})


def block_prices_from_wire(groups: Iterable[Mapping[str, Any]] | None, *, path: str) -> tuple[Block, ...] | None:
    """The blocks in rising order, the last without end; None when there are none. Raises WireRefusal."""
    said = group_from_wire(groups, BLOCK_PRICES)
    if said is None:
        return None
    where = f"{path}.{BLOCK_PRICES}.blocks"
    words = said.get("blocks", "").split(" ")
    if len(words) > BLOCKS_MAX:
        raise refuse(where, f"has {len(words)} blocks; at most {BLOCKS_MAX} are read.")
    blocks: list[Block] = []
    for word in words:
        limit, _, price = word.partition(":")
        blocks.append(
            (
                None if limit == "*" else numbers_in(limit, largest=ENERGY_WH_MAX, path=where)[0],
                numbers_in(price, largest=PRICE_MICRO_MAX, path=where)[0],
            )
        )
    limits = [limit for limit, _ in blocks[:-1]]
    if blocks[-1][0] is not None or None in limits or sorted(set(limits), key=lambda n: n or 0) != limits:
        raise refuse(where, 'must rise, with one last block without end, such as "1000:210000 *:190000".')
    return tuple(blocks)


class SearchFiltersTag(NamedTuple):
    """What a search asks of energy and provider beside what the intent has fields for; None is "any"."""

    renewable_per_mille_min: int | None = None
    carbon_g_per_kwh_max: int | None = None
    #: Tenths: 45 is a mean rating of 4.5.
    rating_tenths_min: int | None = None
    delivered_per_mille_min: int | None = None


#: The largest value of each filter, in the order of SearchFiltersTag.
_FILTERS_MAX = (1000, 1_000_000, 50, 1000)


def search_filters_to_wire(filters: SearchFiltersTag) -> dict[str, Any] | None:
    """SEARCH_FILTERS with what is said; None when nothing is."""
    said = {name: str(value) for name, value in filters._asdict().items() if value is not None}
    return group_to_wire(SEARCH_FILTERS, said) if said else None


def search_filters_from_wire(groups: Iterable[Mapping[str, Any]] | None, *, path: str) -> SearchFiltersTag:
    """The filters; all None when there are none. Raises WireRefusal."""
    said = group_from_wire(groups, SEARCH_FILTERS) or {}
    names = zip(SearchFiltersTag._fields, _FILTERS_MAX, strict=True)
    where = f"{path}.{SEARCH_FILTERS}"
    return SearchFiltersTag(*(optional_whole_in(said, name, where, largest=largest) for name, largest in names))
