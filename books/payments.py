"""Money by a payment provider: the port, what an event of a provider becomes, and Stripe as the one adapter.

The port has two halves. `start` asks the provider for a page on which a consumer pays; `read_event` takes what the
provider posts to us later, proves that it is the provider's, and says what it means. Only a proven event moves money,
never what a browser says. No adapter is used unless its settings are given.

Stripe, as its public API documents it (https://docs.stripe.com/api/checkout/sessions/create and
https://docs.stripe.com/webhooks#verify-manually):

1. `POST /v1/checkout/sessions`, form-encoded, with the account as `client_reference_id`; the answer has the page's URL.
2. Events come with `Stripe-Signature: t=<unix seconds>,v1=<hex>[,v1=<hex>]`; v1 is the HMAC-SHA256 of "<t>.<body>"
   under the endpoint's secret. Several v1 stand while a secret is rolled. Old ones are refused as replays.
3. A Checkout session is paid when `checkout.session.completed` says `payment_status: paid`, or later, for payments that
   take days, when `checkout.session.async_payment_succeeded` comes.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import aiohttp
import orjson

from trade.money import CARBON_CREDIT, ENERGY_CREDIT

#: How long the provider may take to answer, seconds.
ANSWER_S_MAX = 15.0
#: Largest answer read, bytes.
ANSWER_BYTES_MAX = 1_048_576
#: The version of Stripe's API that this adapter was written against.
STRIPE_VERSION = "2024-06-20"
#: Our own currencies are no money; Stripe counts the others named here otherwise than ISO 4217 does.
_UNPAYABLE = frozenset({ENERGY_CREDIT, CARBON_CREDIT, "ISK", "UGX"})
_ENDED = {"checkout.session.expired": "EXPIRED", "checkout.session.async_payment_failed": "FAILED"}


class PaymentRefused(Exception):
    """The provider does not start this payment, or cannot be asked; the sentence says why."""


class EventRefused(Exception):
    """What was posted as an event is not proven to be the provider's."""


@dataclass(frozen=True, slots=True)
class Started:
    """A payment that waits for its payer: the provider's id of it and the page to send the payer to."""

    session_id: str
    url: str


@dataclass(frozen=True, slots=True)
class PaymentEvent:
    """What a provider tells. `state` is PAID, FAILED, EXPIRED, or empty for what moves nothing."""

    event_id: str
    kind: str
    state: str = ""
    session_id: str = ""
    account_id: str = ""
    amount_minor: int = 0
    currency: str = ""


class PaymentProvider(Protocol):
    """A payment provider as the books need it."""

    @property
    def name(self) -> str:
        """Names the provider in transfers."""
        ...

    async def start(self, *, account_id: str, amount_minor: int, currency: str, key: str) -> Started:
        """Ask for a payment; a repeat with the same key is the same payment. Raises PaymentRefused."""
        ...

    def read_event(self, body: bytes, headers: Mapping[str, str], *, now: datetime) -> PaymentEvent:
        """Prove and understand an event; raises EventRefused."""
        ...


@dataclass(frozen=True, slots=True)
class Stripe:
    """Stripe's Checkout. `api_url` is https://api.stripe.com but in tests."""

    api_key: str
    webhook_secret: str
    success_url: str
    cancel_url: str
    api_url: str = "https://api.stripe.com"
    tolerance_s: float = 300.0
    name: str = "stripe"

    async def start(self, *, account_id: str, amount_minor: int, currency: str, key: str) -> Started:
        """Make a Checkout session; raises PaymentRefused."""
        if currency in _UNPAYABLE:
            raise PaymentRefused(f"{currency} cannot be paid by card; pay it in another way.")
        form = {
            "mode": "payment",
            "client_reference_id": account_id,
            "success_url": self.success_url,
            "cancel_url": self.cancel_url,
            "line_items[0][quantity]": "1",
            "line_items[0][price_data][currency]": currency.lower(),
            "line_items[0][price_data][unit_amount]": str(amount_minor),
            "line_items[0][price_data][product_data][name]": "Deposit",
        }
        headers = {
            "Authorization": f"Bearer {self.api_key}",
            "Idempotency-Key": key,
            "Stripe-Version": STRIPE_VERSION,
        }
        status, answer = await self._post("/v1/checkout/sessions", form, headers)
        if status != 200:
            error = answer.get("error")
            said = error.get("message", "") if isinstance(error, dict) else ""
            raise PaymentRefused(f"The payment provider refused ({status}): {str(said)[:200] or 'no reason given'}.")
        session_id, url = answer.get("id"), answer.get("url")
        if not isinstance(session_id, str) or not isinstance(url, str) or not url.startswith(("https://", "http://")):
            raise PaymentRefused("The payment provider's answer has no session and page; try again later.")
        return Started(session_id, url)

    async def _post(self, path: str, form: Mapping[str, str], headers: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        timeout = aiohttp.ClientTimeout(total=ANSWER_S_MAX)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(self.api_url + path, data=form, headers=headers, allow_redirects=False) as answer,
            ):
                raw = await answer.content.read(ANSWER_BYTES_MAX)
                document = orjson.loads(raw)
                return answer.status, document if isinstance(document, dict) else {}
        except (TimeoutError, aiohttp.ClientError, orjson.JSONDecodeError) as error:
            sentence = f"The payment provider cannot be reached ({type(error).__name__}); try again later."
            raise PaymentRefused(sentence) from error

    def read_event(self, body: bytes, headers: Mapping[str, str], *, now: datetime) -> PaymentEvent:
        """Prove an event by its signature and say what it means; raises EventRefused."""
        self._check_signature(body, headers.get("Stripe-Signature", ""), now)
        try:
            document = orjson.loads(body)
            session = document["data"]["object"]
            event_id, kind = str(document["id"]), str(document["type"])
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise EventRefused("The event is signed but is no event: it has no id, type and data.object.") from error
        state = _ENDED.get(kind, "")
        if kind == "checkout.session.async_payment_succeeded" or (
            kind == "checkout.session.completed" and session.get("payment_status") == "paid"
        ):
            state = "PAID"
        if not state:
            return PaymentEvent(event_id, kind)
        return PaymentEvent(
            event_id=event_id,
            kind=kind,
            state=state,
            session_id=str(session.get("id") or ""),
            account_id=str(session.get("client_reference_id") or ""),
            amount_minor=int(session.get("amount_total") or 0),
            currency=str(session.get("currency") or "").upper(),
        )

    def _check_signature(self, body: bytes, header: str, now: datetime) -> None:
        parts = [part.strip().partition("=") for part in header.split(",")]
        stamps = [value for name, _, value in parts if name == "t"]
        given = [value for name, _, value in parts if name == "v1"]
        if len(stamps) != 1 or not stamps[0].isascii() or not stamps[0].isdigit() or len(stamps[0]) > 12 or not given:
            raise EventRefused("The Stripe-Signature header must have one t and at least one v1.")
        signed = f"{stamps[0]}.".encode() + body
        expected = hmac.new(self.webhook_secret.encode(), signed, hashlib.sha256).hexdigest()
        if not any(hmac.compare_digest(expected.encode(), each.encode()) for each in given):
            raise EventRefused("No v1 of the Stripe-Signature header fits the body under this endpoint's secret.")
        if abs(now.timestamp() - int(stamps[0])) > self.tolerance_s:
            raise EventRefused(
                f"The event was signed more than {self.tolerance_s:g} s from now; it is not taken again."
            )
