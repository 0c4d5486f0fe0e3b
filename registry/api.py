"""The operator's JSON API of the registry: who is subscribed, what to do with them, and who did what when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import AfterValidator, BaseModel, Field

from api.desk import Call, Desk
from api.paging import Instant, ListOf, Page, Strict, cursor, read_cursor
from api.problems import ApiError, not_found
from beckn import errors
from beckn.node import Node
from registry import acts, claim_api, membership, roll, translate
from registry.membership import Application, Status, UnableToSubscribe
from store import audit, subscribers
from store.subscribers import Subscription

_WORDS = tuple(status.value for status in Status)

SubscriberId = Annotated[str, Field(min_length=1, max_length=255, pattern=r'^[^|", \t]+$')]
Code = Annotated[str, Field(max_length=255)]


def _by(read: Callable[[str, str], str], name: str) -> AfterValidator:
    """Read a key as the protocol's own reader does, and say what that says."""

    def check(value: str) -> str:
        try:
            return read(value, name)
        except errors.Refusal as refusal:
            raise ValueError(refusal.sentence) from refusal

    return AfterValidator(check)


def _base_url(value: str) -> str:
    problem = translate.url_problem(value)
    if problem:
        raise ValueError(problem)
    return value.rstrip("/")


SigningKey = Annotated[str, Field(min_length=1, max_length=255), _by(translate.signing_key, "signing_public_key")]
EncryptionKey = Annotated[str, Field(max_length=255), _by(translate.encryption_key, "encr_public_key")]
BaseUrl = Annotated[str, Field(min_length=1, max_length=2048), AfterValidator(_base_url)]


class SubscriberIn(Strict):
    """A record entered by hand, without the challenge."""

    subscriber_id: SubscriberId
    type: Literal["BAP", "BPP", "BG"]
    domain: str = Field(min_length=1, max_length=255)
    key_id: SubscriberId
    url: BaseUrl
    country: Code = ""
    city: Code = ""
    signing_public_key: SigningKey
    encr_public_key: EncryptionKey = ""
    valid_from: Instant | None = None
    valid_until: Instant | None = None
    status: Literal["SUBSCRIBED", "INITIATED"] = "SUBSCRIBED"
    reason: str = Field(default="", max_length=500)


class ActIn(Strict):
    """Which of a subscriber's keys to act on (empty: all), and why."""

    type: Literal["BAP", "BPP", "BG", ""] = ""
    domain: str = Field(default="", max_length=255)
    key_id: str = Field(default="", max_length=255)
    reason: str = Field(min_length=1, max_length=500, description="Why; it is written into the audit")


class RotateIn(Strict):
    """A new key for a role that is subscribed."""

    type: Literal["BAP", "BPP", "BG", ""] = ""
    domain: str = Field(default="", max_length=255)
    new_key_id: SubscriberId
    signing_public_key: SigningKey
    encr_public_key: EncryptionKey = Field(default="", description="Empty: the present one stays")
    overlap_s: int | None = Field(
        default=None,
        ge=0,
        le=31_536_000,
        description="How long the older keys stay valid; the registry's own if absent",
    )
    reason: str = Field(min_length=1, max_length=500, description="Why; it is written into the audit")


class SubscriberOut(BaseModel):
    """One key of one subscriber in one role. `status` may be SUSPENDED here; peers are then told UNSUBSCRIBED."""

    subscriber_id: str
    type: str
    domain: str
    key_id: str
    url: str
    country: str
    city: str
    signing_public_key: str
    encr_public_key: str
    valid_from: datetime
    valid_until: datetime
    status: str
    challenge_passed: bool
    created: datetime
    updated: datetime


class SubscribersQuery(Page):
    """Which subscriptions to list."""

    status: str = Field(default="", description="Only those in this state", pattern="^(|" + "|".join(_WORDS) + ")$")


class AuditQuery(Page):
    """Which acts to list."""

    subject: str = Field(default="", max_length=255, description="Only those on this subscriber")


class ActOut(BaseModel):
    """One act: who did what to whom, when, and how."""

    seq: int
    at: datetime
    actor: str
    act: str
    subject: str
    detail: dict[str, Any]


def _out(subscription: Subscription, now: datetime) -> SubscriberOut:
    row = {name: getattr(subscription, name) for name in SubscriberOut.model_fields}
    return SubscriberOut(**{**row, "status": membership.own_status(subscription, now).value})


def mount(app: web.Application, node: Node) -> None:
    """Register the operator's API on the registry's application."""
    desk = Desk(title="Registry", version="1.0", description="Who is on the network: the operator's side.")
    _add_lists(desk)
    _add_acts(desk)
    _add_rotation(desk)
    claim_api.add_routes(desk)
    desk.mount(app, node)


def _add_lists(desk: Desk) -> None:
    @desk.route(
        "GET", "/api/subscribers", role="operator", query=SubscribersQuery, answer=ListOf[SubscriberOut],
        tags=["subscribers"],
    )  # fmt: skip
    async def list_subscribers(call: Call[None]) -> ListOf[SubscriberOut]:
        """List subscriptions: one entry for each key of each subscriber in each role."""
        after = read_cursor(call.query.after, count=4)
        found = await subscribers.page(
            call.node.database, status=call.query.status, after=after, now=call.now, limit=call.query.limit
        )
        is_full = len(found) == call.query.limit
        return ListOf[SubscriberOut](
            items=[_out(row, call.now) for row in found], next=cursor(*found[-1].key) if is_full else None
        )

    @desk.route("GET", "/api/audit", role="operator", query=AuditQuery, answer=ListOf[ActOut], tags=["audit"])
    async def list_audit(call: Call[None]) -> ListOf[ActOut]:
        """List who did what when, newest first."""
        before = read_cursor(call.query.after, count=1)
        found = await audit.page(
            call.node.database, subject=call.query.subject, before=before[0] if before else None, limit=call.query.limit
        )
        is_full = len(found) == call.query.limit
        items = [ActOut(**{name: getattr(entry, name) for name in ActOut.model_fields}) for entry in found]
        return ListOf[ActOut](items=items, next=cursor(found[-1].seq) if is_full else None)


def _add_acts(desk: Desk) -> None:
    @desk.route(
        "POST", "/api/subscribers", role="operator", body=SubscriberIn, answer=SubscriberOut, status=201,
        tags=["subscribers"],
    )  # fmt: skip
    async def add_subscriber(call: Call[SubscriberIn]) -> SubscriberOut:
        """Enter a record by hand, without the challenge: for nodes that cannot answer one.

        409 when the key is there already or may not return.
        """
        given = call.body.model_dump(exclude={"status", "reason"})
        application = Application(**given, location=None)

        def decide(standing: list[Subscription], now: datetime) -> Sequence[Subscription]:
            return acts.add(
                application, standing, status=Status(call.body.status), policy=call.node.settings.policy, now=now
            )

        rows = await _carry_out(call, "add", application.subscriber_id, call.body.reason, decide)
        return rows[0]

    def add_act(name: str, summary: str) -> None:
        async def act(call: Call[ActIn]) -> ListOf[SubscriberOut]:
            def decide(standing: list[Subscription], now: datetime) -> Sequence[Subscription]:
                body = call.body
                selected = acts.select(standing, type=body.type, domain=body.domain, key_id=body.key_id)
                return acts.act(name, selected, standing, policy=call.node.settings.policy, now=now)

            subject = call.path["subscriber_id"]
            return ListOf[SubscriberOut](
                items=await _carry_out(call, name, subject, call.body.reason, decide), next=None
            )

        act.__name__, act.__doc__ = f"{name}_subscriber", summary
        desk.route(
            "POST", f"/api/subscribers/{{subscriber_id}}/{name}", role="operator", body=ActIn,
            answer=ListOf[SubscriberOut], tags=["subscribers"],
        )(act)  # fmt: skip

    add_act(
        "approve",
        "Let a subscriber take part, or a suspended one again.\n\n"
        "Works without a passed challenge: then the operator vouches for the key. 409 when several keys wait for one "
        "role and no key_id is named.",
    )
    add_act("suspend", "Keep a subscriber out until it is approved again; every node refuses it within 5 seconds.")
    add_act("revoke", "Revoke keys for good; every node refuses them within 5 seconds.")


def _add_rotation(desk: Desk) -> None:
    @desk.route(
        "POST", "/api/subscribers/{subscriber_id}/rotate", role="operator", body=RotateIn,
        answer=ListOf[SubscriberOut], tags=["subscribers"],
    )  # fmt: skip
    async def rotate_subscriber(call: Call[RotateIn]) -> ListOf[SubscriberOut]:
        """Give a subscriber a new key; its older ones stay valid for the overlap and no longer."""
        body, policy = call.body, call.node.settings.policy
        if body.overlap_s is not None:
            policy = membership.with_overlap(policy, body.overlap_s)

        def decide(standing: list[Subscription], now: datetime) -> Sequence[Subscription]:
            return acts.rotate(
                acts.select(standing, type=body.type, domain=body.domain),
                standing,
                new_key_id=body.new_key_id,
                signing_public_key=body.signing_public_key,
                encr_public_key=body.encr_public_key,
                policy=policy,
                now=now,
            )

        items = await _carry_out(call, "rotate", call.path["subscriber_id"], body.reason, decide)
        return ListOf[SubscriberOut](items=items, next=None)


async def _carry_out(
    call: Call[Any],
    act: str,
    subject: str,
    reason: str,
    decide: Callable[[list[Subscription], datetime], Sequence[Subscription]],
) -> list[SubscriberOut]:
    """Look under the lock, decide, write rows and feed and audit together."""
    now = call.now.replace(microsecond=call.now.microsecond // 1000 * 1000)
    async with call.node.database.unit_of_work() as uow:
        standing = await roll.standing_of(uow, subject)
        if not standing and act != "add":
            raise not_found("subscriber", subject)
        try:
            rows = decide(standing, now)
        except UnableToSubscribe as unable:
            raise ApiError(409, f"{unable.sentence[0].upper()}{unable.sentence[1:]}.", field=unable.field) from unable
        await roll.write(
            uow, rows, actor=call.token.actor, act=act, subject=subject, detail={"reason": reason}, now=now
        )
    return [_out(row, now) for row in rows]
