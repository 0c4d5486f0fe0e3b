"""What our nodes send, judged by the published schemas: core 1.1.1, onix's, the energy Layer 2.

Every disagreement is listed here and explained in docs/divergences.md; a disagreement that is gone must leave the list.
"""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings

from beckn import actions
from tests.support import spec_oracles, wire_cases

PAYMENT_ENUMS = {"message.order.payments.type: enum", "message.order.payments.status: enum"}

#: What the Layer-2 file has against our letters: it spells payments and rating categories unlike core and onix, and
#: wants a whole order beside an error.
LAYER2_DIVERGENCES = {
    **dict.fromkeys(("confirm", "on_init", "on_confirm", "on_status", "on_update", "on_cancel"), PAYMENT_ENUMS),
    "rating": {"message.ratings.rating_category: enum"},
}
LAYER2_DIVERGENCES_OF_REFUSALS = {
    action: {"message.order: required"}
    for action in ("on_select", "on_init", "on_confirm", "on_status", "on_update", "on_cancel")
}

#: What onix's set has against our letters: there `order_id` must be an order.
ONIX_DIVERGENCES = {"status": {"message.order_id: type"}, "track": {"message.order_id: type"}}

#: What core has against our letters: its meta file asks a rating_categories for return reasons, a copying error.
CORE_DIVERGENCES = {"rating_categories": {"message: required"}}

few = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def complaints_by_action(letters: list[dict[str, Any]], oracle: Any) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for letter in letters:
        said = oracle(letter)
        if said:
            found.setdefault(letter["context"]["action"], set()).update(said)
    return found


def without_errors(letters: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [letter for letter in letters if "error" not in letter]


@few
@given(letters=wire_cases.letter_sets())
def test_core_accepts_everything_we_send_but_what_its_meta_file_mistakes(letters: list[dict[str, Any]]) -> None:
    assert complaints_by_action(letters, spec_oracles.core_complaints) == CORE_DIVERGENCES


@few
@given(letters=wire_cases.letter_sets())
def test_onix_accepts_everything_we_send_but_where_its_set_is_broken(letters: list[dict[str, Any]]) -> None:
    found = complaints_by_action(letters, lambda letter: spec_oracles.complaints(spec_oracles.ONIX, letter))
    assert found == ONIX_DIVERGENCES


@few
@given(letters=wire_cases.letter_sets())
def test_the_energy_layer_2_accepts_everything_we_send_but_where_enums_conflict(letters: list[dict[str, Any]]) -> None:
    found = complaints_by_action(
        without_errors(letters), lambda letter: spec_oracles.complaints(spec_oracles.LAYER2, letter)
    )
    assert {action: said & LAYER2_DIVERGENCES.get(action, set()) for action, said in found.items()} == found
    assert found.keys() == LAYER2_DIVERGENCES.keys()


def test_the_energy_layer_2_wants_a_whole_order_beside_an_error_and_takes_all_other_refusals() -> None:
    refusals = list(wire_cases.refusal_letters())
    found = complaints_by_action(refusals, lambda letter: spec_oracles.complaints(spec_oracles.LAYER2, letter))
    assert found == LAYER2_DIVERGENCES_OF_REFUSALS


def test_every_action_but_those_named_has_a_schema_at_each_oracle() -> None:
    unknown = {
        oracle: {action for action in actions.ACTIONS if not spec_oracles.knows(oracle, action)}
        for oracle in (spec_oracles.CORE, spec_oracles.ONIX, spec_oracles.LAYER2)
    }
    meta = {"get_cancellation_reasons", "cancellation_reasons", "get_rating_categories", "rating_categories"}
    assert unknown == {
        spec_oracles.CORE: meta,
        spec_oracles.ONIX: meta,
        spec_oracles.LAYER2: meta | {"track", "on_track"},
    }
    assert all(spec_oracles.knows(spec_oracles.META, action) for action in meta)


def test_an_oracle_does_refuse_a_letter_with_a_field_it_does_not_know() -> None:
    letter = wire_cases.letter("status", {"order_id": "order-1"})
    letter["context"]["undeclared"] = True
    assert "context: additionalProperties" in spec_oracles.complaints(spec_oracles.LAYER2, letter)
    assert "context: additionalProperties" in spec_oracles.complaints(spec_oracles.ONIX, letter)


def test_an_oracle_does_refuse_a_timestamp_without_a_zone() -> None:
    letter = wire_cases.letter("support", {"ref_id": "order-1"})
    letter["context"]["timestamp"] = "2026-01-15T10:00:00"
    assert "context.timestamp: format" in spec_oracles.core_complaints(letter)
