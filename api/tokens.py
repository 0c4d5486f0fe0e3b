"""Bearer tokens: who is calling a JSON API, and the calls an operator uses to hand tokens out and take them back.

The operator's own token is a setting of the node. Every other token is a row that keeps only the token's SHA-256 (a
token is 256 random bits, so a slow password hash would add nothing). Tokens found are remembered for a few seconds;
a revocation therefore binds other processes of the same node within `CACHE_S`.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field, model_validator

from api.paging import Id, ListOf, Name, Strict
from api.problems import ApiError, not_found
from store import access
from store.db import UnitOfWork

if TYPE_CHECKING:
    from api.desk import Call, Desk

#: How long a token that was looked up is trusted without asking the database again, seconds.
CACHE_S = 5.0
#: How many tokens are remembered at most.
CACHE_ENTRIES_MAX = 10_000

OPERATOR_TOKEN_ID = "operator"  # noqa: S105 - a name, not a secret


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """Who calls: `scope` is the provider_id a prosumer is limited to, empty for other roles."""

    token_id: str
    role: str
    scope: str
    name: str

    @property
    def actor(self) -> str:
        """How an audit names the caller."""
        return self.name if self.name == self.token_id else f"{self.name} ({self.token_id})"


#: The caller of a public route.
NOBODY = TokenInfo("", "public", "", "")


def token_hash(token: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).digest()


class TokenBook:
    """Finds who a bearer token belongs to."""

    def __init__(self, *, admin_token: str, database: Any, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._admin_hash = token_hash(admin_token) if admin_token else None
        self._database = database
        self._monotonic = monotonic
        self._seen: dict[bytes, tuple[TokenInfo | None, float]] = {}

    async def find(self, token: str) -> TokenInfo | None:
        """The token's owner; None for an unknown or revoked one."""
        digest = token_hash(token)
        if self._admin_hash is not None and hmac.compare_digest(digest, self._admin_hash):
            return TokenInfo(OPERATOR_TOKEN_ID, "operator", "", "operator")
        now = self._monotonic()
        info, good_until = self._seen.get(digest, (None, 0.0))
        if now < good_until:
            return info

        async with self._database.connection() as connection:
            row = await access.find_token(UnitOfWork(connection), digest)
        info = None if row is None else TokenInfo(row["token_id"], row["role"], row["scope"], row["name"])
        if len(self._seen) >= CACHE_ENTRIES_MAX:
            self._seen.clear()
        self._seen[digest] = (info, now + CACHE_S)
        return info

    def forget(self) -> None:
        """Ask the database again for everyone (after a revocation here)."""
        self._seen.clear()


def bearer_of(authorization: str | None) -> str:
    """The token of an Authorization header; raises 401 when there is none."""
    scheme, _, token = (authorization or "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or len(token) > 512 or not token.isascii():
        raise unauthorised("Send 'Authorization: Bearer <token>'.")
    return token


def unauthorised(sentence: str) -> ApiError:
    """401, with the scheme that is asked for."""
    return ApiError(401, sentence, field="Authorization", headers={"WWW-Authenticate": 'Bearer realm="powershare"'})


class TokenIn(Strict):
    """A token to be made."""

    role: Literal["operator", "app", "prosumer"]
    name: Name
    scope: Id | Literal[""] = Field(default="", description="A prosumer's provider_id; empty for other roles")

    @model_validator(mode="after")
    def _scope_fits(self) -> TokenIn:
        if (self.role == "prosumer") != bool(self.scope):
            raise ValueError("'scope' is the provider_id of a prosumer's token and empty for other roles")
        return self


class TokenOut(BaseModel):
    """A token as it is listed: never the token itself."""

    token_id: str
    role: str
    name: str
    scope: str
    created_at: datetime
    revoked_at: datetime | None = None


class NewToken(TokenOut):
    """A token just made; `token` is shown this once."""

    token: str


def add_routes(desk: Desk) -> None:
    """Give a desk the operator's token calls."""

    @desk.route("POST", "/api/tokens", role="operator", body=TokenIn, answer=NewToken, status=201, tags=["tokens"])
    async def create_token(call: Call[TokenIn]) -> NewToken:
        """Make a bearer token.

        The answer carries the token once; only its hash is kept.
        """
        token, token_id, now = f"ps_{secrets.token_urlsafe(32)}", str(uuid.uuid4()), call.now

        async with call.node.database.unit_of_work() as uow:
            await access.insert_token(
                uow,
                token_id=token_id,
                token_hash=token_hash(token),
                role=call.body.role,
                name=call.body.name,
                scope=call.body.scope,
                now=now,
            )
        return NewToken(token=token, token_id=token_id, created_at=now, **call.body.model_dump())

    @desk.route("GET", "/api/tokens", role="operator", answer=ListOf[TokenOut], tags=["tokens"])
    async def list_tokens(call: Call[None]) -> ListOf[TokenOut]:
        """List the tokens of this node, revoked ones included."""

        async with call.node.database.unit_of_work() as uow:
            rows = await access.list_tokens(uow)
        return ListOf[TokenOut](items=[TokenOut.model_validate(dict(row)) for row in rows], next=None)

    @desk.route("DELETE", "/api/tokens/{token_id}", role="operator", answer=None, status=204, tags=["tokens"])
    async def revoke_token(call: Call[None]) -> None:
        """Take a token back; it stops working at once here and within seconds on other processes."""

        async with call.node.database.unit_of_work() as uow:
            if not await access.revoke_token(uow, call.path["token_id"], now=call.now):
                raise not_found("token", call.path["token_id"])
        desk.forget_tokens()
