"""A process that takes energy from offers of one meter as fast as it can, like one replica of a seller's node.

    python -m tests.support.meter_hammer DATABASE_URL WRITERS TRIES SEED

It takes offers as the node does (lock, look, hold, save) and, every third time, as broken code might: without looking.
Prints how many Wh it took in all; what the database refused is counted as not taken.
"""

from __future__ import annotations

import asyncio
import random
import sys
from dataclasses import replace

import asyncpg

from bpp import shelf
from energy_catalog import offers as rules
from energy_catalog.offers import Offer, UnableToTake
from store.db import Database

OFFERS = ("roof", "battery", "charger")
PORTION_WH = 70


async def main(url: str, writers: int, tries: int, seed: int) -> int:
    """Take from all offers with so many writers at once; the Wh that were taken."""
    database = await Database.connect(url, pool_max=writers + 2)
    try:
        taken = await asyncio.gather(*(_writer(database, tries, seed * 1000 + number) for number in range(writers)))
    finally:
        await database.close()
    return sum(taken)


async def _writer(database: Database, tries: int, seed: int) -> int:
    dice = random.Random(seed)
    taken = 0
    for number in range(tries):
        try:
            async with database.unit_of_work() as uow:
                offer = await shelf.lock_known(uow, dice.choice(OFFERS))
                slot = dice.randrange(len(offer.offered_wh.values))
                portion = tuple(PORTION_WH if n == slot else 0 for n in range(len(offer.offered_wh.values)))
                await shelf.save_taken(uow, _held(offer, portion, looks=number % 3 > 0))
        except (UnableToTake, asyncpg.CheckViolationError):
            continue
        taken += PORTION_WH
    return taken


def _held(offer: Offer, portion: tuple[int, ...], *, looks: bool) -> Offer:
    energy = offer.offered_wh.with_values(portion)
    if looks:
        return rules.sell(rules.hold(offer, energy), energy)
    more = tuple(a + b for a, b in zip(offer.held_wh.values, portion, strict=True))
    return replace(offer, held_wh=offer.held_wh.with_values(more))


if __name__ == "__main__":
    print(asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:5]))))  # noqa: T201
