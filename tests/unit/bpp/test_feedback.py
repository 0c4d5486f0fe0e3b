"""Ratings: which are kept, and of what."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from bpp import feedback, refusals, translate
from bpp.feedback import Given
from bpp.refusals import UnableToRate
from tests.support.seller_cases import confirmed, held, moment
from trade.order import Order, OrderState


def rate(*given: Given, bought: list[Order] | None = None, **at: datetime) -> feedback.Kept:
    orders = [confirmed().order] if bought is None else bought
    return feedback.ratings(given, bought=orders, rater_id="bap.example", at=moment(**at))


@pytest.mark.parametrize("value", ["0", "0.9", "5.1", "6", "-1", "4.55", "five", "NaN", "Infinity", ""])
def test_a_value_outside_one_to_five_is_refused(value: str) -> None:
    with pytest.raises(UnableToRate) as refusal:
        rate(Given("Order", "wire-1", value))
    assert refusal.value.code == refusals.INVALID_RATING


def test_an_unknown_category_is_refused() -> None:
    with pytest.raises(UnableToRate) as refusal:
        rate(Given("Agent", "wire-1", "5"))
    assert refusal.value.code == refusals.CATEGORY_UNSUPPORTED
    assert "Order, Provider" in refusal.value.sentence


@pytest.mark.parametrize(("category", "subject_id"), [("Order", "wire-2"), ("Provider", "home-8"), ("Item", "other")])
def test_what_was_not_bought_cannot_be_rated(category: str, subject_id: str) -> None:
    with pytest.raises(UnableToRate) as refusal:
        rate(Given(category, subject_id, "5"))
    assert refusal.value.code == refusals.ENTITY_NOT_FOUND


def test_a_quote_that_never_became_a_contract_cannot_be_rated() -> None:
    for order in (held().order, replace(held().order, state=OrderState.EXPIRED)):
        with pytest.raises(UnableToRate):
            rate(Given("Provider", "home-7", "5"), bought=[order])


def test_one_bad_rating_keeps_all_of_the_letter_out() -> None:
    with pytest.raises(UnableToRate):
        rate(Given("Order", "wire-1", "5"), Given("Order", "wire-1", "9"))


@pytest.mark.parametrize(
    ("category", "subject_id"),
    [
        ("Order", "wire-1"),
        ("Support", "wire-1"),
        ("Provider", "home-7"),
        ("Item", "offer-1"),
        ("Item", "wire-1"),
        ("Fulfillment", "1"),
        ("Fulfillment", "wire-1"),
    ],
)
def test_everything_bought_can_be_rated_once_for_each_order(category: str, subject_id: str) -> None:
    [rating] = rate(Given(category, subject_id, "4")).ratings
    assert (rating.subject_id, rating.provider_id, rating.value) == ("wire-1", "home-7", "4")


def test_a_rating_can_be_given_and_changed_until_the_policy_ends_it_and_not_a_second_longer() -> None:
    order = confirmed().order
    until = order.delivery_end + timedelta(seconds=order.policy.rating_s)
    assert rate(Given("Order", "wire-1", "4"), trading=until)
    with pytest.raises(UnableToRate, match="that time is over") as refusal:
        rate(Given("Order", "wire-1", "4"), trading=until + timedelta(seconds=1))
    assert refusal.value.code == refusals.NOT_APPLICABLE


def test_an_order_remembers_its_newest_rating_of_each_category() -> None:
    earlier = replace(confirmed().order, ratings=(("Order", "1"), ("Provider", "2")))
    kept = rate(Given("Order", "wire-1", "3.0"), Given("Order", "wire-1", "4.5"), bought=[earlier])
    assert kept.orders[0].ratings == (("Provider", "2"), ("Order", "4.5"))
    assert [rating.value for rating in kept.ratings] == ["4.5"]


def test_the_categories_are_those_the_translator_reads() -> None:
    assert feedback.CATEGORIES == translate.RATING_CATEGORIES
