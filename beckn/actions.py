"""The actions of the protocol: who sends each, who receives it, what answers it, how long it lives.

The one table every other module asks. `ttl_s` is written into the context; `deliver_for_s` is how long the outbox
tries: questions are worth no more than their ttl, letters that change state are tried for a day.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What kind of subscriber a node is, as the registry writes it."""

    BAP = "BAP"
    BPP = "BPP"
    BG = "BG"
    REGISTRY = "BREG"


_QUESTION_S = 30
_HOUR_S = 3600
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Action:
    """One row of the table."""

    name: str
    sender: Role
    receiver: Role
    callback: str | None  # the action that answers this one; None for callbacks
    ttl_s: int
    deliver_for_s: int
    through_gateway: bool = False

    @property
    def is_callback(self) -> bool:
        """True for letters that answer (or could answer) another."""
        return self.callback is None


def _pair(name: str, callback: str, *, changes_state: bool, through_gateway: bool = False) -> list[Action]:
    ttl_s, deliver_for_s = (_HOUR_S, _DAY_S) if changes_state else (_QUESTION_S, _QUESTION_S)
    return [
        Action(name, Role.BAP, Role.BPP, callback, ttl_s, deliver_for_s, through_gateway),
        Action(callback, Role.BPP, Role.BAP, None, ttl_s, deliver_for_s, through_gateway),
    ]


ACTIONS: dict[str, Action] = {
    action.name: action
    for action in [
        *_pair("search", "on_search", changes_state=False, through_gateway=True),
        *_pair("select", "on_select", changes_state=False),
        *_pair("init", "on_init", changes_state=True),
        *_pair("confirm", "on_confirm", changes_state=True),
        *_pair("status", "on_status", changes_state=True),
        *_pair("track", "on_track", changes_state=False),
        *_pair("update", "on_update", changes_state=True),
        *_pair("cancel", "on_cancel", changes_state=True),
        *_pair("rating", "on_rating", changes_state=True),
        *_pair("support", "on_support", changes_state=False),
        # The meta calls' callbacks carry no "on_" (core meta API).
        *_pair("get_cancellation_reasons", "cancellation_reasons", changes_state=False),
        *_pair("get_rating_categories", "rating_categories", changes_state=False),
    ]
}


def received_by(role: Role) -> list[Action]:
    """The actions a node of this role serves. A gateway serves those that travel through it."""
    if role is Role.BG:
        return [action for action in ACTIONS.values() if action.through_gateway]
    return [action for action in ACTIONS.values() if action.receiver is role]
