"""One node as a process of its own: start, ask, stop, kill, start again."""

from __future__ import annotations

import random
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli import processes
from cli.ask import tell
from cli.keys import Keys
from cli.plan import UTILITY

#: Where the packages are: nodes are started as `python -m <role>` from here, installed or not.
ROOT = Path(__file__).resolve().parents[1]
#: How long a node that was told to stop may take before it is killed; more than its own STOP_S_MAX.
STOP_S_MAX = 25.0
#: Ports are taken below the range from which the kernel takes those of outgoing connections.
PORTS = range(18_000, 32_000)


class PortTaken(RuntimeError):
    """A port that was asked for is in use."""


@dataclass(slots=True)
class RunningNode:
    """A node that was started: where it is, who it is, and how its operator speaks to it."""

    name: str
    role: str
    subscriber_id: str
    port: int
    admin_token: str
    keys: Keys
    database_url: str
    log: Path
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """PUBLIC_URL: JSON API, health and metrics are under it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def protocol_url(self) -> str:
        """Where peers post letters (the registry's endpoints are at its root)."""
        return self.url if self.role == "registry" else f"{self.url}/beckn"

    @property
    def roles(self) -> int:
        """In how many roles the registry will know it: a seller that asks a utility is its buyer, too."""
        return 2 if self.environment.get("UTILITY_ID") else 1

    @property
    def pid(self) -> int:
        """The process id; 0 when it is stopped."""
        return 0 if self.process is None else self.process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start the process, or start it again after `stop` or `kill`: same keys, port and database."""
        if not self.is_alive:
            arguments = [sys.executable, "-m", "bpp" if self.role == UTILITY else self.role]
            self.process = processes.launch(arguments, environment=self.environment, directory=ROOT, log=self.log)

    def stop(self) -> None:
        """Ask it to finish what it accepted and end; kill it when that takes too long."""
        if self.process is not None:
            processes.stop(self.process, (signal.SIGTERM, STOP_S_MAX))
            self.process = None

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self.process is not None:
            processes.stop(self.process)
            self.process = None

    def get(self, path: str) -> Any:
        """GET a path of its JSON API as its operator; raises cli.ask's NoAnswer and Refused."""
        return tell("GET", self.url + path, token=self.admin_token)

    def post(self, path: str, body: Any = None) -> Any:
        """POST to a path of its JSON API as its operator; raises cli.ask's NoAnswer and Refused."""
        return tell("POST", self.url + path, token=self.admin_token, body=body)

    def to_json(self) -> dict[str, Any]:
        """What a person or another command needs to use this node."""
        return {
            "name": self.name,
            "role": self.role,
            "subscriber_id": self.subscriber_id,
            "key_id": self.keys.key_id,
            "url": self.url,
            "admin_token": self.admin_token,
            "database_url": self.database_url,
            "pid": self.pid,
            "log": str(self.log),
        }


def free_ports(wanted: Sequence[int]) -> list[int]:
    """One port for each wish (0: any); raises PortTaken when a wished one is taken."""
    candidates = iter(random.sample(PORTS, len(PORTS)))
    ports: list[int] = []
    for wish in wanted:
        if wish and not _is_free(wish):
            raise PortTaken(f"port {wish} is in use; stop what uses it, or choose another (up: --first-port)")
        ports.append(wish or next(port for port in candidates if port not in ports and _is_free(port)))
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
