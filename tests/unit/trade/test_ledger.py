"""Which transfers each step of an order makes, and which it refuses to make."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.trade_cases import EVENING_BEFORE, SLOT_START, an_order, hours
from trade import ledger, settlement
from trade.ledger import Transfer
from trade.order import Side
from trade.quote import LineKind, QuoteLine, SettlementResult

NOW = EVENING_BEFORE
BUYERS = an_order()  # 63 cents of energy and 6 of wheeling
SELLERS = an_order(side=Side.SELLER)
FEE = QuoteLine(LineKind.CANCELLATION_FEE, "DISCOM_FEES", 16)


def delivered(*wh: int) -> SettlementResult:
    return settlement.settle(BUYERS, metered_wh=hours(*wh), now=SLOT_START + timedelta(hours=30))


def moves(transfers: list[Transfer]) -> list[tuple[str, str, str, int]]:
    return [(t.transfer_id, t.debit, t.credit, t.amount_milli) for t in transfers]


@pytest.mark.parametrize("amount", [0, -5])
def test_a_transfer_that_moves_nothing_is_refused(amount: int) -> None:
    with pytest.raises(ValueError, match="moves nothing"):
        ledger.deposit(account_id="anna", amount_minor=amount, currency="USD", reference="r1", at=NOW)


def test_a_transfer_to_the_account_it_comes_from_is_refused() -> None:
    with pytest.raises(ValueError, match="moves nothing"):
        Transfer("t", "wallet:anna", "wallet:anna", 5, "USD", "", "", NOW)


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
    with pytest.raises(ledger.UnableToSettle, match="69 is due for order order-1, 68 is reserved"):
        ledger.buyer_settle(BUYERS, delivered(1000, 2000), at=NOW, reserved_milli=68)
    with pytest.raises(ledger.UnableToSettle):
        ledger.buyer_cancel(BUYERS, FEE, at=NOW, reserved_milli=15)


def test_only_the_outside_world_and_receivables_may_be_overdrawn() -> None:
    accounts = [
        ledger.wallet("a"),
        ledger.escrow("o"),
        ledger.payable("bpp.example"),
        ledger.receivable("bap.example"),
        ledger.provider_earnings("p"),
        ledger.utility(),
        ledger.external(),
    ]
    assert [account for account in accounts if ledger.may_overdraw(account)] == ["receivable:bap.example", "external"]


def test_a_deposit_is_named_by_its_reference_so_that_a_repeat_is_the_same() -> None:
    first, again = (
        ledger.deposit(account_id="anna", amount_minor=500, currency="USD", reference="bank-7", at=NOW)
        for _ in range(2)
    )
    assert first == again
    assert moves([first]) == [("deposit/anna/bank-7", "external", "wallet:anna", 500)]


def test_confirm_reserves_the_quote_and_a_refusal_gives_it_back() -> None:
    assert moves(ledger.reserve(BUYERS, at=NOW)) == [("order-1/reserve", "wallet:anna", "escrow:order-1", 69)]
    assert moves(ledger.release(BUYERS, at=NOW)) == [("order-1/release", "escrow:order-1", "wallet:anna", 69)]


def test_a_change_moves_only_the_difference() -> None:
    def change(reserved: int, needed: int) -> list[tuple[str, str, str, int]]:
        return moves(ledger.adjust(BUYERS, reserved_milli=reserved, needed_milli=needed, step="update-q2", at=NOW))

    assert change(69, 100) == [("order-1/update-q2", "wallet:anna", "escrow:order-1", 31)]
    assert change(69, 40) == [("order-1/update-q2", "escrow:order-1", "wallet:anna", 29)]
    assert change(69, 69) == []


def test_a_buyer_pays_what_was_delivered_and_gets_the_rest_back() -> None:
    assert moves(ledger.buyer_settle(BUYERS, delivered(1000, 1900), at=NOW)) == [
        ("order-1/settle", "escrow:order-1", "payable:bpp.example", 67),
        ("order-1/settle-rest", "escrow:order-1", "wallet:anna", 2),
    ]


def test_a_full_delivery_leaves_no_rest_to_book() -> None:
    assert [t.memo for t in ledger.buyer_settle(BUYERS, delivered(1000, 2000), at=NOW)] == ["settle"]


def test_a_seller_credits_the_provider_with_the_energy_and_the_utility_with_the_wheeling() -> None:
    assert moves(ledger.seller_settle(SELLERS, delivered(1000, 1900), at=NOW)) == [
        ("order-1/settle-energy", "receivable:bap.example", "provider:home-7", 61),
        ("order-1/settle-wheeling", "receivable:bap.example", "utility", 6),
    ]


def test_nothing_delivered_is_booked_on_the_buyers_side_only() -> None:
    nothing = delivered(0, 0)
    assert [t.memo for t in ledger.buyer_settle(BUYERS, nothing, at=NOW)] == ["settle-rest"]
    assert ledger.seller_settle(SELLERS, nothing, at=NOW) == []


def test_a_cancellation_pays_the_fee_and_gives_the_rest_back() -> None:
    assert moves(ledger.buyer_cancel(BUYERS, FEE, at=NOW)) == [
        ("order-1/cancel", "escrow:order-1", "payable:bpp.example", 16),
        ("order-1/cancel-rest", "escrow:order-1", "wallet:anna", 53),
    ]
    assert moves(ledger.seller_cancel(SELLERS, FEE, at=NOW)) == [
        ("order-1/cancel-fee", "receivable:bap.example", "provider:home-7", 16)
    ]


def test_a_free_cancellation_gives_everything_back() -> None:
    assert moves(ledger.buyer_cancel(BUYERS, None, at=NOW)) == [
        ("order-1/cancel-rest", "escrow:order-1", "wallet:anna", 69)
    ]
    assert ledger.seller_cancel(SELLERS, None, at=NOW) == []


def test_undoing_is_a_transfer_of_its_own_the_other_way() -> None:
    (reserved,) = ledger.reserve(BUYERS, at=NOW)
    undone = ledger.reverse(reserved, at=SLOT_START, memo="meter corrected")
    assert moves([undone]) == [("order-1/reserve/reverse", "escrow:order-1", "wallet:anna", 69)]
    assert set(ledger.balances([reserved, undone]).values()) == {0}


def test_a_free_order_needs_no_transfers() -> None:
    free = an_order(price=0, wheeling_micro_per_kwh=0)
    assert ledger.reserve(free, at=NOW) == []
    assert ledger.release(free, at=NOW) == []


@given(
    st.lists(
        st.builds(
            lambda pair, amount, currency: Transfer("t", pair[0], pair[1], amount, currency, "", "", NOW),
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
