"""The dispatcher: sends the outbox's letters, lane by lane, and notes what became of each."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections import deque
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import orjson
import structlog

from beckn import envelope
from beckn.clock import Clock
from beckn.group_commit import GroupCommit
from beckn.metrics import Metrics
from beckn.outbox import OutboxStore, Outgoing, Signer, Undelivered, body_to_send
from beckn.transport import NotDelivered, Transport

log = structlog.get_logger("beckn.outbox")

#: Letters taken from the table at once.
CLAIM_MAX = 256


#: seq, attempts made, perhaps delivered, when to try again, outcome (JSON) or None.
_Retry = tuple[int, int, bool, datetime, str | None]


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of sending; see beckn.config for what each means."""

    workers: int
    per_destination_max: int
    memory_max: int
    backoff_s_min: float
    backoff_s_max: float
    lease_s: float
    poll_s: float


@dataclass(slots=True)
class _Destination:
    """A peer's URL: its lanes with letters, and how it fares."""

    url: str
    lanes: dict[str, deque[Outgoing]] = field(default_factory=dict)
    #: Lanes whose first letter is not in flight.
    ready: deque[str] = field(default_factory=deque)
    in_flight: int = 0
    #: Failures in a row; 0 when it works.
    failures: int = 0
    failed_at: float = 0.0
    retry_at: datetime | None = None


class Dispatcher:
    """Sends the letters of one process."""

    def __init__(
        self,
        *,
        store: OutboxStore,
        signer: Signer,
        limits: Limits,
        wall: Clock,
        metrics: Metrics,
        on_undelivered: Undelivered | None = None,
    ) -> None:
        self._store, self._signer, self._limits = store, signer, limits
        self._wall, self._metrics, self._on_undelivered = wall, metrics, on_undelivered
        self._transport: Transport | None = None
        self._me = secrets.token_hex(8)
        self._destinations: dict[str, _Destination] = {}
        self._held: dict[int, Outgoing] = {}
        self._in_flight = 0
        #: Destinations with letters that may go as soon as fewer are in flight altogether.
        self._starved: dict[str, _Destination] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._poller: asyncio.Task[None] | None = None
        self._acknowledged: GroupCommit[tuple[int, datetime, str], None] = GroupCommit(self._note_sent)

    # --- Life ------------------------------------------------------------------------------------------------------

    async def start(self, transport: Transport) -> None:
        """Begin to send; with no workers this process only writes letters down."""
        self._transport = transport
        if self._limits.workers:
            self._poller = asyncio.create_task(self._poll(), name="outbox poll")

    async def stop(self, *, within_s: float) -> None:
        """Send what is in memory, for `within_s` at most; give the rest back to whoever comes next."""
        if self._poller is not None:
            self._poller.cancel()
            await asyncio.gather(self._poller, return_exceptions=True)
            self._poller = None
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._idle.wait()
                # Nothing is held any more, but what failed last may still be on its way back to the table.
                while self._tasks:
                    await asyncio.gather(*self._tasks, return_exceptions=True)
        cut = list(self._tasks)
        for task in cut:
            task.cancel()
        await asyncio.gather(*cut, return_exceptions=True)
        if self._held:
            now, in_flight = self._wall.now(), {task.get_name() for task in cut}
            # A letter cut off in flight may have arrived.
            await self._store.retry(
                [(seq, 0, str(seq) in in_flight, now, None) for seq in self._held], claimed_by=self._me
            )
        self._held.clear()
        self._destinations.clear()
        self._starved.clear()
        self._idle.set()

    def __len__(self) -> int:
        return len(self._held)

    # --- Taking letters --------------------------------------------------------------------------------------------

    def reserve(self) -> str | None:
        """Who holds letters about to be written: this process, or None when they are to wait in the table."""
        return self._me if self._poller is not None and len(self._held) < self._limits.memory_max else None

    def not_before(self, url: str) -> datetime | None:
        """When a failing destination may be tried again; None when it may be tried now."""
        destination = self._destinations.get(url)
        if destination is None or destination.retry_at is None or destination.retry_at <= self._wall.now():
            return None
        return destination.retry_at

    def look(self) -> None:
        """Letters were stored that this process does not hold: look for those that are due."""
        self._wake.set()

    def take(self, letter: Outgoing) -> None:
        """Send a letter that is stored and held by this process."""
        if letter.seq in self._held:
            return
        retry_at = self.not_before(letter.url)
        if retry_at is not None:  # the destination failed while the letter was being written
            self._spawn(self._release([(letter.seq, 0, False, retry_at, None)]), name="release")
            return
        self._held[letter.seq] = letter
        self._idle.clear()
        destination = self._destinations.get(letter.url)
        if destination is None:
            destination = self._destinations[letter.url] = _Destination(letter.url)
        lane = destination.lanes.get(letter.transaction_id)
        if lane is None:
            destination.lanes[letter.transaction_id] = deque([letter])
            destination.ready.append(letter.transaction_id)
            self._pump(destination)
        else:
            lane.append(letter)

    def heard_from(self, url: str) -> None:
        """A letter from this peer was accepted: it is up, so stop backing off."""
        destination = self._destinations.get(url)
        if destination is not None and destination.failures:
            self._recovered(destination)

    async def _poll(self) -> None:
        lease, renewed_at = timedelta(seconds=self._limits.lease_s), time.monotonic()
        while True:
            try:
                while (room := min(CLAIM_MAX, self._limits.memory_max - len(self._held))) > 0:
                    if await self._claim(room) < room:
                        break
                self._metrics.outbox_in_memory.set(len(self._held))
                if time.monotonic() - renewed_at > self._limits.lease_s / 3:
                    renewed_at, now = time.monotonic(), self._wall.now()
                    await self._store.renew(
                        list(self._held), claimed_by=self._me, claimed_until=now + lease, older_than=now + lease * 2 / 3
                    )
            except Exception:
                # The database may be away for a while; the letters are safe there.
                log.exception("outbox_poll_failed")
            with suppress(TimeoutError):
                async with asyncio.timeout(self._limits.poll_s):
                    await self._wake.wait()
            self._wake.clear()

    async def _claim(self, room: int) -> int:
        now = self._wall.now()
        rows = await self._store.claim(
            claimed_by=self._me, now=now, claimed_until=now + timedelta(seconds=self._limits.lease_s), limit=room
        )
        for row in rows:
            self.take(_from_row(row))
        return len(rows)

    # --- Sending ---------------------------------------------------------------------------------------------------

    def _pump(self, destination: _Destination) -> None:
        """Put letters of a destination in flight, as many as may be: one at a time while it fails."""
        most = 1 if destination.failures else self._limits.per_destination_max
        while destination.ready and destination.in_flight < most:
            if self._in_flight >= self._limits.workers:
                self._starved[destination.url] = destination
                return
            key = destination.ready.popleft()
            destination.in_flight += 1
            self._in_flight += 1
            self._spawn(self._send(destination, key), name=str(destination.lanes[key][0].seq))

    async def _send(self, destination: _Destination, key: str) -> None:
        """Try the first letter of a lane once, then let the next go that may."""
        lane, started = destination.lanes[key], time.monotonic()
        letter = lane[0]
        try:
            settled = await self._try(destination, letter, started)
        except Exception as error:
            # A bug of ours; the letter must not be lost for it, nor be tried without a pause.
            log.exception("letter_not_sent", reference=letter.letter_id)
            await self._back_off(destination, letter, {"result": "FAILED", "message": type(error).__name__}, started)
            settled = False
        destination.in_flight -= 1
        self._in_flight -= 1
        if settled:
            lane.popleft()
            self._forget(letter)
            if lane:
                destination.ready.append(key)
            else:
                del destination.lanes[key]
        self._pump(destination)
        while self._starved and self._in_flight < self._limits.workers:
            self._pump(self._starved.pop(next(iter(self._starved))))
        if not destination.lanes and not destination.failures:
            self._destinations.pop(destination.url, None)

    async def _try(self, destination: _Destination, letter: Outgoing, started: float) -> bool:
        """Try one letter once; True when its fate is known, False when it went back to the table."""
        assert self._transport is not None  # noqa: S101 - set before anything is taken
        now = self._wall.now()
        if now >= letter.give_up_at:
            await self._bury(letter, {"result": "GIVEN_UP", "message": "the time for delivery is over"}, tried=False)
            return True
        body = body_to_send(letter, now)
        try:
            status, answered = await self._transport.post(
                f"{letter.url}/{letter.action}", body, self._signer.headers(letter, body, now)
            )
        except NotDelivered as failure:
            letter.uncertain = letter.uncertain or not failure.certain
            await self._back_off(destination, letter, {"result": "FAILED", "message": str(failure)}, started)
            return False
        self._metrics.send_seconds(letter.action).observe(time.monotonic() - started)
        answer = envelope.parse_answer(status, answered)
        if answer.accepted:
            self._metrics.sent(letter.action, "ack").inc()
            self._recovered(destination)
            await self._acknowledged.submit((letter.seq, self._wall.now(), _ack(status)))
            return True
        # An answer without a code is no protocol's refusal: who wrote it may not be who got the letter.
        letter.uncertain = letter.uncertain or not answer.code
        said = answer.message[:1000] or f"HTTP {status}"
        outcome = {"result": "NACK", "http_status": status, "code": answer.code, "message": said}
        if not answer.refused:
            await self._back_off(destination, letter, outcome, started)
            return False
        self._recovered(destination)
        await self._bury(letter, outcome, tried=True)
        return True

    def _forget(self, letter: Outgoing) -> None:
        """The letter is no longer in this process' hands."""
        self._held.pop(letter.seq, None)
        if not self._held:
            self._idle.set()
        elif len(self._held) == self._limits.memory_max // 2:
            self._wake.set()  # there is room again

    def _spawn(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _note_sent(self, results: Sequence[tuple[int, datetime, str]]) -> list[None]:
        try:
            await self._store.sent(results)
        except Exception:
            # Not lost: the claim lapses, the letter is sent again, and the peer knows it already.
            log.exception("acknowledgements_not_noted", letters=len(results))
        return [None] * len(results)

    # --- When it does not work ---------------------------------------------------------------------------------------

    async def _back_off(
        self, destination: _Destination, letter: Outgoing, outcome: dict[str, Any], started: float
    ) -> None:
        """Give the destination's letters back to the table until it may be tried again."""
        self._metrics.sent(letter.action, "retry").inc()
        now = self._wall.now()
        # Letters that were in flight together fail together: that is one failure, not sixteen.
        if started >= destination.failed_at or destination.retry_at is None:
            pause_s = self._pause(destination)
            destination.failed_at = time.monotonic()
            destination.retry_at = now + timedelta(seconds=pause_s)
            asyncio.get_running_loop().call_later(pause_s, self._wake.set)
            log.info("destination_failed", url=destination.url, failures=destination.failures,
                     pause_s=round(pause_s, 3), action=letter.action, transaction_id=letter.transaction_id,
                     message_id=letter.message_id, reason=outcome["message"])  # fmt: skip
        retry_at = destination.retry_at
        rows: list[_Retry] = []
        for key in [letter.transaction_id, *destination.ready]:
            for waiting in destination.lanes.pop(key):
                tried = waiting is letter
                result = orjson.dumps(outcome).decode() if tried else None
                rows.append((waiting.seq, int(tried), tried and letter.uncertain, retry_at, result))
                self._forget(waiting)
        destination.ready.clear()
        await self._release(rows)

    def _pause(self, destination: _Destination) -> float:
        """Count a failure; how long to leave the destination alone, with jitter."""
        destination.failures += 1
        doubled_s = self._limits.backoff_s_min * 2.0 ** min(destination.failures - 1, 30)
        return min(self._limits.backoff_s_max, doubled_s) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter

    async def _release(self, rows: list[_Retry]) -> None:
        try:
            await self._store.retry(rows, claimed_by=self._me)
        except Exception:
            # Not lost: the claims lapse.
            log.exception("retries_not_noted", letters=len(rows))

    def _recovered(self, destination: _Destination) -> None:
        """The destination works: whatever waits for it in the table is due now."""
        if destination.failures:
            log.info("destination_recovered", url=destination.url, failures=destination.failures)
            destination.failures, destination.retry_at = 0, None
            self._spawn(self._wake_up(destination.url), name="wake")

    async def _wake_up(self, url: str) -> None:
        try:
            await self._store.wake(url, now=self._wall.now())
        except Exception:
            log.exception("destination_not_woken", url=url)  # its letters wait for their time
        self._wake.set()

    async def _bury(self, letter: Outgoing, outcome: dict[str, Any], *, tried: bool) -> None:
        """Park a letter for good and tell the shop, in one unit of work."""
        certain = not letter.uncertain
        try:
            async with self._store.unit_of_work() as uow:
                parked = await self._store.dead(
                    uow,
                    letter.seq,
                    claimed_by=self._me,
                    tried=tried,
                    uncertain=letter.uncertain,
                    outcome=outcome,
                    now=self._wall.now(),
                )
                if parked and self._on_undelivered is not None:
                    await self._on_undelivered(uow, letter, outcome, certain)
        except Exception:
            # Nothing was changed: the claim lapses, and the letter comes to the same end again.
            log.exception("undelivered_letter_not_parked", reference=letter.letter_id)
            return
        self._metrics.sent(letter.action, "nack" if tried else "given_up").inc()
        log.warning("letter_undelivered", action=letter.action, transaction_id=letter.transaction_id,
                    message_id=letter.message_id, receiver_id=letter.receiver_id, certain=certain,
                    outcome=outcome)  # fmt: skip


def _from_row(row: Mapping[str, Any]) -> Outgoing:
    fields = dict(row)
    return Outgoing(url=fields.pop("destination_url"), **fields)


@cache
def _ack(http_status: int) -> str:
    return orjson.dumps({"result": "ACK", "http_status": http_status}).decode()
