"""The outbox: letters are written with the decision that made them, and delivered afterwards until they arrive.

`post` writes a row in the unit of work that decided to send; when that commits, the letter goes to the dispatcher in
memory. Letters of one destination and transaction form a lane: one is in flight, the next waits for its fate. Lanes run
side by side, up to a bound per destination. What became of a letter:

    ACK                          SENT
    NACK, any definite 4xx       DEAD with the peer's words; the shop is told, in the same unit of work
    no connection                certainly not delivered: tried again, the whole destination backing off
    time-out, cut, 5xx, 429      perhaps delivered: marked uncertain, tried again likewise
    delivery time over           DEAD; the shop is told, and whether the peer may have got it

While a destination fails, its letters wait in the table and not in memory; one is tried at a time until one arrives.
A letter heard from the peer ends the wait. Letters are signed when they are sent, with the key of that moment. A letter
older than its ttl is dated anew, for peers refuse stale ones; a request that may have arrived keeps its bytes, because
under a known message_id other bytes would be refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol

import orjson

from beckn import actions, envelope, ids, signing
from beckn.clock import Clock

_FOR_EVER = datetime.max.replace(tzinfo=UTC)

#: Header values that a gateway's letters share, remembered at most.
_SHARED_MAX = 64


class OutboxRow(NamedTuple):
    """One letter as it is stored; the order of the fields is the store's."""

    letter_id: str
    destination_url: str
    receiver_id: str
    action: str
    message_id: str
    transaction_id: str
    body: bytes
    authorization: str | None
    created_at: datetime
    give_up_at: datetime


class OutboxStore(Protocol):
    """Port: the rows of letters to send."""

    def unit_of_work(self) -> AbstractAsyncContextManager[Any]:
        """One transaction."""
        ...

    async def post(
        self,
        uow: Any,
        rows: Sequence[OutboxRow],
        *,
        not_before: Sequence[datetime | None],
        claimed_by: str | None,
        claimed_until: datetime | None,
    ) -> Sequence[tuple[int, bool]]:
        """Queue letters within a unit of work: seq, and whether `claimed_by` holds the letter."""
        ...

    async def claim(
        self, *, claimed_by: str, now: datetime, claimed_until: datetime, limit: int
    ) -> Sequence[Mapping[str, Any]]:
        """Take letters that are due and that nobody holds, in order."""
        ...

    async def renew(
        self, seqs: Sequence[int], *, claimed_by: str, claimed_until: datetime, older_than: datetime
    ) -> None:
        """Hold on to letters whose claim ends before `older_than`."""
        ...

    async def sent(self, results: Sequence[tuple[int, datetime, str]]) -> None:
        """Note acknowledged letters: seq, when, outcome (JSON)."""
        ...

    async def retry(self, results: Sequence[tuple[int, int, bool, datetime, str | None]], *, claimed_by: str) -> None:
        """Give letters back: seq, attempts made, perhaps delivered, when to try again, outcome (JSON or None)."""
        ...

    async def dead(
        self,
        uow: Any,
        seq: int,
        *,
        claimed_by: str,
        tried: bool,
        uncertain: bool,
        outcome: dict[str, Any],
        now: datetime,
    ) -> bool:
        """Park a letter for good; False when another process took it over."""
        ...

    async def wake(self, destination_url: str, *, now: datetime) -> None:
        """Whatever waits for a destination is due now."""
        ...


@dataclass(slots=True)
class Outgoing:
    """A queued letter in memory, and what the shop is shown of one that was not delivered."""

    seq: int
    letter_id: str
    url: str
    receiver_id: str
    action: str
    message_id: str
    transaction_id: str
    body: bytes
    #: The first sender's header, on a letter that a gateway carries; None for letters of our own.
    authorization: str | None
    created_at: datetime
    give_up_at: datetime
    attempts: int = 0
    #: True once the peer may have got it without our knowing.
    uncertain: bool = False


class Post(NamedTuple):
    """What to send to whom: an argument of `Outbox.post_all`."""

    action: str
    receiver_id: str
    url: str
    body: bytes
    transaction_id: str
    message_id: str
    authorization: str | None = None


class Dispatch(Protocol):
    """What the outbox needs of the dispatcher in memory."""

    def reserve(self) -> str | None:
        """Who holds letters about to be written: this process, or None when they are to wait in the table."""
        ...

    def not_before(self, url: str) -> datetime | None:
        """When a failing destination may be tried again; None when it works."""
        ...

    def take(self, letter: Outgoing) -> None:
        """Send a letter that is stored and held by this process."""
        ...

    def look(self) -> None:
        """Letters were stored that this process does not hold."""
        ...


class Outbox:
    """Where a shop puts what is to be sent."""

    def __init__(self, *, store: OutboxStore, dispatcher: Dispatch, wall: Clock, lease_s: float) -> None:
        self._store, self._dispatcher, self._wall, self._lease_s = store, dispatcher, wall, lease_s

    async def post(
        self,
        uow: Any,
        *,
        action: str,
        receiver_id: str,
        url: str,
        body: bytes,
        transaction_id: str,
        message_id: str,
        authorization: str | None = None,
        now: datetime | None = None,
    ) -> str:
        """Send `body` to `url`/`action` once the unit of work commits; the letter's id.

        `url` is the receiver's registered base URL. `authorization` is the first sender's header, on a letter carried
        for another; `now` (default: the wall clock) starts the time that delivery is tried for.
        """
        letter = Post(action, receiver_id, url, body, transaction_id, message_id, authorization)
        return (await self.post_all(uow, [letter], now=now))[0]

    async def post_all(
        self, uow: Any, letters: Sequence[Post], *, now: datetime | None = None, give_up_at: datetime | None = None
    ) -> list[str]:
        """Send several letters at once, such as the copies of a fan-out; their ids, in order.

        `give_up_at` ends delivery sooner than the action's own time does: a copy that is carried for another cannot
        be dated anew, so it is worth nothing after its ttl.
        """
        if not letters:
            return []
        now = now or self._wall.now()
        rows = [
            OutboxRow(
                ids.letter_id(),
                letter.url.rstrip("/"),
                letter.receiver_id,
                letter.action,
                letter.message_id,
                letter.transaction_id,
                letter.body,
                letter.authorization,
                now,
                min(give_up_at or _FOR_EVER, now + timedelta(seconds=actions.ACTIONS[letter.action].deliver_for_s)),
            )
            for letter in letters
        ]
        claimed_by = self._dispatcher.reserve()
        stored = await self._store.post(
            uow,
            rows,
            not_before=[self._dispatcher.not_before(row.destination_url) for row in rows],
            claimed_by=claimed_by,
            claimed_until=None if claimed_by is None else self._wall.now() + timedelta(seconds=self._lease_s),
        )
        held = [Outgoing(seq, *row) for row, (seq, is_held) in zip(rows, stored, strict=True) if is_held]

        def committed() -> None:
            for letter in held:
                self._dispatcher.take(letter)
            if len(held) < len(rows):
                self._dispatcher.look()

        uow.after_commit(committed)
        return [row.letter_id for row in rows]


class Signer:
    """Makes the headers of letters, at the moment they are sent."""

    def __init__(self, identity: Callable[[], signing.Identity]) -> None:
        """`identity` is asked for every letter, so that a rotated key is used from then on."""
        self._identity = identity
        self._shared: dict[tuple[bytes, int], str] = {}

    def headers(self, letter: Outgoing, body: bytes, now: datetime) -> dict[str, str]:
        """Our signature; or, on a letter carried for another, the other's header untouched and ours beside it."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if letter.authorization is None:
            headers["Authorization"] = signing.sign(body, identity=self._identity(), now=now)
        else:
            ours = self._carried(body, now)
            headers["Authorization"] = letter.authorization
            # protocol-server reads only the second of these, everybody else only the first.
            headers["X-Gateway-Authorization"] = ours
            headers["Proxy-Authorization"] = ours
        return headers

    def _carried(self, body: bytes, now: datetime) -> str:
        """A gateway's signature names no receiver, so the copies of a fan-out share one each second."""
        key = (body, int(now.timestamp()))
        header = self._shared.get(key)
        if header is None:
            if len(self._shared) >= _SHARED_MAX:
                self._shared.clear()
            header = self._shared[key] = signing.sign(body, identity=self._identity(), now=now)
        return header


def body_to_send(letter: Outgoing, now: datetime) -> bytes:
    """The letter's bytes, dated anew when it outlived its ttl while it could not be delivered.

    Not for a letter carried for another, whose bytes are signed; nor for a request that the peer may already hold.
    """
    action = actions.ACTIONS[letter.action]
    if letter.authorization is not None or now - letter.created_at < timedelta(seconds=action.ttl_s):
        return letter.body
    if letter.uncertain and not action.is_callback:
        return letter.body
    document = orjson.loads(letter.body)
    document["context"]["timestamp"] = envelope.format_instant(now)
    return orjson.dumps(document)


Undelivered = Callable[[Any, Outgoing, dict[str, Any], bool], Awaitable[None]]
"""Told of a letter that was parked: unit of work, letter, outcome, and whether it certainly changed nothing there."""
