"""Which transfers each step of an order makes, and which it refuses to make."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.trade_cases import EVENING_BEFORE, SLOT_START, an_order, hours
from trade import bank_transfers, ledger, settlement
from trade.ledger import Leg, Transfer
from trade.order import Side
from trade.quote import Flow, LineKind, Party, QuoteLine, SettlementResult

NOW = EVENING_BEFORE
BUYERS = an_order()  # 63 cents of energy and 6 of wheeling
SELLERS = an_order(side=Side.SELLER)
FEE = QuoteLine(LineKind.CANCELLATION_FEE, "DISCOM_FEES", 15_750)  # a quarter of the energy


def delivered(*wh: int) -> SettlementResult:
    return settlement.settle(BUYERS, seller_alloc_wh=hours(*wh), now=SLOT_START + timedelta(hours=30))


def moves(transfers: list[Transfer]) -> list[tuple[str, dict[str, int]]]:
    return [(t.transfer_id, {leg.account: leg.amount_milli for leg in t.legs}) for t in transfers]


def transfer(*legs: tuple[str, str, int]) -> Transfer:
    return Transfer("t", "", "", NOW, tuple(Leg(*leg) for leg in legs))


@pytest.mark.parametrize("amount", [0, -5])
def test_a_transfer_that_moves_nothing_is_refused(amount: int) -> None:
    with pytest.raises(ValueError, match="moves nothing"):
        ledger.deposit(account_id="anna", amount_minor=amount, currency="USD", reference="r1", at=NOW)
    with pytest.raises(ValueError, match="moves nothing"):
        transfer()
    with pytest.raises(ValueError, match="moves nothing"):
        transfer(("a", "USD", 5), ("b", "USD", 0), ("c", "USD", -5))


def test_a_transfer_to_the_account_it_comes_from_is_refused() -> None:
    with pytest.raises(ValueError, match="names an account twice"):
        transfer(("wallet:anna", "USD", -5), ("wallet:anna", "USD", 5))


@pytest.mark.parametrize(
    "legs",
    [
        [("a", "USD", -5), ("b", "USD", 4)],
        [("a", "USD", -5), ("b", "INR", 5)],
        [("a", "USD", -5), ("b", "USD", 5), ("b", "INR", 1)],
    ],
)
def test_a_transfer_that_does_not_sum_to_zero_in_every_currency_is_refused(legs: list[tuple[str, str, int]]) -> None:
    with pytest.raises(ValueError, match="does not sum to zero"):
        transfer(*legs)


def test_a_transfer_may_exchange_two_currencies_between_two_accounts() -> None:
    swap = transfer(("a", "USD", -5), ("b", "USD", 5), ("a", "XWH", 30), ("b", "XWH", -30))
    assert ledger.balances([swap]) == {("a", "USD"): -5, ("b", "USD"): 5, ("a", "XWH"): 30, ("b", "XWH"): -30}


def test_an_order_without_a_quote_cannot_be_reserved_for() -> None:
    with pytest.raises(ValueError, match="no quote"):
        ledger.reserve(replace(BUYERS, quote=None), at=NOW)


def test_the_sellers_copy_never_touches_a_wallet_nor_the_buyers_a_providers_earnings() -> None:
    for buyers_step in (ledger.reserve, ledger.release):
        with pytest.raises(ValueError, match="SELLER's copy"):
            buyers_step(SELLERS, at=NOW)
    with pytest.raises(ValueError, match="BUYER's copy"):
        ledger.seller_settle(BUYERS, delivered(1000, 2000), at=NOW)
    with pytest.raises(ValueError, match="BUYER's copy"):
        ledger.seller_cancel(BUYERS, FEE, at=NOW)


def test_more_than_is_reserved_is_never_paid_out() -> None:
    with pytest.raises(ledger.UnableToSettle, match="69000 is due for order order-1, 68999 is reserved"):
        ledger.buyer_settle(BUYERS, delivered(1000, 2000), at=NOW, reserved_milli=68_999)
    with pytest.raises(ledger.UnableToSettle):
        ledger.buyer_cancel(BUYERS, FEE, at=NOW, reserved_milli=15_749)


def test_wallets_escrow_taxes_and_our_own_fees_are_never_overdrawn() -> None:
    guarded = [ledger.wallet("a"), ledger.escrow("o"), ledger.tax(), ledger.platform()]
    open_ended = [
        ledger.payable("bpp.example"),
        ledger.receivable("bap.example"),
        ledger.provider_earnings("p"),
        ledger.utility(),
        ledger.utility("grid.example"),
        ledger.debt("a"),
        ledger.external(),
    ]
    assert not any(ledger.may_overdraw(account) for account in guarded)
    assert all(ledger.may_overdraw(account) for account in open_ended)


def test_a_deposit_is_named_by_its_reference_so_that_a_repeat_is_the_same() -> None:
    first, again = (
        ledger.deposit(account_id="anna", amount_minor=500, currency="USD", reference="bank-7", at=NOW)
        for _ in range(2)
    )
    assert first == again
    assert moves([first]) == [("deposit/anna/bank-7", {"external": -500_000, "wallet:anna": 500_000})]


def test_a_debt_is_repaid_from_a_deposit_as_far_as_it_goes() -> None:
    paid_in = ledger.deposit(account_id="anna", amount_minor=5, currency="USD", reference="b", at=NOW)

    def repaid(debt_milli: int, currency: str = "USD") -> list[tuple[str, dict[str, int]]]:
        return moves(bank_transfers.repay(paid_in, account_id="anna", debt_milli=debt_milli, currency=currency))

    assert repaid(-1250) == [("deposit/anna/b/repay", {"wallet:anna": -1250, "debt:anna": 1250})]
    assert repaid(-9000) == [("deposit/anna/b/repay", {"wallet:anna": -5000, "debt:anna": 5000})]
    assert repaid(0) == repaid(-1250, "INR") == []


def test_confirm_reserves_the_quote_or_what_can_come_due_and_a_refusal_gives_it_back() -> None:
    assert moves(ledger.reserve(BUYERS, at=NOW)) == [
        ("order-1/reserve", {"wallet:anna": -69_000, "escrow:order-1": 69_000})
    ]
    assert moves(ledger.reserve(BUYERS, at=NOW, needed_milli=70_001)) == [
        ("order-1/reserve", {"wallet:anna": -70_001, "escrow:order-1": 70_001})
    ]
    assert moves(ledger.release(BUYERS, at=NOW)) == [
        ("order-1/release", {"escrow:order-1": -69_000, "wallet:anna": 69_000})
    ]


def test_a_change_moves_only_the_difference() -> None:
    def change(reserved: int, needed: int) -> list[tuple[str, dict[str, int]]]:
        return moves(ledger.adjust(BUYERS, reserved_milli=reserved, needed_milli=needed, step="update-q2", at=NOW))

    assert change(69, 100) == [("order-1/update-q2", {"wallet:anna": -31, "escrow:order-1": 31})]
    assert change(69, 40) == [("order-1/update-q2", {"escrow:order-1": -29, "wallet:anna": 29})]
    assert change(69, 69) == []


def test_a_buyer_pays_what_was_delivered_and_gets_the_rest_back() -> None:
    # 2.9 kWh at 0.21 and 0.02: 0.609 and 0.058 of the 0.69 that was quoted.
    assert moves(ledger.buyer_settle(BUYERS, delivered(1000, 1900), at=NOW)) == [
        ("order-1/settle/1", {"escrow:order-1": -69_000, "payable:bpp.example": 66_700, "wallet:anna": 2300})
    ]


def test_a_full_delivery_leaves_no_rest_to_book() -> None:
    ((_, legs),) = moves(ledger.buyer_settle(BUYERS, delivered(1000, 2000), at=NOW))
    assert legs == {"escrow:order-1": -69_000, "payable:bpp.example": 69_000}


def test_a_seller_credits_the_provider_with_the_energy_and_the_utility_with_the_wheeling() -> None:
    assert moves(ledger.seller_settle(SELLERS, delivered(1000, 1900), at=NOW)) == [
        ("order-1/settle/1", {"receivable:bap.example": -66_700, "provider:home-7": 60_900, "utility": 5800})
    ]


def test_nothing_delivered_is_booked_on_the_buyers_side_only() -> None:
    nothing = delivered(0, 0)
    ((_, legs),) = moves(ledger.buyer_settle(BUYERS, nothing, at=NOW))
    assert legs == {"escrow:order-1": -69_000, "wallet:anna": 69_000}
    assert ledger.seller_settle(SELLERS, nothing, at=NOW) == []


# Settlements with flows, and corrections of settlements.


def settled(version: int, *flows: tuple[Party, Party, int]) -> SettlementResult:
    """A settlement in which these parties pay each other; the buyer's lines are what it pays on balance."""
    owed = sum(amount * ((payer is Party.BUYER) - (payee is Party.BUYER)) for payer, payee, amount in flows)
    return SettlementResult(
        delivered_wh=hours(1000, 2000),
        lines=(QuoteLine(LineKind.ENERGY, "ENERGY", owed),),
        settled_at=SLOT_START,
        flows=tuple(Flow(LineKind.ENERGY, *flow) for flow in flows),
        version=version,
    )


B, S, P = Party.BUYER, Party.SELLER, Party
FIRST = settled(
    1,
    (B, S, 63_000),
    (B, P.TAX, 3150),
    (B, P.BUYER_PLATFORM, 500),
    (B, P.BUYER_UTILITY, 1000),
    (S, P.SELLER_UTILITY, 2000),
    (S, P.SELLER_PLATFORM, 700),
)


def test_every_party_of_a_settlement_has_its_account_and_the_buyers_platform_stays_at_the_buyers_node() -> None:
    assert moves(ledger.buyer_settle(BUYERS, FIRST, at=NOW, reserved_milli=70_000)) == [
        (
            "order-1/settle/1",
            {"escrow:order-1": -70_000, "payable:bpp.example": 67_150, "platform": 500, "wallet:anna": 2350},
        )
    ]
    grid = replace(SELLERS, utility_id="grid.example")
    assert moves(ledger.seller_settle(grid, FIRST, at=NOW)) == [
        (
            "order-1/settle/1",
            {
                "receivable:bap.example": -67_150,
                "platform": 700,
                "provider:home-7": 60_300,
                "tax": 3150,
                "utility:grid.example": 3000,
            },
        )
    ]


def test_a_penalty_above_the_price_pays_the_buyer_out_of_what_the_seller_owes() -> None:
    penal = settled(1, (B, S, 1000), (S, B, 1500))
    assert moves(ledger.buyer_settle(BUYERS, penal, at=NOW)) == [
        ("order-1/settle/1", {"escrow:order-1": -69_000, "payable:bpp.example": -500, "wallet:anna": 69_500})
    ]
    assert moves(ledger.seller_settle(SELLERS, penal, at=NOW)) == [
        ("order-1/settle/1", {"provider:home-7": -500, "receivable:bap.example": 500})
    ]


def test_a_correction_books_the_difference_and_a_wallet_that_lacks_it_owes_it() -> None:
    more = settled(2, (B, S, 65_000), (B, P.BUYER_PLATFORM, 600))
    first = settled(1, (B, S, 63_000), (B, P.BUYER_PLATFORM, 500))

    def corrected(wallet_milli: int | None) -> list[tuple[str, dict[str, int]]]:
        return moves(ledger.buyer_settle(BUYERS, more, earlier=first, at=NOW, wallet_milli=wallet_milli))

    gets = {"payable:bpp.example": 2000, "platform": 100}
    assert corrected(None) == corrected(2100) == [("order-1/settle/2", {"wallet:anna": -2100, **gets})]
    assert corrected(1500) == [("order-1/settle/2", {"wallet:anna": -1500, "debt:anna": -600, **gets})]
    assert corrected(0) == corrected(-7) == [("order-1/settle/2", {"debt:anna": -2100, **gets})]
    assert moves(ledger.seller_settle(SELLERS, more, earlier=first, at=NOW)) == [
        ("order-1/settle/2", {"receivable:bap.example": -2000, "provider:home-7": 2000})
    ]


def test_a_correction_downwards_pays_back_and_one_that_changes_nothing_books_nothing() -> None:
    first, less = settled(1, (B, S, 63_000)), settled(2, (B, S, 60_000))
    assert moves(ledger.buyer_settle(BUYERS, less, earlier=first, at=NOW, wallet_milli=0)) == [
        ("order-1/settle/2", {"payable:bpp.example": -3000, "wallet:anna": 3000})
    ]
    assert moves(ledger.seller_settle(SELLERS, less, earlier=first, at=NOW)) == [
        ("order-1/settle/2", {"provider:home-7": -3000, "receivable:bap.example": 3000})
    ]
    same = replace(first, version=2)
    assert ledger.buyer_settle(BUYERS, same, earlier=first, at=NOW) == []
    assert ledger.seller_settle(SELLERS, same, earlier=first, at=NOW) == []


amounts = st.integers(0, 10**6)
paying = st.sampled_from([Party.BUYER, Party.SELLER])
any_flows = st.lists(st.tuples(paying, st.sampled_from(list(Party)), amounts).filter(lambda f: f[0] is not f[1]))


@given(any_flows, any_flows, st.integers(0, 10**7))
def test_both_books_agree_on_any_flows_and_on_their_correction(first: Any, second: Any, wallet_milli: int) -> None:
    one, two = settled(1, *first), settled(2, *second)
    buyers = [
        *ledger.buyer_settle(BUYERS, one, at=NOW, reserved_milli=10**9),
        *ledger.buyer_settle(BUYERS, two, earlier=one, at=NOW, wallet_milli=wallet_milli),
    ]
    sellers = [
        *ledger.seller_settle(SELLERS, one, at=NOW),
        *ledger.seller_settle(SELLERS, two, earlier=one, at=NOW),
    ]
    ours, theirs = ledger.balances(buyers), ledger.balances(sellers)
    assert ours.get(("payable:bpp.example", "USD"), 0) == -theirs.get(("receivable:bap.example", "USD"), 0)
    wallet_and_debt = sum(ours.get((account, "USD"), 0) for account in ("wallet:anna", "debt:anna"))
    assert wallet_and_debt == 10**9 - two.total_milli


def test_a_cancellation_pays_the_fee_and_gives_the_rest_back() -> None:
    assert moves(ledger.buyer_cancel(BUYERS, FEE, at=NOW)) == [
        ("order-1/cancel", {"escrow:order-1": -69_000, "payable:bpp.example": 15_750, "wallet:anna": 53_250})
    ]
    assert moves(ledger.seller_cancel(SELLERS, FEE, at=NOW)) == [
        ("order-1/cancel", {"receivable:bap.example": -15_750, "provider:home-7": 15_750})
    ]


def test_a_free_cancellation_gives_everything_back() -> None:
    assert moves(ledger.buyer_cancel(BUYERS, None, at=NOW)) == [
        ("order-1/cancel", {"escrow:order-1": -69_000, "wallet:anna": 69_000})
    ]
    assert ledger.seller_cancel(SELLERS, None, at=NOW) == []


def test_undoing_is_a_transfer_of_its_own_the_other_way() -> None:
    (reserved,) = ledger.reserve(BUYERS, at=NOW)
    undone = ledger.reverse(reserved, at=SLOT_START, memo="meter corrected")
    assert moves([undone]) == [("order-1/reserve/reverse", {"wallet:anna": 69_000, "escrow:order-1": -69_000})]
    assert set(ledger.balances([reserved, undone]).values()) == {0}


def test_a_free_order_needs_no_transfers() -> None:
    free = an_order(price=0, wheeling_micro_per_kwh=0)
    assert ledger.reserve(free, at=NOW) == []
    assert ledger.release(free, at=NOW) == []


@given(
    st.lists(
        st.builds(
            lambda pair, amount, currency: transfer((pair[0], currency, -amount), (pair[1], currency, amount)),
            st.lists(st.sampled_from("abcd"), min_size=2, max_size=2, unique=True),
            st.integers(1, 10**9),
            st.sampled_from(["USD", "INR"]),
        )
    )
)
def test_the_balances_of_any_books_sum_to_zero_in_every_currency(transfers: list[Transfer]) -> None:
    balances = ledger.balances(transfers)
    for currency in ("USD", "INR"):
        assert sum(amount for (_, of), amount in balances.items() if of == currency) == 0


@given(st.integers(0, 1000), st.integers(0, 2000))
def test_both_books_agree_on_any_delivery(first: int, second: int) -> None:
    result = delivered(first, second)
    buyers = ledger.balances([*ledger.reserve(BUYERS, at=NOW), *ledger.buyer_settle(BUYERS, result, at=NOW)])
    sellers = ledger.balances(ledger.seller_settle(SELLERS, result, at=NOW))
    owed = buyers.get((ledger.payable("bpp.example"), "USD"), 0)
    assert owed == -sellers.get((ledger.receivable("bap.example"), "USD"), 0)
    assert owed == result.total_milli
