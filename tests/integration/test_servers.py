"""The supervisor of PostgreSQL and Redis: what it refuses, what it leaves behind (nothing), what it runs as."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import asyncpg
import pytest
import redis

from cli import binaries, private, processes
from cli.servers import Servers

ROOT = Path(__file__).resolve().parents[2]


def _processes_naming(text: str) -> dict[int, int]:
    """pid -> uid of every process whose command line names `text`."""
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if text in (folder / "cmdline").read_text():
                found[int(folder.name)] = folder.stat().st_uid
        except OSError:
            continue
    return found


def _wait_until_gone(text: str, limit_s: float) -> float:
    start = time.monotonic()
    while _processes_naming(text):
        assert time.monotonic() - start < limit_s, f"still running: {_processes_naming(text)}"
        time.sleep(0.02)
    return time.monotonic() - start


def _child(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, text=True, stdout=subprocess.PIPE)


async def _fetch(url: str, query: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def test_two_owners_cannot_use_the_same_kept_databases(tmp_path_factory: pytest.TempPathFactory) -> None:
    home, lock = private.private_directory(for_others=os.geteuid() == 0)
    try:
        with (
            Servers.start(home / "kept", durable=False),
            pytest.raises(binaries.UnableToServe, match="another process"),
        ):
            Servers.start(home / "kept", durable=False)
    finally:
        os.close(lock)
        private.sweep()


def test_a_folder_the_unprivileged_uid_cannot_pass_is_refused_by_name(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(binaries.UnableToServe, match=str(closed.parent)):
        private.require_reachable(closed / "kept", 60578)
    assert closed.stat().st_mode & 0o777 == 0o700


def test_a_server_that_cannot_start_says_its_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.servers.USER", "pg_reserved")  # names that begin with pg_ are refused by initdb
    with pytest.raises(binaries.UnableToServe, match=r"initdb failed:\n.*pg_"):
        Servers.start(durable=False)


def test_servers_die_within_two_seconds_of_a_killed_parent_and_are_swept() -> None:
    parent = _child(
        """
        import sys, time
        from cli.servers import Servers
        servers = Servers.start(durable=False)
        print(servers.home, flush=True)
        time.sleep(60)
        """
    )
    assert parent.stdout is not None
    home = parent.stdout.readline().strip()
    assert len(_processes_naming(home)) >= 2
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert _wait_until_gone(home, 2.0) < 2.0
    assert Path(home).is_dir(), "a killed parent cannot clean up"
    private.sweep()
    assert not Path(home).exists()


def test_servers_outlive_the_thread_that_started_them() -> None:
    """PR_SET_PDEATHSIG follows the parent thread: started naively in a worker thread, they would die with it."""
    started: list[Servers] = []

    async def in_a_thread() -> None:
        started.append(await asyncio.to_thread(Servers.start, durable=False))

    asyncio.run(in_a_thread())  # shuts its worker threads down
    with started[0] as servers:
        time.sleep(0.2)
        assert asyncio.run(_fetch(servers.database_url("postgres"), "SELECT 1")) == 1


def test_a_living_owner_is_never_swept(servers: Servers) -> None:
    private.sweep()
    assert servers.home.is_dir()
    assert asyncio.run(_fetch(servers.database_url("postgres"), "SELECT 1")) == 1


def test_nothing_listens_on_tcp(servers: Servers) -> None:
    for pid in _processes_naming(str(servers.home)):
        sockets = {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()}
        inodes = {name[8:-1] for name in sockets if name.startswith("socket:[")}
        for table in ("tcp", "tcp6"):
            rows = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
            assert not [row for row in rows if row.split()[3] == "0A" and row.split()[9] in inodes]


def test_root_runs_them_as_a_uid_that_is_nobodys_and_adds_no_user(servers: Servers) -> None:
    users_before = pwd.getpwall()
    uids = set(_processes_naming(str(servers.home)).values())
    if os.geteuid() == 0:
        assert len(uids) == 1 and uids.isdisjoint(entry.pw_uid for entry in users_before)
    else:
        assert uids == {os.geteuid()}
    assert (servers.home / "run").stat().st_mode & 0o777 == 0o700


def test_sockets_fit_into_sun_path(servers: Servers) -> None:
    for path in (servers.home / "run").iterdir():
        assert len(os.fsencode(path)) <= private.SOCKET_PATH_BYTES_MAX


def test_versions_are_postgresql_18_and_redis_6_2(servers: Servers) -> None:
    version = asyncio.run(_fetch(servers.database_url("postgres"), "SHOW server_version"))
    assert str(version).startswith("18")
    with redis.Redis.from_url(servers.redis_url) as client:
        assert client.info()["redis_version"].startswith("6.2")


def test_durable_servers_sync_and_test_servers_need_not(servers: Servers) -> None:
    assert asyncio.run(_fetch(servers.database_url("postgres"), "SHOW fsync")) == "off"
    with Servers.start() as durable:
        url = durable.database_url("postgres")
        assert asyncio.run(_fetch(url, "SHOW fsync")) == "on"
        assert asyncio.run(_fetch(url, "SHOW synchronous_commit")) == "on"


async def test_a_database_is_copied_from_a_template_from_within_a_running_loop(servers: Servers) -> None:
    url = servers.create_database("original")
    await _fetch(url, "CREATE TABLE kept AS SELECT 7 AS value")
    copy = servers.create_database('a "strange" name', template="original")
    assert await _fetch(copy, "SELECT value FROM kept") == 7
    servers.drop_database('a "strange" name')
    servers.drop_database("original")
    assert not servers.has_database("original")
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await _fetch(url, "SELECT 1")


def test_kept_databases_survive_a_kill_of_everything() -> None:
    """The supervisor is killed in mid-flight; the next one sees the old server off, recovers, and has every commit."""
    home, lock = private.private_directory(for_others=os.geteuid() == 0)
    parent = _child(
        f"""
        import asyncio, asyncpg, pathlib, time
        from cli.servers import Servers
        servers = Servers.start(pathlib.Path({str(home / "kept")!r}))
        url = servers.create_database("books")
        async def write():
            connection = await asyncpg.connect(url)
            await connection.execute("CREATE TABLE kept AS SELECT 7 AS value")
        asyncio.run(write())
        print("written", flush=True)
        time.sleep(60)
        """
    )
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "written\n"
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        with Servers.start(home / "kept") as servers:
            assert servers.has_database("books")
            assert asyncio.run(_fetch(servers.database_url("books"), "SELECT value FROM kept")) == 7
    finally:
        os.close(lock)
        private.sweep()


def test_root_keeps_databases_elsewhere_when_nobody_else_can_pass_the_folder(tmp_path: Path) -> None:
    """PostgreSQL does not run as root, and no permission outside our own folder is changed to please it."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    wanted = closed / "data"
    data = private.data_directory(wanted)
    try:
        assert (data == wanted) == (os.geteuid() != 0)
        assert private.data_directory(wanted) == data, "the same place every time"
        with Servers.start(data, durable=False):
            assert closed.stat().st_mode & 0o777 == 0o700
    finally:
        shutil.rmtree(data)


def test_stopping_leaves_no_process_and_no_file() -> None:
    with Servers.start(durable=False) as servers:
        home = servers.home
    servers.stop()  # twice is once
    assert not _processes_naming(str(home))
    assert not home.exists()


def test_a_process_that_ignores_the_first_signal_is_killed_in_the_end(tmp_path: Path) -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    log = tmp_path / "log"
    process = processes.launch([sys.executable, "-c", code], log=log)
    while processes.tail(log) != "deaf":
        time.sleep(0.01)
    assert processes.stop(process, (signal.SIGTERM, 0.1)) == -signal.SIGKILL
    assert processes.stop(process, (signal.SIGTERM, 0.1)) == -signal.SIGKILL
