"""The demo as people run it: real processes, real servers, one recorded day of five homes.

The run is made once; each test looks at another side of what it left behind.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from beckn import actions, signing
from energy_catalog import fontana

HOMES = 5


@dataclass(frozen=True)
class Demo:
    """What one run printed and wrote."""

    exit_code: int
    printed: str
    folder: Path

    @property
    def report(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "demo-report.json").read_text()))

    @property
    def letters(self) -> list[Path]:
        return sorted((self.folder / "letters").glob("*.body"))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "cli.main", "demo", "--homes", str(HOMES), "--record", "letters"]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    yield Demo(ran.returncode, ran.stdout + ran.stderr, folder)


def test_days_that_were_not_recorded_are_refused_before_anything_starts(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cli.main", "demo", "--date", "2017-07-31", "--days", "2"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 2
    assert "not all recorded" in ran.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_demo_ends_well(demo: Demo) -> None:
    assert demo.exit_code == 0, demo.printed


def test_no_order_fails_and_no_letter_is_refused(demo: Demo) -> None:
    report = demo.report
    assert report["orders_completed"] > 0, demo.printed
    assert (report["orders_failed"], report["nacks_total"], report["failures"]) == (0, 0, []), demo.printed


def test_energy_is_offered_contracted_and_delivered_in_that_order_of_size(demo: Demo) -> None:
    report = demo.report
    assert report["kwh_offered"] > report["kwh_contracted"] > report["kwh_delivered"] > 0
    street = fontana.load_street()
    most = fontana.shareable_wh(street.homes[:HOMES], street.hours_of(fontana.FIRST_DAY.replace(day=2)))
    assert report["kwh_shareable_max"] == round(most / 1000, 3)


def test_the_books_balance_and_agree(demo: Demo) -> None:
    report = demo.report
    assert report["ledger_balanced"] is True, report["ledger_problems"]
    earned = sum(home["earned_milli"] for home in report["money_by_home"])
    paid = sum(home["paid_milli"] for home in report["money_by_home"])
    assert 0 < earned < paid  # the difference is the wheeling charge


def test_every_action_of_the_protocol_travels(demo: Demo) -> None:
    ten = {"search", "select", "init", "confirm", "status", "track", "update", "cancel", "rating", "support"}
    expected = ten | {actions.ACTIONS[action].callback for action in ten}
    assert expected <= set(demo.report["messages_by_action"])


def test_the_page_is_self_contained(demo: Demo) -> None:
    page = (demo.folder / "demo-report.html").read_text()
    assert "<svg" in page
    assert "<script" not in page
    assert 'src="' not in page
    assert "<link" not in page


def test_every_letter_is_recorded_as_received_and_its_signature_can_be_checked_again(demo: Demo) -> None:
    records = json.loads((demo.folder / "letters" / "registry.json").read_text())
    keys = {
        (record["subscriber_id"], record["key_id"]): signing.import_public_key(record["signing_public_key"])
        for record in records
    }
    checked: Counter[str] = Counter()
    for letter in demo.letters:
        body = letter.read_bytes()
        headers = {
            name.lower(): value for name, value in json.loads(letter.with_suffix(".headers").read_text()).items()
        }
        action = letter.stem.rpartition("-")[2]
        if action not in actions.ACTIONS:
            continue
        parsed = signing.parse_header(headers["authorization"])
        signing.verify(signing.digest(body), parsed, public_key=keys[parsed.subscriber_id, parsed.key_id])
        checked[action] += 1
    assert dict(checked) == demo.report["messages_by_action"]
