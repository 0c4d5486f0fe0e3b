"""Who may call what: the roles matrix over every route, tokens, accounts that only their app sees, Idempotency-Key."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest

from api.desk import Route
from bap import api
from tests.support.buyer_rig import OPERATOR, BuyerRig, buyer_rig

#: What anybody may read, without a token; and what proves itself by a signature.
PUBLIC = {"/api/policies", "/api/policies/{policy_id}", "/api/payments/stripe/webhook"}
ROUTES = [route for route in api.build().routes if route.path not in PUBLIC]
ACCOUNT = {"name": "Anna", "email": "anna@example.com", "phone": "+4915112345", "currency": "USD"}


@pytest.fixture
async def rig(database_url: str) -> AsyncIterator[BuyerRig]:
    async with buyer_rig(database_url) as running:
        yield running


def path_of(route: Route) -> str:
    return re.sub(r"\{[^}]*\}", "nobody", route.path)


async def test_every_route_refuses_no_token_a_wrong_token_and_the_wrong_role(rig: BuyerRig) -> None:
    made = await rig.client.post(
        "/api/tokens", json={"role": "prosumer", "name": "p", "scope": "home-7"}, headers=OPERATOR
    )
    callers = {
        "app": rig.app,
        "operator": OPERATOR,
        "prosumer": {"Authorization": f"Bearer {made.json()['token']}"},
    }
    for route in ROUTES:
        name = f"{route.method} {route.path}"
        assert route.roles, f"{name} is public"
        without = await rig.client.request(route.method, path_of(route))
        assert without.status_code == 401, name
        for role, headers in callers.items():
            answer = await rig.client.request(route.method, path_of(route), headers=headers)
            assert (answer.status_code == 403) == (role not in route.roles), f"{role} {name}: {answer.status_code}"
            assert answer.status_code != 500, f"{role} {name}: {answer.text}"


async def test_a_revoked_token_stops_working_at_once(rig: BuyerRig) -> None:
    made = (await rig.client.post("/api/tokens", json={"role": "app", "name": "short"}, headers=OPERATOR)).json()
    headers = {"Authorization": f"Bearer {made['token']}"}
    assert (await rig.client.get("/api/accounts", headers=headers)).status_code == 200
    revoked = await rig.client.delete(f"/api/tokens/{made['token_id']}", headers=OPERATOR)
    assert revoked.status_code == 204
    assert (await rig.client.get("/api/accounts", headers=headers)).status_code == 401
    listed = (await rig.client.get("/api/tokens", headers=OPERATOR)).json()["items"]
    [shown] = [token for token in listed if token["token_id"] == made["token_id"]]
    assert shown["revoked_at"] is not None
    assert "token" not in shown


async def test_only_a_tokens_hash_is_kept(rig: BuyerRig) -> None:
    token = rig.app["Authorization"].removeprefix("Bearer ")
    [row] = await rig.rows("SELECT * FROM tokens")
    assert token not in str(dict(row))


@pytest.mark.parametrize("body", [{"role": "prosumer", "name": "x"}, {"role": "app", "name": "x", "scope": "y"}])
async def test_only_a_prosumers_token_has_a_scope(rig: BuyerRig, body: dict[str, str]) -> None:
    assert (await rig.client.post("/api/tokens", json=body, headers=OPERATOR)).status_code == 422


async def test_an_app_does_not_see_what_is_anothers(rig: BuyerRig) -> None:
    order = await rig.order()
    other = await rig.new_app("other")
    for path in (
        f"/api/accounts/{rig.account_id}",
        f"/api/accounts/{rig.account_id}/transfers",
        f"/api/orders/{order['order_id']}",
        f"/api/orders/{order['order_id']}/events",
        f"/api/searches/{order['transaction_id']}",
        f"/api/searches/{order['transaction_id']}/events",
    ):
        answer = await rig.client.get(path, headers=other)
        assert answer.status_code == 404, path
    for path in ("/api/orders", "/api/accounts", f"/api/orders?account_id={rig.account_id}"):
        assert (await rig.client.get(path, headers=other)).json()["items"] == []
    sent = len(rig.seller.heard)
    for action, body in (("confirm", {}), ("cancel", {"reason_id": "1"}), ("status", {}), ("track", {})):
        answer = await rig.client.post(f"/api/orders/{order['order_id']}/{action}", json=body, headers=other)
        assert answer.status_code == 404
    searched = await rig.client.post("/api/searches", json={"account_id": rig.account_id}, headers=other)
    assert searched.status_code == 404
    choice = {**rig.choice(await rig.search())}
    assert (await rig.client.post("/api/orders", json=choice, headers=other)).status_code == 404
    assert len(rig.seller.heard) == sent + 1


async def test_the_operator_sees_everything(rig: BuyerRig) -> None:
    order = await rig.order()
    shown = await rig.client.get(f"/api/orders/{order['order_id']}", headers=OPERATOR)
    assert shown.json()["state"] == "ACTIVE"
    assert len((await rig.client.get("/api/accounts", headers=OPERATOR)).json()["items"]) == 1


# --- Accounts and money ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [("currency", "usd"), ("phone", "12-34"), ("email", "anna"), ("name", ""), ("name", "x" * 201)],
)
async def test_an_account_with_a_wrong_field_is_422_and_names_it(rig: BuyerRig, field: str, value: str) -> None:
    answer = await rig.client.post("/api/accounts", json=ACCOUNT | {field: value}, headers=rig.app)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)


async def test_a_deposit_with_the_same_reference_counts_once(rig: BuyerRig) -> None:
    account_id = await rig.new_account(0)
    for _ in range(2):
        assert (await rig.deposit(account_id, 500, "bank-1")).json()["balance_milli"] == 500_000
    assert (await rig.deposit(account_id, 501, "bank-1")).status_code == 409
    assert (await rig.deposit(account_id, 0, "bank-2")).status_code == 422
    assert (await rig.deposit("nobody", 1, "bank-3")).status_code == 404


async def test_a_wallets_statement_is_read_page_by_page(rig: BuyerRig) -> None:
    account_id = await rig.new_account(0)
    for number in range(5):
        await rig.deposit(account_id, 10 + number, f"r{number}")
    path, seen, after = f"/api/accounts/{account_id}/transfers", [], None
    while True:
        page = (await rig.get(path, limit=2, **({"after": after} if after else {}))).json()
        wallet = f"wallet:{account_id}"
        legs = [{leg["account"]: leg["amount_milli"] for leg in transfer["legs"]} for transfer in page["items"]]
        assert all(sum(leg.values()) == 0 for leg in legs)
        seen += [leg[wallet] for leg in legs]
        after = page["next"]
        if after is None:
            break
    assert seen == [14_000, 13_000, 12_000, 11_000, 10_000]
    assert (await rig.get(path, after="nonsense")).status_code == 422


async def test_orders_are_listed_by_state_and_page_by_page(rig: BuyerRig) -> None:
    first = await rig.order()
    second = await rig.order("select")
    assert [o["order_id"] for o in (await rig.get("/api/orders", state="QUOTED")).json()["items"]] == [
        second["order_id"]
    ]
    page = (await rig.get("/api/orders", limit=1)).json()
    assert page["items"][0]["order_id"] == second["order_id"]
    page = (await rig.get("/api/orders", limit=1, after=page["next"])).json()
    assert page["items"][0]["order_id"] == first["order_id"]
    assert (await rig.get("/api/orders", state="LOST")).status_code == 422


# --- Idempotency-Key -------------------------------------------------------------------------------------------------


async def test_a_repeat_under_the_same_key_gets_the_first_answer_and_makes_nothing(rig: BuyerRig) -> None:
    headers = {**rig.app, "Idempotency-Key": "key-1"}
    first = await rig.client.post("/api/accounts", json=ACCOUNT, headers=headers)
    again = await rig.client.post("/api/accounts", json=ACCOUNT, headers=headers)
    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len((await rig.get("/api/accounts")).json()["items"]) == 2  # the rig's own and this one


async def test_a_key_used_for_another_request_is_409(rig: BuyerRig) -> None:
    headers = {**rig.app, "Idempotency-Key": "key-1"}
    await rig.client.post("/api/accounts", json=ACCOUNT, headers=headers)
    other = await rig.client.post("/api/accounts", json=ACCOUNT | {"name": "Ben"}, headers=headers)
    assert (other.status_code, other.json()["error"]["field"]) == (409, "Idempotency-Key")


async def test_a_key_is_its_apps_own_and_a_refused_request_may_be_tried_again(rig: BuyerRig) -> None:
    headers = {"Idempotency-Key": "key-1"}
    assert (await rig.client.post("/api/accounts", json={}, headers={**rig.app, **headers})).status_code == 422
    mine = await rig.client.post("/api/accounts", json=ACCOUNT, headers={**rig.app, **headers})
    other = await rig.new_app("other")
    theirs = await rig.client.post("/api/accounts", json=ACCOUNT, headers={**other, **headers})
    assert mine.status_code == theirs.status_code == 201
    assert mine.json()["account_id"] != theirs.json()["account_id"]


async def test_repeats_at_the_same_time_make_one_account(rig: BuyerRig) -> None:
    headers = {**rig.app, "Idempotency-Key": "key-1"}
    answers = await asyncio.gather(*(rig.client.post("/api/accounts", json=ACCOUNT, headers=headers) for _ in range(8)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.json()["account_id"] for answer in answers if answer.status_code == 201}) == 1
