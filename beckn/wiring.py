"""Wiring of what a node's parts need of each other: its directory and place in the registry, its inbox and outbox."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import web

from beckn import checks, config, dispatch, envelope, errors, inbox, processing, signing
from beckn.actions import Role, received_by
from beckn.claims import RegistryClaims
from beckn.config import NodeSettings
from beckn.desk import Check, Finding
from beckn.directory import DirectoryStore, RegistryDirectory
from beckn.envelope import Party
from beckn.inbox import Inbox
from beckn.outbox import Outbox, OutboxStore, Outgoing, Signer
from beckn.processing import Handler, Processor
from beckn.registry_client import RegistryClient
from beckn.subscription import Claim, OwnSubscription
from beckn.transport import HttpTransport, Transport

if TYPE_CHECKING:
    from beckn.node import LetterStore, Node, OnUndelivered, SecondRole


def add(app: web.Application, context: AbstractAsyncContextManager[Any]) -> None:
    """Open with the application, in the order of adding; close in reverse."""

    async def run(_app: web.Application) -> AsyncIterator[None]:
        async with context:
            yield

    app.cleanup_ctx.append(run)


# --- Directory and own subscription ----------------------------------------------------------------------------------


def add_directory(app: web.Application, node: Node, store: DirectoryStore, *, second: SecondRole | None = None) -> None:
    """Give the node its view of the registry, and keep it subscribed in all its roles. Raises BadConfiguration."""
    settings = node.settings
    for name in ("registry_url", "encryption_key"):
        if not getattr(settings, name):
            raise config.BadConfiguration([f"{name.upper()}: must be set for a {node.role.value}"])
    public_key = signing.import_public_key(settings.registry_public_key) if settings.registry_public_key else None
    client = RegistryClient(settings.registry_url, public_key=public_key, wall=node.wall)
    directory = RegistryDirectory(client=client, store=store, wall=node.wall, domain=settings.domain)

    def place(role: Role, me: Party) -> OwnSubscription:
        claim = Claim(
            identity=node.identity,
            role=role.value,
            domain=settings.domain,
            url=me.url,
            country=settings.country_code,
            city=settings.city_code,
            encryption_key=settings.encryption_key,
            previous=settings.previous_identity,
        )
        return OwnSubscription(claim, client=client, directory=directory, wall=node.wall)

    places = {"subscription": (config.PROTOCOL_PATH, place(node.role, node.me))}
    node.directory, node.subscription = directory, places["subscription"][1]
    if second is not None and node.second_me is not None:
        node.second_subscription = place(second.role, node.second_me)
        places[f"subscription as {second.role.value}"] = (second.path, node.second_subscription)
    node.claims = RegistryClaims(client, identity=lambda: node.identity, wall=node.wall)

    @asynccontextmanager
    async def running() -> AsyncIterator[None]:
        await directory.start()
        for _, subscription in places.values():
            await subscription.start()
        try:
            yield
        finally:
            for _, subscription in places.values():
                await subscription.stop()
            await directory.stop()

    async def registry() -> Finding:
        status = directory.status()
        good_until = status["known_keys_good_until"]
        known = good_until is not None and good_until > node.wall.now()
        detail = status["problem"]
        if detail and known:
            detail += f"; known keys stay good until {envelope.format_instant(good_until)}, unknown ones are refused"
        return Finding(ok=status["reachable"], detail=detail, required=not known)

    node.metrics.watch(
        "powershare_directory_records", "Registry records this node knows", lambda: directory.status()["records"]
    )
    node.metrics.watch(
        "powershare_directory_read_seconds", "Seconds since the registry was last read; -1: never",
        lambda: -1 if directory.status()["read_seconds_ago"] is None else directory.status()["read_seconds_ago"],
    )  # fmt: skip
    node.add_check("registry", registry)
    add(app, running())
    for name, (path, subscription) in places.items():
        node.add_check(name, _standing(subscription))
        app.router.add_post(f"{path}/on_subscribe", _answering(node, subscription))


def _standing(subscription: OwnSubscription) -> Check:
    """Whether peers may believe the node in one of its roles."""

    async def subscribed() -> Finding:
        detail = f"{subscription.status}: {subscription.why}".rstrip(": ")
        return Finding(ok=subscription.is_subscribed, detail=detail)

    return subscribed


def _answering(node: Node, subscription: OwnSubscription) -> Callable[[web.Request], Awaitable[web.Response]]:
    """The handler of the registry's challenge."""

    async def on_subscribe(request: web.Request) -> web.Response:
        body = await request.read()
        if node.recorder is not None:
            node.recorder.record("on_subscribe", body, request.headers)
        headers = {"Content-Type": "application/json"}
        try:
            answer = await subscription.answer(body, request.headers.get("Authorization"))
        except errors.Refusal as refusal:
            headers |= refusal.headers(node.me.subscriber_id)
            return web.Response(status=refusal.http_status, body=refusal.nack_body(), headers=headers)
        return web.Response(body=answer, headers=headers)

    return on_subscribe


# --- Inbox and outbox ------------------------------------------------------------------------------------------------


def add_post_office(
    app: web.Application,
    node: Node,
    *,
    letters: LetterStore,
    outgoing: OutboxStore,
    handlers: Mapping[str, Handler],
    on_undelivered: OnUndelivered | None,
    second: SecondRole | None = None,
    transport: Transport | None,
) -> None:
    """Give the node an outbox, and an inbox for each of its roles; what those accept is worked on in one place.

    Raises ValueError when an action it receives has no handler.
    """
    _check_complete(node.role, handlers)
    if second is not None:
        own = second.handlers(node)
        _check_complete(second.role, own)
        handlers = {**handlers, **own}

    async def undelivered(uow: Any, letter: Outgoing, outcome: dict[str, Any], certain: bool) -> None:
        if on_undelivered is not None:
            await on_undelivered(node, uow, letter, outcome, certain)

    settings = node.settings
    dispatcher = dispatch.Dispatcher(
        store=outgoing,
        signer=Signer(lambda: node.identity),
        limits=_dispatch_limits(settings),
        wall=node.wall,
        metrics=node.metrics,
        on_undelivered=undelivered,
    )
    node.outbox = Outbox(store=outgoing, dispatcher=dispatcher, wall=node.wall, lease_s=settings.lease_s)
    processor = Processor(
        handlers=handlers,
        store=letters,
        letter_from_row=inbox.letter_from_row,
        limits=_processing_limits(settings),
        wall=node.wall,
        metrics=node.metrics,
    )

    def inbox_of(role: Role, me: Party) -> Inbox:
        return Inbox(
            local=_local(node, role, me),
            limits=_inbox_limits(settings),
            directory=lambda: node.directory,
            store=letters,
            processor=processor,
            wall=node.wall,
            metrics=node.metrics,
            recorder=node.recorder,
            heard_from=dispatcher.heard_from,
        )

    node.inbox = inbox_of(node.role, node.me)
    inboxes = {config.PROTOCOL_PATH: node.inbox}
    if second is not None and node.second_me is not None:
        inboxes[second.path] = inbox_of(second.role, node.second_me)
    add(app, _sending(node, dispatcher, transport))
    add(app, _working(node, processor, list(inboxes.values())))
    for path, received in inboxes.items():
        app.router.add_routes(received.routes(path))


def _check_complete(role: Role, handlers: Mapping[str, Handler]) -> None:
    missing = {action.name for action in received_by(role)} - set(handlers)
    if missing:
        raise ValueError(f"the {role.value} has no handler for {', '.join(sorted(missing))}")


@asynccontextmanager
async def _sending(node: Node, dispatcher: dispatch.Dispatcher, transport: Transport | None) -> AsyncIterator[None]:
    settings = node.settings
    async with HttpTransport.open(
        connect_s=settings.connect_s_max,
        answer_s=settings.answer_s_max,
        per_host_max=settings.outbox_per_destination_max,
    ) as http:
        await dispatcher.start(transport or http)
        try:
            yield
        finally:
            await dispatcher.stop(within_s=settings.stop_s_max / 2)


@asynccontextmanager
async def _working(node: Node, processor: Processor, inboxes: Sequence[Inbox]) -> AsyncIterator[None]:
    await processor.start()
    try:
        yield
    finally:
        for received in inboxes:
            await received.settled()
        await processor.stop(within_s=node.settings.stop_s_max / 2)


def _local(node: Node, role: Role, me: Party) -> checks.Local:
    settings = node.settings
    return checks.Local(
        me=me,
        role=role,
        domain=settings.domain,
        version=node.network.version,
        json_depth_max=settings.json_depth_max,
        timestamp_ahead_s_max=settings.timestamp_ahead_s_max,
        strict_schemas=settings.strict_schemas,
    )


def _inbox_limits(settings: NodeSettings) -> inbox.Limits:
    return inbox.Limits(
        body_bytes_max=settings.body_bytes_max,
        body_read_s=settings.body_read_s_max,
        letters_per_s=settings.letters_per_s_max,
        batch_max=settings.inbox_batch_max,
        waiting_max=settings.inbox_waiting_max,
        writers=settings.inbox_writers,
        lease_s=settings.lease_s,
    )


def _processing_limits(settings: NodeSettings) -> processing.Limits:
    return processing.Limits(
        workers=settings.inbox_workers,
        memory_max=settings.inbox_memory_max,
        attempts_max=settings.inbox_attempts_max,
        lease_s=settings.lease_s,
        poll_s=settings.poll_s,
    )


def _dispatch_limits(settings: NodeSettings) -> dispatch.Limits:
    return dispatch.Limits(
        workers=settings.outbox_workers,
        per_destination_max=settings.outbox_per_destination_max,
        memory_max=settings.outbox_memory_max,
        backoff_s_min=settings.outbox_backoff_s_min,
        backoff_s_max=settings.outbox_backoff_s_max,
        lease_s=settings.lease_s,
        poll_s=settings.poll_s,
    )
