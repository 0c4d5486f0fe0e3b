"""When something about a contract is due at the latest."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.support.trade_cases import SLOT_START, an_order, hours
from trade import deadlines
from trade.order import Dispute, Order, OrderState, Side
from trade.policy import Policy, SettlementRule
from trade.quote import SettlementResult

ROUNDS = Policy("iterated", 1, settlement=SettlementRule.MIN_OF_TWO, rounds=3, allocation_due_s=3600)
END = SLOT_START + timedelta(hours=2)


def an_active(**changes: Any) -> Order:
    return an_order(**{"state": OrderState.ACTIVE, "policy": ROUNDS, **changes})


def test_each_round_has_its_own_deadline_and_the_last_one_settles() -> None:
    assert deadlines.allocation_due(an_active(), 2) == END + timedelta(hours=2)
    assert deadlines.settle_by(an_active()) == END + timedelta(hours=3)


def test_a_one_sided_contract_waits_as_long_as_corrections_do() -> None:
    order = an_order(state=OrderState.ACTIVE)
    assert deadlines.settle_by(order) == deadlines.corrections_until(order) == END + timedelta(days=30)


@pytest.mark.parametrize("state", list(OrderState))
def test_whatever_may_hold_money_has_an_instant_at_which_somebody_acts(state: OrderState) -> None:
    dispute = Dispute("d", Side.BUYER, "why", END, END + timedelta(days=14))
    due = deadlines.next_due(an_active(state=state, dispute=dispute))
    if state is OrderState.DISPUTED:
        assert due == dispute.until
    elif state in deadlines.LIVE:
        assert due == deadlines.settle_by(an_active())
    else:
        assert due is None


def test_ratings_end_a_while_after_the_settlement() -> None:
    settled = SettlementResult(hours(1000, 2000), (), END + timedelta(days=2))
    assert deadlines.ratings_until(an_active()) == END + timedelta(days=30)
    assert deadlines.ratings_until(replace(an_active(), settlement=settled)) == END + timedelta(days=32)
    assert deadlines.dispute_until(an_active(), END) == END + timedelta(days=14)
