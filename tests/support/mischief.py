"""A carrier of letters that does everything a network may do to them, by a seeded lot.

It wraps the real HTTP transport and keeps the transport's promises: whatever it does to a letter, the sender is told
what a sender of that network could know. A letter may be lost before it left (certainly or perhaps), its answer may be
lost, it may come late, twice or after letters that were sent later, and one byte of it may change on the way.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from beckn.transport import NotDelivered, Transport


@dataclass(frozen=True)
class Odds:
    """How often each kind of mischief befalls a letter; what is left travels well. They sum to 1 at most."""

    refused_connection: float = 0.0
    lost: float = 0.0
    answer_lost: float = 0.0
    late: float = 0.0
    twice: float = 0.0
    out_of_order: float = 0.0
    corrupted: float = 0.0
    answer_corrupted: float = 0.0

    @classmethod
    def evenly(cls, share: float) -> Odds:
        """Every kind with the same share."""
        return cls(*[share] * 8)


NONE = Odds()

#: Longest time that a late letter spends on the way, seconds.
LATE_S_MAX = 0.08


@dataclass
class Mischief:
    """The transport of one node. `happened` counts what was done; `odds` may be changed while it works."""

    http: Transport
    lot: random.Random
    odds: Odds = NONE
    happened: Counter[str] = field(default_factory=Counter)
    #: Every letter that was carried to its receiver: (url, body).
    carried: list[tuple[str, bytes]] = field(default_factory=list)
    _later: set[asyncio.Task[None]] = field(default_factory=set)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Carry a letter, or do something to it."""
        kind = self._draw()
        self.happened[kind] += 1
        if kind == "refused_connection":
            raise NotDelivered(f"{url}: mischief refused the connection", certain=True)
        if kind == "lost":
            raise NotDelivered(f"{url}: mischief lost the letter", certain=False)
        if kind == "answer_lost":
            await self._carry(url, body, headers)
            raise NotDelivered(f"{url}: mischief lost the answer", certain=False)
        if kind == "late":
            await asyncio.sleep(self.lot.uniform(0, LATE_S_MAX))
        elif kind == "twice":
            self._carry_later(url, body, headers)
        elif kind == "out_of_order":
            self._carry_later(url, body, headers)
            raise NotDelivered(f"{url}: mischief keeps the letter back", certain=False)
        elif kind == "corrupted":
            body = self._corrupt(body)
        status, answer = await self._carry(url, body, headers)
        return status, self._corrupt(answer) if kind == "answer_corrupted" else answer

    async def settled(self) -> None:
        """Wait until nothing is on the way any more."""
        while self._later:
            await asyncio.gather(*self._later, return_exceptions=True)

    def _draw(self) -> str:
        drawn = self.lot.random()
        for kind, share in vars(self.odds).items():
            drawn -= share
            if drawn < 0:
                return kind
        return "well"

    def _corrupt(self, content: bytes) -> bytes:
        place, bit = self.lot.randrange(len(content)), 1 << self.lot.randrange(8)
        return content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :]

    async def _carry(self, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        answer = await self.http.post(url, body, headers)
        self.carried.append((url, body))
        return answer

    def _carry_later(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        pause_s = self.lot.uniform(0, 2 * LATE_S_MAX)

        async def carry() -> None:
            await asyncio.sleep(pause_s)
            try:
                await self._carry(url, body, dict(headers))
            except NotDelivered:
                self.happened["later_lost"] += 1  # nobody is told

        task = asyncio.create_task(carry(), name="mischief")
        self._later.add(task)
        task.add_done_callback(self._later.discard)
