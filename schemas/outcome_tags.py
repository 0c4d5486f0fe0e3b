"""Tag groups that say how a trade ended: SETTLEMENT, DISPUTE, RESOLUTION. As in `tags`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from schemas.tags import (
    DISPUTE,
    ID_CHARS_MAX,
    RESOLUTION,
    SETTLEMENT,
    group_from_wire,
    group_to_wire,
    text_in,
    whole_in,
)
from schemas.values import instant_from_wire, instant_to_wire

#: Largest settlement version.
VERSION_MAX = 1_000_000

#: Longest text for people in a group.
TEXT_CHARS_MAX = 1024


class SettlementTag(NamedTuple):
    """What was settled: `total` is what the buyer pays, a decimal in the order's currency.

    `version` counts settlements of the order from 1; `rule` and `state` are words of `trade/`.
    """

    settled_at: datetime
    total: str
    version: int = 1
    rule: str = ""
    state: str = ""


def settlement_to_wire(settlement: SettlementTag) -> dict[str, Any]:
    """SETTLEMENT as a tag group."""
    said = {
        "settled_at": instant_to_wire(settlement.settled_at),
        "total": settlement.total,
        "version": str(settlement.version),
        "rule": settlement.rule,
        "state": settlement.state,
    }
    return group_to_wire(SETTLEMENT, {name: value for name, value in said.items() if value})


def settlement_from_wire(groups: Iterable[Mapping[str, Any]] | None, *, path: str) -> SettlementTag | None:
    """The settlement; None when there is none. Raises WireRefusal; a total is read by whoever knows the currency."""
    said = group_from_wire(groups, SETTLEMENT)
    if said is None:
        return None
    where = f"{path}.{SETTLEMENT}"
    return SettlementTag(
        instant_from_wire(said.get("settled_at"), path=f"{where}.settled_at"),
        said.get("total", ""),
        whole_in(said, "version", where, smallest=1, largest=VERSION_MAX, default=1),
        text_in(said, "rule", where, longest=ID_CHARS_MAX),
        text_in(said, "state", where, longest=ID_CHARS_MAX),
    )


class DisputeTag(NamedTuple):
    """An objection: `state` OPEN or RESOLVED, `opened_by` BUYER or SELLER.

    `total` is what the buyer's node owes the seller's by its sender's books (a decimal, empty where it cannot say).
    """

    dispute_id: str
    state: str
    opened_by: str
    reason: str
    total: str = ""
    opened_at: datetime | None = None
    until: datetime | None = None


def dispute_to_wire(dispute: DisputeTag) -> dict[str, Any]:
    """DISPUTE as a tag group; the reason is cut to what a tag for people may hold."""
    said = {
        "id": dispute.dispute_id,
        "state": dispute.state,
        "opened_by": dispute.opened_by,
        "reason": dispute.reason[:TEXT_CHARS_MAX],
        "total": dispute.total,
        "opened_at": instant_to_wire(dispute.opened_at) if dispute.opened_at else "",
        "until": instant_to_wire(dispute.until) if dispute.until else "",
    }
    return group_to_wire(DISPUTE, {name: value for name, value in said.items() if value})


def dispute_from_wire(groups: Iterable[Mapping[str, Any]] | None, *, path: str) -> DisputeTag | None:
    """The objection; None when there is none. Raises WireRefusal for one without an id."""
    said = group_from_wire(groups, DISPUTE)
    if said is None:
        return None
    where = f"{path}.{DISPUTE}"
    opened_at, until = said.get("opened_at"), said.get("until")
    return DisputeTag(
        text_in(said, "id", where, longest=ID_CHARS_MAX, needed=True),
        text_in(said, "state", where, longest=ID_CHARS_MAX) or "OPEN",
        text_in(said, "opened_by", where, longest=ID_CHARS_MAX),
        said.get("reason", "")[:TEXT_CHARS_MAX],
        said.get("total", ""),
        None if opened_at is None else instant_from_wire(opened_at, path=f"{where}.opened_at"),
        None if until is None else instant_from_wire(until, path=f"{where}.until"),
    )


class ResolutionTag(NamedTuple):
    """How an objection ended: `outcome` ACCEPT_THEIRS, WITHDRAW, AGREED or LESSER; `by` BUYER or SELLER decided.

    `total` is what the buyer's node owes the seller's now, as its sender booked it (a decimal).
    """

    dispute_id: str
    outcome: str
    by: str
    total: str = ""
    note: str = ""


def resolution_to_wire(resolution: ResolutionTag) -> dict[str, Any]:
    """RESOLUTION as a tag group; the note is cut to what a tag for people may hold."""
    said = {
        "id": resolution.dispute_id,
        "outcome": resolution.outcome,
        "by": resolution.by,
        "total": resolution.total,
        "note": resolution.note[:TEXT_CHARS_MAX],
    }
    return group_to_wire(RESOLUTION, {name: value for name, value in said.items() if value})


def resolution_from_wire(groups: Iterable[Mapping[str, Any]] | None, *, path: str) -> ResolutionTag | None:
    """The resolution; None when there is none. Raises WireRefusal for one without id or outcome."""
    said = group_from_wire(groups, RESOLUTION)
    if said is None:
        return None
    where = f"{path}.{RESOLUTION}"
    return ResolutionTag(
        text_in(said, "id", where, longest=ID_CHARS_MAX, needed=True),
        text_in(said, "outcome", where, longest=ID_CHARS_MAX, needed=True),
        text_in(said, "by", where, longest=ID_CHARS_MAX),
        said.get("total", ""),
        said.get("note", "")[:TEXT_CHARS_MAX],
    )
