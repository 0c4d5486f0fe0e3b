"""Processing: every accepted letter is worked on once, in one unit of work, in the order of its transaction.

A letter is handed over in memory as soon as its row is committed. Letters of one transaction_id form a lane and are
processed one after another; lanes run side by side. The row is marked DONE in the same unit of work that does what the
letter asks, so a crash repeats all of it or none. A process *holds* its letters for a lease that it renews; letters of
a process that died, and those there was no memory for, are picked up by whoever polls next. A letter that fails is
tried again, its lane waiting, and is PARKED after some tries, with the reference id (its letter_id) that the log has.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog

from beckn import envelope
from beckn.clock import Clock
from beckn.envelope import Letter
from beckn.metrics import Metrics

log = structlog.get_logger("beckn.processing")

#: Does what a letter asks, within a unit of work: `uow` is the store's.
Handler = Callable[[Letter, Any], Awaitable[None]]

#: Pause before a failed letter's second try, seconds; it grows fourfold with each further one.
RETRY_S_MIN = 0.1
#: Longest pause before a failed letter is tried again, seconds.
RETRY_S_MAX = 10.0
#: Letters taken from the table at once.
CLAIM_MAX = 256


class ProcessingStore(Protocol):
    """Port: the rows of accepted letters."""

    def unit_of_work(self) -> AbstractAsyncContextManager[Any]:
        """One transaction."""
        ...

    async def claim(
        self, *, claimed_by: str, now: datetime, claimed_until: datetime, limit: int
    ) -> Sequence[Mapping[str, Any]]:
        """Take over letters that nobody holds, oldest first."""
        ...

    async def renew(
        self, letter_ids: Sequence[str], *, claimed_by: str, claimed_until: datetime, older_than: datetime
    ) -> None:
        """Hold on to letters whose claim ends before `older_than`."""
        ...

    async def release(self, letter_ids: Sequence[str], *, claimed_by: str) -> None:
        """Give letters back."""
        ...

    async def finish(self, uow: Any, letter_id: str, *, claimed_by: str, now: datetime) -> bool:
        """Mark a letter DONE; False when another process took it over."""
        ...

    async def fail(
        self, letter_id: str, *, claimed_by: str, error: str, attempts_max: int, claimed_until: datetime, now: datetime
    ) -> bool:
        """Note a failed try; True when the letter is now PARKED."""
        ...


class _TakenOver(Exception):
    """Another process holds the letter now: leave it alone."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of processing; see beckn.config for what each means."""

    workers: int
    memory_max: int
    attempts_max: int
    lease_s: float
    poll_s: float


class Processor:
    """Works on the letters of one process."""

    def __init__(
        self,
        *,
        handlers: Mapping[str, Handler],
        store: ProcessingStore,
        letter_from_row: Callable[[Mapping[str, Any]], Letter],
        limits: Limits,
        wall: Clock,
        metrics: Metrics,
    ) -> None:
        self._handlers, self._store, self._letter_from_row = handlers, store, letter_from_row
        self._limits, self._wall, self._metrics = limits, wall, metrics
        self._me = secrets.token_hex(8)
        self._lanes: dict[str, deque[tuple[Letter, int]]] = {}
        self._ready: asyncio.Queue[str] = asyncio.Queue()
        self._held: set[str] = set()
        self._reserved = 0
        self._accepts = False
        #: True while letters wait in the table that nobody holds: newer ones must queue behind them.
        self._behind = True
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._tasks: list[asyncio.Task[None]] = []

    # --- Life ------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to work; with no workers this process only receives."""
        if not self._limits.workers:
            return
        await self._claim_all()
        self._accepts = True
        self._tasks = [asyncio.create_task(self._work(), name=f"inbox {n}") for n in range(self._limits.workers)]
        self._tasks.append(asyncio.create_task(self._poll(), name="inbox poll"))

    async def stop(self, *, within_s: float) -> None:
        """Finish what was accepted, for `within_s` at most; give the rest back to whoever comes next."""
        self._accepts = False
        try:
            async with asyncio.timeout(within_s):
                await self._idle.wait()
        except TimeoutError:
            log.warning("letters_left_for_the_next_start", letters=len(self._held))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        if self._held:
            await self._store.release(list(self._held), claimed_by=self._me)
            self._held.clear()
            self._lanes.clear()
            self._idle.set()

    def __len__(self) -> int:
        return len(self._held)

    # --- Taking letters --------------------------------------------------------------------------------------------

    def reserve(self, letters: int) -> str | None:
        """Who holds letters about to be stored: this process, or None when they are to wait in the table."""
        if not self._accepts or self._behind:
            return None
        if len(self._held) + letters > self._limits.memory_max:
            self._behind = True
            return None
        return self._me

    def look(self) -> None:
        """Letters were stored that this process does not hold: look for them now, if there is room."""
        if self._accepts:
            self._behind = True
            self._wake.set()

    def take(self, letter: Letter, attempts: int = 0) -> None:
        """Work on a letter that is stored and held by this process."""
        if letter.letter_id in self._held:
            return
        self._held.add(letter.letter_id)
        self._idle.clear()
        key = letter.context.transaction_id
        lane = self._lanes.get(key)
        if lane is None:
            self._lanes[key] = deque([(letter, attempts)])
            self._ready.put_nowait(key)
        else:
            lane.append((letter, attempts))

    async def _poll(self) -> None:
        """Pick up letters nobody holds, and renew the hold on those that wait here."""
        lease, renewed_at = timedelta(seconds=self._limits.lease_s), time.monotonic()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._limits.poll_s):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self._claim_all()
                self._metrics.inbox_in_memory.set(len(self._held))
                if time.monotonic() - renewed_at > self._limits.lease_s / 3:
                    renewed_at, now = time.monotonic(), self._wall.now()
                    await self._store.renew(
                        list(self._held), claimed_by=self._me, claimed_until=now + lease, older_than=now + lease * 2 / 3
                    )
            except Exception:
                # The database may be away for a while; what was accepted is safe there.
                log.exception("inbox_poll_failed")

    async def _claim_all(self) -> None:
        """Take what nobody holds, as far as there is room, and note whether something was left."""
        while (room := min(CLAIM_MAX, self._limits.memory_max - len(self._held))) > 0:
            self._behind = False
            if await self._claim(room) < room:
                return
        self._behind = True

    async def _claim(self, room: int) -> int:
        now = self._wall.now()
        rows = await self._store.claim(
            claimed_by=self._me, now=now, claimed_until=now + timedelta(seconds=self._limits.lease_s), limit=room
        )
        for row in rows:
            try:
                letter = self._letter_from_row(row)
            except Exception as error:
                # Accepted by another version of this code, it seems. It must not stop the letters behind it.
                await self._fail(row["letter_id"], error)
            else:
                self.take(letter, row["attempts"])
        return len(rows)

    # --- Working ---------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            key = await self._ready.get()
            lane = self._lanes[key]
            letter, attempts = lane[0]
            if await self._process(letter):
                lane.popleft()
                self._held.discard(letter.letter_id)
            elif self._accepts:
                lane[0] = (letter, attempts + 1)
                pause_s = min(RETRY_S_MAX, RETRY_S_MIN * 4**attempts)
                loop.call_later(pause_s, self._ready.put_nowait, key)
                continue
            else:  # stopping: what waits to be tried again is left for the next start
                await self._store.release([waiting.letter_id for waiting, _ in lane], claimed_by=self._me)
                self._held.difference_update(waiting.letter_id for waiting, _ in lane)
                lane.clear()
            if lane:
                self._ready.put_nowait(key)
            else:
                del self._lanes[key]
                if not self._held:
                    self._idle.set()

    async def _process(self, letter: Letter) -> bool:
        """Work on one letter; False when it must be tried again."""
        context, started = letter.context, time.perf_counter()
        structlog.contextvars.bind_contextvars(
            transaction_id=context.transaction_id, message_id=context.message_id, action=context.action
        )
        try:
            async with self._store.unit_of_work() as uow:
                await self._handlers[context.action](letter, uow)
                # Last, so that the row is not locked while the handler works and its claim can be renewed.
                if not await self._store.finish(uow, letter.letter_id, claimed_by=self._me, now=self._wall.now()):
                    raise _TakenOver
        except _TakenOver:
            log.info("letter_taken_over", letter_id=letter.letter_id)
            return True
        except Exception as error:
            log.exception("letter_failed", reference=letter.letter_id, signer_id=letter.signer_id)
            return await self._fail(letter.letter_id, error, context)
        finally:
            self._metrics.process_seconds(context.action).observe(time.perf_counter() - started)
            structlog.contextvars.unbind_contextvars("transaction_id", "message_id", "action")
        self._metrics.processed(context.action, "done").inc()
        return True

    async def _fail(self, letter_id: str, error: Exception, context: envelope.Context | None = None) -> bool:
        """Note the failure; True when there is nothing more to do with the letter here."""
        action = context.action if context else "unreadable"
        now = self._wall.now()
        try:
            parked = await self._store.fail(
                letter_id,
                claimed_by=self._me,
                error=f"{type(error).__name__}: {error}"[:1000],
                attempts_max=self._limits.attempts_max,
                claimed_until=now + timedelta(seconds=self._limits.lease_s),
                now=now,
            )
        except Exception:
            # The database is away: the letter is still there, and is tried again.
            log.exception("failure_not_noted", reference=letter_id)
            parked = False
        if parked:
            log.error("letter_parked", reference=letter_id)
        self._metrics.processed(action, "parked" if parked else "retry").inc()
        return parked
