"""`powershare bank` against a node that runs: a file in, what waits, whose it is, payouts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from cli.main import app
from tests.support.buyer_rig import OPERATOR, BuyerRig, buyer_rig

HEADER = "id,date,amount,currency,reference,name\n"


@pytest.fixture
async def rig(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[BuyerRig]:
    monkeypatch.setenv("ADMIN_TOKEN", "operator-token-of-tests")
    async with buyer_rig(database_url) as running:
        yield running


async def run(rig: BuyerRig, *words: str) -> Result:
    url = str(rig.client.base_url).rstrip("/")
    return await asyncio.to_thread(CliRunner().invoke, app, ["bank", *words, "--node", url])


async def test_a_file_that_is_no_statement_a_node_that_is_not_there_and_a_missing_token_end_with_a_sentence(
    rig: BuyerRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "photo.png"
    file.write_bytes(b"\x89PNG\r\n")
    refused = await run(rig, "import", str(file))
    assert (refused.exit_code, "no UTF-8 text" in refused.output) == (1, True)
    away = await asyncio.to_thread(
        CliRunner().invoke, app, ["bank", "import", str(file), "--node", "http://127.0.0.1:9"]
    )
    assert (away.exit_code, "does not answer" in away.output) == (1, True)
    monkeypatch.delenv("ADMIN_TOKEN")
    nobody = await run(rig, "payouts")
    assert (nobody.exit_code, "set ADMIN_TOKEN" in nobody.output) == (1, True)


async def test_an_operator_brings_a_statement_in_and_assigns_what_waits(rig: BuyerRig, tmp_path: Path) -> None:
    account = (await rig.get(f"/api/accounts/{rig.account_id}")).json()
    file = tmp_path / "january.csv"
    file.write_text(
        f"{HEADER}b-1,2026-01-31,12.50,USD,{account['payment_reference']},Anna\n"
        "b/2,2026-01-31,1.00,USD,for Anna,Anna\nb-3,soon,1.00,USD,x,y\n"
    )
    done = await run(rig, "import", str(file))
    assert done.exit_code == 1  # one row could not be read, and is named
    assert "january.csv, 4: the date 'soon'" in done.output
    waits = await run(rig, "waiting")
    assert (waits.exit_code, "b/2" in waits.output, "names no account" in waits.output) == (0, True, True)
    assigned = await run(rig, "assign", "b/2", "--account", f"wallet:{rig.account_id}")
    assert (assigned.exit_code, "b/2 is booked on wallet:" in assigned.output) == (0, True)
    assert (await run(rig, "assign", "b/2", "--account", f"wallet:{rig.account_id}")).exit_code == 1
    after = (await rig.get(f"/api/accounts/{rig.account_id}")).json()
    assert after["balance_milli"] - account["balance_milli"] == 1_350_000


async def test_payouts_are_listed_with_the_reference_to_write(rig: BuyerRig) -> None:
    path = f"/api/accounts/{rig.account_id}/payouts"
    payout = (await rig.client.post(path, json={"amount_minor": 5}, headers=OPERATOR)).json()
    listed = await run(rig, "payouts")
    assert (listed.exit_code, payout["reference"] in listed.output) == (0, True)
