"""Who may be on the network: every rule of registry/membership.py, the refusals first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from registry import membership
from registry.membership import (
    Application,
    Conclusion,
    Outcome,
    Plan,
    Policy,
    Proof,
    Status,
    UnableToSubscribe,
)
from store.subscribers import Subscription
from tests.support.membership_cases import AUTOMATIC, MANUAL, NOW, application, key, subscription

PASSED = Outcome(True)
FAILED = Outcome(False, "no answer within 5 s")


def judge(given: Application, *standing: Subscription, proof: Proof = Proof.NONE) -> Plan:
    return membership.judge(given, standing, proof=proof, now=NOW)


def apply(
    given: Application,
    *standing: Subscription,
    proof: Proof = Proof.NONE,
    outcome: Outcome = PASSED,
    policy: Policy = MANUAL,
) -> Conclusion:
    plan = judge(given, *standing, proof=proof)
    return membership.conclude(
        given, standing, plan=plan, outcome=outcome if plan.challenge else None, policy=policy, now=NOW
    )


def refused(given: Application, *standing: Subscription, proof: Proof = Proof.NONE) -> UnableToSubscribe:
    with pytest.raises(UnableToSubscribe) as caught:
        judge(given, *standing, proof=proof)
    return caught.value


# --- Rule 2: a subscriber is changed only by itself ----------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"url": "https://evil.example.org/beckn"},
        {"encr_public_key": key(66)},
        {"key_id": "k2", "signing_public_key": key(2)},
        {"domain": "uei:ev_charging"},
        {"type": "BAP"},
        {"city": "std:011"},
        {"valid_until": NOW + timedelta(days=360)},
    ],
)
@pytest.mark.parametrize("proof", [Proof.NONE, Proof.SELF])
def test_a_subscriber_is_not_changed_without_one_of_its_valid_keys(change: dict[str, object], proof: Proof) -> None:
    refusal = refused(application(**change), subscription(), proof=proof)
    assert refusal.needs_signature
    assert "key 'k1'" in refusal.sentence


def test_an_unsigned_repetition_that_changes_nothing_is_answered_with_the_present_status() -> None:
    plan = judge(application(), subscription())
    assert plan == Plan(changes=False, challenge=False, status=Status.SUBSCRIBED)


def test_a_key_that_is_not_valid_proves_nothing() -> None:
    expired = subscription(valid_until=NOW - timedelta(seconds=1))
    revoked = subscription(key_id="k3", status=Status.UNSUBSCRIBED)
    good = subscription(key_id="k2", signing_public_key=key(2))
    for key_id in ("k1", "k3", "k9"):
        with pytest.raises(UnableToSubscribe) as caught:
            membership.key_to_check(key_id, application(), [expired, revoked, good], now=NOW)
        assert caught.value.needs_signature


def test_a_first_application_that_is_signed_is_checked_with_the_key_it_applies_for() -> None:
    assert membership.key_to_check("k1", application(), [], now=NOW) == (Proof.SELF, key(1))
    with pytest.raises(UnableToSubscribe):
        membership.key_to_check("other", application(), [], now=NOW)


def test_a_valid_key_of_another_role_proves_the_subscriber() -> None:
    other = subscription(type="BAP", key_id="k7", signing_public_key=key(7))
    assert membership.key_to_check("k7", application(), [other], now=NOW) == (Proof.MEMBER, key(7))


# --- Rule 3: a key_id names one key for ever -----------------------------------------------------------------------


def test_a_key_id_never_names_another_signing_key() -> None:
    for status in (Status.SUBSCRIBED, Status.UNDER_SUBSCRIPTION):
        refusal = refused(application(signing_public_key=key(2)), subscription(status=status), proof=Proof.MEMBER)
        assert refusal.field == "key_id"
        assert "new key_id" in refusal.sentence


def test_a_revoked_key_never_returns() -> None:
    refusal = refused(application(), subscription(status=Status.UNSUBSCRIBED), proof=Proof.SELF)
    assert "revoked" in refusal.sentence


def test_an_expired_key_never_returns() -> None:
    refusal = refused(application(), subscription(valid_until=NOW), proof=Proof.SELF)
    assert "expired" in refusal.sentence


def test_an_unproven_application_may_be_replaced_by_anyone_with_any_key() -> None:
    unproven = subscription(status=Status.INITIATED, signing_public_key=key(9), challenge_passed=False)
    assert judge(application(), unproven).challenge


def test_a_proven_application_that_waits_is_changed_only_with_its_own_key() -> None:
    waiting = subscription(status=Status.UNDER_SUBSCRIPTION)
    moved = application(url="https://new.example.org")
    assert refused(moved, waiting).needs_signature
    assert judge(moved, waiting, proof=Proof.SELF).challenge


# --- Rule 6 and plain nonsense -------------------------------------------------------------------------------------


def test_a_suspended_subscriber_can_change_nothing() -> None:
    suspended = subscription(status=Status.SUSPENDED)
    for given in (application(), application(key_id="k2", signing_public_key=key(2))):
        assert "suspended" in refused(given, suspended, proof=Proof.SELF).sentence


@pytest.mark.parametrize(
    "change",
    [
        {"valid_until": NOW},
        {"valid_until": NOW + timedelta(days=1), "valid_from": NOW + timedelta(days=2)},
    ],
)
def test_a_validity_that_is_over_before_it_begins_is_refused(change: dict[str, object]) -> None:
    assert refused(application(**change)).field == "valid_until"


# --- Rule 1 and 5: joining -----------------------------------------------------------------------------------------


def test_a_stranger_with_a_passed_challenge_waits_for_the_operator() -> None:
    conclusion = apply(application())
    assert conclusion.status is Status.UNDER_SUBSCRIPTION
    assert "operator" in conclusion.why
    (row,) = conclusion.save
    assert (row.status, row.challenge_passed) == (Status.UNDER_SUBSCRIPTION, True)


def test_a_stranger_with_a_failed_challenge_is_initiated_and_told_why() -> None:
    conclusion = apply(application(), outcome=FAILED, policy=AUTOMATIC)
    assert conclusion.status is Status.INITIATED
    assert conclusion.why == FAILED.why
    assert not conclusion.save[0].challenge_passed


def test_a_bad_certificate_is_a_status_of_its_own() -> None:
    conclusion = apply(application(), outcome=Outcome(False, "expired certificate", bad_certificate=True))
    assert conclusion.status is Status.INVALID_SSL


def test_auto_approve_lets_a_stranger_in_once_the_challenge_is_passed() -> None:
    conclusion = apply(application(), policy=AUTOMATIC)
    assert conclusion.status is Status.SUBSCRIBED
    assert conclusion.save[0].valid_until == NOW + timedelta(seconds=AUTOMATIC.key_lifetime_s_max)


@pytest.mark.parametrize(
    "old", [subscription(status=Status.UNSUBSCRIBED), subscription(valid_until=NOW - timedelta(days=1))]
)
def test_auto_approve_does_not_let_an_id_back_in_that_was_a_member_before(old: Subscription) -> None:
    again = application(key_id="k2", signing_public_key=key(2))
    assert apply(again, old, policy=AUTOMATIC).status is Status.UNDER_SUBSCRIPTION


def test_a_new_role_of_a_member_waits_for_the_operator_unless_approval_is_automatic() -> None:
    role = application(type="BAP")
    assert apply(role, subscription(), proof=Proof.MEMBER).status is Status.UNDER_SUBSCRIPTION
    assert apply(role, subscription(), proof=Proof.MEMBER, policy=AUTOMATIC).status is Status.SUBSCRIBED


def test_no_key_lives_longer_than_the_registry_grants() -> None:
    conclusion = apply(application(valid_until=NOW + timedelta(days=5000)))
    assert conclusion.save[0].valid_until == NOW + timedelta(seconds=MANUAL.key_lifetime_s_max)


def test_a_new_key_is_valid_to_peers_whose_clocks_lag() -> None:
    for valid_from in (None, NOW, NOW - timedelta(days=1)):
        (row,) = apply(application(valid_from=valid_from), policy=AUTOMATIC).save
        assert membership.is_valid(row, NOW - timedelta(minutes=5))
    (later,) = apply(application(valid_from=NOW + timedelta(hours=1)), policy=AUTOMATIC).save
    assert later.valid_from == NOW + timedelta(hours=1)


def test_saying_again_that_a_validity_has_begun_changes_nothing() -> None:
    assert not judge(application(valid_from=NOW - timedelta(days=1)), subscription()).changes


# --- Rule 4: rotation ----------------------------------------------------------------------------------------------


def rotation(outcome: Outcome = PASSED) -> Conclusion:
    given = application(key_id="k2", signing_public_key=key(2), encr_public_key=key(102))
    return apply(given, subscription(), proof=Proof.MEMBER, outcome=outcome)


def test_rotation_needs_no_operator_and_leaves_the_old_key_valid_for_the_overlap() -> None:
    new, old = rotation().save
    assert (new.key_id, new.status) == ("k2", Status.SUBSCRIBED)
    assert (old.key_id, old.status) == ("k1", Status.SUBSCRIBED)
    assert old.valid_until == NOW + timedelta(seconds=3660)
    assert membership.is_valid(old, NOW + timedelta(seconds=3659))
    assert membership.wire_status(old, NOW + timedelta(seconds=3660)) is Status.EXPIRED


def test_rotation_never_prolongs_an_old_key() -> None:
    ending = subscription(valid_until=NOW + timedelta(seconds=10))
    given = application(key_id="k2", signing_public_key=key(2))
    _, old = apply(given, ending, proof=Proof.MEMBER).save
    assert old.valid_until == ending.valid_until


def test_a_rotation_whose_challenge_fails_leaves_the_old_key_alone() -> None:
    conclusion = rotation(FAILED)
    assert [(row.key_id, row.status) for row in conclusion.save] == [("k2", Status.INITIATED)]


def test_a_key_that_was_replaced_cannot_be_prolonged() -> None:
    old = subscription(valid_until=NOW + timedelta(seconds=60))
    new = subscription(key_id="k2", signing_public_key=key(2), created=NOW - timedelta(seconds=1))
    refusal = refused(application(valid_until=NOW + timedelta(days=300)), old, new, proof=Proof.MEMBER)
    assert "replaced by 'k2'" in refusal.sentence


def test_a_new_url_is_challenged_and_then_binds_every_key_of_the_role() -> None:
    older = subscription(key_id="k0", signing_public_key=key(3), created=NOW - timedelta(days=99))
    moved = application(url="https://new.example.org/beckn")
    conclusion = apply(moved, subscription(), older, proof=Proof.MEMBER)
    assert {row.url for row in conclusion.save} == {"https://new.example.org/beckn"}
    assert [row.key_id for row in conclusion.save] == ["k1", "k0"]


def test_a_new_url_that_fails_the_challenge_changes_nothing_and_says_why() -> None:
    moved = application(url="https://new.example.org/beckn")
    with pytest.raises(UnableToSubscribe) as caught:
        apply(moved, subscription(), proof=Proof.MEMBER, outcome=FAILED)
    assert FAILED.why in caught.value.sentence


def test_prolonging_a_key_needs_no_challenge() -> None:
    plan = judge(application(valid_until=NOW + timedelta(days=360)), subscription(), proof=Proof.MEMBER)
    assert plan == Plan(changes=True, challenge=False, status=Status.SUBSCRIBED)
    conclusion = apply(application(valid_until=NOW + timedelta(days=360)), subscription(), proof=Proof.MEMBER)
    (row,) = conclusion.save
    assert row == replace(subscription(), valid_until=NOW + timedelta(days=360), updated=NOW)


# --- What peers are told -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "valid_until", "told"),
    [
        (Status.SUBSCRIBED, NOW + timedelta(days=1), Status.SUBSCRIBED),
        (Status.SUBSCRIBED, NOW, Status.EXPIRED),
        (Status.SUSPENDED, NOW + timedelta(days=1), Status.UNSUBSCRIBED),
        (Status.UNSUBSCRIBED, NOW, Status.UNSUBSCRIBED),
        (Status.INITIATED, NOW + timedelta(days=1), Status.INITIATED),
        (Status.INVALID_SSL, NOW + timedelta(days=1), Status.INVALID_SSL),
    ],
)
def test_peers_are_told_only_words_of_the_protocol(stored: Status, valid_until: object, told: Status) -> None:
    assert membership.wire_status(subscription(status=stored, valid_until=valid_until), NOW) is told


def test_every_stored_status_has_a_word_that_peers_know() -> None:
    words = {"INITIATED", "UNDER_SUBSCRIPTION", "SUBSCRIBED", "EXPIRED", "UNSUBSCRIBED", "INVALID_SSL"}
    rows: Sequence[Subscription] = [subscription(status=status) for status in Status if status is not Status.EXPIRED]
    assert {membership.wire_status(row, NOW).value for row in rows} <= words
