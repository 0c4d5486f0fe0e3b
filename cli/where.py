"""Which node a command speaks about: one of the network that is up, or the one the environment describes.

Settings are read as the nodes read them: NAME, or NAME_FILE with the path of a file that holds the value.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

#: Where `up` keeps its network, below the working directory.
DIRECTORY = Path(".run")
_STATE = "network.json"
_LOCK = "lock"


class NotFound(Exception):
    """There is no such network, node or setting; the sentence says what to do."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node as the commands need it; empty where it is not known."""

    name: str
    role: str
    subscriber_id: str
    url: str
    admin_token: str
    database_url: str
    environment: Mapping[str, str]

    def __repr__(self) -> str:
        return f"Node({self.name})"


def state_path(directory: Path) -> Path:
    """The file that says what is running: of the owner's alone, because it holds tokens and keys."""
    return directory / _STATE


def take_lock(directory: Path) -> int | None:
    """The lock (a file descriptor to keep open) that the supervisor holds while it lives; None when it is held."""
    directory.mkdir(parents=True, exist_ok=True)
    lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def is_up(directory: Path) -> bool:
    """Whether a network is being supervised there."""
    if not (directory / _LOCK).exists():
        return False
    lock = take_lock(directory)
    if lock is not None:
        os.close(lock)
    return lock is None


def standing_network(directory: Path) -> dict[str, Any]:
    """What `up` wrote about its network; raises NotFound when none is up."""
    if is_up(directory) and state_path(directory).exists():
        state: dict[str, Any] = orjson.loads(state_path(directory).read_bytes())
        return state
    raise NotFound(f"no network is up in {directory}; start one with `powershare up`")


def nodes(directory: Path) -> list[Node]:
    """The nodes of the network that is up; raises NotFound."""
    return [
        Node(
            name=node["name"],
            role=node["role"],
            subscriber_id=node["subscriber_id"],
            url=node["url"],
            admin_token=node["admin_token"],
            database_url=node["database_url"],
            environment=node["environment"],
        )
        for node in standing_network(directory)["nodes"]
    ]


def node(name: str, directory: Path) -> Node:
    """The node of that name (or subscriber id) in the network that is up; raises NotFound."""
    known = nodes(directory)
    for candidate in known:
        if name in (candidate.name, candidate.subscriber_id):
            return candidate
    raise NotFound(f"there is no node '{name}' in {directory}; there are {', '.join(each.name for each in known)}")


def setting(name: str, environment: Mapping[str, str] | None = None) -> str:
    """A setting's value as a node would read it; empty when it is not set. Raises NotFound for an unreadable file."""
    variables = os.environ if environment is None else environment
    if path := variables.get(f"{name}_FILE"):
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise NotFound(f"{name}_FILE: cannot read {path}: {error.strerror}") from error
    return variables.get(name, "")


def database_url(name: str, directory: Path) -> str:
    """The database of the named node or, without a name, of the environment; raises NotFound."""
    url = node(name, directory).database_url if name else setting("DATABASE_URL")
    if not url:
        raise NotFound("set DATABASE_URL, or name a node of the network that is up with --node")
    return url


def registry(directory: Path) -> tuple[str, str]:
    """The registry's URL and its operator's token: from REGISTRY_URL and ADMIN_TOKEN, or the network that is up."""
    url = setting("REGISTRY_URL")
    if url:
        return url, setting("ADMIN_TOKEN")
    found = [each for each in nodes(directory) if each.role == "registry"]
    return found[0].url, found[0].admin_token
