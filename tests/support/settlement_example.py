"""The worked example of docs/settlement.md: its inputs are read from the document, its tables are made from them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.support.trade_cases import an_order
from trade import allocation, flows, policy, retail, settlement
from trade.allocation import Claim
from trade.flows import Quantities
from trade.money import Series, decimal_text, price_from_micro
from trade.order import Order
from trade.quote import LineKind, Party, SettlementResult

DOCUMENT = Path(__file__).parents[2] / "docs" / "settlement.md"


@dataclass(frozen=True, slots=True)
class Settled:
    """Everything that follows from the inputs and one state of the readings."""

    bought: dict[str, Series]
    sold: dict[str, Series]
    results: dict[str, SettlementResult]


class Example:
    """The inputs of the example and what the rules make of them."""

    def __init__(self, text: str) -> None:
        found = re.search(r"```json\n(.*?)```", text, re.DOTALL)
        assert found, "the document has no inputs"
        self.inputs: dict[str, Any] = json.loads(found[1])
        self.start = datetime.fromisoformat(self.inputs["start"])
        self.rules = policy.parse(self.inputs["policy"])
        self.orders = {name: self._order(name, said) for name, said in self.inputs["contracts"].items()}
        self.first = self._settled(self.inputs["readings"], 1)
        self.corrected = self._settled(self.inputs["readings"] | self.inputs["corrected"], 2)

    def series(self, values: Sequence[int]) -> Series:
        return Series(self.start, self.inputs["slot_s"], tuple(values))

    def _order(self, name: str, said: Mapping[str, Any]) -> Order:
        energy = self.series(said["energy_wh"])
        return an_order(
            order_id=name,
            energy_wh=energy,
            price=said["price_micro_per_kwh"],
            meter_id=said["seller"],
            buyer_meter_id=said["buyer"],
            policy=self.rules,
            wheeling_micro_per_kwh=self.rules.wheeling_buyer_micro_per_kwh,
            wheeling_seller_micro_per_kwh=self.rules.wheeling_seller_micro_per_kwh,
        )

    def _settled(self, readings: Mapping[str, Sequence[int]], version: int) -> Settled:
        bought: dict[str, Series] = {}
        sold: dict[str, Series] = {}
        for meter, values in readings.items():
            for side, found in (("buyer_meter_id", bought), ("meter_id", sold)):
                on_meter = {key: order for key, order in self.orders.items() if getattr(order, side) == meter}
                claims = {key: Claim(order.contracted_wh) for key, order in on_meter.items()}
                found.update(allocation.allocate(self.series(values), claims))
        results = {
            key: settlement.settle(
                order,
                seller_alloc_wh=sold[key],
                buyer_alloc_wh=bought[key],
                now=order.contracted_wh.end,
                version=version,
            )
            for key, order in self.orders.items()
        }
        return Settled(bought, sold, results)

    # Tables.

    def tables(self) -> dict[str, str]:
        """Every table of the example by name."""
        return {
            "contracts": self._contracts(),
            "readings": self._readings(),
            "allocations": self._allocations(self.first),
            "charges": self._charges("anna-sol"),
            "flows": self._all_flows(self.first),
            "lines": self._lines("anna-sol"),
            "escrow": self._escrow(),
            "parties": self._parties(),
            "corrected allocations": self._allocations(self.corrected, ["anna-sol", "ben-sol"]),
            "corrected flows": self._all_flows(self.corrected, ["anna-sol", "ben-sol"]),
            "difference": self._difference(),
            "retail": self._retail(),
        }

    def _contracts(self) -> str:
        rows = [
            [key, order.buyer_meter_id, order.meter_id, price_from_micro(order.price_micro_per_kwh.values[0])]
            + [str(wh) for wh in order.contracted_wh.values]
            for key, order in self.orders.items()
        ]
        return table(["contract", "buyer", "seller", "price", *self._slots()], rows)

    def _readings(self) -> str:
        rows = []
        for meter, values in self.inputs["readings"].items():
            side = "meter_id" if any(order.meter_id == meter for order in self.orders.values()) else "buyer_meter_id"
            on_meter = [order for order in self.orders.values() if getattr(order, side) == meter]
            owed = [str(sum(order.contracted_wh.values[index] for order in on_meter)) for index in range(len(values))]
            direction = "exported" if side == "meter_id" else "imported"
            rows.append([f"{meter} {direction}", *(str(value) for value in values)])
            rows.append([f"{meter} has contracts for", *owed])
        return table(["meter", *self._slots()], rows)

    def _allocations(self, state: Settled, keys: Sequence[str] = ()) -> str:
        rows = []
        for key in keys or self.orders:
            for title, series in (
                ("buyer's", state.bought[key]),
                ("seller's", state.sold[key]),
                ("final", state.results[key].delivered_wh),
            ):
                rows.append([key, title, *(str(wh) for wh in series.values)])
        return table(["contract", "allocation", *self._slots()], rows)

    def _charges(self, key: str) -> str:
        """One contract slot by slot: the sum of every row is a flow."""
        order, result = self.orders[key], self.first.results[key]
        columns: dict[tuple[LineKind, Party, Party], list[int]] = {}
        for index, final in enumerate(result.delivered_wh.values):
            owed = order.contracted_wh.values[index]
            slot = Quantities(
                owed,
                final,
                min(owed, self.first.bought[key].values[index]),
                min(owed, self.first.sold[key].values[index]),
            )
            for flow in flows.slot_flows(order, index, slot):
                amounts = columns.setdefault((flow.kind, flow.payer, flow.payee), [0] * len(result.delivered_wh.values))
                amounts[index] = flow.amount_milli
        kinds = list(LineKind)
        rows = [
            [str(kind), f"{payer} to {payee}", *(dollars(milli) for milli in amounts), dollars(sum(amounts))]
            for (kind, payer, payee), amounts in sorted(
                columns.items(), key=lambda item: (kinds.index(item[0][0]), item[0])
            )
        ]
        return table(["charge", "who to whom", *self._slots(), "flow"], rows)

    def _all_flows(self, state: Settled, keys: Sequence[str] = ()) -> str:
        keys = list(keys or self.orders)
        found = {key: {(f.kind, f.payer, f.payee): f for f in state.results[key].flows} for key in keys}
        kinds = list(LineKind)
        every: set[tuple[LineKind, Party, Party]] = {name for flows_of in found.values() for name in flows_of}
        rows = []
        for name in sorted(every, key=lambda name: (kinds.index(name[0]), name[1], name[2])):
            amounts = [found[key][name].amount_milli if name in found[key] else 0 for key in keys]
            rows.append([str(name[0]), f"{name[1]} to {name[2]}", *(dollars(amount) for amount in amounts)])
        return table(["charge", "who to whom", *keys], rows)

    def _lines(self, key: str) -> str:
        result = self.first.results[key]
        rows = [
            [
                str(line.kind),
                line.title,
                "" if line.energy_wh is None else str(line.energy_wh),
                "" if line.price_micro_per_kwh is None else price_from_micro(line.price_micro_per_kwh),
                dollars(line.amount_milli),
            ]
            for line in result.lines
        ]
        return table(
            ["line", "title on the wire", "Wh", "per kWh", "USD"],
            [*rows, ["total", "", "", "", dollars(result.total_milli)]],
        )

    def _parties(self) -> str:
        keys = list(self.orders)
        nets = {key: flows.nets(self.first.results[key].flows) for key in keys}
        rows = []
        for party in Party:
            amounts = [nets[key].get(party, 0) for key in keys]
            if any(amounts):
                rows.append([str(party), *(dollars(amount) for amount in amounts)])
        return table(["party", *keys], [*rows, ["sum", *(dollars(sum(nets[key].values())) for key in keys)]])

    def _escrow(self) -> str:
        keys = list(self.orders)
        quotes = [
            sum(line.amount_milli for line in self.orders[key].quote.lines) for key in keys if self.orders[key].quote
        ]  # type: ignore[union-attr]
        held = [settlement.exposure_milli(self.orders[key]) for key in keys]
        rows = [["quote", *(dollars(amount) for amount in quotes)], ["escrow", *(dollars(amount) for amount in held)]]
        return table(["USD", *keys], rows)

    def _difference(self) -> str:
        rows = []
        keys = ["anna-sol", "ben-sol"]
        nets = [{key: flows.nets(state.results[key].flows) for key in keys} for state in (self.first, self.corrected)]
        for party in Party:
            moved = [nets[1][key].get(party, 0) - nets[0][key].get(party, 0) for key in keys]
            if any(moved):
                rows.append([str(party), *(dollars(amount) for amount in moved)])
        sums = [dollars(sum(nets[1][key].values()) - sum(nets[0][key].values())) for key in keys]
        return table(["party", *keys], [*rows, ["sum", *sums]])

    def _retail(self) -> str:
        rates = self.inputs["retail"]
        meter = self.series(self.inputs["readings"]["anna"])
        nothing = Series.flat(meter, 0)
        tariff = retail.Tariff(
            Series.flat(meter, rates["import_micro_per_kwh"]), Series.flat(meter, rates["export_micro_per_kwh"]), "USD"
        )
        finals = [self.first.results[key].delivered_wh for key in ("anna-sol", "anna-tia")]
        bought = meter.with_values(tuple(sum(slot) for slot in zip(*(series.values for series in finals), strict=True)))
        shared = {"import_wh": meter, "export_wh": nothing, "sold_wh": nothing, "tariff": tariff}
        alone = retail.retail_bill(**shared, bought_wh=nothing)
        traded = retail.retail_bill(**shared, bought_wh=bought)
        paid = sum(self.first.results[key].total_milli for key in ("anna-sol", "anna-tia"))
        rows = [
            ["retailer, without trade", str(alone.import_wh), dollars(alone.total_milli)],
            ["retailer, with trade", str(traded.import_wh), dollars(traded.total_milli)],
            ["both contracts", str(bought.total), dollars(paid)],
            ["saved", "", dollars(alone.total_milli - traded.total_milli - paid)],
        ]
        return table(["Anna's bill", "Wh", "USD"], rows)

    def _slots(self) -> list[str]:
        return [f"{slot.start:%H}-{slot.end:%H}" for slot, _ in next(iter(self.orders.values())).contracted_wh.items()]


def dollars(amount_milli: int) -> str:
    """An amount in dollars with the five places the ledger keeps."""
    return decimal_text(amount_milli, places=5)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as the document writes it."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
