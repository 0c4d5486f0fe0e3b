"""One date's run of a standing order, as it is stored: how far it is, its orders, and what it will tell."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from bap import standing
from bap.standing import Terms
from trade.money import Series, Slot


class RunState(StrEnum):
    """How far a run is."""

    STARTED = "STARTED"
    SEARCHING = "SEARCHING"
    BUYING = "BUYING"
    DONE = "DONE"


class Outcome(StrEnum):
    """What became of one order of a run."""

    OPEN = "OPEN"
    BOUGHT = "BOUGHT"
    #: The seller refused, or did not answer before anything was bound.
    REFUSED = "REFUSED"
    #: The buyer's own side gave it up: price, spend limit, wallet, or the standing order was ended.
    GIVEN_UP = "GIVEN_UP"
    #: Confirmed, and no answer yet: the money is reserved and the seller is asked again until it says.
    UNANSWERED = "UNANSWERED"


@dataclass(slots=True)
class Wanted:
    """One order of a run."""

    order_id: str
    transaction_id: str
    seller_id: str
    provider_id: str
    offer_id: str
    energy_wh: Series
    outcome: Outcome = Outcome.OPEN
    sentence: str = ""
    #: Once bought: the energy and the total of the contract.
    bought_wh: int = 0
    total_milli: int = 0


@dataclass(slots=True)
class Run:
    """One date's run, as it is stored."""

    standing_order_id: str
    run_date: date
    account_id: str
    state: RunState
    terms: Terms
    window: Slot
    round: int = 1
    transaction_id: str = ""
    orders: list[Wanted] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)
    wake_at: datetime | None = None

    @property
    def subject(self) -> str:
        """Where its events are told."""
        return f"standing:{self.standing_order_id}"


def document(run: Run) -> dict[str, Any]:
    """A run as it is stored."""
    return {
        "terms": standing.to_document(run.terms),
        "window": [run.window.start.isoformat(), run.window.end.isoformat()],
        "round": run.round,
        "transaction_id": run.transaction_id,
        "sentences": run.sentences,
        "orders": [
            {name: getattr(wanted, name) for name in Wanted.__slots__ if name != "energy_wh"}
            | {
                "start": wanted.energy_wh.start.isoformat(),
                "slot_s": wanted.energy_wh.slot_s,
                "energy_wh": list(wanted.energy_wh.values),
            }
            for wanted in run.orders
        ],
    }


def report(run: Run) -> dict[str, Any]:
    """What the app is told of a run that is done."""
    return {
        "standing_order_id": run.standing_order_id,
        "account_id": run.account_id,
        "run_date": run.run_date.isoformat(),
        "wanted_wh": standing.wanted_wh(run.terms, run.window),
        "bought_wh": sum(wanted.bought_wh for wanted in run.orders),
        "total_milli": sum(wanted.total_milli for wanted in run.orders),
        "orders": [wanted.order_id for wanted in run.orders if wanted.outcome is Outcome.BOUGHT],
        "sentences": run.sentences,
    }


def from_row(row: Any) -> Run:
    """A run out of its row."""
    kept = row["document"]
    start, end = (datetime.fromisoformat(instant) for instant in kept["window"])
    return Run(
        standing_order_id=row["standing_order_id"],
        run_date=row["run_date"],
        account_id=row["account_id"],
        state=RunState(row["state"]),
        terms=standing.from_document(kept["terms"]),
        window=Slot(start, end),
        round=kept["round"],
        transaction_id=kept["transaction_id"],
        orders=[_wanted(entry) for entry in kept["orders"]],
        sentences=kept["sentences"],
        wake_at=row["wake_at"],
    )


def _wanted(entry: dict[str, Any]) -> Wanted:
    energy_wh = Series(datetime.fromisoformat(entry["start"]), entry["slot_s"], tuple(entry["energy_wh"]))
    rest = {name: entry[name] for name in Wanted.__slots__ if name not in ("energy_wh", "outcome")}
    return Wanted(**rest, energy_wh=energy_wh, outcome=Outcome(entry["outcome"]))
