"""A node's own place in the registry: it asks for it at the start, proves its key, and keeps it from running out.

    node  -- POST /subscribe, signed with its own key -->  registry
    node  <-- POST /beckn/on_subscribe, the challenge --   registry
    node  -- {"answer": ...} -->                           registry
    node  <-- INITIATED | UNDER_SUBSCRIPTION | SUBSCRIBED, and why --  registry

The application is repeated, with back-off, until the registry's own records say SUBSCRIBED; /ready says where it
stands and what the registry complained of.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import orjson
import structlog

from beckn import challenge, errors, signing
from beckn.clock import Clock
from beckn.directory import Record, RegistryDirectory
from beckn.envelope import format_instant, object_of
from beckn.registry_client import RegistryClient, RegistryUnavailable

#: Pause between applications, seconds: the first, doubling up to the last.
PAUSE_S_MIN, PAUSE_S_MAX = 0.2, 30.0
#: How often the own record is looked at once all is well, seconds.
WATCH_S = 2.0
#: How often the feed is read while the node waits to be let in, seconds.
LISTEN_S = 0.5
#: A key nearer to its end than this is prolonged, by this much from now.
RENEW_BEFORE, RENEW_FOR = timedelta(days=30), timedelta(days=365)
#: Largest challenge that is read, bytes.
CHALLENGE_BYTES_MAX = 16_384

_LOG = structlog.get_logger("subscription")


@dataclass(frozen=True)
class Claim:
    """What this node wants the registry to say of it. Keys and secrets stay out of its repr."""

    identity: signing.Identity
    role: str
    domain: str
    url: str
    country: str
    city: str
    #: X25519 private key, base64.
    encryption_key: str
    #: The key before this one: a rotation is signed with it.
    previous: signing.Identity | None = None

    def __repr__(self) -> str:
        return f"Claim({self.identity.subscriber_id} {self.role})"

    @cached_property
    def encr_public_key(self) -> str:
        """The public half of the encryption key, base64 of the raw bytes."""
        return challenge.public_key_b64(self.encryption_key)

    def application(self, *, now: datetime, valid_until: datetime | None) -> dict[str, Any]:
        """The body of a /subscribe, with the names of both dialects for what they name differently."""
        key_id = self.identity.key_id
        document: dict[str, Any] = {
            "subscriber_id": self.identity.subscriber_id,
            "url": self.url,
            "subscriber_url": self.url,
            "type": self.role,
            "domain": self.domain,
            "location": {"country": {"code": self.country}, "city": {"code": self.city}},
            "country": self.country,
            "city": self.city,
            "key_id": key_id,
            "ukId": key_id,
            "signing_public_key": self.identity.public_key_b64,
            "encr_public_key": self.encr_public_key,
            "nonce": secrets.token_hex(16),
            "created": format_instant(now),
        }
        if valid_until is not None:
            document["valid_until"] = format_instant(valid_until)
        return document

    def is_met_by(self, record: Record) -> bool:
        """Does the registry say of this node what it says of itself?"""
        return (
            (record.type, record.domain) == (self.role, self.domain)
            and record.url == self.url.rstrip("/")
            and record.signing_public_key == self.identity.public_key
            and (record.country, record.city) == (self.country, self.city)
            and _raw(record.encr_public_key) == self.encr_public_key
        )


class OwnSubscription:
    """Keeps one node subscribed."""

    def __init__(self, claim: Claim, *, client: RegistryClient, directory: RegistryDirectory, wall: Clock) -> None:
        self._claim, self._client, self._directory, self._wall = claim, client, directory, wall
        #: The last status heard, and what the registry said was wrong; for /ready.
        self.status, self.why = "NOT_ASKED", "the registry has not been asked yet"
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to ask; returns at once."""
        self._task = asyncio.create_task(self._keep(), name="own subscription")

    async def stop(self) -> None:
        """Stop asking; the subscription stands."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def is_subscribed(self) -> bool:
        """True while the registry's records say that peers may believe this node."""
        return self.status == "SUBSCRIBED"

    async def answer(self, body: bytes, authorization: str | None) -> bytes:
        """The answer to a challenge posted to /on_subscribe, as JSON bytes; raises errors.Refusal.

        With the registry's public key known, only the registry gets an answer: whoever could have anything decrypted
        here would hold the node's encryption key in all but name. Without it, only while the node is not subscribed.
        """
        self._check_asker(body, authorization)
        if len(body) > CHALLENGE_BYTES_MAX:
            raise errors.BodyTooLarge
        document = object_of(body)
        subscriber_id = document.get("subscriber_id", self._claim.identity.subscriber_id)
        if subscriber_id != self._claim.identity.subscriber_id:
            raise errors.Refusal(
                f"the challenge is for '{subscriber_id}', this node is '{self._claim.identity.subscriber_id}'",
                path="subscriber_id",
            )
        asked = document.get("challenge")
        if not isinstance(asked, str):
            raise errors.Refusal("the challenge must be a string", path="challenge")
        try:
            plaintext = challenge.answer_challenge(
                asked, private_key=self._claim.encryption_key, public_key=await self._registry_key()
            )
        except challenge.ChallengeUnreadable as error:
            raise errors.Refusal(
                f"{error}: the registry holds another encryption key of this node, or this node one of it",
                path="challenge",
            ) from error
        return orjson.dumps({"answer": plaintext})

    def _check_asker(self, body: bytes, authorization: str | None) -> None:
        if self._client.public_key is None:
            if self.is_subscribed:
                raise errors.MissingSignature("this node is subscribed and has asked for no challenge")
            return
        if not authorization:
            raise errors.MissingSignature("a challenge is signed by the registry")
        parsed = signing.parse_header(authorization)
        signing.check_dates(parsed, now=self._wall.now())
        signing.verify(signing.digest(body), parsed, public_key=self._client.public_key)

    async def _registry_key(self) -> str:
        """The registry's X25519 public key, from its own record (type BREG)."""
        for _ in range(2):
            for record in await self._directory.find("BREG"):
                if record.encr_public_key:
                    return record.encr_public_key
            await self._directory.poll()
        raise errors.UnableToStore("the registry's own record with its encryption key is not known here yet")

    # --- Asking ----------------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        pause_s = PAUSE_S_MIN
        while True:
            record = await self._own_record()
            now = self._wall.now()
            if record is not None and record.valid_until - now > RENEW_BEFORE:
                self._note("SUBSCRIBED", "")
                pause_s = PAUSE_S_MIN
                await asyncio.sleep(WATCH_S)
                continue
            await self._apply(now, now + RENEW_FOR if record is not None else None)
            await self._wait(pause_s, until_good=record is None)
            pause_s = min(PAUSE_S_MAX, pause_s * 2)

    async def _wait(self, pause_s: float, *, until_good: bool) -> None:
        """Pause between applications; cut short when the record turns good, as when the operator approves."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + pause_s
        while True:
            await self._directory.poll()
            if until_good and await self._own_record() is not None:
                return
            left_s = deadline - loop.time()
            if left_s <= 0:
                return
            await asyncio.sleep(min(left_s, LISTEN_S))

    async def _own_record(self) -> Record | None:
        """Our record, when peers may believe it and it says what this node says of itself."""
        identity = self._claim.identity
        try:
            record = await self._directory.find_key(identity.subscriber_id, identity.key_id, role=self._claim.role)
        except errors.RegistryUnreachable:
            return None
        is_good = record is not None and record.is_valid(self._wall.now()) and self._claim.is_met_by(record)
        return record if is_good else None

    async def _apply(self, now: datetime, valid_until: datetime | None) -> None:
        body = orjson.dumps(self._claim.application(now=now, valid_until=valid_until))
        try:
            signer = await self._signer()
            http_status, document = await self._client.subscribe(body, signing.sign(body, identity=signer, now=now))
        except RegistryUnavailable as failure:
            self._note("NOT_ASKED", str(failure))
            return
        error = document.get("error")
        why = str(error.get("message", "")) if isinstance(error, dict) else ""
        status = document.get("status")
        if not isinstance(status, str):
            status, why = "REFUSED", why or f"the registry answered HTTP {http_status}"
        if status == "UNDER_SUBSCRIPTION" and not why:
            why = "the network's operator has to approve"
        self._note(status, why)

    async def _signer(self) -> signing.Identity:
        """The previous key as long as the registry knows it and not the new one; else the new one."""
        claim, now = self._claim, self._wall.now()
        if claim.previous is None:
            return claim.identity
        known = []
        for identity in (claim.identity, claim.previous):
            try:
                record = await self._directory.find_key(identity.subscriber_id, identity.key_id, role=claim.role)
            except errors.RegistryUnreachable:
                record = None
            known.append(record is not None and record.is_valid(now))
        return claim.previous if known == [False, True] else claim.identity

    def _note(self, status: str, why: str) -> None:
        if (status, why) != (self.status, self.why):
            _LOG.info("own_subscription", status=status, why=why, role=self._claim.role)
        self.status, self.why = status, why


def _raw(encr_public_key: str) -> str:
    """A public key of a record, which a foreign registry may keep as DER; empty when it is none."""
    try:
        return base64.b64encode(challenge.import_public(encr_public_key).public_bytes_raw()).decode()
    except challenge.ChallengeUnreadable:
        return ""
