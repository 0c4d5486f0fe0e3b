"""A contract's series over HTTP: what each side sees, and who may not."""

from __future__ import annotations

from tests.support.buyer_rig import buyer_rig
from tests.support.seller_rig import running_seller
from trade import contract_series, policy


async def test_an_app_sees_the_series_of_its_own_order_alone(database_url: str) -> None:
    async with buyer_rig(database_url) as rig:
        order = await rig.order("confirm")
        answer = await rig.client.get(f"/api/orders/{order['order_id']}/series", headers=rig.app)
        assert answer.status_code == 200
        shown = answer.json()
        assert (shown["policy"], shown["policy_digest"]) == ("plain@1", policy.digest(policy.PLAIN))
        assert len(shown["intervals"]) == len(order["contracted"]["energy_wh"])
        contract_series.check(shown)
        absent = await rig.client.get("/api/orders/nobody/series", headers=rig.app)
        assert absent.status_code == 404


async def test_a_provider_sees_the_series_of_its_own_orders_alone(database_url: str) -> None:
    async with running_seller(database_url) as seller:
        await seller.open_shop()
        order = await seller.contract()
        path = f"/api/orders/{(await seller.of_wire(order.wire_order_id))['order_id']}/series"
        shown = await seller.asked("GET", path, token=await seller.prosumer("home-7"))
        assert [entry["id"] for entry in shown["intervals"]] == list(range(len(order.contracted_wh.values)))
        contract_series.check(shown)
        status, refused = await seller.call("GET", path, token=await seller.prosumer("home-8"))
        assert (status, refused["error"]["field"]) == (403, "Authorization")
        status, _ = await seller.call("GET", "/api/orders/nobody/series")
        assert status == 404
