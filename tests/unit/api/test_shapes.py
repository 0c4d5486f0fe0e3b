"""A field whose text has the wrong shape is answered in words, not with a regular expression."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from api.bank import AssignIn, PayoutIn
from api.meter_models import ImportIn
from api.problems import from_validation
from bap.api_models import AccountIn, DepositIn, Near, SearchIn
from bap.api_order_models import RatingIn
from bap.api_standing_models import WhenIn, WindowIn
from bpp.api_providers import ProviderIn
from bpp.offer_models import BandIn

ACCOUNT = {"name": "Anna", "email": "anna@example.org", "phone": "+15551234567", "currency": "USD"}


@pytest.mark.parametrize(
    ("model", "body", "says"),
    [
        (AccountIn, ACCOUNT | {"email": "anna"}, "'email' is 'anna' and must be an e-mail address"),
        (AccountIn, ACCOUNT | {"phone": "none"}, "must be a phone number in digits"),
        (AccountIn, ACCOUNT | {"currency": "usd"}, "must be a currency code of three capital letters, such as USD"),
        (PayoutIn, {"currency": "dollars"}, "must be a currency code"),
        (DepositIn, {"amount_minor": 1, "reference": "no spaces"}, "must be an id of letters, digits"),
        (Near, {"gps": "here", "radius_m": 5}, "must be latitude and longitude"),
        (SearchIn, {"rating_min": "good"}, "must be from 1 to 5"),
        (RatingIn, {"category": "Order", "value": "6"}, "'value' is '6' and must be from 0 to 5"),
        (WhenIn, {"at": "9am"}, "must be a time of day from 00:00 to 23:59"),
        (WindowIn, {"end": "noon"}, "must be a time of day from 00:00 to 24:00"),
        (BandIn, {"from": "9am", "to": "10:00", "price_per_kwh": "1"}, "must be a time of day"),
        (ProviderIn, {"name": "A", "gps": "1, 2", "meter_id": "m", "image_url": "x"}, "must be a URL that begins with"),
        (AssignIn, {"account": "platform"}, "must be wallet: or provider: and an id"),
        (ImportIn, {"import_id": "x", "name": "a"}, "must be a SHA-256"),
    ],
)
def test_a_shape_is_told_in_words(model: type[BaseModel], body: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as failure:
        model.model_validate(body)
    sentence = from_validation(failure.value).sentence
    assert says in sentence
    assert "^" not in sentence
