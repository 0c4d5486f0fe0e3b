"""What the operator may do, and what even the operator may not."""

from __future__ import annotations

from datetime import timedelta

import pytest

from registry import acts, membership
from registry.membership import Status, UnableToSubscribe
from store.subscribers import Subscription
from tests.support.membership_cases import MANUAL, NOW, application, key, subscription


def act(name: str, *standing: Subscription, key_id: str = "") -> tuple[Subscription, ...]:
    selected = acts.select(standing, key_id=key_id)
    return acts.act(name, selected, standing, policy=MANUAL, now=NOW)


@pytest.mark.parametrize("name", ["approve", "suspend", "revoke"])
def test_an_act_on_nobody_is_refused(name: str) -> None:
    with pytest.raises(UnableToSubscribe, match="no such subscription"):
        act(name)


def test_approving_what_is_subscribed_already_is_refused() -> None:
    with pytest.raises(UnableToSubscribe, match="SUBSCRIBED"):
        act("approve", subscription())


def test_approving_one_of_several_keys_that_wait_for_a_role_needs_its_key_id() -> None:
    honest = subscription(status=Status.UNDER_SUBSCRIPTION)
    other = subscription(status=Status.UNDER_SUBSCRIPTION, key_id="k2", signing_public_key=key(2))
    with pytest.raises(UnableToSubscribe, match="name the key_id"):
        act("approve", honest, other)
    assert [row.key_id for row in act("approve", honest, other, key_id="k1")] == ["k1"]


def test_approving_an_application_whose_validity_has_passed_is_refused() -> None:
    with pytest.raises(UnableToSubscribe, match="passed"):
        act("approve", subscription(status=Status.UNDER_SUBSCRIPTION, valid_until=NOW))


@pytest.mark.parametrize("status", [Status.INITIATED, Status.INVALID_SSL, Status.UNDER_SUBSCRIPTION, Status.SUSPENDED])
def test_the_operator_approves_with_and_without_the_challenge(status: Status) -> None:
    (row,) = act("approve", subscription(status=status, challenge_passed=False))
    assert (row.status, row.updated, row.challenge_passed) == (Status.SUBSCRIBED, NOW, False)


def test_approving_a_new_key_of_a_role_shortens_the_older_one() -> None:
    new = subscription(status=Status.INITIATED, key_id="k2", signing_public_key=key(2))
    approved, old = act("approve", new, subscription(), key_id="k2")
    assert approved.key_id == "k2"
    assert old.valid_until == NOW + timedelta(seconds=MANUAL.overlap_s)


def test_reinstating_a_suspended_subscriber_brings_back_all_its_keys_as_they_were() -> None:
    rows = [subscription(status=Status.SUSPENDED), subscription(status=Status.SUSPENDED, key_id="k2")]
    back = act("approve", *rows)
    assert [(row.status, row.valid_until) for row in back] == [(Status.SUBSCRIBED, rows[0].valid_until)] * 2


def test_suspending_takes_every_subscribed_key_at_once() -> None:
    back = act("suspend", subscription(), subscription(key_id="k2"))
    assert [row.status for row in back] == [Status.SUSPENDED] * 2
    assert not any(membership.is_valid(row, NOW) for row in back)


def test_revoking_binds_at_once_and_for_good() -> None:
    (row,) = act("revoke", subscription())
    assert (row.status, row.valid_until) == (Status.UNSUBSCRIBED, NOW)
    with pytest.raises(UnableToSubscribe):
        act("approve", row)
    with pytest.raises(UnableToSubscribe):
        act("revoke", row)


def test_revoking_one_key_leaves_the_others() -> None:
    (row,) = act("revoke", subscription(), subscription(key_id="k2"), key_id="k2")
    assert row.key_id == "k2"


def test_a_record_entered_by_hand_is_not_entered_twice() -> None:
    with pytest.raises(UnableToSubscribe, match="already"):
        acts.add(application(), [subscription()], status=Status.SUBSCRIBED, policy=MANUAL, now=NOW)


def test_a_record_entered_by_hand_cannot_bring_back_a_revoked_key() -> None:
    with pytest.raises(UnableToSubscribe, match="revoked"):
        acts.add(
            application(), [subscription(status=Status.UNSUBSCRIBED)], status=Status.SUBSCRIBED, policy=MANUAL, now=NOW
        )


def test_a_record_entered_by_hand_needs_no_challenge() -> None:
    (row,) = acts.add(application(), [], status=Status.SUBSCRIBED, policy=MANUAL, now=NOW)
    assert (row.status, row.challenge_passed) == (Status.SUBSCRIBED, False)


def rotate(*standing: Subscription, new_key_id: str = "k2") -> tuple[Subscription, ...]:
    return acts.rotate(
        standing,
        standing,
        new_key_id=new_key_id,
        signing_public_key=key(2),
        encr_public_key="",
        policy=MANUAL,
        now=NOW,
    )


def test_the_operators_rotation_keeps_place_and_overlap() -> None:
    new, old = rotate(subscription())
    assert (new.key_id, new.url, new.encr_public_key) == ("k2", old.url, old.encr_public_key)
    assert old.valid_until == NOW + timedelta(seconds=MANUAL.overlap_s)


def test_the_operators_rotation_needs_one_role_that_is_subscribed() -> None:
    for standing in ([], [subscription(status=Status.SUSPENDED)], [subscription(), subscription(type="BAP")]):
        with pytest.raises(UnableToSubscribe, match="one role"):
            rotate(*standing)
