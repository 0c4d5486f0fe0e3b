"""Money by bank over HTTP: statements in, payouts out, overdrafts; what is refused, what waits for a person, once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import httpx
import pytest

from store import transfers
from tests.support.buyer_rig import OPERATOR, BuyerRig, buyer_rig
from tests.support.seller_rig import Seller, running_seller
from trade import ledger

HEADER = "id,date,amount,currency,reference,name\n"


@pytest.fixture
async def rig(database_url: str) -> AsyncIterator[BuyerRig]:
    async with buyer_rig(database_url) as running:
        yield running


async def asked(rig: BuyerRig, method: str, path: str, status: int, body: Any = None, **query: Any) -> Any:
    """A call of the operator's and its document."""
    answer = await rig.client.request(method, path, json=body, params=query, headers=OPERATOR)
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


async def send(rig: BuyerRig, text: str, media: str = "text/csv", **query: str) -> httpx.Response:
    headers = {**OPERATOR, "Content-Type": media}
    return await rig.client.post("/api/bank/statements", content=text.encode(), params=query, headers=headers)


async def wallet(rig: BuyerRig, account_id: str) -> tuple[int, str]:
    account = await asked(rig, "GET", f"/api/accounts/{account_id}", 200)
    return account["balance_milli"], account["payment_reference"]


# --- Refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "media", "query", "status", "says"),
    [
        ("<x/>", "application/xml", {}, 422, "no bank statement"),
        ("<!DOCTYPE a><Document/>", "text/xml", {}, 422, "no XML that is read here"),
        ("a,b\n1,2\n", "text/csv", {}, 422, "The header says nothing of 'id'"),
        (HEADER, "text/csv", {"columns": "id"}, 422, "name=header"),
        (HEADER, "text/csv", {"columns": "id=Nummer"}, 422, "no column 'nummer'"),
        (HEADER, "image/png", {}, 415, "is not read here"),
    ],
)
async def test_what_is_no_bank_statement_is_refused(
    rig: BuyerRig, text: str, media: str, query: dict[str, str], status: int, says: str
) -> None:
    answer = await send(rig, text, media, **query)
    assert answer.status_code == status
    assert says in answer.json()["error"]["sentence"]
    assert (await asked(rig, "GET", "/api/bank/entries", 200))["items"] == []


async def test_an_entry_is_assigned_only_to_what_exists_and_only_once(rig: BuyerRig) -> None:
    account_id = await rig.new_account(0)
    await send(rig, f"{HEADER}b-1,2026-01-31,5.00,USD,no idea,Anna\nb-2,2026-01-31,-5.00,USD,no idea,Anna\n")
    assign = "/api/bank/entries/{}/assign"
    for entry, body, status in (
        ("b-9", {"account": f"wallet:{account_id}"}, 404),
        ("b-1", {"account": "wallet:nobody"}, 422),
        ("b-1", {"account": "escrow:order"}, 422),
        ("b-1", {"account": f"wallet:{account_id}", "payout_id": "p"}, 422),
        ("b-1", {}, 422),
        ("b-1", {"payout_id": "p"}, 422),
        ("b-2", {"payout_id": "p"}, 409),
        ("b-2", {"account": f"wallet:{account_id}"}, 409),  # the wallet does not hold what went
    ):
        await asked(rig, "POST", assign.format(entry), status, body)
    done = await asked(rig, "POST", assign.format("b-1"), 200, {"account": f"wallet:{account_id}"})
    assert (done["state"], done["account"]) == ("MATCHED", f"wallet:{account_id}")
    await asked(rig, "POST", assign.format("b-1"), 409, {"account": f"wallet:{account_id}"})
    await asked(rig, "POST", "/api/bank/entries/b-1/ignore", 409, {"reason": "late"})
    await asked(rig, "POST", "/api/bank/entries/b-2/ignore", 204, {"reason": "our own transfer"})
    ignored = await asked(rig, "GET", "/api/bank/entries", 200, state="IGNORED")
    assert [(entry["entry_id"], entry["reason"]) for entry in ignored["items"]] == [("b-2", "our own transfer")]
    assert (await wallet(rig, account_id))[0] == 500_000


async def test_a_payout_of_what_is_not_there_is_refused(rig: BuyerRig) -> None:
    account_id = await rig.new_account(7)
    path = f"/api/accounts/{account_id}/payouts"
    await asked(rig, "POST", "/api/accounts/nobody/payouts", 404, {})
    refusal = await asked(rig, "POST", path, 409, {"amount_minor": 8})
    assert refusal["error"]["sentence"] == (
        "The account holds 0.07 USD; ask for at least one and at most 7 whole minor units."
    )
    nothing = await asked(rig, "POST", path, 409, {"currency": "XWH"})
    assert nothing["error"]["sentence"].startswith("The account holds 0.000 XWH, not one whole minor unit")
    await asked(rig, "POST", path, 422, {"amount_minor": 0})
    await asked(rig, "POST", "/api/payouts/nobody/paid", 404)
    await asked(rig, "POST", "/api/payouts/nobody/void", 404)


async def test_an_overdraft_below_what_is_used_is_refused_and_nobody_but_the_operator_grants_one(rig: BuyerRig) -> None:
    account_id = await rig.new_account(0)
    path = f"/api/accounts/{account_id}/overdraft"
    assert (await rig.client.put(path, json={"overdraft_milli": 5}, headers=rig.app)).status_code == 403
    await asked(rig, "PUT", "/api/accounts/nobody/overdraft", 404, {"overdraft_milli": 5})
    await asked(rig, "PUT", path, 422, {"overdraft_milli": -1})
    await asked(rig, "PUT", path, 204, {"overdraft_milli": 900})
    async with rig.node.database.unit_of_work() as uow:
        moved = ledger.between(
            transfer_id="x",
            source=ledger.wallet(account_id),
            target=ledger.escrow("o"),
            amount_milli=900,
            currency="USD",
            memo="",
            at=rig.clock.now(),
        )
        await transfers.post(uow, [moved])
    refusal = await asked(rig, "PUT", path, 409, {"overdraft_milli": 899})
    assert refusal["error"]["sentence"].startswith("The account is overdrawn by more than 0.00899 USD")
    await asked(rig, "POST", f"/api/accounts/{account_id}/payouts", 409, {})  # an overdraft is not paid out
    shown = (await asked(rig, "GET", f"/api/accounts/{account_id}", 200))["balances"]
    assert [(each["balance_milli"], each["overdraft_milli"]) for each in shown] == [(-900, 900)]


# --- Money in --------------------------------------------------------------------------------------------------------


async def test_a_statement_pays_the_accounts_its_texts_name_once_however_often_it_is_sent(rig: BuyerRig) -> None:
    anna, ben = await rig.new_account(0), await rig.new_account(0)
    (_, reference), (_, other) = await wallet(rig, anna), await wallet(rig, ben)
    assert reference.startswith("RF") and reference != other
    text = (
        f"{HEADER}b-1,2026-01-31,12.50,USD,{reference},Anna\n"
        f"b-2,2026-01-31,3.00,XWH,credits for {ben},Ben\n"
        f"b-3,2026-01-31,1.00,USD,{reference} and {other},Both\n"
        "b-4,2026-01-31,1.00,USD,who am I,Nobody\n"
        "b-5,31.1.2026,1.00,USD,x,y\n"
    )
    first = (await send(rig, text)).json()
    assert {name: first[name] for name in ("entries", "new", "matched", "unmatched")} == {
        "entries": 4,
        "new": 4,
        "matched": 2,
        "unmatched": 2,
    }
    assert [problem["place"] for problem in first["problems"]] == [6]
    again = (await send(rig, text)).json()
    assert (again["new"], again["matched"]) == (0, 0)
    assert (await wallet(rig, anna))[0] == 1_250_000
    assert (await asked(rig, "GET", f"/api/accounts/{ben}", 200))["balances"][0]["balance_milli"] == 300 * 10_000
    waiting = await asked(rig, "GET", "/api/bank/entries", 200, state="UNMATCHED", limit=1)
    assert waiting["items"][0]["reason"] == "the text names no account"
    rest = await asked(rig, "GET", "/api/bank/entries", 200, state="UNMATCHED", limit=1, after=waiting["next"])
    assert rest["items"][0]["reason"] == "the text names 2 accounts"
    assert (await asked(rig, "GET", "/api/ledger/proof", 200))["balanced"]


async def test_the_same_file_sent_by_many_at_once_is_booked_once(rig: BuyerRig) -> None:
    """Two clerks and a retry: whoever is second waits for the first, and finds every entry known."""
    account_id = await rig.new_account(0)
    _, reference = await wallet(rig, account_id)
    text = HEADER + "".join(f"b-{n},2026-01-31,0.01,USD,{reference},Anna\n" for n in range(20))
    answers = [answer.json() for answer in await asyncio.gather(*(send(rig, text) for _ in range(4)))]
    assert sum(answer["new"] for answer in answers) == sum(answer["matched"] for answer in answers) == 20
    assert (await wallet(rig, account_id))[0] == 20_000


async def test_what_a_bank_moves_is_dated_by_the_trading_clock_like_every_transfer(rig: BuyerRig) -> None:
    """Else a month's statement and its balance would leave out money that the account held in it."""
    account_id = await rig.new_account(0)
    _, reference = await wallet(rig, account_id)
    text = f"{HEADER}b-1,2026-01-31,5.00,USD,{reference},Anna\nb-2,2026-01-31,1.00,USD,who,Anna\n"
    await send(rig, text)
    await asked(rig, "POST", "/api/bank/entries/b-2/assign", 200, {"account": f"wallet:{account_id}"})
    path = f"/api/accounts/{account_id}/payouts"
    paid, void = [await asked(rig, "POST", path, 201, {"amount_minor": amount}) for amount in (100, 200)]
    await asked(rig, "POST", f"/api/payouts/{paid['payout_id']}/paid", 200)
    await asked(rig, "POST", f"/api/payouts/{void['payout_id']}/void", 200)
    moved = (await asked(rig, "GET", f"/api/accounts/{account_id}/transfers", 200))["items"]
    assert len(moved) == 5
    assert {datetime.fromisoformat(each["at"]) for each in moved} == {rig.node.trading.now()}
    assert rig.node.trading.now() != rig.clock.now()


async def test_money_that_comes_in_repays_a_debt_first(rig: BuyerRig) -> None:
    account_id = await rig.new_account(0)
    async with rig.node.database.unit_of_work() as uow:
        owed = ledger.between(
            transfer_id="correction",
            source=ledger.debt(account_id),
            target=ledger.payable("bpp.example"),
            amount_milli=1_250,
            currency="USD",
            memo="",
            at=rig.clock.now(),
        )
        await transfers.post(uow, [owed])
    shown = await asked(rig, "GET", f"/api/accounts/{account_id}", 200)
    assert shown["balances"][0]["debt_milli"] == 1_250
    _, reference = await wallet(rig, account_id)
    await send(rig, f"{HEADER}b-1,2026-01-31,0.01,USD,{reference},Anna\n")
    assert (await asked(rig, "GET", f"/api/accounts/{account_id}", 200))["balances"][0]["debt_milli"] == 250
    await rig.deposit(account_id, 1, "more")
    shown = await asked(rig, "GET", f"/api/accounts/{account_id}", 200)
    assert (shown["balance_milli"], shown["balances"][0]["debt_milli"]) == (750, 0)


# --- Money out -------------------------------------------------------------------------------------------------------


async def test_a_payout_leaves_whole_minor_units_and_the_bank_confirms_it(rig: BuyerRig) -> None:
    account_id = await rig.new_account(100)
    async with rig.node.database.unit_of_work() as uow:
        fee = ledger.between(
            transfer_id="fee",
            source=ledger.wallet(account_id),
            target=ledger.platform(),
            amount_milli=250,
            currency="USD",
            memo="",
            at=rig.clock.now(),
        )
        await transfers.post(uow, [fee])
    payout = await asked(rig, "POST", f"/api/accounts/{account_id}/payouts", 201, {})
    assert (payout["amount_minor"], payout["state"]) == (99, "PENDING")
    assert (await wallet(rig, account_id))[0] == 750
    text = (
        f"{HEADER}o-1,2026-02-01,-0.98,USD,{payout['reference']},Anna\n"
        f"o-2,2026-02-01,-0.99,USD,{payout['reference']},Anna\n"
        f"o-3,2026-02-01,-0.99,USD,{payout['reference']},Anna\n"
    )
    done = (await send(rig, text)).json()
    assert (done["matched"], done["unmatched"]) == (1, 2)  # another amount, and a second time
    [shown] = (await asked(rig, "GET", "/api/payouts", 200, state="PAID"))["items"]
    assert (shown["payout_id"], shown["entry_id"]) == (payout["payout_id"], "o-2")
    await asked(rig, "POST", f"/api/payouts/{payout['payout_id']}/paid", 200)  # a repeat
    await asked(rig, "POST", f"/api/payouts/{payout['payout_id']}/void", 409)
    proof = await asked(rig, "GET", "/api/ledger/proof", 200)
    assert proof["balanced"]
    assert {entry["account"]: entry["balance_milli"] for entry in proof["accounts"]} == {
        "external": -1_000 - 10_000_000,
        f"wallet:{rig.account_id}": 10_000_000,
        f"payout:{payout['payout_id']}": 0,
        "platform": 250,
        f"wallet:{account_id}": 750,
    }


async def test_a_void_payout_returns_its_money_and_the_operator_may_match_one_by_hand(rig: BuyerRig) -> None:
    account_id = await rig.new_account(100)
    path = f"/api/accounts/{account_id}/payouts"
    void = await asked(rig, "POST", path, 201, {"amount_minor": 40})
    for _ in range(2):
        assert (await asked(rig, "POST", f"/api/payouts/{void['payout_id']}/void", 200))["state"] == "VOID"
    assert (await wallet(rig, account_id))[0] == 100_000
    await asked(rig, "POST", f"/api/payouts/{void['payout_id']}/paid", 409)
    mine = await asked(rig, "POST", path, 201, {"amount_minor": 60})
    await send(rig, f"{HEADER}o-1,2026-02-01,-0.60,USD,reference forgotten,Anna\n")
    done = await asked(rig, "POST", "/api/bank/entries/o-1/assign", 200, {"payout_id": mine["payout_id"]})
    assert (done["state"], done["payout_id"]) == ("MATCHED", mine["payout_id"])
    audited = await asked(rig, "GET", "/api/payouts", 200)
    assert [each["state"] for each in audited["items"]] == ["PAID", "VOID"]


async def test_a_provider_is_paid_what_it_earned(database_url: str) -> None:
    async with running_seller(database_url) as seller:
        await seller.open_shop()
        await earn(seller, 1_234_567)
        payout = await seller.asked("POST", "/api/providers/home-7/payouts", {})
        assert (payout["account"], payout["amount_minor"], payout["currency"]) == ("provider:home-7", 1_234, "USD")
        done = await seller.asked("POST", f"/api/payouts/{payout['payout_id']}/paid")
        assert (done["state"], done["entry_id"]) == ("PAID", "")
        balance = await seller.asked("GET", "/api/providers/home-7/balance")
        assert balance["items"] == [{"currency": "USD", "balance_milli": 567}]
        assert (await seller.call("POST", "/api/providers/home-7/payouts", {}))[0] == 409
        assert (await seller.call("POST", "/api/providers/nobody/payouts", {}))[0] == 404
        await earn(seller, 5_000, currency="XCO")
        status, refusal = await seller.call("POST", "/api/providers/home-7/payouts", {})
        assert (status, refusal["error"]["field"]) == (409, "currency")
        assert (await seller.asked("POST", "/api/providers/home-7/payouts", {"currency": "XCO"}))["amount_minor"] == 5


async def earn(seller: Seller, amount_milli: int, *, currency: str = "USD") -> None:
    async with seller.node.database.unit_of_work() as uow:
        earned = ledger.between(
            transfer_id=f"earned-{currency}",
            source=ledger.receivable("bap.example"),
            target=ledger.provider_earnings("home-7"),
            amount_milli=amount_milli,
            currency=currency,
            memo="",
            at=seller.clock.now(),
        )
        await transfers.post(uow, [earned])
