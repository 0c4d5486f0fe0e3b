"""How long a seller's node looks for what answers a search, with 100 to 100,000 offers on its shelf.

Real PostgreSQL, the node's own search (candidates from the database, matched by the catalogue, faces of providers) and
its own answer (the catalogue of an on_search, as JSON), timed apart. Offers are made up from a seed: homes over a city
of some 40 km, a day of hours each within the next week, prices of a feed-in tariff and up, a third sold out or half.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import uvloop

from bpp import shelf, translate
from bpp.shelf import Faces
from cli.servers import Servers
from energy_catalog.offers import Intent, Offer, Source
from store import migrate
from store.db import Database, UnitOfWork
from trade.money import Series

SIZES = (100, 1_000, 10_000, 100_000)
#: What `SellerSettings` has by default.
_SHOWN, _CONSIDERED = 200, 5_000
_NOW = datetime(2026, 6, 1, 6, tzinfo=UTC)
_DAYS, _HOMES_MAX = 7, 20_000
_CENTRE, _SPREAD_DEGREES = (52.52, 13.40), 0.18


def searches(dice: random.Random, count: int) -> list[Intent]:
    """What people look for: half an evening's energy up to a price near home, the rest with fewer or other wishes."""
    found = []
    for number in range(count):
        evening = _NOW.replace(hour=10) + timedelta(days=dice.randrange(_DAYS))
        window: dict[str, Any] = {"window_start": evening, "window_end": evening + timedelta(hours=6)}
        latitude, longitude = _somewhere(dice)
        near: dict[str, Any] = {
            "near_gps": f"{latitude:.4f}, {longitude:.4f}",
            "radius_m": dice.choice((2_000, 5_000, 20_000)),
        }
        wishes: Sequence[dict[str, Any]] = (
            {**window, **near, "energy_wh": 1500, "price_micro_per_kwh_max": 240_000, "currency": "EUR"},
            {**window, "energy_wh": 3000, "source": Source.WIND, "renewable_per_mille_min": 900},
            {**window, **near, "energy_wh": 500},
            {"currency": "EUR", "carbon_g_per_kwh_max": 60, "energy_wh": 2000},
        )
        found.append(Intent(**wishes[number % len(wishes)]))
    return found


async def measure(database_url: str, *, sizes: Sequence[int] = SIZES, repeats: int = 200) -> dict[str, Any]:
    """Percentiles in ms by number of offers, of the search alone and of the whole answer; the database is filled."""
    database = await Database.connect(database_url, pool_max=4)
    try:
        found: dict[str, Any] = {}
        filled = 0
        for size in sizes:
            await _fill(database, filled, size)
            filled = size
            found[str(size)] = await _measure(database, repeats)
    finally:
        await database.close()
    return {"matching": found, "matching_growth": _growth(found)}


def _growth(found: dict[str, Any]) -> float:
    """The exponent b of time ~ offers^b between the smallest and the largest catalogue; below 1 is sub-linear."""
    sizes = [int(size) for size in found]
    if len(sizes) < 2:
        return 0.0
    times = [found[str(size)]["match_ms"]["p50"] for size in (sizes[0], sizes[-1])]
    return round(math.log(times[1] / times[0]) / math.log(sizes[-1] / sizes[0]), 2)


async def _measure(database: Database, repeats: int) -> dict[str, Any]:
    faces = Faces()
    match_ms, answer_ms, answers = [], [], []
    for number, intent in enumerate(searches(random.Random("searches"), repeats + 20)):
        async with database.unit_of_work() as uow:
            started = time.perf_counter()
            offers = await shelf.search(uow, intent, now=_NOW, limit=_SHOWN, considered_max=_CONSIDERED, faces=faces)
            matched = time.perf_counter()
            known = await faces.of(uow, {offer.provider_id for offer in offers})
        by_provider: dict[str, list[Offer]] = {}
        for offer in offers:
            by_provider.setdefault(offer.provider_id, []).append(offer)
        orjson.dumps(translate.catalog_to_wire([(known[name], chosen) for name, chosen in by_provider.items()]))
        if number >= 20:  # the first ones prepare statements
            match_ms.append((matched - started) * 1000)
            answer_ms.append((time.perf_counter() - started) * 1000)
            answers.append(len(offers))
    return {
        "match_ms": _percentiles(match_ms),
        "answer_ms": _percentiles(answer_ms),
        "answers_median": int(statistics.median(answers)),
    }


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    cuts = statistics.quantiles(values, n=20, method="inclusive")
    return {"p50": round(cuts[9], 2), "p95": round(cuts[18], 2)}


async def _fill(database: Database, first: int, after: int) -> None:
    """Offers from number `first` up to `after`, and their homes; then what PostgreSQL knows of them is up to date."""
    dice = random.Random(f"offers-{first}")
    async with database.unit_of_work() as uow:
        for number in range(min(first, _HOMES_MAX), min(after, _HOMES_MAX)):
            await _add_home(uow, number, dice)
    for batch in range(first, after, 1000):
        async with database.unit_of_work() as uow:
            for number in range(batch, min(batch + 1000, after)):
                await shelf.publish(uow, _offer(number, dice), now=_NOW)
    async with database.connection() as connection:
        await connection.execute("VACUUM ANALYZE")


async def _add_home(uow: UnitOfWork, number: int, dice: random.Random) -> None:
    latitude, longitude = _somewhere(dice)
    await uow.connection.execute(
        "INSERT INTO providers (provider_id, name, short_desc, image_url, gps, meter_id, created_at)"
        " VALUES ($1, $2, '', '', $3, $4, $5)",
        f"home-{number}",
        f"Home {number}",
        f"{latitude:.3f}, {longitude:.3f}",
        f"meter-{number}",
        _NOW,
    )


def _somewhere(dice: random.Random) -> tuple[float, float]:
    latitude, longitude = _CENTRE
    return (
        latitude + dice.uniform(-_SPREAD_DEGREES, _SPREAD_DEGREES),
        longitude + dice.uniform(-_SPREAD_DEGREES, _SPREAD_DEGREES),
    )


def _offer(number: int, dice: random.Random) -> Offer:
    start = _NOW.replace(hour=8) + timedelta(days=dice.randrange(_DAYS))
    energy = Series(start, 3600, tuple(dice.randrange(200, 2500) for _ in range(10)))
    nothing = Series.flat(energy, 0)
    base = dice.randrange(80_000, 320_000, 1000)
    prices = energy.with_values(tuple(base + dice.randrange(0, 20_000, 1000) for _ in energy.values))
    source = dice.choice((Source.SOLAR, Source.SOLAR, Source.WIND, Source.BATTERY))
    offer = Offer(
        offer_id=f"offer-{number}",
        provider_id=f"home-{number % _HOMES_MAX}",
        meter_id=f"meter-{number % _HOMES_MAX}",
        source=source,
        currency="EUR",
        offered_wh=energy,
        held_wh=nothing,
        sold_wh=nothing,
        price_micro_per_kwh=prices,
        wheeling_micro_per_kwh=15_000,
        order_wh_min=100,
        order_wh_max=20_000,
        gate_closure_s=3600,
        quote_ttl_s=300,
        cancellation_terms=(),
        fulfillment_type="GRID_INJECTION",
        valid_from=_NOW - timedelta(days=1),
        valid_until=energy.end,
        renewable_per_mille=1000 if source is not Source.BATTERY else dice.randrange(300, 1000),
        carbon_g_per_kwh=Series.flat(energy, dice.randrange(10, 400)) if dice.random() < 0.5 else None,
    )
    if number % 3:
        return offer
    share = dice.choice((1, 2, 2))  # all of it, or half
    return replace(offer, sold_wh=energy.with_values(tuple(wh // share for wh in energy.values)))


def rows(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Lines of the bench's table."""
    lines = []
    for size, times in found["matching"].items():
        match, answer = times["match_ms"], times["answer_ms"]
        lines.append(
            (
                f"search among {int(size):,} offers ({times['answers_median']} answer)",
                f"p50 {match['p50']} ms, p95 {match['p95']} ms; with its catalogue {answer['p50']} ms",
                "p50 < 20 ms" if int(size) == 10_000 else "",
            )
        )
    lines.append(("growth of a search's time with offers", f"offers^{found['matching_growth']}", "< offers^1"))
    return lines


def run(*, quick: bool) -> dict[str, Any]:
    """Measure on a PostgreSQL of its own; `quick` leaves the largest catalogue out."""
    with Servers.start(durable=True) as servers:
        url = servers.create_database("bench_matching")
        migrate.upgrade(url)
        sizes = SIZES[:-1] if quick else SIZES
        return uvloop.run(measure(url, sizes=sizes, repeats=40 if quick else 200))


if __name__ == "__main__":
    for line in rows(run(quick=False)):
        print(" | ".join(line))
