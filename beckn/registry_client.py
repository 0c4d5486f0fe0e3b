"""Talking to a registry: its signed change feed, lookups, our own subscription, and claims on meters.

When the registry's public key is known, every answer that decides about keys must carry a `Signature` header made with
it: someone between us and the registry can then delay news, but not invent any. Without the key (a registry that is
not ours) answers are taken as they come, which is all the protocol offers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from beckn import errors, signing
from beckn.clock import Clock

#: How long a read of the feed or a lookup may take, seconds: with a poll every 2 s it keeps revocations under 5 s.
READ_S_MAX = 2.0
#: How long our own subscription may take, seconds: the registry calls us back before it answers.
SUBSCRIBE_S_MAX = 20.0
#: How long connecting may take, seconds.
CONNECT_S_MAX = 1.0
#: The largest answer that is read, bytes.
ANSWER_BYTES_MAX = 8 * 1024 * 1024
#: How many changes are asked for at once.
PAGE_CHANGES = 500


class RegistryUnavailable(Exception):
    """The registry cannot be reached, or what it says cannot be believed; the message says which."""


@dataclass(frozen=True, slots=True)
class Page:
    """A piece of the change feed: records in the order they changed, and where to go on."""

    records: list[dict[str, Any]]
    next_seq: int
    is_last: bool


class RegistryClient:
    """One registry, over HTTP."""

    def __init__(self, url: str, *, public_key: bytes | None, wall: Clock) -> None:
        self.url = url.rstrip("/")
        self.public_key = public_key
        self._wall = wall
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Drop the connections; a later call opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def changes(self, after: int) -> Page | None:
        """What changed after seq `after`; None when this registry has no feed. Raises RegistryUnavailable."""
        query = f"/changes?after={after}&limit={PAGE_CHANGES}"
        status, headers, body = await self._ask("GET", query, b"", {}, READ_S_MAX)
        if status == 404 and self.public_key is None:
            return None
        document = self._believe(status, headers, body)
        try:
            entries = [(int(entry["seq"]), entry["record"]) for entry in document["changes"]]
            if document["after"] != after:
                raise RegistryUnavailable(f"the feed answered for seq {document['after']} instead of {after}")
            next_seq, limit = int(document["next_seq"]), int(document["limit"])
        except (KeyError, TypeError, ValueError) as error:
            raise RegistryUnavailable(f"the feed's answer is malformed: {error!r}") from error
        return Page([record for _, record in entries], next_seq, is_last=len(entries) < limit)

    async def lookup(self, filters: dict[str, str]) -> list[dict[str, Any]]:
        """Records that match; unsigned, as every peer asks. Raises RegistryUnavailable."""
        headers = {"Content-Type": "application/json"}
        status, answered, body = await self._ask("POST", "/lookup", orjson.dumps(filters), headers, READ_S_MAX)
        document = self._believe(status, answered, body)
        if not isinstance(document, list):
            raise RegistryUnavailable("the registry answered a lookup with something that is no list")
        return [record for record in document if isinstance(record, dict)]

    async def subscribe(self, body: bytes, authorization: str) -> tuple[int, dict[str, Any]]:
        """Post our application; the HTTP status and the answer's object. Raises RegistryUnavailable."""
        headers = {"Content-Type": "application/json", "Authorization": authorization}
        status, _, answer = await self._ask("POST", "/subscribe", body, headers, SUBSCRIBE_S_MAX)
        document = _json(answer)
        return status, document if isinstance(document, dict) else {}

    async def salt(self) -> bytes:
        """The network's salt, which meters are hashed with. Raises RegistryUnavailable."""
        status, headers, body = await self._ask("GET", "/meter_claims/salt", b"", {}, READ_S_MAX)
        try:
            return bytes.fromhex(self._believe(status, headers, body)["salt"])
        except (KeyError, TypeError, ValueError) as error:
            raise RegistryUnavailable(f"the registry's salt is malformed: {error!r}") from error

    async def claim(self, act: str, body: bytes, authorization: str) -> tuple[int, dict[str, Any]]:
        """Claim a meter or release it (`act`), as the body says; the HTTP status and the answer's object.

        Success is believed only when signed; a refusal (4xx) comes as it is. Raises RegistryUnavailable.
        """
        path = "/meter_claims" if act == "claim" else "/meter_claims/release"
        headers = {"Content-Type": "application/json", "Authorization": authorization}
        status, answered, content = await self._ask("POST", path, body, headers, READ_S_MAX)
        is_refusal = 400 <= status < 500 and status not in (408, 425, 429)
        document = _json(content) if is_refusal else self._believe(status, answered, content)
        return status, document if isinstance(document, dict) else {}

    async def _ask(
        self, method: str, path: str, body: bytes, headers: dict[str, str], total_s: float
    ) -> tuple[int, Any, bytes]:
        if self._session is None:
            self._session = aiohttp.ClientSession(auto_decompress=False)
        timeout = aiohttp.ClientTimeout(total=total_s, connect=CONNECT_S_MAX)
        try:
            async with self._session.request(
                method, self.url + path, data=body or None, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                content = await response.content.read(ANSWER_BYTES_MAX + 1)
                while not response.content.at_eof() and len(content) <= ANSWER_BYTES_MAX:
                    content += await response.content.read(ANSWER_BYTES_MAX + 1 - len(content))
                if len(content) > ANSWER_BYTES_MAX:
                    raise RegistryUnavailable(f"the registry's answer is larger than {ANSWER_BYTES_MAX} bytes")
                return response.status, response.headers, content
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise RegistryUnavailable(f"{self.url}: {type(error).__name__} {error}".rstrip()) from error

    def _believe(self, status: int, headers: Any, body: bytes) -> Any:
        """The answer's JSON, once it is a success and signed by the registry we know."""
        if status != 200:
            raise RegistryUnavailable(f"{self.url} answered HTTP {status}")
        if self.public_key is not None:
            try:
                parsed = signing.parse_header(headers.get("Signature", ""))
                signing.check_dates(parsed, now=self._wall.now())
                signing.verify(signing.digest(body), parsed, public_key=self.public_key)
            except errors.SignatureRefused as refusal:
                raise RegistryUnavailable(
                    f"the answer of {self.url} is not signed with REGISTRY_PUBLIC_KEY: {refusal.sentence}"
                ) from refusal
        return _json(body)


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RegistryUnavailable("the registry's answer is not JSON") from error
