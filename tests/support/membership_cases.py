"""Applications and subscriptions to judge, with keys that are real and differ."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from registry.membership import Application, Policy, Status
from store.subscribers import Subscription

NOW = datetime(2026, 1, 15, 10, 0, tzinfo=UTC)
MANUAL = Policy(auto_approve=False, overlap_s=3660, key_lifetime_s_max=31_536_000)
AUTOMATIC = replace(MANUAL, auto_approve=True)


def key(number: int) -> str:
    return base64.b64encode(bytes([number]) * 32).decode()


def application(**changes: Any) -> Application:
    given = Application(
        subscriber_id="bpp.example.org",
        type="BPP",
        domain="uei:p2p_trading",
        key_id="k1",
        url="https://bpp.example.org/beckn",
        country="IND",
        city="std:080",
        location=None,
        signing_public_key=key(1),
        encr_public_key=key(101),
    )
    return replace(given, **changes)


def subscription(**changes: Any) -> Subscription:
    a = application()
    given = Subscription(
        *a.key,
        url=a.url,
        country=a.country,
        city=a.city,
        location=None,
        signing_public_key=a.signing_public_key,
        encr_public_key=a.encr_public_key,
        valid_from=NOW - timedelta(days=30),
        valid_until=NOW + timedelta(days=335),
        status=Status.SUBSCRIBED,
        challenge_passed=True,
        created=NOW - timedelta(days=30),
        updated=NOW - timedelta(days=30),
    )
    return replace(given, **changes)
