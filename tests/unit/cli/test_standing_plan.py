"""What `powershare up` was told becomes the network that the supervisor starts."""

from __future__ import annotations

from pathlib import Path

import orjson

from cli import standing
from cli.plan import SELLERS


def _plan(wish: standing.Wish) -> standing.Plan:
    return standing.plan_of(orjson.loads(orjson.dumps(wish.order())))


def test_a_plain_network_has_no_utility_and_dates_energy_by_the_wall_clock(tmp_path: Path) -> None:
    plan = _plan(standing.Wish(tmp_path, 9001))
    assert [node.name for node in plan.nodes] == ["registry", "gateway", "bap", *SELLERS]
    assert [node.port for node in plan.nodes] == [9001, 9002, 9003, 9004, 9005, 9006]
    assert not plan.settings and not any(node.settings for node in plan.nodes)


def test_a_network_with_a_utility_has_one_that_every_seller_asks(tmp_path: Path) -> None:
    plan = _plan(standing.Wish(tmp_path, 9001, has_utility=True))
    assert plan.nodes[-1].role == "utility"
    asking = [node.settings.get("UTILITY_ID") for node in plan.nodes if node.role == "bpp"]
    assert asking == ["utility.powershare.example"] * 3


def test_a_network_may_date_energy_by_a_clock_that_its_operator_moves(tmp_path: Path) -> None:
    plan = _plan(standing.Wish(tmp_path, 9001, trading_start="2026-06-01T00:00:00Z"))
    assert plan.settings == {"TRADING_CLOCK": "driven", "TRADING_START": "2026-06-01T00:00:00Z"}
