"""Group commit: what waits while one statement is under way goes together in the next.

There is no timer. A lone item is written at once; under load the batches grow by themselves to what arrives during one
round trip, which is where a row is cheapest. The waiting line is bounded: a full one refuses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar, cast

T = TypeVar("T")
R = TypeVar("R")


class LineFull(Exception):
    """Too much is waiting to be written; the caller must refuse or wait."""


class GroupCommit(Generic[T, R]):
    """Collects items and writes them in batches; every caller gets the result of its own item."""

    def __init__(
        self,
        write: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        *,
        batch_max: int = 256,
        waiting_max: int = 2048,
        writers: int = 1,
    ) -> None:
        """`write` answers one result per item, in order, once the whole batch is durable."""
        self._write = write
        self._batch_max, self._waiting_max, self._writers = batch_max, waiting_max, writers
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._active: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def submit(self, item: T) -> asyncio.Future[R]:
        """Write `item` in the next batch; the future fails with whatever the write failed with. Raises LineFull."""
        if len(self._waiting) >= self._waiting_max:
            raise LineFull(f"{self._waiting_max} items are waiting to be written")
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if len(self._active) < self._writers:
            self._active.add(asyncio.create_task(self._drain()))
        return future

    async def settled(self) -> None:
        """Wait until everything submitted so far has been written or has failed."""
        while self._active:
            await asyncio.wait(self._active)

    async def _drain(self) -> None:
        try:
            await self._write_waiting()
        finally:
            # At once and not in the task's callback, which runs later: what is submitted between the last look at the
            # line and that callback would find a writer that has stopped looking, and wait for ever.
            self._active.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    async def _write_waiting(self) -> None:
        while self._waiting:
            batch = self._waiting[: self._batch_max]
            del self._waiting[: self._batch_max]
            try:
                results = await self._write([item for item, _ in batch])
            except Exception as error:  # every caller of the batch must hear of it, whatever it was
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                        future.exception()  # a caller that has gone away needs no warning in the log
            else:
                for (_, future), result in zip(batch, results, strict=True):
                    if not future.done():
                        future.set_result(result)
