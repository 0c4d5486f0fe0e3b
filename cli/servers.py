"""PostgreSQL 18 and Redis 6.2 for a laptop, a demo or a test: real servers from Python wheels, and nothing left behind.

The wheels' own launchers are not used: as root they add a user and open every parent folder, and they leave orphans
after `kill -9`. Here both servers live in a private short directory, listen on unix sockets only (no TCP) and die with
the process that started them. PostgreSQL refuses to run as root, so root's servers run as a uid nobody owns, from a
copy of the binaries inside the private directory; no user is added and no permission elsewhere is changed.

    with Servers.start() as servers:
        servers.create_database("bap")
        url = servers.database_url("bap")
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from cli import binaries, private, processes
from cli.binaries import UnableToServe

#: PostgreSQL's superuser inside the private directory, where everyone who can reach the socket is trusted.
USER = "powershare"
#: How long a server may take to answer after it was started; crash recovery of a large WAL is the slow case.
READY_S_MAX = 60.0
#: How long a PostgreSQL whose supervisor was killed may take to let go of the databases it kept.
PREDECESSOR_S_MAX = 10.0


class Servers:
    """One PostgreSQL and one Redis, ours until `stop` or the end of this process."""

    def __init__(self, home: Path, lock: int, *, kept: Path | None, uid: int | None) -> None:
        self.home = home
        self._locks = [lock]
        self._kept = kept
        self._data = home / "data" if kept is None else kept.resolve() / "postgres"
        self._uid = uid
        self._sockets = home / "run"
        self._postgres: subprocess.Popen[bytes] | None = None
        self._redis: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(cls, directory: Path | None = None, *, durable: bool = True) -> Self:
        """Start both servers and wait until they answer.

        `directory` keeps the databases for a later start (made if missing); without one they vanish at the end. Only
        one process at a time may use it.
        `durable=False` turns fsync off: for tests alone, never for the demo or a measurement. Raises UnableToServe.
        """
        private.sweep()
        uid = private.unowned_uid() if os.geteuid() == 0 else None
        home, lock = private.private_directory(for_others=uid is not None)
        servers = cls(home, lock, kept=directory, uid=uid)
        try:
            servers._boot(durable=durable)
        except BaseException:
            servers.stop()
            raise
        return servers

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def kept_in(self) -> Path | None:
        """The directory that keeps the databases; None when they vanish at the end."""
        return self._kept

    @property
    def redis_url(self) -> str:
        """REDIS_URL of the running Redis."""
        return f"unix://{self._sockets / 'redis.sock'}"

    def database_url(self, name: str) -> str:
        """DATABASE_URL of the database `name`, in the form asyncpg and libpq read."""
        return f"postgresql://{USER}@/{quote(name)}?host={quote(str(self._sockets))}"

    def create_database(self, name: str, *, template: str | None = None) -> str:
        """Create a database, empty or as a copy of `template` (to which nobody may be connected); its URL."""
        copy = "" if template is None else f" TEMPLATE {_quoted(template)}"
        self._execute(f"CREATE DATABASE {_quoted(name)}{copy}")
        return self.database_url(name)

    def drop_database(self, name: str) -> None:
        """Drop a database, cutting whoever is connected; no error when there is none."""
        self._execute(f"DROP DATABASE IF EXISTS {_quoted(name)} WITH (FORCE)")

    def has_database(self, name: str) -> bool:
        """Whether a database of that name exists (a kept directory may bring some along)."""

        async def ask() -> bool:
            import asyncpg

            connection = await asyncpg.connect(self.database_url("postgres"))
            try:
                found = await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name)
            finally:
                await connection.close()
            return found is not None

        return bool(_run(ask()))

    def stop(self) -> None:
        """Stop both servers and remove the private directory. Safe to call twice."""
        if self._redis is not None:
            processes.stop(self._redis, (signal.SIGTERM, 2.0))
        if self._postgres is not None:
            # "Fast" writes everything out; "immediate" is enough for databases that are about to vanish.
            fast = [] if self._kept is None else [(signal.SIGINT, 30.0)]
            processes.stop(self._postgres, *fast, (signal.SIGQUIT, 5.0))
        shutil.rmtree(self.home, ignore_errors=True)
        while self._locks:
            os.close(self._locks.pop())

    def _boot(self, *, durable: bool) -> None:
        found = binaries.find()
        if self._uid is not None:
            found = binaries.copy(found, self.home / "wheels")
        for folder in (self._sockets, self.home / "redis"):
            self._own(folder)
        if self._kept is not None:
            self._lock_kept(self._kept)
        if not (self._data / "PG_VERSION").exists():
            self._initialise(found)
        if self._uid is not None:
            private.require_reachable(self._data, self._uid)
            private.give(self._data, self._uid)
        self._redis = self._start_redis(found)
        self._postgres = self._start_postgres(found, durable=durable)
        self._await(self._redis_answers, self._redis, "redis")
        self._await(self._postgres_answers, self._postgres, "postgres")

    def _own(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        if self._uid is not None:
            os.chown(folder, self._uid, self._uid)

    def _lock_kept(self, directory: Path) -> None:
        """Take a kept directory for ourselves and see off the PostgreSQL of an owner that was killed."""
        if not directory.exists():
            directory.mkdir(parents=True)
            directory.chmod(0o700 if self._uid is None else 0o711)
        lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._locks.append(lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UnableToServe(f"another process is using the databases in {directory}") from error
        deadline = time.monotonic() + PREDECESSOR_S_MAX
        while (name := _name_of_postmaster(self._data)) == "postgres":
            if time.monotonic() > deadline:
                raise UnableToServe(f"a PostgreSQL that nobody supervises is still running in {self._data}")
            time.sleep(0.05)
        if name:  # after a reboot another program may have the number, which would stop PostgreSQL
            (self._data / "postmaster.pid").unlink()

    def _initialise(self, found: binaries.Binaries) -> None:
        """Make an empty cluster. initdb insists on a uid with a name, so root borrows one and then takes it back."""
        fresh = self._data.with_name(f"{self._data.name}.new")  # has its real name only once it is complete
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True, mode=0o700)
        uid = None if self._uid is None else private.named_uid()
        if uid is not None:
            private.require_reachable(fresh, uid)
            private.give(fresh, uid)
        log = self.home / "initdb.log"
        arguments = ["-D", str(fresh), "-U", USER, "--auth=trust", "--encoding=UTF8", "--locale=C"]
        arguments += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"]
        # A kept cluster must survive a power cut from the start; one that vanishes anyway need not be synced.
        arguments += [] if self._kept else ["--no-sync"]
        initdb = processes.launch([found.initdb, *arguments], uid=uid, environment=_environment(), log=log)
        if initdb.wait() != 0:
            raise UnableToServe(f"initdb failed:\n{processes.tail(log)}")
        fresh.rename(self._data)

    def _start_postgres(self, found: binaries.Binaries, *, durable: bool) -> subprocess.Popen[bytes]:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._sockets),
            "unix_socket_permissions": "0700",
            "max_connections": "200",
            "shared_buffers": "128MB",
            # One machine, no standby, short queries: less WAL, no parallel workers, nothing in /dev/shm.
            "wal_level": "minimal",
            "max_wal_senders": "0",
            "max_parallel_workers_per_gather": "0",
            "dynamic_shared_memory_type": "mmap",
            "io_method": "sync",
            "jit": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        if not durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        # SIGQUIT is PostgreSQL's immediate shutdown: the children go too and shared memory is given back.
        return processes.launch(
            [found.postgres, "-D", self._data, *options],
            dies_by=signal.SIGQUIT,
            uid=self._uid,
            environment=_environment(),
            log=self.home / "postgres.log",
        )

    def _start_redis(self, found: binaries.Binaries) -> subprocess.Popen[bytes]:
        path, folder = str(self._sockets / "redis.sock"), str(self.home / "redis")
        options = ["--port", "0", "--unixsocket", path, "--unixsocketperm", "700", "--dir", folder]
        options += ["--save", "", "--appendonly", "no", "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"]
        return processes.launch(
            [found.redis, *options], uid=self._uid, environment=_environment(), log=self.home / "redis.log"
        )

    def _redis_answers(self) -> bool:
        return self._accepts("redis.sock")

    def _postgres_answers(self) -> bool:
        """A PostgreSQL that accepts may still be recovering: only a query's answer counts."""
        import asyncpg

        try:
            if self._accepts(".s.PGSQL.5432"):
                self._execute("SELECT 1")
                return True
        except asyncpg.CannotConnectNowError:
            pass
        return False

    def _accepts(self, name: str) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self._sockets / name)) == 0

    def _await(self, ready: Callable[[], bool], process: subprocess.Popen[bytes], what: str) -> None:
        deadline = time.monotonic() + READY_S_MAX
        while not ready():
            last_words = self.home / f"{what}.log"
            if process.poll() is not None:
                raise UnableToServe(f"{what} ended with code {process.returncode}:\n{processes.tail(last_words)}")
            if time.monotonic() > deadline:
                raise UnableToServe(f"{what} did not answer in {READY_S_MAX:.0f} s:\n{processes.tail(last_words)}")
            time.sleep(0.01)

    def _execute(self, statement: str) -> None:
        async def execute() -> None:
            import asyncpg

            connection = await asyncpg.connect(self.database_url("postgres"))
            try:
                await connection.execute(statement)
            finally:
                await connection.close()

        _run(execute())


def _name_of_postmaster(data: Path) -> str:
    """What runs under the pid that a cluster's last postmaster wrote down; empty when nothing does."""
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (OSError, ValueError):
        return ""


def _environment() -> dict[str, str]:
    """The servers see nothing of ours: no PG* or LD_* variable of the caller changes what they do."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end, also from within a running event loop: in a thread of its own."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append((asyncio.run(work), None))
        except BaseException as error:  # raised again in the caller's thread
            outcome.append((None, error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    value, error = outcome[0]
    if error is not None:
        raise error
    return value
