"""What a policy asks of an order on the buyer's side: meters, every charge quoted, and money for the worst case."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bap import buyer, contracts, quotes
from bap.offer_document import policy_of
from books.policies import PolicyBook
from tests.support.buyer_rig import CHARGED
from tests.support.trade_cases import EVENING_BEFORE, an_order, hours
from tests.unit.bap.test_buyer import CUSTOMER, a_view, choose
from trade import policy, settlement
from trade.order import Order, OrderState
from trade.policy import BUILT_IN
from trade.quote import LineKind, QuoteLine

STREET = BUILT_IN["street@1"]


def wish(**changes: Any) -> buyer.Wish:
    return buyer.Wish("anna", CUSTOMER, hours(1000, 2000), **changes)


def a_draft(**changes: Any) -> Order:
    return an_order(**{"state": OrderState.SELECTING, "policy": CHARGED, **changes})


def quoted(order: Order, *more: QuoteLine, policy_id: str = CHARGED.id, digest: str = "") -> quotes.Quoted:
    """The right quote of an order under its policy, and whatever lines a seller adds."""
    assert order.quote is not None
    lines = settlement.quote_lines(order, order.contracted_wh)
    quote = replace(order.quote, lines=(*lines, *more))
    return quotes.Quoted(quote, order.contracted_wh, policy_id=policy_id, policy_digest=digest)


def test_a_two_sided_order_needs_a_meter_and_not_the_sellers() -> None:
    with pytest.raises(buyer.Unfit, match="give the account its meter"):
        choose(wish(policy=STREET))
    with pytest.raises(buyer.Unfit, match="own meter"):
        choose(wish(policy=STREET, meter_id="meter-7"))
    order = choose(wish(policy=STREET, meter_id="meter-8")).order
    assert (order.policy, order.buyer_meter_id) == (STREET, "meter-8")
    assert choose(wish()).order.policy.id == "plain@1"


def test_an_order_is_paid_in_whatever_currency_the_offer_is_in() -> None:
    assert choose(wish(), offer=a_view(currency="XCO")).order.currency == "XCO"


@pytest.mark.parametrize(
    ("name", "digest", "sentence"),
    [("moonlight@3", "", "not known here"), ("street@1", "0" * 16, "means other rules")],
)
def test_an_offer_under_rules_that_are_not_known_here_is_unfit(name: str, digest: str, sentence: str) -> None:
    with pytest.raises(buyer.Unfit, match=sentence):
        policy_of(a_view(policy=name, policy_digest=digest), PolicyBook())
    assert policy_of(a_view(policy="street@1", policy_digest=policy.digest(STREET)), PolicyBook()) == STREET


def test_every_charge_of_the_policy_is_taken_and_counted() -> None:
    draft = a_draft()
    step = quotes.record_quote(draft, quoted(draft), now=EVENING_BEFORE)
    assert step is not None and step.order.state is OrderState.QUOTED and step.order.quote is not None
    kinds = {line.kind for line in step.order.quote.lines}
    assert kinds == {
        LineKind.ENERGY,
        LineKind.WHEELING,
        LineKind.TAX,
        LineKind.PLATFORM_FEE,
        LineKind.UTILITY_FEE,
    }


def test_a_charge_the_policy_has_no_rate_for_is_refused_by_its_name() -> None:
    draft = a_draft(policy=STREET)
    tax = QuoteLine(LineKind.TAX, "TAX", 1_500)
    step = quotes.record_quote(draft, quoted(draft, tax, policy_id=STREET.id), now=EVENING_BEFORE)
    assert step is not None and step.order.state is OrderState.REFUSED
    assert step.order.refusal == "The seller's quote charges TAX of 0.015 USD, which street@1 knows no rate for."


def test_a_quote_that_moves_money_from_one_charge_to_another_is_refused() -> None:
    draft = a_draft()
    right = quoted(draft)
    first, second, *rest = right.quote.lines
    moved = (
        replace(first, amount_milli=first.amount_milli - 500),
        replace(second, amount_milli=second.amount_milli + 500),
        *rest,
    )
    step = quotes.record_quote(draft, replace(right, quote=replace(right.quote, lines=moved)), now=EVENING_BEFORE)
    assert step is not None and "splits its" in step.order.refusal


@pytest.mark.parametrize(("name", "digest"), [("plain@1", ""), (CHARGED.id, "0" * 16)])
def test_a_quote_under_other_rules_than_the_offers_is_refused(name: str, digest: str) -> None:
    draft = a_draft()
    step = quotes.record_quote(draft, quoted(draft, policy_id=name, digest=digest), now=EVENING_BEFORE)
    assert step is not None and step.order.refusal.startswith("The seller quoted under")


def test_confirm_reserves_the_most_the_contract_can_cost_and_changes_follow_it() -> None:
    # Energy and its tax cost less than a penalty of 1 a kWh: not taking anything is the dearest that can happen.
    strict = replace(CHARGED, penalty_micro_per_kwh=1_000_000)
    order = an_order(policy=strict)
    most = settlement.exposure_milli(order)
    assert order.quote is not None and most > order.quote.total_milli
    step = buyer.start_confirm(order, message_id="m", now=EVENING_BEFORE, wait=timedelta(seconds=60))
    assert sum(leg.amount_milli for leg in step.transfers[0].legs if leg.account.startswith("escrow:")) == most
    contract = replace(order, state=OrderState.ACTIVE)
    curtailed = contracts.record_change(
        contract,
        hours(1000, 1500),
        asked_wh=None,
        seller_total_milli=None,
        reserved_milli=most,
        message_id="m-2",
        now=EVENING_BEFORE,
    )
    assert curtailed is not None and curtailed.order.curtailed_wh == hours(0, 500)
    [given_back] = curtailed.transfers
    assert given_back.moved_milli("escrow:order-1") == settlement.exposure_milli(curtailed.order) - most < 0
