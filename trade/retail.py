"""What a home's retailer bills beside its trades: the energy its meter moved that no contract covers."""

from __future__ import annotations

from dataclasses import dataclass

from trade.money import Series, milli_from_nano


@dataclass(frozen=True, slots=True)
class Tariff:
    """What a retailer asks for import and pays for export, per slot, micro-units of the currency per kWh."""

    import_micro_per_kwh: Series
    export_micro_per_kwh: Series
    currency: str


@dataclass(frozen=True, slots=True)
class RetailBill:
    """Energy billed and credited by the retailer, Wh, and what it comes to, thousandths of a minor unit."""

    import_wh: int
    export_wh: int
    import_milli: int
    export_milli: int

    @property
    def total_milli(self) -> int:
        """What the home owes its retailer; negative when the retailer owes the home."""
        return self.import_milli - self.export_milli


def retail_bill(
    *, import_wh: Series, export_wh: Series, bought_wh: Series, sold_wh: Series, tariff: Tariff
) -> RetailBill:
    """The retailer's bill of one meter over a series, with what was bought and sold taken off, slot by slot.

    billed import = (import - bought)+ + (sold - export)+, credited export = (export - sold)+ + (bought - import)+, at
    the tariff of the slot, each slot rounded once. So energy a home sold and did not export is bought from the retailer
    (under-delivery), energy it bought and did not use goes back to it (over-delivery), and without trades the bill is
    the meter at the tariff. `bought_wh` is what arrives at the buyer's meter. Under the DEVIATION rule the contract
    settles what is missing, so give the energy really delivered and taken. Raises ValueError for negative energy and
    for series over other slots.
    """
    series = (import_wh, export_wh, bought_wh, sold_wh)
    rates = (tariff.import_micro_per_kwh, tariff.export_micro_per_kwh)
    if not all(each.is_aligned(import_wh) for each in (*series, *rates)):
        raise ValueError("readings, trades and tariff cover different slots")
    if any(wh < 0 for each in series for wh in each.values):
        raise ValueError("energy is never negative")
    billed = credited = asked = paid = 0
    for used, spilled, bought, sold, import_rate, export_rate in zip(
        *(each.values for each in (*series, *rates)), strict=True
    ):
        more = max(0, used - bought) + max(0, sold - spilled)
        less = max(0, spilled - sold) + max(0, bought - used)
        billed, credited = billed + more, credited + less
        asked += milli_from_nano(more * import_rate, tariff.currency)
        paid += milli_from_nano(less * export_rate, tariff.currency)
    return RetailBill(billed, credited, asked, paid)
