"""A standing order over real nodes, the greenest first; then what both nodes state of it, signed, and compared.

Anna leaves it once. In the evening the buyer's node searches, finds two homes, takes the wind of one before the sun of
the other, although it is dearer, and buys. The day is delivered and settled; both nodes print the same order; the
operator's `powershare reconcile` finds nothing, until somebody's figure is another.
"""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.support.network_rig import OPERATOR, Member, Network
from tests.support.seller_rig import offer_json
from tests.support.trade_cases import SLOT_START, an_offer

HOUR = timedelta(hours=1)


def offer(name: str, *, price_micro: int, carbon: int, source: str) -> dict[str, Any]:
    """1, 2 and 3 kWh, each at one price, with its carbon intensity."""
    made = offer_json(an_offer(), offer_id=name, source=source)
    slots = {"start": "2016-08-02T15:00:00Z", "slot_s": 3600}
    return made | {
        "price": {"series": {**slots, "price_micro_per_kwh": [price_micro] * 3}},
        "carbon": {**slots, "g_per_kwh": [carbon] * 3},
    }


async def powershare(*arguments: str, network: Network) -> tuple[int, str]:
    """Run the command as an operator would; its status and what it said."""
    environment = os.environ | {
        "BAP_TOKEN": OPERATOR,
        "BPP_TOKEN": OPERATOR,
        "POWERSHARE_TOKEN": OPERATOR,
        "REGISTRY_URL": network.registry_url,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli.main", *arguments,
        env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


async def reconciled(network: Network, seller: Member, *more: str) -> tuple[int, str]:
    urls = ("--bap", network.bap.settings.public_url, "--bpp", seller.settings.public_url)
    return await powershare("reconcile", *urls, *more, network=network)


async def bought(network: Network, standing_order_id: str) -> dict[str, Any]:
    """The run, once it is done: jobs as their schedulers would run them, the wall clock put forward for the offers."""
    path = f"/api/standing-orders/{standing_order_id}/runs"
    async with asyncio.timeout(30):
        while True:
            await network.work()
            runs = (await network.buyer.node.get(path))["items"]
            if runs and runs[0]["state"] == "DONE":
                return dict(runs[0])
            if runs and runs[0]["state"] == "SEARCHING":
                found = await network.buyer.node.get(f"/api/searches/{runs[0]['transaction_id']}")
                if found["sellers"] == 2:
                    network.turn(seconds=11)
            await asyncio.sleep(0.05)


async def test_a_standing_order_buys_the_greenest_and_both_nodes_state_the_same(
    network: Network, tmp_path: Path
) -> None:
    # 1. Two homes offer: sun at 0.10 with 45 g, wind at 0.20 with 11 g of CO2 per kWh.
    await network.open_shop("bpp-solo", "home-7", offer("sun", price_micro=100_000, carbon=45, source="SOLAR"))
    await network.open_shop("bpp-east", "home-8", offer("wind", price_micro=200_000, carbon=11, source="WIND"))
    anna = await network.new_account("Anna")

    # 2. Every night at two: 4 kWh of the afternoon, the greenest first, at 0.30 at most.
    left = await network.buyer.node.post(
        "/api/standing-orders",
        {
            "account_id": anna,
            "zone": "UTC",
            "when": {"at": "02:00"},
            "window": {"days_ahead": 0, "start": "15:00", "end": "17:00"},
            "energy": {"total_wh": 4000},
            "price_per_kwh_max": "0.30",
            "ranking": "GREENEST",
        },
    )
    await network.trade_at(SLOT_START - 13 * HOUR)
    run = await bought(network, left["standing_order_id"])
    assert {order["provider_id"]: order["wanted"]["energy_wh"] for order in run["orders"]} == {
        "home-8": [1000, 2000],  # all of the wind in the window
        "home-7": [1000],
    }
    assert (run["bought_wh"], run["sentences"]) == (4000, [])
    assert run["total_milli"] == 3 * 22_000 + 12_000  # with wheeling at 0.02

    # 3. The afternoon is delivered, and settled as the meters say.
    await network.trade_at(SLOT_START + 3 * HOUR)
    for name, provider_id, measured in (("bpp-solo", "home-7", (900, 0)), ("bpp-east", "home-8", (1000, 1500))):
        lines = [
            {"starts_at": (SLOT_START + hour * HOUR).isoformat(), "energy_wh": wh} for hour, wh in enumerate(measured)
        ]
        body = {"flow": "EXPORT", "slot_s": 3600, "readings": lines}
        await network.seller(name).read_meter(f"meter-of-{provider_id}", body)

    async def is_settled() -> bool:
        orders = [await network.buyer.get_order(order["order_id"]) for order in run["orders"]]
        return all(order["state"] == "COMPLETED" for order in orders)

    await network.until(is_settled)

    # 4. Anna's day and the home's day are the same energy and the same lines, each in its own words.
    statement = await network.buyer.node.get(f"/api/accounts/{anna}/statements/2016-08-02")
    (total,) = statement["totals"]
    assert (total["due_milli"], total["energy_wh"]) == (900 * 12 + 2500 * 22, 3400)
    earned = await network["bpp-east"].operator.get("/api/providers/home-8/statements/2016-08-02")
    assert earned["totals"][0]["due_milli"] == 2500 * 20
    lines = [order["versions"][0]["lines"] for order in earned["orders"]]
    assert lines == [o["versions"][0]["lines"] for o in statement["orders"] if o["provider_id"] == "home-8"]

    # 5. A statement is fetched with its signature, and checked against the key the registry has.
    kept = tmp_path / "anna.pdf"
    asked = ("--node", network.bap.settings.public_url, "--account", anna, "--period", "2016-08-02", "-o", str(kept))
    assert (await powershare("statement", "get", *asked, network=network))[0] == 0
    status, said = await powershare("statement", "verify", str(kept), network=network)
    assert (status, network.bap.id in said) == (0, True), said
    kept.write_bytes(kept.read_bytes() + b"%")
    status, said = await powershare("statement", "verify", str(kept), network=network)
    assert (status, "it was changed" in said) == (1, True), said

    # 6. The operators compare: the nodes agree. Then one figure of the seller's book is another.
    for seller in (network["bpp-solo"], network["bpp-east"]):
        status, said = await reconciled(network, seller, "--day", "2016-08-02")
        assert (status, "agree on 1 settled order(s)" in said) == (0, True), said
    await corrupt(network["bpp-east"])
    status, said = await reconciled(network, network["bpp-east"])
    assert status == 1
    assert "slot 2016-08-02T15:00:00Z: final is 1 kWh at the buyer's node and 0.999 kWh at the seller's." in said

    # 7. The difference made the order DISPUTED on both sides, with its reason; a second look opens no second one.
    wind = next(order["order_id"] for order in run["orders"] if order["provider_id"] == "home-8")

    async def is_disputed() -> bool:
        theirs = (await network["bpp-east"].operator.get("/api/orders"))["items"]
        ours = await network.buyer.get_order(wind)
        return bool(ours["state"] == "DISPUTED" and [order["state"] for order in theirs] == ["DISPUTED"])

    await network.until(is_disputed)
    assert "final is 1 kWh" in (await network.buyer.get_order(wind))["dispute"]["reason"]
    status, said = await reconciled(network, network["bpp-east"])
    assert (status, "no dispute about" in said) == (1, True), said


async def corrupt(seller: Member) -> None:
    """Somebody meddles with the seller's database: a watt-hour less was settled in the first slot."""
    [row] = await seller.rows("SELECT order_id, document FROM orders")
    document = row["document"]
    document["settlement"]["delivered_wh"]["values"][0] = 999
    async with seller.node.database.connection() as connection:
        await connection.execute("UPDATE orders SET document = $2 WHERE order_id = $1", row["order_id"], document)
