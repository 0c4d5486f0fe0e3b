"""Every refusal the protocol kernel can give, before a letter is acknowledged.

One class each; the docstring's first line is the default sentence. Codes are those of BECKN-005 where it has one; the
others (signature, stale letter, reused message id, rate) are listed in docs/divergences.md. A refusal becomes an HTTP
status, a NACK body that names the failing path, and for a 401 the header that asks for a signature.
"""

from __future__ import annotations

from typing import ClassVar

import orjson


class Refusal(Exception):
    """The letter is refused."""

    code: ClassVar[str] = "30000"
    http_status: ClassVar[int] = 400
    path: ClassVar[str] = ""

    def __init__(self, sentence: str = "", *, path: str = "", by_gateway: bool = False) -> None:
        self.sentence = sentence or (type(self).__doc__ or "").splitlines()[0]
        self.failing_path = path or self.path
        #: True when the gateway's header is at fault, not the sender's.
        self.by_gateway = by_gateway
        super().__init__(self.sentence)

    def nack_body(self) -> bytes:
        """The NACK as core 1.1.1 writes it: `error` beside `message`, all strings."""
        error = {"code": self.code, "message": self.sentence}
        if self.failing_path:
            error["paths"] = self.failing_path
        return orjson.dumps({"message": {"ack": {"status": "NACK"}}, "error": error})

    def headers(self, realm: str) -> dict[str, str]:
        """WWW-Authenticate (or Proxy-Authenticate, when the gateway's header is bad) for a 401; else nothing.

        `realm` is the refusing node's own subscriber id.
        """
        if self.http_status != 401:
            return {}
        name = "Proxy-Authenticate" if self.by_gateway else "WWW-Authenticate"
        return {name: f'Signature realm="{realm}",headers="(created) (expires) digest"'}


# --- The envelope: size, form, names -------------------------------------------------------------------------------


class BodyTooLarge(Refusal):
    """The body is larger than this node reads; send less, or several letters."""

    http_status = 413


class WrongContentType(Refusal):
    """Content-Type must be application/json."""

    http_status = 415


class InvalidJson(Refusal):
    """The body is not JSON with an object at the top."""


class TooDeep(Refusal):
    """The body nests deeper than this node reads."""


class InvalidContext(Refusal):
    """The context lacks a field or has one of the wrong form."""

    path = "context"


class UnknownDomain(Refusal):
    """This node does not trade in that domain."""

    path = "context.domain"


class UnknownVersion(Refusal):
    """This node does not speak that protocol version."""

    path = "context.version"


class UnknownAction(Refusal):
    """This node does not serve that action."""

    http_status = 404
    path = "context.action"


class ActionMismatch(Refusal):
    """context.action differs from the path the letter was posted to."""

    path = "context.action"


class SchemaInvalid(Refusal):
    """The letter does not satisfy the schema of its action."""


class StaleLetter(Refusal):
    """The letter's timestamp and ttl say it is no longer alive; send it again with a fresh timestamp."""

    code = "30022"
    path = "context.timestamp"


class LetterFromTheFuture(Refusal):
    """The letter's timestamp lies in the future; check the sender's clock."""

    code = "30022"
    path = "context.timestamp"


class UnregisteredUrl(Refusal):
    """The URL in the context is not the one in the registry; answers go only to registered URLs."""


# --- The signature: who speaks -------------------------------------------------------------------------------------


class SignatureRefused(Refusal):
    """The signature does not hold."""

    code = "30016"
    http_status = 401
    path = "header.Authorization"

    def __init__(self, sentence: str = "", *, path: str = "", by_gateway: bool = False) -> None:
        if by_gateway and not path:
            path = "header.X-Gateway-Authorization"
        super().__init__(sentence, path=path, by_gateway=by_gateway)


class MissingSignature(SignatureRefused):
    """The Authorization header is missing; every letter is signed."""


class MalformedSignature(SignatureRefused):
    """The signature header cannot be read."""


class WrongAlgorithm(SignatureRefused):
    """Only ed25519 is accepted, in keyId and in algorithm alike."""


class WrongCoveredHeaders(SignatureRefused):
    """The signature must cover exactly "(created) (expires) digest"."""


class SignatureFromTheFuture(SignatureRefused):
    """The signature was created in the future; check the sender's clock."""


class SignatureExpired(SignatureRefused):
    """The signature has expired; sign again."""


class SignatureLivesTooLong(SignatureRefused):
    """The signature would live longer than an hour and a minute; sign with a shorter lifetime."""


class SignatureInvalid(SignatureRefused):
    """The signature does not belong to this body and key."""


class UnknownSigner(SignatureRefused):
    """The registry knows no such subscriber and key."""


class KeyNotValidNow(SignatureRefused):
    """The key is outside its validity."""


class SignerNotSubscribed(SignatureRefused):
    """The signer is not SUBSCRIBED at the registry."""


class WrongRole(SignatureRefused):
    """The signer's role may not send this action."""


class SignerIsNotSender(SignatureRefused):
    """The signer is not the subscriber named in the context."""


# --- The guard: once, and not too many -----------------------------------------------------------------------------


class MessageIdReused(Refusal):
    """This message_id was used before with another body; a new request needs a new message_id."""

    code = "30023"
    http_status = 409
    path = "context.message_id"


class TooManyLetters(Refusal):
    """Too many letters in a short time; slow down and try again."""

    code = "30024"
    http_status = 429


class UnableToStore(Refusal):
    """The letter cannot be stored just now, so it is not accepted; try again."""

    code = "50000"
    http_status = 503


class RegistryUnreachable(SignatureRefused):
    """The signer is unknown here and the registry cannot be asked just now; try again."""

    http_status = 503


# --- Our own fault -------------------------------------------------------------------------------------------------


class FailedHere(Refusal):
    """Something failed on our side, so the letter is not accepted; try again."""

    code = "50000"
    http_status = 500
