"""The life of an order: what each state refuses, that no order can get lost, and that a broken table is refused."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.trade_cases import EVENING_BEFORE, SLOT_START, an_order, hours
from trade import order as life
from trade.order import (
    OrderEvent,
    OrderState,
    Side,
    UnableToAdvance,
)

E, S = OrderEvent, OrderState
LATER = EVENING_BEFORE + timedelta(minutes=1)


def walk(state: OrderState, *events: OrderEvent, side: Side = Side.BUYER) -> OrderState:
    order = an_order(side=side, state=state)
    for event in events:
        order = life.advance(order, event, now=LATER)
    return order.state


def test_a_second_confirm_is_refused() -> None:
    with pytest.raises(UnableToAdvance, match="is ACTIVE and cannot take CONFIRMED"):
        walk(S.INITIALISED, E.CONFIRMED, E.CONFIRMED, side=Side.SELLER)


def test_a_late_confirmation_of_an_expired_order_is_refused() -> None:
    with pytest.raises(UnableToAdvance):
        walk(S.INITIALISED, E.QUOTE_EXPIRED, E.CONFIRMED, side=Side.SELLER)


def test_a_sent_confirm_does_not_expire_with_the_quote() -> None:
    with pytest.raises(UnableToAdvance):
        walk(S.CONFIRMING, E.QUOTE_EXPIRED)


def test_a_buyer_cannot_cancel_once_delivery_runs() -> None:
    with pytest.raises(UnableToAdvance):
        walk(S.ACTIVE, E.DELIVERY_STARTED, E.CANCEL_SENT)


def test_a_buyer_cannot_choose_again_after_confirm() -> None:
    with pytest.raises(UnableToAdvance):
        walk(S.INITIALISED, E.CONFIRM_SENT, E.SELECT_SENT)


@pytest.mark.parametrize("state", sorted(life.TERMINAL_STATES))
@pytest.mark.parametrize("event", list(OrderEvent))
def test_nothing_happens_to_an_order_that_ended(state: OrderState, event: OrderEvent) -> None:
    order = an_order(state=state)
    assert not life.can_advance(order, event)
    with pytest.raises(UnableToAdvance) as refusal:
        life.advance(order, event, now=LATER)
    assert (refusal.value.order, refusal.value.event) == (order, event)


@pytest.mark.parametrize("event", sorted(set(OrderEvent) - life.EVENTS[Side.SELLER]))
def test_a_sellers_copy_refuses_what_only_a_buyer_does(event: OrderEvent) -> None:
    with pytest.raises(UnableToAdvance):
        walk(S.INITIALISED, event, side=Side.SELLER)


def test_a_buyers_order_goes_from_select_to_completion() -> None:
    events = [
        E.QUOTE_RECEIVED, E.INIT_SENT, E.HELD, E.CONFIRM_SENT, E.CONFIRMED, E.UPDATED, E.DELIVERY_STARTED,
        E.CURTAILED, E.SETTLED,
    ]  # fmt: skip
    assert walk(S.SELECTING, *events) is S.COMPLETED


def test_a_sellers_order_goes_from_hold_to_completion() -> None:
    events = [E.HELD, E.CONFIRMED, E.UPDATED, E.DELIVERY_STARTED, E.SETTLED]
    assert walk(S.INITIALISED, *events, side=Side.SELLER) is S.COMPLETED


@pytest.mark.parametrize("state", [S.SELECTING, S.QUOTED, S.INITIALISING, S.INITIALISED])
def test_a_buyer_may_choose_again_until_confirm(state: OrderState) -> None:
    assert walk(state, E.SELECT_SENT) is S.SELECTING


@pytest.mark.parametrize(("answer", "state"), [(E.CONFIRMED, S.ACTIVE), (E.SELLER_REFUSED, S.REFUSED)])
def test_an_unanswered_confirm_is_chased_until_a_definite_answer(answer: OrderEvent, state: OrderState) -> None:
    assert walk(S.CONFIRMING, E.NO_ANSWER, E.NO_ANSWER, E.NO_ANSWER) is S.UNANSWERED
    assert walk(S.UNANSWERED, answer) is state


def test_a_buyer_that_missed_the_start_of_delivery_can_still_settle() -> None:
    assert walk(S.ACTIVE, E.SETTLED) is S.COMPLETED


@pytest.mark.parametrize("crossing", [E.UPDATED, E.CURTAILED, E.DELIVERY_STARTED, E.NO_ANSWER])
def test_letters_that_cross_a_cancel_change_nothing(crossing: OrderEvent) -> None:
    assert walk(S.CANCELLING, crossing) is S.CANCELLING


def test_a_refused_cancel_leaves_the_contract_in_force() -> None:
    assert walk(S.ACTIVE, E.CANCEL_SENT, E.CANCEL_REFUSED) is S.ACTIVE


def test_a_step_dates_the_order_and_changes_nothing_else() -> None:
    before = an_order()
    after = life.advance(before, E.CONFIRM_SENT, now=LATER)
    assert (after.state, after.updated_at) == (S.CONFIRMING, LATER)
    assert life.advance(after, E.CONFIRMED, now=LATER).contracted_wh == before.contracted_wh


@given(st.sampled_from(list(Side)), st.lists(st.sampled_from(list(OrderEvent)), max_size=40))
def test_any_history_stays_in_the_table_and_can_still_end(side: Side, events: list[OrderEvent]) -> None:
    order = an_order(side=side, state=life.START_STATES[side])
    for event in events:
        if life.can_advance(order, event):
            order = life.advance(order, event, now=LATER)
    if order.state not in life.TERMINAL_STATES | life.RESTING_STATES:
        assert getattr(order, life.DEADLINES[order.state], "absent") != "absent"
        assert any(life.can_advance(order, event) for event in OrderEvent)


def test_every_deadline_names_an_instant_of_the_order() -> None:
    order = an_order(awaiting_until=LATER)
    assert {getattr(order, name) for name in life.DEADLINES.values()} == {
        LATER,
        order.quote_expires_at,
        order.delivery_start,
        order.delivery_end,
        order.dispute_until,
    }


def test_delivery_runs_from_the_first_slot_with_energy_to_the_last() -> None:
    order = an_order(energy_wh=hours(0, 5, 0, 7, 0))
    assert order.delivery_start == SLOT_START + timedelta(hours=1)
    assert order.delivery_end == SLOT_START + timedelta(hours=4)


def faults_of(**changes: object) -> list[str]:
    table: dict[str, object] = {
        "starts": life.START_STATES,
        "events": life.EVENTS,
        "terminals": life.TERMINAL_STATES,
        "resting": life.RESTING_STATES,
        "deadlines": life.DEADLINES,
    }
    transitions = changes.pop("transitions", life.TRANSITIONS)
    with pytest.raises(life.LifeBroken) as broken:
        life.check_life(transitions, **{**table, **changes})  # type: ignore[arg-type]
    return broken.value.faults


def without(*steps: tuple[OrderState, OrderEvent]) -> dict[tuple[OrderState, OrderEvent], OrderState]:
    return {step: target for step, target in life.TRANSITIONS.items() if step not in steps}


def test_a_table_with_an_unreachable_state_is_refused() -> None:
    assert "UNANSWERED cannot be reached" in faults_of(transitions=without((S.CONFIRMING, E.NO_ANSWER)))


def test_a_table_with_a_step_out_of_a_terminal_state_is_refused() -> None:
    lively = {**life.TRANSITIONS, (S.EXPIRED, E.CONFIRMED): S.ACTIVE}
    assert faults_of(transitions=lively) == ["EXPIRED is terminal but takes CONFIRMED"]


def test_a_table_with_a_trap_is_refused_and_the_trap_named() -> None:
    trap = without(*[step for step in life.TRANSITIONS if step[0] is S.DELIVERING and step[1] is not E.UPDATED])
    faults = faults_of(transitions=trap)
    assert "a BUYER order cannot end from DELIVERING" in faults
    assert "a SELLER order cannot end from DELIVERING" in faults


def test_a_table_with_a_live_state_without_a_deadline_is_refused() -> None:
    deadlines = {state: name for state, name in life.DEADLINES.items() if state is not S.CANCELLING}
    assert faults_of(deadlines=deadlines) == ["CANCELLING has no deadline"]


def test_a_table_whose_deadline_leads_nowhere_is_refused() -> None:
    faults = faults_of(transitions=without((S.CANCELLING, E.NO_ANSWER)))
    assert faults == ["CANCELLING has the deadline awaiting_until but does not take NO_ANSWER"]


def test_a_table_without_a_start_for_a_side_is_refused() -> None:
    assert "SELLER has no start" in faults_of(starts={Side.BUYER: S.SELECTING})


def test_a_table_that_never_uses_an_event_is_refused() -> None:
    unused = without(*[step for step in life.TRANSITIONS if step[1] is E.CURTAILED])
    assert faults_of(transitions=unused) == ["CURTAILED leads nowhere"]
