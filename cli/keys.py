"""A node's keys: made here, shown here, kept nowhere but where the caller puts them."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass
from pathlib import Path

import orjson

from beckn import challenge, signing


@dataclass(frozen=True, slots=True)
class Keys:
    """The two private keys of a node, as the settings SIGNING_KEY and ENCRYPTION_KEY take them."""

    key_id: str
    signing_key: str
    encryption_key: str

    @property
    def signing_public_key(self) -> str:
        """The Ed25519 public key, base64 of the raw 32 bytes: what a registry record holds."""
        return signing.Identity("", self.key_id, signing.import_private_key(self.signing_key)).public_key_b64

    @property
    def encryption_public_key(self) -> str:
        """The X25519 public key, base64 of the raw 32 bytes: what the registry's challenge is encrypted for."""
        return challenge.public_key_b64(self.encryption_key)

    def __repr__(self) -> str:
        return f"Keys({self.key_id})"


def generate(key_id: str) -> Keys:
    """New random keys. (Any 32 random bytes are an Ed25519 seed and an X25519 private key alike.)"""
    return Keys(
        key_id=key_id,
        signing_key=base64.b64encode(secrets.token_bytes(32)).decode(),
        encryption_key=base64.b64encode(secrets.token_bytes(32)).decode(),
    )


def for_compose() -> dict[str, str]:
    """Keys, tokens and the database's password for the four nodes of compose.yaml, by variable."""
    variables = {"POSTGRES_PASSWORD": secrets.token_urlsafe(24)}
    for name in ("registry", "gateway", "bap", "bpp"):
        made = generate(f"{name}-1")
        prefix = name.upper()
        variables |= {
            f"{prefix}_SIGNING_KEY": made.signing_key,
            f"{prefix}_ENCRYPTION_KEY": made.encryption_key,
            f"{prefix}_ADMIN_TOKEN": secrets.token_urlsafe(32),
        }
        if name == "registry":
            variables["REGISTRY_PUBLIC_KEY"] = made.signing_public_key
    return variables


class KeyRing:
    """The tokens and keys of the nodes; kept in a file of the owner's alone when the network is kept."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._known: dict[str, dict[str, str]] = {}
        if path is not None and path.exists():
            self._known = orjson.loads(path.read_bytes())

    def of(self, name: str) -> tuple[str, Keys]:
        """The operator's token and the keys of a node; made on first sight."""
        if name not in self._known:
            new = generate(f"{name}-1")
            self._known[name] = {
                "admin_token": secrets.token_urlsafe(32),
                "key_id": new.key_id,
                "signing_key": new.signing_key,
                "encryption_key": new.encryption_key,
            }
        kept = dict(self._known[name])
        return kept.pop("admin_token"), Keys(**kept)

    def keep(self) -> None:
        """Write them down, if they have a place."""
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch(mode=0o600)
        self._path.write_bytes(orjson.dumps(self._known, option=orjson.OPT_INDENT_2))
