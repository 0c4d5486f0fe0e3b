"""How much of the best possible energy the allocation rules settle, and how long settling takes. Pure computation.

A book is one slot of a small market: contracts between the meters of buyers and sellers, and what those meters
counted. Books are drawn at random from a seed. The best possible settlement of a book is a linear program,

    max sum x_k   with   0 <= x_k <= contract_k,   sum of x_k on a meter <= its reading

solved by HiGHS; a rule's efficiency on a book is what it settles divided by that. Published independently for other
random books of this kind: .954 for pro-rata and the minimum, .993 for three rounds, under heavy shortfall.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from statistics import fmean
from typing import Any

import highspy

from trade import allocation, settlement
from trade.allocation import Joint
from trade.money import Series
from trade.order import Order, OrderState, Side
from trade.policy import BUILT_IN

#: What meters count of what is contracted on them: under heavy shortfall two in three fall short, by anything; under
#: mild shortfall two in seven, by a fifth at most.
SHORTFALLS = {"heavy": (0.0, 1.5), "mild": (0.8, 1.5)}
ROUNDS = 3
_SEED = 20_160_802


@dataclass(frozen=True, slots=True)
class Book:
    """One slot of a market: contracts, and what the meters of both sides counted, Wh."""

    contracts: dict[str, Joint]
    import_wh: dict[str, int]
    export_wh: dict[str, int]


def draw_book(rng: random.Random, shortfall: str) -> Book:
    """A random book of 2 to 8 meters a side, of whose pairs 10 to 40 % trade, 100 Wh to 5 kWh."""
    buyers = [f"b{number}" for number in range(rng.randint(2, 8))]
    sellers = [f"s{number}" for number in range(rng.randint(2, 8))]
    density = rng.uniform(0.1, 0.4)
    pairs = [(b, s) for b in buyers for s in sellers if rng.random() < density] or [(buyers[0], sellers[0])]
    contracts = {f"{b}-{s}": Joint(b, s, rng.randint(100, 5000)) for b, s in pairs}
    least, most = SHORTFALLS[shortfall]

    def counted(side: str, meters: list[str]) -> dict[str, int]:
        owed = {
            meter: sum(j.contracted_wh for j in contracts.values() if getattr(j, side) == meter) for meter in meters
        }
        return {meter: int(wh * rng.uniform(least, most)) for meter, wh in owed.items()}

    return Book(contracts, counted("buyer_meter", buyers), counted("seller_meter", sellers))


def optimum_wh(book: Book) -> int:
    """The most energy any allocation could settle, by linear program (its optimum is whole: it is a flow)."""
    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    keys = list(book.contracts)
    for key in keys:
        solver.addVar(0.0, float(book.contracts[key].contracted_wh))
        solver.changeColCost(solver.getNumCol() - 1, 1.0)
    for side, metered in (("buyer_meter", book.import_wh), ("seller_meter", book.export_wh)):
        for meter, wh in metered.items():
            columns = [index for index, key in enumerate(keys) if getattr(book.contracts[key], side) == meter]
            solver.addRow(0.0, float(wh), len(columns), columns, [1.0] * len(columns))
    solver.changeObjectiveSense(highspy.ObjSense.kMaximize)
    solver.run()
    return round(solver.getInfo().objective_function_value)


def efficiency(book: Book, rounds: int, best_wh: int) -> float:
    """What so many rounds settle of the best possible; 1 where nothing could be settled."""
    found = allocation.iterated(book.contracts, import_wh=book.import_wh, export_wh=book.export_wh, rounds=rounds)
    return sum(found.values()) / best_wh if best_wh else 1.0


def measure_efficiency(*, books: int) -> dict[str, Any]:
    """Mean and worst efficiency of the default and of three rounds on the same seeded books."""
    found: dict[str, Any] = {}
    for shortfall in SHORTFALLS:
        rng = random.Random(f"{_SEED} {shortfall}")
        shares: dict[int, list[float]] = {1: [], ROUNDS: []}
        for _ in range(books):
            book = draw_book(rng, shortfall)
            best_wh = optimum_wh(book)
            for rounds, values in shares.items():
                values.append(efficiency(book, rounds, best_wh))
        found[shortfall] = {
            name: {"mean": round(fmean(values), 4), "worst": round(min(values), 4)}
            for name, values in (("min_of_two", shares[1]), ("iterated", shares[ROUNDS]))
        }
    return {"books": books, **found}


def a_contract(rng: random.Random) -> tuple[Order, Series, Series]:
    """A day's contract by the hour under the wave-2 rates, and what both sides were allocated."""
    start = datetime(2016, 8, 2, tzinfo=UTC)
    energy = Series(start, 3600, tuple(rng.randint(0, 3000) for _ in range(24)))
    rules = replace(BUILT_IN["street@1"], penalty_micro_per_kwh=500_000, tax_ppm=180_000)
    order = Order(
        order_id="bench",
        side=Side.SELLER,
        state=OrderState.DELIVERING,
        transaction_id="bench",
        counterparty_id="bap.example",
        provider_id="home-1",
        offer_id="offer-1",
        contracted_wh=energy,
        price_micro_per_kwh=energy.with_values(tuple(rng.choice((120_000, 210_000)) for _ in range(24))),
        currency="USD",
        created_at=start,
        updated_at=start,
        wheeling_micro_per_kwh=20_000,
        wheeling_seller_micro_per_kwh=10_000,
        policy=rules,
    )
    sides = [energy.with_values(tuple(int(wh * rng.uniform(0.5, 1.1)) for wh in energy.values)) for _ in range(2)]
    return order, sides[0], sides[1]


def measure_time(*, contracts: int) -> float:
    """Seconds to settle 10,000 contracts of 24 slots with both meters, penalties, wheeling and tax."""
    rng = random.Random(_SEED)
    cases = [a_contract(rng) for _ in range(contracts)]
    now = cases[0][0].contracted_wh.end + timedelta(hours=1)
    started = time.process_time()
    for order, sold, bought in cases:
        settlement.settle(order, seller_alloc_wh=sold, buyer_alloc_wh=bought, now=now)
    return round((time.process_time() - started) * 10_000 / contracts, 2)


def measure(*, books: int, contracts: int) -> dict[str, Any]:
    """All figures of this module."""
    return {"settlement": {**measure_efficiency(books=books), "s_per_10000": measure_time(contracts=contracts)}}


def rows(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The table's lines: what, how much, and what it should be."""
    figures = found["settlement"]
    lines = []
    for shortfall in SHORTFALLS:
        for name, title in (("min_of_two", "pro-rata, min of two"), ("iterated", f"{ROUNDS} rounds")):
            share = figures[shortfall][name]
            goal = "mean >= .99, above min of two" if (shortfall, name) == ("heavy", "iterated") else ""
            measured = f"mean {share['mean']}, worst {share['worst']}"
            lines.append((f"settled of the optimum, {shortfall} shortfall, {title}", measured, goal))
    lines.append(("settling 10,000 contracts of 24 slots", f"{figures['s_per_10000']} s CPU", ""))
    return lines
