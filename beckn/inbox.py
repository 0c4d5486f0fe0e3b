"""The inbox: how a letter is received, in eight numbered steps, each of which may refuse it.

    1  bound the size and read the raw bytes                                413, 415
    2  take the signature headers apart; their dates hold                   401
    3  find the keys: registered, of the right type, SUBSCRIBED, valid      401
    4  digest and verify, the sender's signature and a gateway's            401; then 429 for a signer in a hurry
    5  parse once; the context is for us, from the signer, and alive        400
    6  the schema of the action                                             400
    7  store in the inbox, once per signer, action and message_id           409, 503
    8  the row is durable: acknowledge

The guard fails closed: a letter that cannot be stored is not acknowledged, whatever the reason. A letter that came
before, with the same bytes, gets the same acknowledgement and nothing runs twice. A *request* under a known message_id
with other bytes is refused; *callbacks* may differ, for a seller may answer one search with several pages. All of this
is known per signer, so that nobody can use up another's ids.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

import orjson
import structlog
from aiohttp import web

from beckn import checks, envelope, errors, ids, signing
from beckn.actions import ACTIONS, Action, Role, received_by
from beckn.clock import Clock
from beckn.directory import Directory
from beckn.envelope import Context, Letter
from beckn.group_commit import GroupCommit, LineFull
from beckn.metrics import Metrics
from beckn.processing import Processor
from beckn.rates import RateLimit
from beckn.record import Recorder
from beckn.records import Record
from beckn.signing import ParsedSignature

log = structlog.get_logger("beckn.inbox")

_JSON = {"Content-Type": "application/json"}

#: What the store may say of a letter: new, known with the same bytes, known with others.
NEW, SAME, OTHER = "NEW", "SAME", "OTHER"


class InboxStore(Protocol):
    """Port: where letters become durable."""

    async def add(self, rows: Sequence[InboxRow], *, claimed_by: str | None, claimed_until: datetime) -> Sequence[str]:
        """Store letters durably; NEW, SAME or OTHER for each, in order. Raises when it cannot."""
        ...


class InboxRow(NamedTuple):
    """One letter as it is stored; the order of the fields is the store's."""

    letter_id: str
    signer_id: str
    action: str
    message_id: str
    variant: bytes
    digest: bytes
    transaction_id: str
    body: bytes
    headers: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class _Arrival:
    row: InboxRow
    letter: Letter


class Inbox:
    """Receives letters for one node."""

    def __init__(
        self,
        *,
        local: checks.Local,
        limits: Limits,
        directory: Callable[[], Directory],
        store: InboxStore,
        processor: Processor,
        wall: Clock,
        metrics: Metrics,
        recorder: Recorder | None = None,
        heard_from: Callable[[str], None] = lambda url: None,
    ) -> None:
        """`heard_from` is told the URL of every peer whose letter was accepted: it is evidently up."""
        self._local, self._limits, self._directory, self._store = local, limits, directory, store
        self._processor, self._wall, self._metrics = processor, wall, metrics
        self._recorder, self._heard_from = recorder, heard_from
        self._actions = {action.name: action for action in received_by(local.role)}
        self._rates = RateLimit(rate_per_s=limits.letters_per_s, burst=2 * limits.letters_per_s)
        self._line: GroupCommit[_Arrival, str] = GroupCommit(
            self._write, batch_max=limits.batch_max, waiting_max=limits.waiting_max, writers=limits.writers
        )

    def routes(self, prefix: str) -> list[web.RouteDef]:
        """A route for every action this node serves, and one that refuses all others by name."""
        return [
            *(web.post(f"{prefix}/{name}", self._handler(action)) for name, action in self._actions.items()),
            web.post(f"{prefix}/{{action}}", self._unknown_action),
        ]

    def _handler(self, action: Action) -> Callable[[web.Request], Awaitable[web.Response]]:
        # A fixed path each, because the router finds those without a regular expression.
        accepted, duplicates = (self._metrics.received(action.name, outcome) for outcome in ("accepted", "duplicate"))
        seconds = self._metrics.receive_seconds(action.name)

        async def handle(request: web.Request) -> web.Response:
            started = time.perf_counter()
            seen: list[Context] = []
            try:
                is_new = await self.receive(request, action, seen)
            except errors.Refusal as refusal:
                return self._refuse(refusal, action.name, request, *seen)
            except Exception:
                reference = ids.letter_id()
                log.exception("letter_not_received", reference=reference, action=action.name, **_ids(*seen))
                failed = errors.FailedHere(f"something failed on our side; try again, or quote reference {reference}")
                return self._refuse(failed, action.name, request, *seen)
            (accepted if is_new else duplicates).inc()
            seconds.observe(time.perf_counter() - started)
            return web.Response(body=envelope.ACK, headers=_JSON)

        return handle

    async def _unknown_action(self, request: web.Request) -> web.Response:
        name = request.match_info["action"][:50]
        known = ", ".join(sorted(self._actions))
        refusal = errors.UnknownAction(f'this {self._local.role.value} does not serve "{name}"; it serves {known}')
        return self._refuse(refusal, "unknown", request)

    def _refuse(self, refusal: errors.Refusal, action: str, request: web.Request, *seen: Context) -> web.Response:
        name = type(refusal).__name__
        self._metrics.received(action, name).inc()
        log.info("letter_refused", action=action, refusal=name, sentence=refusal.sentence, path=refusal.failing_path,
                 peer=request.remote, **_ids(*seen))  # fmt: skip
        return web.Response(
            status=refusal.http_status,
            body=refusal.nack_body(),
            headers={**_JSON, **refusal.headers(self._local.me.subscriber_id)},
        )

    async def receive(self, request: web.Request, action: Action, seen: list[Context]) -> bool:
        """The eight steps. True for a new letter, False for one that was accepted before; raises errors.Refusal.

        The context, once it is known and its signer proven, is put into `seen` for whoever logs a refusal.
        """
        headers = request.headers
        # 1
        checks.check_form(headers, body_bytes_max=self._limits.body_bytes_max)
        body = await self._read(request)
        if self._recorder is not None:
            self._recorder.record(action.name, body, headers)
        # 2
        now = self._wall.now()
        sender, gateways = checks.parse_signatures(headers, now=now)
        # 3
        signer = await self._find(sender, action.sender, now)
        carriers = [await self._find(gateway, Role.BG, now, by_gateway=True) for gateway in gateways]
        # 4
        digest = signing.digest(body)
        signing.verify(digest, sender, public_key=signer.signing_public_key)
        for gateway, carrier in zip(gateways, carriers, strict=True):
            signing.verify(digest, gateway, public_key=carrier.signing_public_key, by_gateway=True)
        if not self._rates.take(signer.subscriber_id):
            raise errors.TooManyLetters(
                f'"{signer.subscriber_id}" sends more than {self._limits.letters_per_s:g} letters a second; slow down'
            )
        # 5
        document = checks.parse_document(body, json_depth_max=self._local.json_depth_max)
        context = envelope.context_from_wire(document.get("context"))
        seen.append(context)
        checks.check_context(context, action=action, signer=signer, local=self._local, now=now)
        # 6
        checks.check_schema(action, document, local=self._local)
        # 7
        letter = _letter(
            ids.letter_id(), body, context, document, signer=(signer.subscriber_id, signer.url),
            authorization=sender.raw, received_at=now,
        )  # fmt: skip
        kept = {"authorization": sender.raw, "gateway": gateways[0].raw} if gateways else {"authorization": sender.raw}
        variant = digest if action.is_callback else b""
        row = InboxRow(
            letter.letter_id, letter.signer_id, action.name, context.message_id, variant, digest,
            context.transaction_id, body, orjson.dumps(kept).decode(), now,
        )  # fmt: skip
        outcome = await self._stored(_Arrival(row, letter))
        if outcome == OTHER:
            raise errors.MessageIdReused(
                f'message_id "{context.message_id}" was used before with another body; a new {action.name} needs a '
                "new message_id"
            )
        # 8
        self._heard_from(signer.url)
        return outcome == NEW

    async def _read(self, request: web.Request) -> bytes:
        try:
            if request.content.is_eof():  # all of it came with the headers: nothing to wait for
                return await request.read()
            async with asyncio.timeout(self._limits.body_read_s):
                return await request.read()
        except web.HTTPRequestEntityTooLarge:
            raise checks.too_large(self._limits.body_bytes_max) from None
        except TimeoutError:
            raise errors.InvalidJson(f"the body did not arrive within {self._limits.body_read_s:g} s") from None

    async def _find(self, parsed: ParsedSignature, role: Role, now: datetime, *, by_gateway: bool = False) -> Record:
        directory = self._directory()
        record = directory.cached_key(parsed.subscriber_id, parsed.key_id, role=role)
        if record is None:
            try:
                record = await directory.find_key(parsed.subscriber_id, parsed.key_id, role=role)
            except errors.RegistryUnreachable:
                raise errors.RegistryUnreachable(by_gateway=by_gateway) from None
        domain = self._local.domain
        return checks.check_signer(record, parsed, role=role, domain=domain, now=now, by_gateway=by_gateway)

    async def _stored(self, arrival: _Arrival) -> str:
        """What the store says of the letter; raises UnableToStore, whatever went wrong."""
        try:
            return await self._line.submit(arrival)
        except LineFull as full:
            raise errors.UnableToStore(f"{full}; try again in a moment") from full
        except Exception as error:
            # Fail closed: without a durable row there is no acknowledgement. The batch's failure is logged once.
            raise errors.UnableToStore from error

    async def _write(self, batch: Sequence[_Arrival]) -> Sequence[str]:
        """Store a batch, then hand what is new to the processor, which holds it from the start."""
        claimed_by = self._processor.reserve(len(batch))
        try:
            outcomes = await self._store.add(
                [arrival.row for arrival in batch],
                claimed_by=claimed_by,
                claimed_until=self._wall.now() + timedelta(seconds=self._limits.lease_s),
            )
        except Exception:
            log.exception("letters_not_stored", letters=len(batch))
            raise
        if claimed_by is None:
            self._processor.look()
        else:
            for arrival, outcome in zip(batch, outcomes, strict=True):
                if outcome == NEW:
                    self._processor.take(arrival.letter)
        return outcomes

    async def settled(self) -> None:
        """Wait until every letter that is being received is stored or refused."""
        await self._line.settled()


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of receiving; see beckn.config for what each means."""

    body_bytes_max: int
    body_read_s: float
    letters_per_s: float
    batch_max: int
    waiting_max: int
    writers: int
    lease_s: float


def letter_from_row(row: Any) -> Letter:
    """A letter read back from its row: body, headers, signer and time are as they were when it was checked."""
    document = orjson.loads(row["body"])
    context = envelope.context_from_wire(document["context"])
    # The signer is the one the action names, and its URL in the context was found to be the registered one.
    url = context.bpp_uri if ACTIONS[context.action].is_callback else context.bap_uri
    return _letter(
        row["letter_id"], row["body"], context, document, signer=(row["signer_id"], url.rstrip("/")),
        authorization=row["headers"]["authorization"], received_at=row["received_at"],
    )  # fmt: skip


def _letter(
    letter_id: str,
    body: bytes,
    context: Context,
    document: dict[str, Any],
    *,
    signer: tuple[str, str],
    authorization: str,
    received_at: datetime,
) -> Letter:
    message, error = document.get("message"), document.get("error")
    return Letter(
        letter_id=letter_id,
        body=body,
        context=context,
        message=message if isinstance(message, dict) else {},
        error=error if isinstance(error, dict) else None,
        signer_id=signer[0],
        signer_url=signer[1],
        authorization=authorization,
        received_at=received_at,
    )


def _ids(*seen: Context) -> dict[str, str]:
    """What a log line says of a letter, once its context is known."""
    return {"transaction_id": seen[0].transaction_id, "message_id": seen[0].message_id} if seen else {}
