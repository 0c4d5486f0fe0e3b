"""What the allocation rules settle of the best possible, on the seeded books of the benchmark, by a linear program."""

from __future__ import annotations

import random

import pytest

from bench import settlement as bench
from bench.settlement import Book
from trade.allocation import Joint


def test_the_optimum_of_the_published_cross_linked_case_is_25_kwh() -> None:
    pairs = (("a", "b"), ("a", "c"), ("d", "c"))
    contracts = {f"{buyer}-{seller}": Joint(buyer, seller, 10_000) for buyer, seller in pairs}
    book = Book(contracts, {"a": 15_000, "d": 10_000}, {"b": 10_000, "c": 15_000})
    assert bench.optimum_wh(book) == 25_000
    assert bench.efficiency(book, 1, 25_000) == 0.9


@pytest.mark.parametrize("shortfall", bench.SHORTFALLS)
def test_no_rule_settles_more_than_the_optimum_and_no_round_less_than_the_one_before(shortfall: str) -> None:
    rng = random.Random(7)
    for _ in range(150):
        book = bench.draw_book(rng, shortfall)
        best_wh = bench.optimum_wh(book)
        shares = [bench.efficiency(book, rounds, best_wh) for rounds in (1, 2, 3, 6)]
        assert shares == sorted(shares)
        assert shares[-1] <= 1


def test_three_rounds_settle_99_percent_of_the_optimum_under_heavy_shortfall_and_more_than_one_round() -> None:
    found = bench.measure_efficiency(books=400)
    assert found["heavy"]["iterated"]["mean"] >= 0.99 > found["heavy"]["min_of_two"]["mean"]
    assert found["mild"]["iterated"]["mean"] > found["mild"]["min_of_two"]["mean"] > 0.99


def test_settling_can_be_timed_and_shown() -> None:
    rows = bench.rows(bench.measure(books=5, contracts=5))
    assert len(rows) == 5
    assert all(measured for _, measured, _ in rows)
