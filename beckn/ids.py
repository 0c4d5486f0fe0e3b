"""Ids of letters: UUIDs of version 7, which sort in the order they were made and so keep the index's pages together."""

from __future__ import annotations

import os
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
    text = f"{_last_ms:012x}7{_count:03x}{(int.from_bytes(os.urandom(8), 'big') & (1 << 62) - 1) | 1 << 63:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
