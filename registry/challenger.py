"""The challenge: does the applicant live at its URL and hold the private half of its encryption key?

A random text is encrypted for the applicant and posted to `<url>/on_subscribe`, signed by the registry; the answer must
be that text. Every way this can fail has a sentence that says what to mend, because a failed challenge without a reason
is what newcomers to such networks complain of most.

The URL was written by a stranger, so it is guarded: no redirects, a small answer, few at a time, and (unless
ALLOW_PRIVATE_URLS) only addresses of the public internet, checked on the address that is connected to.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
import ssl
import uuid
from typing import Any

import aiohttp
import orjson

from api import urls
from beckn import challenge, errors, signing
from beckn.clock import Clock
from registry.membership import Application, Outcome

#: Largest answer that is read, bytes.
ANSWER_BYTES_MAX = 16_384
#: Most characters of a subscriber's own complaint that are passed on.
COMPLAINT_CHARS_MAX = 200


class Challenger:
    """Poses challenges in the registry's name."""

    def __init__(
        self,
        *,
        identity: signing.Identity,
        encryption_key: str,
        wall: Clock,
        answer_s_max: float,
        at_once_max: int,
        allow_private_urls: bool,
    ) -> None:
        self._identity, self._encryption_key, self._wall = identity, encryption_key, wall
        self._answer_s_max, self._at_once_max = answer_s_max, at_once_max
        self._allow_private_urls = allow_private_urls
        self._under_way = 0
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Drop the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def pose(self, application: Application) -> Outcome:
        """Challenge an applicant; raises errors.TooManyLetters when too many challenges are under way."""
        if not application.encr_public_key:
            return Outcome(
                False,
                "encr_public_key is missing, so no challenge can be posed; send one, or ask the network's operator to "
                "approve without it",
            )
        if self._under_way >= self._at_once_max:
            raise errors.TooManyLetters("too many applications at once; try again in a few seconds")
        self._under_way += 1
        try:
            return await self._pose(application)
        finally:
            self._under_way -= 1

    async def _pose(self, application: Application) -> Outcome:
        plaintext = secrets.token_hex(16)
        try:
            asked = challenge.make_challenge(
                plaintext, private_key=self._encryption_key, public_key=application.encr_public_key
            )
        except challenge.ChallengeUnreadable as error:
            return Outcome(False, f"encr_public_key is of no use: {error}")
        body = orjson.dumps(
            {"subscriber_id": application.subscriber_id, "message_id": str(uuid.uuid4()), "challenge": asked}
        )
        url = f"{application.url}/on_subscribe"
        try:
            http_status, answer = await self._post(url, body)
        except (aiohttp.ClientConnectorCertificateError, ssl.SSLError, aiohttp.ClientConnectorSSLError) as error:
            return Outcome(False, f"POST {url}: the TLS certificate is not good: {error}", bad_certificate=True)
        except TimeoutError:
            return Outcome(False, f"POST {url}: no answer within {self._answer_s_max:g} s")
        except (aiohttp.ClientError, OSError) as error:
            return Outcome(False, f"POST {url}: {_why(error)}")
        return _judge_answer(url, http_status, answer, plaintext)

    async def _post(self, url: str, body: bytes) -> tuple[int, bytes]:
        headers = {
            "Content-Type": "application/json",
            "Authorization": signing.sign(body, identity=self._identity, now=self._wall.now()),
        }
        if urls.literal_is_refused(url, allow_private=self._allow_private_urls):
            raise OSError("the address is not on the public internet")
        if self._session is None:
            resolver = urls.GuardedResolver(allow_private=self._allow_private_urls)
            connector = aiohttp.TCPConnector(resolver=resolver, force_close=True, limit=self._at_once_max)
            self._session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
            )
        timeout = aiohttp.ClientTimeout(total=self._answer_s_max)
        async with self._session.post(
            url, data=body, headers=headers, timeout=timeout, allow_redirects=False
        ) as response:
            return response.status, await response.content.read(ANSWER_BYTES_MAX)


def _judge_answer(url: str, http_status: int, answer: bytes, plaintext: str) -> Outcome:
    try:
        document: Any = orjson.loads(answer)
    except orjson.JSONDecodeError:
        document = None
    document = document if isinstance(document, dict) else {}
    if not 200 <= http_status < 300:
        complaint = _complaint(document)
        return Outcome(False, f"POST {url} was answered with HTTP {http_status}{complaint}")
    given = document.get("answer")
    if not isinstance(given, str):
        return Outcome(False, f'POST {url} was not answered with a JSON object {{"answer": "<plaintext>"}}')
    if hmac.compare_digest(given.encode(), plaintext.encode()):
        return Outcome(True)
    if _looks_signed(given):
        return Outcome(
            False,
            "the answer is a signature of the challenge, not its plaintext (protocol-server answers so); ask the "
            "network's operator to approve without the challenge",
        )
    return Outcome(
        False,
        "the answer is not the challenge's plaintext: decrypt it with AES-256-ECB and PKCS#7 padding, the key being "
        "the raw X25519 secret of your private key and the encr_public_key of this registry (lookup type BREG), and "
        "answer with the text unchanged",
    )


def _complaint(document: dict[str, Any]) -> str:
    """What the subscriber itself says is wrong."""
    error = document.get("error")
    message = error.get("message") if isinstance(error, dict) else None
    return f": {message[:COMPLAINT_CHARS_MAX]}" if isinstance(message, str) and message else ""


def _looks_signed(text: str) -> bool:
    """An attached Ed25519 signature is base64 of 64 bytes and the message."""
    try:
        return len(base64.b64decode(text, validate=True)) > 64
    except (binascii.Error, ValueError):
        return False


def _why(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"the host name is of no use ({error.os_error})"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect ({error.os_error.strerror or error.os_error})"
    return str(error) or type(error).__name__
