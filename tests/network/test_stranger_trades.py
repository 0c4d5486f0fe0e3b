"""Strangers trade with our nodes: a buyer and a seller that share no line of code with us.

They are in tests/support/network_stranger.py. What they read, they read from standard fields: neither knows a tag
group of this network, so nothing that a stranger needs may be in tags alone.
"""

from __future__ import annotations

import ast
import base64
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support import network_stranger
from tests.support.network_agreement import every
from tests.support.network_rig import Network
from tests.support.network_stranger import DOMAIN, Stranger, stranger
from tests.support.seller_rig import offer_json
from tests.support.trade_cases import SLOT_START, an_offer

BILLING = {"name": "Asha", "email": "asha@stranger.example", "phone": "+919900112233"}


@asynccontextmanager
async def subscribed(network: Network, name: str, role: str, **changes: Any) -> AsyncIterator[Stranger]:
    """A stranger that has proven its key to the registry and was approved by the operator."""
    async with stranger(name, role, network.registry_url, **changes) as who:
        answer = await who.subscribe()
        assert answer["status"] == "UNDER_SUBSCRIPTION", answer
        await network.operator_of_registry.act(name, "approve", reason="welcome")
        await network.read_registry()
        yield who
        assert who.refused == []


def test_the_stranger_is_written_with_nothing_of_ours() -> None:
    tree = ast.parse(Path(network_stranger.__file__).read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    roots = {str(name).partition(".")[0] for name in imported}
    assert roots - sys.stdlib_module_names == {"aiohttp", "cryptography"}


# --- A stranger buys ------------------------------------------------------------------------------------------------


class StrangeBuyer:
    """What a stranger's app does, letter by letter, with one seller."""

    def __init__(self, who: Stranger) -> None:
        self.who, self.transaction_id = who, str(uuid.uuid4())
        self.seller: dict[str, str] = {}

    async def ask(self, action: str, message: Any, *, url: str = "") -> Any:
        """Send a letter, see it acknowledged, wait for its callback."""
        context = self.who.context(action, transaction_id=self.transaction_id, **self.seller)
        status, answer = await self.who.send(url or self.seller["bpp_uri"], context, message)
        assert (status, answer) == (200, {"message": {"ack": {"status": "ACK"}}})
        return await self.who.wait_for(f"on_{action}", message_id=context["message_id"])

    async def find(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Search through the gateway that the registry names; a provider and its item that has energy."""
        (gateway,) = await self.who.lookup(type="BG", domain=DOMAIN)
        context = self.who.context("search", transaction_id=self.transaction_id)
        intent = {"item": {"descriptor": {"name": "solar energy"}}}
        status, answer = await self.who.send(gateway["subscriber_url"], context, {"intent": intent})
        assert (status, answer["message"]["ack"]["status"]) == (200, "ACK")
        for _ in range(3):
            found = await self.who.wait_for("on_search", message_id=context["message_id"])
            for provider in found["message"]["catalog"].get("providers", []):
                self.seller = {name: found["context"][name] for name in ("bpp_id", "bpp_uri")}
                return provider, provider["items"][0]
        raise AssertionError("nobody sells anything")


async def test_a_stranger_buys_with_single_quantities_and_a_flat_context(network: Network) -> None:
    await network.open_shop("bpp-solo", "home-7", offer_json(an_offer()))
    async with subscribed(network, "bap.stranger.example", "BAP", der_keys=True) as who:
        buyer = StrangeBuyer(who)
        provider, item = await buyer.find()
        assert item["quantity"]["available"]["measure"] == {"value": "6", "unit": "kWh"}
        selected = {"id": item["id"], "quantity": {"selected": {"measure": {"value": "2.5", "unit": "kWh"}}}}
        order: dict[str, Any] = {"provider": {"id": provider["id"]}, "items": [selected]}

        quoted = (await buyer.ask("select", {"order": order}))["message"]["order"]
        lines = quoted["quote"]["breakup"]
        assert sum(Decimal(line["price"]["value"]) for line in lines) == Decimal(quoted["quote"]["price"]["value"])
        assert {line["title"] for line in lines} == {"ENERGY", "DISCOM_FEES"}
        # The first hour in full at 0.20, the rest of the second at 0.21 (31.5 cents), wheeling 5 cents.
        assert quoted["quote"]["price"] == {"currency": "USD", "value": "0.565"}

        order |= {"billing": BILLING, "fulfillments": [{"id": "1"}]}
        held = (await buyer.ask("init", {"order": order}))["message"]["order"]
        assert held["quote"]["price"] == quoted["quote"]["price"]
        assert (held["payments"][0]["collected_by"], held["payments"][0]["status"]) == ("BAP", "NOT-PAID")

        confirmed = (await buyer.ask("confirm", {"order": order}))["message"]["order"]
        assert confirmed["status"] == "ACTIVE"
        status = (await buyer.ask("status", {"order_id": confirmed["id"]}))["message"]["order"]
        assert status["fulfillments"][0]["state"]["descriptor"]["code"] == "ORDER_PLACED"
        (theirs,) = await every(network["bpp-solo"].operator, "/api/orders")
        assert (theirs["buyer_id"], theirs["contracted"]["energy_wh"]) == ("bap.stranger.example", [1000, 1500, 0])

        # Delivery and settlement are told unasked; what is to be paid is in the quote and the payment.
        await network.trade_at(SLOT_START + timedelta(hours=3))
        hours = [(15, 1000), (16, 700), (17, 0)]
        readings = [{"starts_at": f"2016-08-02T{hour}:00:00Z", "energy_wh": wh} for hour, wh in hours]
        body = {"flow": "EXPORT", "slot_s": 3600, "readings": readings}
        await network.seller("bpp-solo").read_meter("meter-of-home-7", body)
        told: dict[str, Any] = {}
        while told.get("status") != "COMPLETE":
            told = (await who.wait_for("on_status"))["message"]["order"]
        assert told["payments"][0]["params"]["amount"] == told["quote"]["price"]["value"] == "0.381"
        assert told["payments"][0]["status"] == "PAID"
        # What is left are empty catalogs of the other sellers, who answer directly and not through the gateway.
        left = [(letter.action, letter.document["message"], len(letter.signers)) for letter in who.got]
        assert all(letter == ("on_search", {"catalog": {}}, 1) for letter in left)


async def test_a_stranger_is_refused_in_the_callback_with_a_code_and_a_sentence(network: Network) -> None:
    await network.open_shop("bpp-solo", "home-7", offer_json(an_offer()))
    async with subscribed(network, "bap.stranger.example", "BAP") as who:
        buyer = StrangeBuyer(who)
        provider, item = await buyer.find()
        selected = {"id": item["id"], "quantity": {"selected": {"measure": {"value": "60", "unit": "kWh"}}}}
        refused = await buyer.ask("select", {"order": {"provider": {"id": provider["id"]}, "items": [selected]}})
        assert refused["error"]["code"] == "40002"
        assert "60" in refused["error"]["message"]


async def test_a_stranger_that_is_not_approved_yet_is_refused_at_every_door(network: Network) -> None:
    async with stranger("bap.stranger.example", "BAP", network.registry_url) as who:
        assert (await who.subscribe())["status"] == "UNDER_SUBSCRIPTION"
        context = who.context("search", transaction_id=str(uuid.uuid4()))
        for url in (network["gateway"].settings.protocol_url, network["bpp-solo"].settings.protocol_url):
            status, answer = await who.send(url, context, {"intent": {}})
            assert status == 401
            assert answer["message"]["ack"]["status"] == "NACK"
            assert answer["error"]["code"] == "30016"


@pytest.mark.parametrize("part", ["challenge", "answer"])
async def test_a_stranger_with_another_encryption_key_does_not_get_in(network: Network, part: str) -> None:
    async with stranger("bap.stranger.example", "BAP", network.registry_url) as who:
        if part == "challenge":  # the key it decrypts with is not the one it applied with
            applied = who._public
            who._public = lambda key: (
                base64.b64encode(bytes(31) + b"\x09").decode() if key is who.encryption else applied(key)
            )  # type: ignore[method-assign]
        else:

            async def wrong(request: aiohttp.web.Request) -> aiohttp.web.Response:
                return aiohttp.web.json_response({"answer": "a guess"})

            who._answer_challenge = wrong  # type: ignore[method-assign]
        answer = await who.subscribe()
        assert answer["status"] == "INITIATED"
        assert answer["error"]["message"]


# --- A stranger sells -----------------------------------------------------------------------------------------------


class StrangeSeller:
    """A seller that knows one quantity, one price and one window, and keeps its word."""

    def __init__(self, who: Stranger) -> None:
        self.who, self.order_id = who, f"SO-{uuid.uuid4().hex[:8]}"
        self.energy_kwh = Decimal(0)
        self.contract: dict[str, Any] = {}
        who.answers = {
            "search": self.search,
            "select": self.select,
            "init": self.select,
            "confirm": self.confirm,
            "status": self.confirm,
        }

    async def reply(self, request: Any, message: Any) -> None:
        """Answer a request to the URL in its context, as most implementations do."""
        context = request["context"]
        echoed = {name: context[name] for name in ("bap_id", "bap_uri", "transaction_id", "message_id")}
        status, answer = await self.who.send(
            context["bap_uri"], self.who.context(f"on_{context['action']}", **echoed), message
        )
        assert (status, answer["message"]["ack"]["status"]) == (200, "ACK"), answer

    async def search(self, request: Any) -> None:
        stops = [
            {"type": "start", "time": {"timestamp": "2016-08-02T15:00:00Z"}},
            {"type": "end", "time": {"timestamp": "2016-08-02T18:00:00Z"}},
        ]
        item = {
            "id": "solar-lot-1",
            "descriptor": {"name": "Solar energy"},
            "price": {"value": "7.5", "currency": "USD"},
            "quantity": {"available": {"measure": {"value": "6.0", "unit": "kWh"}}},
            "category_ids": ["c1"],
            "fulfillment_ids": ["f1"],
        }
        provider = {
            "id": "farm-1",
            "descriptor": {"name": "Sunny Farm"},
            "categories": [{"id": "c1", "descriptor": {"code": "SOLAR_ENERGY"}}],
            "fulfillments": [{"id": "f1", "type": "ENERGY_DELIVERY", "stops": stops}],
            "items": [item],
        }
        await self.reply(request, {"catalog": {"descriptor": {"name": "Farms"}, "providers": [provider]}})

    async def select(self, request: Any) -> None:
        """on_select and on_init alike: the asked quantity, priced."""
        order = request["message"]["order"]
        measure = order["items"][0]["quantity"]["selected"]["measure"]
        assert measure["unit"] == "kWh"
        self.energy_kwh = Decimal(measure["value"])
        self.contract = self.priced(self.energy_kwh) | {"provider": {"id": "farm-1"}, "fulfillments": [{"id": "f1"}]}
        if "billing" in order:
            self.contract |= {"billing": order["billing"], "payments": order.get("payments", [])}
        await self.reply(request, {"order": self.contract})

    def priced(self, energy_kwh: Decimal) -> dict[str, Any]:
        """Item and quote of an order over so much energy."""
        total = str((energy_kwh * Decimal("7.5")).quantize(Decimal("0.01")))
        measure = {"value": str(energy_kwh), "unit": "kWh"}
        price = {"value": total, "currency": "USD"}
        return {
            "items": [{"id": "solar-lot-1", "quantity": {"selected": {"measure": measure}}}],
            "quote": {"price": price, "breakup": [{"title": "ENERGY", "price": price}], "ttl": "PT10M"},
        }

    async def confirm(self, request: Any) -> None:
        """on_confirm and on_status alike: the contract, under an id of its own."""
        self.contract |= {"id": self.order_id, "status": "ACTIVE"}
        await self.reply(request, {"order": self.contract})

    async def complete(self, network: Network, transaction_id: str, order: dict[str, Any]) -> None:
        """Tell the end of the contract, unasked."""
        context = self.who.context(
            "on_status",
            transaction_id=transaction_id,
            bap_id=network.bap.id,
            bap_uri=network.bap.settings.protocol_url,
        )
        status, answer = await self.who.send(network.bap.settings.protocol_url, context, {"order": order})
        assert (status, answer["message"]["ack"]["status"]) == (200, "ACK"), answer


async def contract_with(network: Network, seller: StrangeSeller, account_id: str) -> dict[str, Any]:
    """Our buyer finds the stranger's offer through the gateway and gets a contract over 2 kWh."""
    found = await network.buyer.search({"account_id": account_id}, wait_s=5, offers=4)
    (offer,) = [offer for offer in found["offers"] if offer["seller_id"] == seller.who.subscriber_id]
    assert (offer["has_series"], offer["source"], offer["available"]["energy_wh"]) == (False, "SOLAR", [6000])
    order = await network.buyer.order(account_id, found, offer, 2000, wait_s=5)
    assert (order["state"], order["quote"]["total_milli"]) == ("QUOTED", 1_500_000)
    order = await network.buyer.act(order["order_id"], "init", wait_s=5)
    order = await network.buyer.act(order["order_id"], "confirm", wait_s=5)
    assert (order["state"], order["wire_order_id"]) == ("ACTIVE", seller.order_id)
    return await network.buyer.act(order["order_id"], "status", wait_s=5)


async def test_a_stranger_sells_one_quantity_and_is_paid_for_what_its_meter_says(network: Network) -> None:
    anna = await network.new_account()
    async with subscribed(network, "bpp.stranger.example", "BPP") as who:
        seller = StrangeSeller(who)
        order = await contract_with(network, seller, anna)
        carried = next(letter for letter in who.got if letter.action == "search")
        assert carried.signers == [network.bap.id, network["gateway"].id, network["gateway"].id]

        # Readings have no standard field, so a seller that wants its money learns one tag group of the network.
        values = {"start": "2016-08-02T15:00:00Z", "slot": "PT3H", "unit": "Wh", "values": "1500"}
        entries = [{"descriptor": {"code": name}, "value": value} for name, value in values.items()]
        readings = {"descriptor": {"code": "METER_READINGS"}, "list": entries}
        done = seller.contract | seller.priced(Decimal("1.5")) | {"status": "COMPLETE", "tags": [readings]}
        del done["items"]
        await network.trade_at(SLOT_START + timedelta(hours=3))
        await seller.complete(network, order["transaction_id"], done)

        async def is_completed() -> bool:
            return (await network.buyer.get_order(order["order_id"]))["state"] == "COMPLETED"

        await network.until(is_completed)
        settled = await network.buyer.get_order(order["order_id"])
        assert settled["settlement"]["total_milli"] == 1_125_000
        assert (await network.buyer.account(anna))["balance_milli"] == 100_000_000 - 1_125_000
        await network.check_books()


async def test_a_stranger_that_sends_no_readings_is_not_paid_and_the_app_is_told_why(network: Network) -> None:
    anna = await network.new_account()
    async with subscribed(network, "bpp.stranger.example", "BPP") as who:
        seller = StrangeSeller(who)
        order = await contract_with(network, seller, anna)
        await network.trade_at(SLOT_START + timedelta(hours=3))
        await seller.complete(network, order["transaction_id"], seller.contract | {"status": "COMPLETE"})

        async def is_disputed() -> Any:
            return (await network.buyer.get_order(order["order_id"]))["dispute"]

        dispute = await network.until(is_disputed)
        assert "readings" in dispute["reason"]
        account = await network.buyer.account(anna)
        assert (account["balance_milli"], account["reserved_milli"]) == (100_000_000 - 1_500_000, 1_500_000)
