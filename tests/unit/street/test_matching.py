"""Sharing out offers: nobody gets what is not there, nobody pays retail or more, risk is spread."""

from hypothesis import given
from hypothesis import strategies as st

from cli.street.matching import Ask, share_out


def ask(offer_id: str, free: list[int], price: list[int], smallest: int = 1) -> Ask:
    return Ask("seller", f"provider-{offer_id}", offer_id, tuple(free), tuple(price), smallest)


ALL = 99


def test_an_offer_at_or_above_the_retail_price_is_not_taken() -> None:
    assert share_out({1: [500]}, [ask("a", [900], [210_000])], retail_micro_per_kwh=[210_000], partners=ALL) == []


def test_an_order_below_the_smallest_is_not_placed() -> None:
    assert share_out({1: [99]}, [ask("a", [900], [1], smallest=100)], retail_micro_per_kwh=[2], partners=ALL) == []


def test_what_a_home_lacks_is_spread_in_proportion_to_the_offers() -> None:
    asks = [ask("a", [300, 100], [10, 30]), ask("b", [100, 300], [20, 20])]
    deals = share_out({1: [200, 200]}, asks, retail_micro_per_kwh=[99, 99], partners=ALL)
    assert {deal.ask.offer_id: deal.energy_wh for deal in deals} == {"a": (150, 50), "b": (50, 150)}


def test_a_short_offer_is_spread_in_proportion_to_the_needs() -> None:
    deals = share_out({7: [400], 3: [100]}, [ask("a", [250], [10])], retail_micro_per_kwh=[99], partners=ALL)
    assert {deal.buyer: deal.total_wh for deal in deals} == {7: 200, 3: 50}


def test_nobody_buys_from_itself() -> None:
    asks = [ask("a", [300], [10]), ask("b", [300], [10])]
    deals = share_out({1: [500]}, asks, retail_micro_per_kwh=[99], partners=ALL, own_provider={1: "provider-a"})
    assert [(deal.ask.offer_id, deal.total_wh) for deal in deals] == [("b", 300)]


def test_a_buyer_deals_with_so_many_sellers_at_most() -> None:
    asks = [ask(str(number), [300], [10]) for number in range(10)]
    deals = share_out({b: [900] for b in range(5)}, asks, retail_micro_per_kwh=[99], partners=3)
    assert {buyer: sum(deal.buyer == buyer for deal in deals) for buyer in range(5)} == dict.fromkeys(range(5), 3)


slots = st.lists(st.integers(0, 2000), min_size=3, max_size=3)


@given(
    needs=st.dictionaries(st.integers(1, 17), slots, max_size=6),
    offers=st.lists(st.tuples(slots, st.lists(st.integers(1, 300), min_size=3, max_size=3)), max_size=6),
)
def test_all_that_can_be_shared_is_and_nothing_more(
    needs: dict[int, list[int]], offers: list[tuple[list[int], list[int]]]
) -> None:
    asks = [ask(str(number), free, price) for number, (free, price) in enumerate(offers)]
    deals = share_out(needs, asks, retail_micro_per_kwh=[200] * 3, partners=ALL)
    for slot in range(3):
        usable = sum(a.available_wh[slot] for a in asks if a.price_micro_per_kwh[slot] < 200)
        wanted = sum(need[slot] for need in needs.values())
        assert sum(deal.energy_wh[slot] for deal in deals) == min(usable, wanted)
        for a in asks:
            assert sum(d.energy_wh[slot] for d in deals if d.ask.offer_id == a.offer_id) <= a.available_wh[slot]
        for buyer, need in needs.items():
            assert sum(d.energy_wh[slot] for d in deals if d.buyer == buyer) <= need[slot]
