"""Group commit: nothing that was submitted is left lying, whatever the moment it came in."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from beckn.group_commit import GroupCommit, LineFull


async def test_a_full_line_refuses() -> None:
    gate = asyncio.Event()

    async def write(batch: Sequence[int]) -> Sequence[int]:
        await gate.wait()
        return batch

    line: GroupCommit[int, int] = GroupCommit(write, waiting_max=2)
    first = line.submit(1)
    await asyncio.sleep(0)  # the first is being written; two more may wait
    others = [line.submit(2), line.submit(3)]
    with pytest.raises(LineFull):
        line.submit(4)
    gate.set()
    assert await asyncio.gather(first, *others) == [1, 2, 3]


async def test_every_caller_of_a_batch_hears_of_its_failure() -> None:
    async def write(batch: Sequence[int]) -> Sequence[int]:
        raise OSError("the database is away")

    line: GroupCommit[int, int] = GroupCommit(write)
    for failure in await asyncio.gather(line.submit(1), line.submit(2), return_exceptions=True):
        assert isinstance(failure, OSError)


async def test_what_comes_in_just_as_a_writer_finds_the_line_empty_is_written_too() -> None:
    # The race: a writer's last batch is done, its callers are woken, and one of them submits again before the event
    # loop has told anyone that the writer has ended. Nobody else will ever come to start another.
    async def write(batch: Sequence[int]) -> Sequence[int]:
        return batch

    line: GroupCommit[int, int] = GroupCommit(write)

    async def submit_again() -> int:
        return await line.submit(await line.submit(1) + 1)

    for _ in range(200):
        async with asyncio.timeout(2):
            assert await asyncio.gather(*(submit_again() for _ in range(3))) == [2, 2, 2]
    await line.settled()
