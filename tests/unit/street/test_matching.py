"""Sharing out offers: nobody gets what is not there, nobody pays retail or more, the cheapest goes first."""

from hypothesis import given
from hypothesis import strategies as st

from cli.street.matching import Ask, share_out


def ask(offer_id: str, free: list[int], price: list[int], smallest: int = 1) -> Ask:
    return Ask("seller", f"provider-{offer_id}", offer_id, tuple(free), tuple(price), smallest)


def test_an_offer_at_or_above_the_retail_price_is_not_taken() -> None:
    assert share_out({1: [500]}, [ask("a", [900], [210_000])], retail_micro_per_kwh=[210_000]) == []


def test_an_order_below_the_smallest_is_not_placed() -> None:
    assert share_out({1: [99]}, [ask("a", [900], [1], smallest=100)], retail_micro_per_kwh=[2]) == []


def test_the_cheapest_energy_goes_first_hour_by_hour() -> None:
    asks = [ask("a", [300, 300], [10, 30]), ask("b", [300, 300], [20, 20])]
    deals = share_out({1: [400, 400]}, asks, retail_micro_per_kwh=[99, 99])
    assert {deal.ask.offer_id: deal.energy_wh for deal in deals} == {"a": (300, 100), "b": (100, 300)}


def test_buyers_are_served_in_the_order_given() -> None:
    deals = share_out({7: [400], 3: [400]}, [ask("a", [500], [10])], retail_micro_per_kwh=[99])
    assert {deal.buyer: deal.total_wh for deal in deals} == {7: 400, 3: 100}


slots = st.lists(st.integers(0, 2000), min_size=3, max_size=3)


@given(
    needs=st.dictionaries(st.integers(1, 17), slots, max_size=6),
    offers=st.lists(st.tuples(slots, st.lists(st.integers(1, 300), min_size=3, max_size=3)), max_size=6),
)
def test_all_that_can_be_shared_is_and_nothing_more(
    needs: dict[int, list[int]], offers: list[tuple[list[int], list[int]]]
) -> None:
    asks = [ask(str(number), free, price) for number, (free, price) in enumerate(offers)]
    deals = share_out(needs, asks, retail_micro_per_kwh=[200] * 3)
    for slot in range(3):
        usable = sum(a.available_wh[slot] for a in asks if a.price_micro_per_kwh[slot] < 200)
        wanted = sum(need[slot] for need in needs.values())
        assert sum(deal.energy_wh[slot] for deal in deals) == min(usable, wanted)
        for a in asks:
            assert sum(d.energy_wh[slot] for d in deals if d.ask is a) <= a.available_wh[slot]
        for buyer, need in needs.items():
            assert sum(d.energy_wh[slot] for d in deals if d.buyer == buyer) <= need[slot]
