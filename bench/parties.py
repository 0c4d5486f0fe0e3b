"""Subscribers that are only records: entered by hand at the registry, so that the load can speak in their name."""

from __future__ import annotations

from beckn import signing
from beckn.envelope import Party
from beckn.signing import Identity
from bench.calls import Node
from bench.letters import NETWORK
from cli import keys

_KEY_ID = "bench"
BUYER = "bap.bench.example"


async def a_buyer(registry: Node, *, url: str) -> tuple[Identity, Party]:
    """A buyer's identity, known to the registry under `url`, where nobody has to listen."""
    identity = Identity(BUYER, _KEY_ID, signing.import_private_key(keys.generate(_KEY_ID).signing_key))
    await subscribe(registry, BUYER, role="BAP", url=url, public_key=identity.public_key_b64)
    return identity, Party(BUYER, url)


async def subscribe(registry: Node, subscriber_id: str, *, role: str, url: str, public_key: str) -> None:
    """Enter one record at the registry, as its operator."""
    await registry.post(
        "/api/subscribers",
        {
            "subscriber_id": subscriber_id,
            "type": role,
            "domain": NETWORK.domain,
            "key_id": _KEY_ID,
            "url": url,
            "country": NETWORK.country_code,
            "city": NETWORK.city_code,
            "signing_public_key": public_key,
        },
    )
