"""`powershare meter` against a real node: files go in whole, go on after an interruption, and lose nothing."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.main import app
from cli.meter_import import Door, Source, bring_in
from energy_catalog.meter_files.entries import Unreadable
from tests.support.seller_rig import ADMIN_TOKEN, Seller, running_seller
from tests.support.trade_cases import SLOT_START

MINUTE = timedelta(minutes=1)
ROWS = 25_000


@pytest.fixture
async def seller(database_url: str) -> AsyncIterator[Seller]:
    async with running_seller(database_url) as running:
        await running.open_shop()
        await running.move_clock(SLOT_START + timedelta(days=60))
        yield running


def a_file(folder: Path, rows: int = ROWS) -> Path:
    """A meter's minutes; every thousandth row says nothing useful."""
    path = folder / "minutes.csv"
    lines = ["timestamp,export_wh"]
    lines += [f"{(SLOT_START + n * MINUTE).isoformat()},{'oops' if n % 1000 == 7 else n % 90}" for n in range(rows)]
    path.write_text("\n".join(lines))
    return path


async def command(seller: Seller, *arguments: str) -> tuple[int, str]:
    """Run the command in a thread of its own, as the node runs in this one; exit code and all it printed."""
    words = ["meter", *arguments, "--meter", "meter-7", "--node", seller.url, "--token", ADMIN_TOKEN]
    done = await asyncio.to_thread(CliRunner().invoke, app, words)
    return done.exit_code, done.output


async def stored(seller: Seller) -> list[Any]:
    async with seller.node.database.connection() as connection:
        rows = await connection.fetch("SELECT starts_at, energy_wh, version FROM readings ORDER BY starts_at, version")
    return [tuple(row) for row in rows]


async def test_a_file_goes_in_whole_and_every_bad_row_is_reported_beside_it(seller: Seller, tmp_path: Path) -> None:
    path = a_file(tmp_path)
    code, said = await command(seller, "import", str(path))
    assert code == 3, said
    assert "25,000   24,975     0           0           25" in said
    with (tmp_path / "minutes.csv.refused.csv").open(newline="") as report:
        refused = list(csv.DictReader(report))
    assert [int(row["line"]) for row in refused] == [1000 * n + 9 for n in range(25)]
    assert all("'oops' is no number" in row["reason"] for row in refused)
    before = await stored(seller)
    assert len(before) == ROWS - 25
    code, said = await command(seller, "import", str(path))
    assert (code, "brought in before" in said, await stored(seller)) == (3, True, before)


async def test_an_interrupted_import_goes_on_and_ends_as_if_it_had_not_been(seller: Seller, tmp_path: Path) -> None:
    source = Source(a_file(tmp_path), "EXPORT")
    door = Door(seller.url, ADMIN_TOKEN, "der://meter/meter-7")

    def interrupt(done: int, size: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await asyncio.to_thread(bring_in, source, door, interrupt)
    assert len(await stored(seller)) == 10_000 - 10
    code, said = await command(seller, "import", str(source.path), "--flow", "export")
    assert (code, "Went on after 1 chunk(s)" in said) == (3, True)
    assert "25,000   24,975     0           0           25" in said
    expected = [(SLOT_START + n * MINUTE, n % 90, 1) for n in range(ROWS) if n % 1000 != 7]
    assert await stored(seller) == expected


async def test_the_same_rows_in_another_file_change_nothing(seller: Seller, tmp_path: Path) -> None:
    path = a_file(tmp_path, rows=50)
    await command(seller, "import", str(path))
    path.write_text(path.read_text() + "\n")
    code, said = await command(seller, "import", str(path))
    assert (code, "50       0          49          0           1" in said) == (3, True), said


async def test_what_cannot_be_brought_in_is_refused_with_a_sentence(seller: Seller, tmp_path: Path) -> None:
    path = tmp_path / "colours.csv"
    path.write_text("colour,size\nred,big\n")
    silent = tmp_path / "silent.csv"
    silent.write_text(f"starts_at,energy_wh\n{SLOT_START.isoformat()},5\n")
    for arguments, code, says in (
        (("import", str(path)), 1, "send a mapping"),
        (("import", str(path), "--mapping", "{"), 2, "neither JSON nor a file"),
        (("import", str(path), "--mapping", str(tmp_path / "none.json")), 2, "neither JSON nor a file"),
        (("import", str(path), "--flow", "up"), 2, "say EXPORT or IMPORT"),
        (("import", str(tmp_path / "none.csv")), 2, "does not exist"),
        (("import", str(silent)), 1, "add --flow EXPORT or --flow IMPORT"),
        (("findings", "--start", "soon"), 1, "'start' is no instant"),
    ):
        answered, said = await command(seller, *arguments)
        assert (answered, says in " ".join(said.split())) == (code, True), said
    words = ["meter", "findings", "--meter", "a b", "--node", seller.url, "--token", ADMIN_TOKEN]
    done = await asyncio.to_thread(CliRunner().invoke, app, words)
    assert (done.exit_code, "names no meter" in done.output) == (2, True)
    words = ["meter", "import", str(silent), "--flow", "EXPORT", "--meter", "m", "--node", "http://127.0.0.1:9"]
    done = await asyncio.to_thread(CliRunner().invoke, app, [*words, "--token", "t"])
    assert (done.exit_code, "Run the same command again to go on" in done.output) == (1, True)
    assert (await seller.asked("GET", "/api/meters/meter-7/imports"))["items"] == []
    with pytest.raises(Unreadable):
        await asyncio.to_thread(bring_in, Source(path, "EXPORT"), Door(seller.url, ADMIN_TOKEN, "meter-7"), print)


async def test_findings_are_shown_and_gaps_filled_from_the_command_line(seller: Seller, tmp_path: Path) -> None:
    path = tmp_path / "hours.csv"
    hours = [f"{(SLOT_START + n * 60 * MINUTE).isoformat()},{n}" for n in range(8) if n not in (3, 4)]
    path.write_text("\n".join(["start,generation (Wh)", *hours]))
    code, said = await command(seller, "import", str(path))
    assert code == 0, said
    code, said = await command(seller, "findings")
    assert (code, "2 slot(s) of 3600 s have no reading" in said, "1 finding(s)" in said) == (1, True, True)
    window = ("--start", SLOT_START.isoformat(), "--end", (SLOT_START + 480 * MINUTE).isoformat())
    code, said = await command(seller, "estimate", *window)
    assert (code, "2 slot(s) estimated, 0 gap(s) left" in said) == (0, True)
    assert (await command(seller, "findings"))[0] == 0
