"""What the kernel says a process used: CPU time in nanoseconds, resident memory."""

from __future__ import annotations

import socket
from pathlib import Path


def cpu_ns(pid: int) -> int:
    """CPU time of all threads of a process so far, from the scheduler's own account (nanoseconds)."""
    return sum(int(task.joinpath("schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir())


def rss_mb(pid: int) -> float:
    """Resident memory of a process in MB (1e6 bytes), as in VmRSS."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return round(int(line.split()[1]) * 1024 / 1e6, 1)
    raise ProcessLookupError(pid)


def free_port() -> int:
    """A TCP port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
