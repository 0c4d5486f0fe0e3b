"""The registry's own settings, beside those of every node."""

from __future__ import annotations

import base64

from nacl import bindings
from pydantic import Field

from beckn.config import NodeSettings
from registry.membership import Policy


class RegistrySettings(NodeSettings):
    """What the registry needs to know. Its ENCRYPTION_KEY may be left out: it is then derived from its signing key."""

    #: Let whoever passes the challenge in at once, without the operator (demo and tests).
    auto_approve: bool = False
    #: How long an older key stays valid after a rotation, seconds: the longest life of a signature made with it.
    key_overlap_s: int = Field(default=3660, ge=0, le=31_536_000)
    #: Longest validity of a key, seconds.
    key_lifetime_s_max: int = Field(default=31_536_000, ge=60, le=315_360_000)
    #: How long a subscriber may take to answer the challenge, seconds.
    challenge_s_max: float = Field(default=5.0, gt=0, le=60)
    #: Challenges under way at the same time; more applications are told to come back.
    challenges_max: int = Field(default=32, ge=1, le=1000)
    #: Applications kept that wait for proof or for the operator; the oldest unproven one gives way to a new one.
    pending_max: int = Field(default=1000, ge=1, le=1_000_000)
    #: Largest body of a lookup or an application, bytes.
    registry_body_bytes_max: int = Field(default=65_536, ge=1024, le=1_048_576)
    #: Most records in one lookup reply.
    lookup_records_max: int = Field(default=1000, ge=1, le=100_000)
    #: Most changes in one page of the feed.
    changes_max: int = Field(default=1000, ge=1, le=10_000)

    @property
    def policy(self) -> Policy:
        """How this registry is run, as the rules need it."""
        return Policy(
            auto_approve=self.auto_approve,
            overlap_s=self.key_overlap_s,
            key_lifetime_s_max=self.key_lifetime_s_max,
        )

    @property
    def challenge_key(self) -> str:
        """The X25519 private key of the challenge, base64."""
        if self.encryption_key:
            return self.encryption_key
        _, secret = bindings.crypto_sign_seed_keypair(self.identity.seed)
        return base64.b64encode(bindings.crypto_sign_ed25519_sk_to_curve25519(secret)).decode()
