"""A job that is woken for new work runs soon, once for all of it, and never twice at a time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from beckn.jobs import Job, Jobs


class Work:
    """A job that notes its runs, each of which waits to be let go on."""

    def __init__(self) -> None:
        self.runs, self.at_once, self.most_at_once = 0, 0, 0
        self.go_on = asyncio.Event()

    async def run(self, _node: Any) -> None:
        self.runs, self.at_once = self.runs + 1, self.at_once + 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.go_on.wait()
        self.at_once -= 1


async def a_while() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_work_that_comes_during_a_run_gets_one_more_run_however_often_it_is_woken() -> None:
    work = Work()
    jobs = Jobs([Job("deliver", 60, work.run)], None)  # type: ignore[arg-type]
    jobs.wake("deliver")
    jobs.wake("deliver")  # the run that has not begun will find this work, too
    await a_while()
    assert work.runs == 1
    for _ in range(3):
        jobs.wake("deliver")
    await a_while()
    assert work.runs == 1
    work.go_on.set()
    await a_while()
    assert (work.runs, work.most_at_once) == (2, 1)


async def test_only_a_job_of_the_table_can_be_woken() -> None:
    with pytest.raises(KeyError):
        Jobs([], None).wake("deliver")  # type: ignore[arg-type]
