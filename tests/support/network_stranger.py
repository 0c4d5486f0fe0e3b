"""A stranger's nodes: a buyer and a seller that were written from the published protocol and know nothing of ours.

Nothing of this project is imported here, only aiohttp, hashlib, cryptography and the standard library (a test checks
that). They do what other implementations of the protocol do, in the forms those do it: signatures are taken apart with
protocol-server's expression and verified like beckn-onix verifies them, the context is flat as in version 0.9, letters
are acknowledged with 202 and a context, and quantities are single numbers of kWh.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

DOMAIN = "uei:p2p_trading"

#: How protocol-server takes a header apart, after it has cut "Signature " off.
_PARAMETER = re.compile(r"\s*([^=]+)=([^,]+)[,]?")


def _b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _digest(body: bytes) -> str:
    return _b64(hashlib.blake2b(body, digest_size=64).digest())


def _signing_string(created: str, expires: str, digest: str) -> bytes:
    return f"(created): {created}\n(expires): {expires}\ndigest: BLAKE-512={digest}".encode()


class NotVerified(AssertionError):
    """A letter that other implementations would refuse; the sentence says which and why."""


@dataclass
class Got:
    """One letter as it came, verified."""

    action: str
    body: bytes
    headers: Any
    signers: list[str]

    @property
    def document(self) -> Any:
        return json.loads(self.body)


@dataclass
class Stranger:
    """A subscriber with a server of its own."""

    subscriber_id: str
    type: str
    registry_url: str
    http: aiohttp.ClientSession
    url: str = ""
    key_id: str = "key-of-2024"
    #: Public keys are sent to the registry as SPKI DER, as the Java implementations do, instead of raw.
    der_keys: bool = False
    signing: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    encryption: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate)
    got: list[Got] = field(default_factory=list)
    #: What went wrong while a letter was received: such letters get 401.
    refused: list[str] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)
    _arrived: asyncio.Condition = field(default_factory=asyncio.Condition)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    # --- The registry -----------------------------------------------------------------------------------------------

    async def subscribe(self) -> dict[str, Any]:
        """Ask the registry for a place; its answer."""
        application = {
            "subscriber_id": self.subscriber_id,
            "url": self.url,
            "type": self.type,
            "domain": DOMAIN,
            "country": "IND",
            "city": "std:080",
            "key_id": self.key_id,
            "signing_public_key": self._public(self.signing),
            "encr_public_key": self._public(self.encryption),
            "valid_from": datetime.now(UTC).isoformat(),
            "valid_until": datetime.fromtimestamp(time.time() + 86_400, UTC).isoformat(),
            "nonce": "stranger",
        }
        async with self.http.post(f"{self.registry_url}/subscribe", json=application) as answer:
            return dict(await answer.json())

    def _public(self, key: Any) -> str:
        if self.der_keys:
            return _b64(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
        return _b64(key.public_key().public_bytes_raw())

    async def lookup(self, **wanted: str) -> list[dict[str, Any]]:
        """Ask the registry, unsigned, as everybody does."""
        async with self.http.post(f"{self.registry_url}/lookup", json=wanted) as answer:
            assert answer.status == 200
            return list(await answer.json())

    async def _answer_challenge(self, request: web.Request) -> web.Response:
        """X25519, AES-256-ECB, PKCS#7: the text that the registry encrypted for us."""
        asked = await request.json()
        (registry,) = await self.lookup(type="BREG")
        raw = base64.b64decode(registry["encr_public_key"])
        public: Any = X25519PublicKey.from_public_bytes(raw) if len(raw) == 32 else load_der_public_key(raw)
        cipher = Cipher(algorithms.AES(self.encryption.exchange(public)), modes.ECB()).decryptor()
        padded = cipher.update(base64.b64decode(asked["challenge"])) + cipher.finalize()
        unpadder = PKCS7(128).unpadder()
        return web.json_response({"answer": (unpadder.update(padded) + unpadder.finalize()).decode()})

    # --- Letters out ------------------------------------------------------------------------------------------------

    def context(self, action: str, **more: Any) -> dict[str, Any]:
        """A context as in version 0.9: country and city are flat, and the version is `core_version`."""
        mine = "bap" if self.type == "BAP" else "bpp"
        return {
            "domain": DOMAIN,
            "country": "IND",
            "city": "std:080",
            "action": action,
            "core_version": "1.1.0",
            f"{mine}_id": self.subscriber_id,
            f"{mine}_uri": self.url,
            "message_id": str(uuid.uuid4()),
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
            **more,
        }

    def sign(self, body: bytes) -> str:
        """The header as protocol-server writes it: a minute back, an hour ahead."""
        created = int(time.time()) - 60
        given = str(created), str(created + 3600)
        signature = _b64(self.signing.sign(_signing_string(*given, _digest(body))))
        return (
            f'Signature keyId="{self.subscriber_id}|{self.key_id}|ed25519",algorithm="ed25519",created="{given[0]}",'
            f'expires="{given[1]}",headers="(created) (expires) digest",signature="{signature}"'
        )

    async def send(self, url: str, context: dict[str, Any], message: Any) -> tuple[int, Any]:
        """Post a letter to a subscriber's URL; status and answer."""
        body = json.dumps({"context": context, "message": message}, indent=1).encode()
        headers = {"Content-Type": "application/json", "Authorization": self.sign(body)}
        async with self.http.post(f"{url}/{context['action']}", data=body, headers=headers) as answer:
            return answer.status, await answer.json()

    # --- Letters in -------------------------------------------------------------------------------------------------

    async def verify(self, header: str, body: bytes) -> str:
        """Verify a signature as beckn-onix does, the header read as protocol-server reads it; who signed."""
        parts = {name: value.strip('"') for name, value in _PARAMETER.findall(header.replace("Signature ", "", 1))}
        if set(parts) != {"keyId", "algorithm", "created", "expires", "headers", "signature"}:
            raise NotVerified(f"the header has the parameters {sorted(parts)}")
        key_parts = parts["keyId"].split("|")
        if len(key_parts) != 3 or key_parts[2] != "ed25519" or parts["algorithm"] != "ed25519":
            raise NotVerified(f"the keyId is {parts['keyId']}")
        if parts["headers"] != "(created) (expires) digest":
            raise NotVerified(f"signed is {parts['headers']}")
        now = time.time()
        if int(parts["created"]) > now + 5 or int(parts["expires"]) < now:
            raise NotVerified("the signature is not alive")
        records = await self.lookup(subscriber_id=key_parts[0], key_id=key_parts[1])
        if not records or records[0]["status"] != "SUBSCRIBED":
            raise NotVerified(f"the registry does not vouch for {parts['keyId']}")
        key = base64.b64decode(records[0]["signing_public_key"], validate=True)
        if len(key) != 32:
            raise NotVerified(f"the key of {parts['keyId']} has {len(key)} bytes")
        signed = _signing_string(parts["created"], parts["expires"], _digest(body))
        Ed25519PublicKey.from_public_bytes(key).verify(base64.b64decode(parts["signature"], validate=True), signed)
        return str(key_parts[0])

    async def receive(self, request: web.Request) -> web.Response:
        """The door: verify every signature, acknowledge with 202 and a context, then answer if there is an answer."""
        action = request.match_info["action"]
        if action == "on_subscribe":
            return await self._answer_challenge(request)
        body = await request.read()
        context = json.loads(body)["context"]
        try:
            signers = [await self.verify(request.headers["Authorization"], body)]
            for name in ("X-Gateway-Authorization", "Proxy-Authorization"):
                if name in request.headers:
                    signers.append(await self.verify(request.headers[name], body))
            if signers[0] != context["bpp_id" if self.type == "BAP" else "bap_id"]:
                raise NotVerified(f"{signers[0]} signed a letter of somebody else")
            if context["action"] != action or context["version"] != "1.1.0":
                raise NotVerified(f"the context says {context['action']} {context['version']}")
        except Exception as error:
            self.refused.append(f"{action}: {type(error).__name__}: {error}")
            return web.json_response({"message": {"ack": {"status": "NACK"}}}, status=401)
        letter = Got(action, body, request.headers.copy(), signers)
        async with self._arrived:
            self.got.append(letter)
            self._arrived.notify_all()
        answer = self.answers.get(action)
        if answer is not None:
            task = asyncio.create_task(answer(letter.document))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return web.json_response({"context": context, "message": {"ack": {"status": "ACK"}}}, status=202)

    async def wait_for(self, action: str, **context: str) -> Any:
        """The first letter of an action that has come, or comes, and that nobody has taken yet."""

        def found() -> Got | None:
            for letter in self.got:
                if letter.action == action and context.items() <= letter.document["context"].items():
                    return letter
            return None

        async with asyncio.timeout(5), self._arrived:
            await self._arrived.wait_for(found)
            letter = found()
            assert letter is not None
            self.got.remove(letter)
            return letter.document


@asynccontextmanager
async def stranger(subscriber_id: str, role: str, registry_url: str, **changes: Any) -> AsyncIterator[Stranger]:
    """A stranger with its server running; it has not subscribed yet."""
    async with aiohttp.ClientSession() as http:
        who = Stranger(subscriber_id, role, registry_url, http, **changes)
        app = web.Application()
        app.router.add_post("/network/{action}", who.receive)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        who.url = f"http://{host}:{port}/network"
        try:
            yield who
        finally:
            await runner.cleanup()
