"""What the operator of the registry may do to a subscriber: approve, suspend, revoke, add by hand, rotate.

Each act is the operator's own word: it needs no challenge and no signature, and it is written into the audit with its
reason. Rules without I/O; the numbers are those of registry/membership.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from registry.membership import (
    PENDING,
    Application,
    Policy,
    Status,
    UnableToSubscribe,
    check_key_id,
    check_validity,
    give_way,
    new_row,
    role,
    row_of,
    valid_keys,
    wire_status,
)
from store.subscribers import Subscription

#: What the operator may do: from which states, to which state.
ACTS: dict[str, tuple[frozenset[Status], Status]] = {
    "approve": (PENDING | {Status.SUSPENDED}, Status.SUBSCRIBED),
    "suspend": (frozenset({Status.SUBSCRIBED}), Status.SUSPENDED),
    "revoke": (PENDING | {Status.SUBSCRIBED, Status.SUSPENDED}, Status.UNSUBSCRIBED),
}


def select(
    standing: Sequence[Subscription], *, type: str = "", domain: str = "", key_id: str = ""
) -> list[Subscription]:
    """The rows that an operator's act names; empty parts mean any."""
    return [
        s
        for s in standing
        if (not type or s.type == type) and (not domain or s.domain == domain) and (not key_id or s.key_id == key_id)
    ]


def act(
    name: str,
    selected: Sequence[Subscription],
    standing: Sequence[Subscription],
    *,
    policy: Policy,
    now: datetime,
) -> tuple[Subscription, ...]:
    """Carry out approve, suspend or revoke on every selected row that is in a state for it; the rows to write.

    Approving does without the challenge: it is the operator's own word, and the audit says so. It names one key:
    when several wait for one role the operator must say which, because a stranger may have sent one of them.
    """
    sources, target = ACTS[name]
    rows = [s for s in selected if s.status in sources]
    if not rows:
        found = ", ".join(f"{s.type} {s.key_id} {wire_status(s, now)}" for s in selected) or "no such subscription"
        raise UnableToSubscribe(f"there is nothing to {name}: {found}", field="status")
    if name == "approve":
        return _approve(rows, standing, policy, now)
    changed = [replace(s, status=target, updated=now) for s in rows]
    if name == "revoke":
        # Some peers look at nothing but valid_until.
        changed = [replace(s, valid_until=min(s.valid_until, now)) for s in changed]
    return tuple(changed)


def add(
    application: Application,
    standing: Sequence[Subscription],
    *,
    status: Status,
    policy: Policy,
    now: datetime,
) -> tuple[Subscription, ...]:
    """A record entered by the operator's hand; rule 3 holds for operators too."""
    check_validity(application, now)
    check_key_id(application, standing, now)
    if row_of(application, standing) is not None:
        raise UnableToSubscribe(f"key '{application.key_id}' is there already in this role", field="key_id")
    row = replace(new_row(application, None, policy, now), status=status)
    if status != Status.SUBSCRIBED:
        return (row,)
    return (row, *give_way(row, standing, policy.overlap_s, now))


def rotate(
    selected: Sequence[Subscription],
    standing: Sequence[Subscription],
    *,
    new_key_id: str,
    signing_public_key: str,
    encr_public_key: str,
    policy: Policy,
    now: datetime,
) -> tuple[Subscription, ...]:
    """A new key given by the operator for a role that is held; the older keys stay for the overlap."""
    held = valid_keys(selected, now)
    if len({role(s) for s in held}) != 1:
        raise UnableToSubscribe("name the type and domain of one role that is subscribed now", field="type")
    current = max(held, key=lambda s: s.created)
    application = Application(
        subscriber_id=current.subscriber_id,
        type=current.type,
        domain=current.domain,
        key_id=new_key_id,
        url=current.url,
        country=current.country,
        city=current.city,
        location=current.location,
        signing_public_key=signing_public_key,
        encr_public_key=encr_public_key or current.encr_public_key,
    )
    return add(application, standing, status=Status.SUBSCRIBED, policy=policy, now=now)


def _approve(
    rows: Sequence[Subscription], standing: Sequence[Subscription], policy: Policy, now: datetime
) -> tuple[Subscription, ...]:
    waiting = [s for s in rows if s.status != Status.SUSPENDED]
    roles = [role(s) for s in waiting]
    if len(roles) != len(set(roles)):
        keys = ", ".join(sorted(s.key_id for s in waiting))
        raise UnableToSubscribe(f"several keys wait for one role ({keys}); name the key_id", field="key_id")
    expired = next((s for s in rows if s.valid_until <= now), None)
    if expired is not None:
        raise UnableToSubscribe(f"the validity of key '{expired.key_id}' has passed", field="key_id")
    approved = [replace(s, status=Status.SUBSCRIBED, updated=now) for s in rows]
    shortened = [
        other for s in approved if s.key in {w.key for w in waiting}
        for other in give_way(s, standing, policy.overlap_s, now)
    ]  # fmt: skip
    return (*approved, *shortened)
