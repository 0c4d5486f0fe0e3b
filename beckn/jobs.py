"""The scheduled wake-ups of a node, as a table: each only wakes stored work, so running one twice does no harm."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

if TYPE_CHECKING:
    from beckn.node import Node

log = structlog.get_logger("beckn.jobs")


@dataclass(frozen=True, slots=True)
class Job:
    """One wake-up: `run` every `every_s` seconds, and if it asks for that, at once when a driven clock moves."""

    name: str
    every_s: float
    run: Callable[[Node], Awaitable[None]]
    on_clock_move: bool = False


class JobFailed(Exception):
    """A job that had to run to its end did not; the log has the reference id."""


class Jobs:
    """Runs the jobs of one process; one run of a job at a time."""

    def __init__(self, jobs: Sequence[Job], node: Node) -> None:
        if len({job.name for job in jobs}) != len(jobs):
            raise ValueError("two jobs have the same name")
        self._jobs, self._node = jobs, node
        self._locks = {job.name: asyncio.Lock() for job in jobs}
        self._running: set[asyncio.Task[str]] = set()
        self._woken: set[str] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Wake the jobs at their times while the block runs; at its end, let those under way finish, within a bound."""
        scheduler = AsyncIOScheduler(timezone=UTC)
        for job in self._jobs:
            scheduler.add_job(
                self._wake, "interval", args=[job], seconds=job.every_s, id=job.name, coalesce=True, max_instances=1
            )
        scheduler.start()
        try:
            yield
        finally:
            scheduler.shutdown(wait=False)
            if self._running:
                await asyncio.wait(self._running, timeout=self._node.settings.stop_s_max / 2)

    async def run_due(self) -> None:
        """Run the jobs that follow the trading clock, in the table's order, each to its end. Raises JobFailed."""
        for job in self._jobs:
            if job.on_clock_move:
                reference = await self._run(job)
                if reference:
                    raise JobFailed(f"the job {job.name} failed; quote reference {reference}")

    def wake(self, name: str) -> None:
        """Start a run of this job now: for work that was just stored and need not wait for its time.

        Raises KeyError for a job that is not in the table.
        """
        job = {job.name: job for job in self._jobs}[name]
        if name in self._woken:
            return  # a run that has not begun will find this work, too
        self._woken.add(name)
        task = asyncio.create_task(self._run(job), name=job.name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _wake(self, job: Job) -> None:
        """Start a run, unless the last is still under way; in a task of its own, which the scheduler cannot cancel."""
        if not self._locks[job.name].locked():
            task = asyncio.create_task(self._run(job), name=job.name)
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _run(self, job: Job) -> str:
        """Run a job; empty, or the reference id under which its failure was logged."""
        async with self._locks[job.name]:
            self._woken.discard(job.name)
            try:
                await job.run(self._node)
            except Exception:
                # The next run tries again: the work is stored, a job only wakes it.
                reference = secrets.token_hex(6)
                self._node.metrics.job_failures.labels(job.name).inc()
                log.exception("job_failed", job=job.name, reference=reference)
                return reference
        return ""
