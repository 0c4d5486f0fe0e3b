"""Ids of letters: UUIDs of version 7, which sort in the order they were made and so keep the index's pages together."""

from __future__ import annotations

import random
import time

_last_ms = 0
_count = 0


def letter_id() -> str:
    """A new id; ids made by one process sort in the order of making."""
    global _last_ms, _count  # noqa: PLW0603 - the counter that keeps the ids of one millisecond in order
    now_ms = time.time_ns() // 1_000_000
    if now_ms > _last_ms:
        _last_ms, _count = now_ms, 0
    else:  # the same millisecond, or a clock that went back
        _count += 1
        if _count > 0xFFF:
            _last_ms, _count = _last_ms + 1, 0
    chance = random.getrandbits(62)  # told apart, not kept secret
    return (
        f"{_last_ms >> 16:08x}-{_last_ms & 0xFFFF:04x}-7{_count:03x}"
        f"-{0x8000 | chance >> 48:04x}-{chance & 0xFFFF_FFFF_FFFF:012x}"
    )
