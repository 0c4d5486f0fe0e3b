"""Who the other nodes are, which keys they sign with, and where they live: a node's view of the registry.

A node keeps every record it has read in its own database and in memory, and asks the registry for changes every two
seconds. From that follow the promises:

- A key that the registry knows is found in memory, without any I/O.
- A revoked or suspended key is refused within five seconds: two for the poll, the rest for a slow answer.
- A key that nobody here has heard of makes the node read the feed at once (one reading at a time, however many letters
  wait for it); what is still unknown then is remembered as unknown for two seconds.
- While the registry is silent a known key stays good for an hour after the last reading, or until its own end. That is
  the rolling valid_until the registry gives to everyone. An unknown key is refused.
- A restarted node knows its peers before it has spoken to the registry.

A registry without a change feed (not ours) is asked by lookup, each answer being trusted for a minute and kept for the
hour in which the registry may be silent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import structlog

from beckn import errors
from beckn.clock import Clock
from beckn.records import Record, RecordIndex, normalised, record_from_wire
from beckn.registry_client import RegistryClient, RegistryUnavailable

__all__ = ["Directory", "DirectoryStore", "Record", "RegistryDirectory", "record_from_wire"]

#: How often the change feed is read, seconds.
POLL_S = 2.0
#: How long known keys outlive the last reading, seconds: the registry's own rolling valid_until.
GOOD_S = 3600
#: How long an unknown key is remembered as unknown, seconds, and how many of them.
UNKNOWN_S, UNKNOWN_MAX = 2.0, 10_000
#: Letters from unknown signers make the feed be read at most this often, seconds.
READ_GAP_S = 0.1
#: How old the last reading may be when subscribers are looked for, seconds.
FIND_FRESH_S = 0.5
#: How long a lookup at a registry without a feed is trusted, seconds; as often it is asked whether it has one now.
LOOKUP_TRUST_S = 60
#: An unchanged directory is written down this often, seconds.
SAVE_S = 30

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_LOG = structlog.get_logger("directory")


class Directory(Protocol):
    """Port: find a key, find subscribers."""

    def cached_key(self, subscriber_id: str, key_id: str, *, role: str = "") -> Record | None:
        """What is known of a key without asking anybody."""
        ...

    async def find_key(self, subscriber_id: str, key_id: str, *, role: str = "") -> Record | None:
        """What is known of a key, the registry having been asked when it must be."""
        ...

    async def find(self, type: str, domain: str = "", subscriber_id: str = "") -> list[Record]:
        """Valid subscribers of a type, one record each."""
        ...

    async def url_of(self, subscriber_id: str, role: str) -> str | None:
        """Where a subscriber is registered."""
        ...


class DirectoryStore(Protocol):
    """Port: where records outlive the process."""

    async def load(self, registry_url: str) -> tuple[int, datetime, list[tuple[dict[str, Any], datetime]]] | None:
        """Last seq, when it was read, and records with the instant they are good until."""
        ...

    async def save(
        self,
        registry_url: str,
        records: Sequence[dict[str, Any]],
        *,
        last_seq: int,
        read_at: datetime,
        good_until: datetime,
        replace_all: bool,
    ) -> None:
        """Keep records and how far was read, in one commit."""
        ...

    async def forget(self, subscriber_id: str, key_id: str) -> None:
        """Drop a key."""
        ...


class RegistryDirectory:
    """The directory of one node: stored records kept fresh from one registry."""

    def __init__(
        self, *, client: RegistryClient, store: DirectoryStore, wall: Clock, domain: str = "", poll_s: float = POLL_S
    ) -> None:
        self._client, self._store, self._wall, self._poll_s = client, store, wall, poll_s
        self._records, self._domain = RecordIndex(domain), domain
        #: Every known record is good until then, as far as the feed goes; a looked-up key has an instant of its own.
        self._good_until = _NEVER
        self._looked_up: dict[tuple[str, str], datetime] = {}
        self._found: dict[tuple[str, str, str], datetime] = {}
        self._has_feed = True
        self._seq: int | None = None
        self._read_at, self._saved_at = _NEVER, _NEVER
        self._unsaved: dict[tuple[str, str, str, str], dict[str, Any]] = {}
        self._dropped: set[tuple[str, str]] = set()
        self._replaces_all = False
        self._unknown: dict[tuple[str, str], datetime] = {}
        self._problem = "the registry has not been asked yet"
        self._reading: asyncio.Task[None] | None = None
        self._reading_since = 0.0
        self._asking: dict[tuple[str, ...], asyncio.Task[None]] = {}
        self._poller: asyncio.Task[None] | None = None

    # --- Life ------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Remember what was known, read the registry once, then keep reading. Works without the registry."""
        stored = await self._store.load(self._client.url)
        if stored is not None:
            self._seq, self._read_at, rows = stored
            self._good_until = self._read_at + timedelta(seconds=GOOD_S)
            for document, good_until in rows:
                record = self._take(document)
                if record is not None:
                    self._looked_up[record.subscriber_id, record.key_id] = good_until
        await self.poll()
        await self._save()
        self._poller = asyncio.create_task(self._poll_for_ever(), name="directory")

    async def stop(self) -> None:
        """Stop reading and drop the connections."""
        tasks = [task for task in (self._poller, self._reading, *self._asking.values()) if task and task.cancel()]
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.close()

    def status(self) -> dict[str, Any]:
        """For /ready and the metrics: is the registry heard, since when not, how many records are known."""
        return {
            "reachable": not self._problem,
            "problem": self._problem,
            "registry_url": self._client.url,
            "mode": "feed" if self._has_feed else "lookup",
            "seq": self._seq or 0,
            "records": len(self._records),
            "read_seconds_ago": None if self._read_at == _NEVER else (self._wall.now() - self._read_at).total_seconds(),
            "known_keys_good_until": None if self._good_until == _NEVER else self._good_until,
        }

    # --- Finding ---------------------------------------------------------------------------------------------------

    def cached_key(self, subscriber_id: str, key_id: str, *, role: str = "") -> Record | None:
        """A key that is known and fresh, without I/O; None means: ask `find_key`.

        The record may be of any status and validity: whoever believes a letter must ask `Record.is_valid`.
        """
        record = self._records.key(subscriber_id, key_id, role)
        if record is None:
            return None
        now = self._wall.now()
        if now < self._good_until or now < self._found.get((subscriber_id, key_id, ""), _NEVER):
            return record
        return None

    async def find_key(self, subscriber_id: str, key_id: str, *, role: str = "") -> Record | None:
        """A key, after asking the registry when it is unknown or stale here; None when the registry does not know it.

        Raises errors.RegistryUnreachable when the key is unknown (or known too long ago) and the registry is silent.
        """
        record = self.cached_key(subscriber_id, key_id, role=role)
        if record is not None:
            return record
        pair = (subscriber_id, key_id)
        if self._unknown.get(pair, _NEVER) > self._wall.now():
            return None
        if self._has_feed:
            await self._read_afresh(pair)
        if not self._has_feed:
            await self._once(("key", *pair), self._look_up_key(*pair))
        record = self._records.key(subscriber_id, key_id, role)
        now = self._wall.now()
        if record is not None and self._is_current(record, now):
            return record
        if self._problem:
            raise errors.RegistryUnreachable
        self._remember_unknown(pair, now)
        return None

    async def find(self, type: str, domain: str = "", subscriber_id: str = "") -> list[Record]:
        """Valid subscribers of a type (and domain, when given): one record each, that of the newest key.

        Who joined more than half a second ago is among them: the feed is read first when the last reading is older.
        """
        if not self._has_feed:
            await self._look_up_all(type, domain, subscriber_id)
        elif not self._problem and asyncio.get_running_loop().time() - self._reading_since > FIND_FRESH_S:
            await self.poll()
        return self._matching(type, domain, subscriber_id)

    def _matching(self, type: str, domain: str, subscriber_id: str) -> list[Record]:
        now = self._wall.now()
        newest: dict[tuple[str, str], Record] = {}
        for record in self._records.of(subscriber_id) if subscriber_id else self._records.all():
            if record.type != type or (domain and record.domain != domain) or not record.is_valid(now):
                continue
            if not self._is_current(record, now):
                continue
            place = (record.subscriber_id, record.domain)
            if place not in newest or newest[place].created < record.created:
                newest[place] = record
        return sorted(newest.values(), key=lambda record: record.created, reverse=True)

    async def url_of(self, subscriber_id: str, role: str) -> str | None:
        """Where a subscriber's newest valid key of a role is registered; None when there is none."""
        found = self._matching(role, "", subscriber_id) or await self.find(role, subscriber_id=subscriber_id)
        return found[0].url if found else None

    # --- Reading the feed ------------------------------------------------------------------------------------------

    async def poll(self) -> None:
        """Read what changed; a reading that is under way is joined. Failures are kept for `status`, not raised."""
        if self._reading is None or self._reading.done():
            self._reading_since = asyncio.get_running_loop().time()
            self._reading = asyncio.create_task(self._read(), name="directory read")
        await asyncio.shield(self._reading)

    async def _poll_for_ever(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._poll_s)
            if self._has_feed or loop.time() - self._reading_since >= LOOKUP_TRUST_S:
                await self.poll()
            try:
                await self._save()
            except Exception:
                # The database is away. What was read is in memory and is written with the next round; a reader that
                # stopped here would never hear of a revocation.
                _LOG.exception("directory_not_saved")

    async def _read_afresh(self, pair: tuple[str, str]) -> None:
        """Read the feed in a reading that began after this call, unless an earlier one already brought the key."""
        if self._reading is not None and not self._reading.done():
            await asyncio.shield(self._reading)
            if self._records.key(*pair, "") is not None:
                return
        since_s = asyncio.get_running_loop().time() - self._reading_since
        if since_s < READ_GAP_S:
            await asyncio.sleep(READ_GAP_S - since_s)
        await self.poll()

    async def _read(self) -> None:
        """One reading: into memory only, so that a letter that waits for it does not wait for the database."""
        now = self._wall.now()
        try:
            news, seq, is_anew = await self._collect()
        except RegistryUnavailable as failure:
            self._note_problem(str(failure))
            return
        self._note_problem("")
        if not self._has_feed:
            return
        if is_anew:
            self._records, self._looked_up = RecordIndex(self._domain), {}
            self._unsaved, self._replaces_all = {}, True
        for document in news:
            record = self._take(document)
            if record is not None:
                self._unsaved[record.identity] = document
        if news:
            self._unknown.clear()
        self._seq, self._read_at, self._good_until = seq, now, now + timedelta(seconds=GOOD_S)

    async def _collect(self) -> tuple[list[dict[str, Any]], int, bool]:
        """Everything new in the feed, its last seq, and whether the feed was read from its beginning."""
        news: list[dict[str, Any]] = []
        seq, is_anew = self._seq or 0, self._seq is None
        while True:
            page = await self._client.changes(seq)
            self._has_feed = page is not None
            if page is None:
                return [], seq, False
            if page.next_seq < seq:
                # The registry began anew (its database was replaced): what we know is of another registry.
                seq, news, is_anew = 0, [], True
                continue
            news += page.records
            seq = page.next_seq
            if page.is_last:
                return news, seq, is_anew

    async def _save(self) -> None:
        """Write down what is new at once, and that nothing is new now and then."""
        now = self._wall.now()
        is_due = self._has_feed and now - self._saved_at >= timedelta(seconds=SAVE_S)
        if not (self._unsaved or self._dropped or self._replaces_all or is_due):
            return
        unsaved, dropped, replaces_all = self._unsaved, self._dropped, self._replaces_all
        self._unsaved, self._dropped, self._replaces_all = {}, set(), False
        try:
            for pair in dropped:
                await self._store.forget(*pair)
            await self._store.save(
                self._client.url,
                list(unsaved.values()),
                last_seq=self._seq or 0,
                read_at=self._read_at,
                good_until=now + timedelta(seconds=GOOD_S),
                replace_all=replaces_all,
            )
        except BaseException:
            self._unsaved = unsaved | self._unsaved
            self._dropped |= dropped
            self._replaces_all |= replaces_all
            raise
        self._saved_at = now

    # --- Asking a registry that has no feed --------------------------------------------------------------------------

    async def _look_up_key(self, subscriber_id: str, key_id: str) -> None:
        await self._look_up(
            {"subscriber_id": subscriber_id, "key_id": key_id, "ukId": key_id}, (subscriber_id, key_id, "")
        )

    async def _look_up_all(self, type: str, domain: str, subscriber_id: str) -> None:
        place = (type, domain, subscriber_id)
        if self._found.get(place, _NEVER) > self._wall.now():
            return
        named = zip(("type", "domain", "subscriber_id"), place, strict=True)
        await self._once(("find", *place), self._look_up({name: value for name, value in named if value}, place))

    async def _look_up(self, filters: dict[str, str], place: tuple[str, str, str]) -> None:
        """Ask, keep the answers for the hour, and trust them for a minute; a key no longer told of is dropped."""
        now = self._wall.now()
        try:
            documents = await self._client.lookup(filters)
        except RegistryUnavailable as failure:
            self._note_problem(str(failure))
            return
        self._note_problem("")
        trusted_until, good_until = now + timedelta(seconds=LOOKUP_TRUST_S), now + timedelta(seconds=GOOD_S)
        for document in documents:
            record = self._take(document)
            if record is None:
                continue
            pair = (record.subscriber_id, record.key_id)
            self._looked_up[pair] = min(record.valid_until, good_until)
            self._found[*pair, ""] = trusted_until
            self._unsaved[record.identity] = normalised(document, record)
        if documents or not filters.get("key_id"):
            self._found[place] = trusted_until
        else:
            self._records.drop_key(*place[:2])
            self._dropped.add(place[:2])

    async def _once(self, name: tuple[str, ...], work: Coroutine[Any, Any, None]) -> None:
        """Run `work`, or join the same work under way."""
        running = self._asking.get(name)
        if running is None:
            running = self._asking[name] = asyncio.create_task(work)
            running.add_done_callback(lambda _: self._asking.pop(name, None))
        else:
            work.close()
        await asyncio.shield(running)

    # --- Small parts -------------------------------------------------------------------------------------------------

    def _take(self, document: dict[str, Any]) -> Record | None:
        """Put a registry's record into memory; one that cannot be understood is left out and logged."""
        try:
            record = record_from_wire(document)
        except ValueError as error:
            _LOG.warning("registry_record_skipped", subscriber_id=document.get("subscriber_id"), reason=str(error))
            return None
        self._records.put(record)
        return record

    def _is_current(self, record: Record, now: datetime) -> bool:
        """Has the registry vouched for the record lately enough? While a lookup registry answers, that is a minute."""
        pair = (record.subscriber_id, record.key_id)
        if not self._has_feed and not self._problem:
            return now < self._found.get((*pair, ""), _NEVER)
        return now < max(self._good_until, self._looked_up.get(pair, _NEVER))

    def _note_problem(self, problem: str) -> None:
        if bool(problem) != bool(self._problem):
            _LOG.info("registry_heard" if not problem else "registry_silent", problem=problem)
        self._problem = problem

    def _remember_unknown(self, pair: tuple[str, str], now: datetime) -> None:
        if len(self._unknown) >= UNKNOWN_MAX:
            self._unknown.clear()
        self._unknown[pair] = now + timedelta(seconds=UNKNOWN_S)
