"""Who may be on the network, with which key: the registry's rules, without I/O.

An application (the body of a /subscribe) passes two judgements. `judge` says, before anything is sent, whether it may
be made at all and whether the challenge must be posed; `conclude` says, once the challenge is answered, which rows to
write. Both look at everything the registry holds about that subscriber.

    INITIATED ---challenge passed---> UNDER_SUBSCRIPTION ---operator (or AUTO_APPROVE)---> SUBSCRIBED
    SUBSCRIBED ---valid_until passed---> EXPIRED        ---operator---> SUSPENDED (and back), UNSUBSCRIBED (for good)

The rules, each with a test:

1. A stranger's first application may be unsigned, because peers send it so; if it is signed, the signature must hold.
2. A subscriber that holds a valid key is changed (a new key, URL, role or validity) only by a letter signed with one
   of its valid keys. An unsigned repetition that changes nothing is answered with the present status.
3. A key_id names one signing key for ever: other key material under the same id is refused, and a key that was
   revoked or expired never returns. (Its row stays, and with it the knowledge that the id once was a member.)
4. A new key of a role already held is a rotation: the older keys stay valid for the overlap and no longer, and can no
   more be prolonged.
5. Without the challenge only the operator makes a subscriber. AUTO_APPROVE speaks for the operator, but not for one
   who was a member before and whose last key was revoked or expired: such an id may have changed hands.
6. While an operator keeps a subscriber suspended it can change nothing.

SUSPENDED is a state of this registry alone: peers know only the six words of the protocol, and beckn-onix refuses a
key only when it reads EXPIRED, UNSUBSCRIBED or INVALID_SSL. So on the wire a suspended key reads UNSUBSCRIBED.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, StrEnum
from typing import Any

from store.subscribers import Subscription


class Status(StrEnum):
    """Where a subscription stands. EXPIRED is derived, never stored."""

    INITIATED = "INITIATED"
    UNDER_SUBSCRIPTION = "UNDER_SUBSCRIPTION"
    SUBSCRIBED = "SUBSCRIBED"
    EXPIRED = "EXPIRED"
    SUSPENDED = "SUSPENDED"
    UNSUBSCRIBED = "UNSUBSCRIBED"
    INVALID_SSL = "INVALID_SSL"


#: A key that is valid at once is valid from this long ago: to a peer whose clock lags it would not be valid yet.
CLOCK_SLACK = timedelta(minutes=5)

#: Applications that proved nothing yet: anyone may have made them, so anyone may replace them.
UNPROVEN = frozenset({Status.INITIATED, Status.INVALID_SSL})
#: Applications that wait for the challenge or for the operator.
PENDING = UNPROVEN | {Status.UNDER_SUBSCRIPTION}


class UnableToSubscribe(Exception):
    """The application, or the operator's act, is against the rules; `field` names what is at fault."""

    def __init__(self, sentence: str, *, field: str = "", needs_signature: bool = False) -> None:
        super().__init__(sentence)
        self.sentence, self.field = sentence, field
        #: True when a right signature would cure it.
        self.needs_signature = needs_signature


class Proof(Enum):
    """How an application was signed, after the signature was verified."""

    NONE = "unsigned"
    SELF = "signed with the key applied for"
    MEMBER = "signed with a valid key of the subscriber"


@dataclass(frozen=True, slots=True)
class Application:
    """What a subscriber asks to be written down. Keys are base64 of the raw 32 bytes."""

    subscriber_id: str
    type: str
    domain: str
    key_id: str
    url: str
    country: str
    city: str
    location: dict[str, Any] | None
    signing_public_key: str
    encr_public_key: str
    valid_from: datetime | None = None
    valid_until: datetime | None = None

    @property
    def key(self) -> tuple[str, str, str, str]:
        """The row it asks for."""
        return self.subscriber_id, self.type, self.domain, self.key_id


@dataclass(frozen=True, slots=True)
class Policy:
    """How this registry is run."""

    auto_approve: bool
    overlap_s: int
    key_lifetime_s_max: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the challenge went; `why` tells a person what to mend when it failed."""

    passed: bool
    why: str = ""
    bad_certificate: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What an application would do: nothing, or change rows, with or without a challenge first."""

    changes: bool
    challenge: bool
    status: Status


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The rows to write (none when nothing changes), the applicant's status, and why it is not better."""

    save: tuple[Subscription, ...]
    status: Status
    why: str = ""


def is_valid(subscription: Subscription, now: datetime) -> bool:
    """True while peers may rely on this key."""
    return subscription.status == Status.SUBSCRIBED and subscription.valid_from <= now < subscription.valid_until


def own_status(subscription: Subscription, now: datetime) -> Status:
    """The status that the operator is told: the stored one, or EXPIRED."""
    if subscription.status == Status.SUBSCRIBED and subscription.valid_until <= now:
        return Status.EXPIRED
    return Status(subscription.status)


def wire_status(subscription: Subscription, now: datetime) -> Status:
    """The status that peers are told."""
    status = own_status(subscription, now)
    return Status.UNSUBSCRIBED if status is Status.SUSPENDED else status


def with_overlap(policy: Policy, overlap_s: int) -> Policy:
    """The same policy with another overlap, for one act of the operator."""
    return replace(policy, overlap_s=overlap_s)


def key_to_check(
    key_id: str, application: Application, standing: Sequence[Subscription], *, now: datetime
) -> tuple[Proof, str]:
    """Which public key a signed application must be verified with, and what it then proves (rules 1, 2)."""
    _check_not_suspended(standing)
    for subscription in standing:
        if subscription.key_id == key_id and is_valid(subscription, now):
            return Proof.MEMBER, subscription.signing_public_key
    if valid_keys(standing, now):
        raise UnableToSubscribe(
            f"the letter is signed with key '{key_id}', which is not a valid key of {application.subscriber_id}; "
            f"sign it with {_names(valid_keys(standing, now))}",
            field="header.Authorization",
            needs_signature=True,
        )
    if key_id != application.key_id:
        raise UnableToSubscribe(
            f"the letter is signed with key '{key_id}'; a first application is signed with the key it applies for, "
            f"'{application.key_id}', or not at all",
            field="header.Authorization",
            needs_signature=True,
        )
    return Proof.SELF, application.signing_public_key


def judge(application: Application, standing: Sequence[Subscription], *, proof: Proof, now: datetime) -> Plan:
    """May the application be made, would it change anything, must the challenge be posed? Raises UnableToSubscribe."""
    check_validity(application, now)
    check_key_id(application, standing, now)
    _check_not_suspended(standing)
    same = row_of(application, standing)
    is_live = same is not None and (is_valid(same, now) or same.status == Status.UNDER_SUBSCRIPTION)
    if same is not None and is_live and not _differs(application, same, now):
        return Plan(changes=False, challenge=False, status=Status(same.status))
    members = valid_keys(standing, now)
    if members and proof is not Proof.MEMBER:
        raise UnableToSubscribe(
            f"{application.subscriber_id} is subscribed already; a change must be signed with {_names(members)}",
            field="header.Authorization",
            needs_signature=True,
        )
    if same is not None and same.status == Status.UNDER_SUBSCRIPTION and proof is Proof.NONE:
        raise UnableToSubscribe(
            f"an application with key '{same.key_id}' awaits the operator; to change it, sign with that key",
            field="header.Authorization",
            needs_signature=True,
        )
    if same is not None and is_valid(same, now):
        _check_not_replaced(application, same, standing, now)
        is_same_place = (same.url, same.encr_public_key) == (application.url, application.encr_public_key)
        return Plan(changes=True, challenge=not is_same_place, status=Status.SUBSCRIBED)
    return Plan(changes=True, challenge=True, status=Status.INITIATED)


def conclude(
    application: Application,
    standing: Sequence[Subscription],
    *,
    plan: Plan,
    outcome: Outcome | None,
    policy: Policy,
    now: datetime,
) -> Conclusion:
    """The rows that follow from an application that `judge` allowed. `outcome` is None when no challenge was needed.

    Raises UnableToSubscribe when a failed challenge leaves a standing row untouched.
    """
    if not plan.changes:
        return Conclusion((), plan.status)
    same = row_of(application, standing)
    row = new_row(application, same, policy, now)
    if outcome is not None and not outcome.passed:
        if same is not None and same.status not in UNPROVEN:
            raise UnableToSubscribe(f"nothing was changed, because the challenge failed: {outcome.why}", field="url")
        failed = Status.INVALID_SSL if outcome.bad_certificate else Status.INITIATED
        return Conclusion((replace(row, status=failed),), failed, outcome.why)
    row = replace(row, challenge_passed=outcome is not None or row.challenge_passed)
    members = valid_keys(standing, now)
    holds_role = any(role(s) == role(row) for s in members)
    was_member = any(s.status in {Status.SUBSCRIBED, Status.UNSUBSCRIBED} for s in standing)
    if not holds_role and not (policy.auto_approve and (members or not was_member)):
        why = "the challenge is passed; the network's operator has to approve"
        return Conclusion((replace(row, status=Status.UNDER_SUBSCRIPTION),), Status.UNDER_SUBSCRIPTION, why)
    row = replace(row, status=Status.SUBSCRIBED)
    return Conclusion((row, *give_way(row, standing, policy.overlap_s, now)), Status.SUBSCRIBED)


# --- The parts of the judgements -----------------------------------------------------------------------------------


def valid_keys(standing: Iterable[Subscription], now: datetime) -> list[Subscription]:
    """Those that peers may rely on now."""
    return [s for s in standing if is_valid(s, now)]


def _names(subscriptions: Sequence[Subscription]) -> str:
    names = sorted({s.key_id for s in subscriptions})
    return f"key '{names[0]}'" if len(names) == 1 else "one of the keys " + ", ".join(names)


def role(subscription: Subscription) -> tuple[str, str]:
    """What a key is for: type and domain."""
    return subscription.type, subscription.domain


def row_of(application: Application, standing: Sequence[Subscription]) -> Subscription | None:
    """The row that an application is about, when there is one."""
    return next((s for s in standing if s.key == application.key), None)


def check_validity(application: Application, now: datetime) -> None:
    """Refuse a validity that is over before it begins; raises UnableToSubscribe."""
    start, end = application.valid_from, application.valid_until
    if end is not None and end <= max(now, start or now):
        raise UnableToSubscribe("valid_until must lie in the future and after valid_from", field="valid_until")


def _check_not_suspended(standing: Sequence[Subscription]) -> None:
    """Rule 6."""
    suspended = next((s for s in standing if s.status == Status.SUSPENDED), None)
    if suspended is not None:
        raise UnableToSubscribe(
            f"{suspended.subscriber_id} is suspended; ask the network's operator", field="subscriber_id"
        )


def check_key_id(application: Application, standing: Sequence[Subscription], now: datetime) -> None:
    """Rule 3; raises UnableToSubscribe."""
    for subscription in standing:
        if subscription.key_id != application.key_id or subscription.status in UNPROVEN:
            continue
        status = wire_status(subscription, now)
        if status in {Status.UNSUBSCRIBED, Status.EXPIRED} and subscription.status != Status.SUSPENDED:
            was = "was revoked" if status == Status.UNSUBSCRIBED else "has expired"
            raise UnableToSubscribe(
                f"key '{subscription.key_id}' {was}; apply with a new key under a new key_id", field="key_id"
            )
        if subscription.signing_public_key != application.signing_public_key:
            raise UnableToSubscribe(
                f"key_id '{subscription.key_id}' already names another signing key of this subscriber; "
                "a new key needs a new key_id",
                field="key_id",
            )


def _check_not_replaced(
    application: Application, same: Subscription, standing: Sequence[Subscription], now: datetime
) -> None:
    """Rule 4: a key that another has replaced is not changed any more."""
    for other in valid_keys(standing, now):
        if role(other) == role(same) and other.created > same.created:
            raise UnableToSubscribe(
                f"key '{application.key_id}' has been replaced by '{other.key_id}'; apply with that one", field="key_id"
            )


_COMPARED: tuple[Callable[[Any], Any], ...] = (
    lambda x: x.url,
    lambda x: x.country,
    lambda x: x.city,
    lambda x: x.encr_public_key,
    lambda x: x.signing_public_key,
)


def _differs(application: Application, same: Subscription, now: datetime) -> bool:
    """Would the row change? Validity not given is validity not changed, and one that has begun has begun."""
    return (
        any(part(application) != part(same) for part in _COMPARED)
        or (application.valid_from is not None and now < application.valid_from != same.valid_from)
        or (application.valid_until is not None and application.valid_until != same.valid_until)
    )


def new_row(application: Application, same: Subscription | None, policy: Policy, now: datetime) -> Subscription:
    """The row an application asks for, its validity within what this registry grants; raises UnableToSubscribe."""
    kept = None if same is None or same.status in UNPROVEN else same
    longest = now + timedelta(seconds=policy.key_lifetime_s_max)
    if application.valid_from is not None and application.valid_from >= longest:
        raise UnableToSubscribe(
            f"valid_from lies beyond {longest.isoformat()}, the longest validity granted here", field="valid_from"
        )
    return Subscription(
        *application.key,
        url=application.url,
        country=application.country,
        city=application.city,
        location=application.location,
        signing_public_key=application.signing_public_key,
        encr_public_key=application.encr_public_key,
        valid_from=_valid_from(application, kept, now),
        valid_until=min(application.valid_until or (kept.valid_until if kept else longest), longest),
        status=kept.status if kept else Status.INITIATED,
        challenge_passed=kept.challenge_passed if kept else False,
        created=kept.created if kept else now,
        updated=now,
    )


def _valid_from(application: Application, kept: Subscription | None, now: datetime) -> datetime:
    """When peers may begin to believe the key: a little before now, for peers whose clocks lag, or later if asked."""
    if application.valid_from is not None and application.valid_from > now:
        return application.valid_from
    if kept is not None and kept.valid_from <= now:
        return kept.valid_from
    return min(application.valid_from or now, now - CLOCK_SLACK)


def give_way(row: Subscription, standing: Sequence[Subscription], overlap_s: int, now: datetime) -> list[Subscription]:
    """Rule 4: the other valid keys of the same role, shortened to the overlap and moved to the same URL."""
    end = now + timedelta(seconds=overlap_s)
    return [
        replace(s, url=row.url, valid_until=min(s.valid_until, end), updated=now)
        for s in standing
        if s.key != row.key and role(s) == role(row) and is_valid(s, now)
    ]
