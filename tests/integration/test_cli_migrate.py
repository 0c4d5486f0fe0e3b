"""`powershare migrate`, as the job of compose.yaml and as a person runs it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import yaml

from cli.servers import Servers
from store import migrate

ROOT = Path(__file__).resolve().parents[2]


def _migrate(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli.main", "migrate", *arguments],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_database_that_is_not_there_is_a_sentence(servers: Servers) -> None:
    done = _migrate(servers.database_url("absent"))
    assert done.returncode == 1
    assert '"absent" does not exist' in done.stderr
    assert "Traceback" not in done.stderr


def test_an_empty_database_is_migrated_and_a_migrated_one_left_alone(servers: Servers) -> None:
    url = servers.create_database("by_hand")
    assert _migrate(url).stdout.strip() == f"migrated from nothing to {migrate.head()}"
    assert _migrate(url).stdout.strip() == f"already at {migrate.head()}"
    servers.drop_database("by_hand")


def test_the_job_of_the_compose_file_makes_all_databases_and_may_run_again(servers: Servers) -> None:
    command = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["migrate"]["command"]
    arguments = command[2:]
    names = ["registry", "gateway", "bap", "bpp"]
    for expected in ("migrated from nothing to", "already at"):
        done = _migrate(servers.database_url("postgres"), *arguments)
        assert done.returncode == 0, done.stderr
        assert [line.partition(":")[0] for line in done.stdout.splitlines()] == names
        assert all(expected in line for line in done.stdout.splitlines())
    for name in names:
        servers.drop_database(name)


def test_a_server_that_is_still_starting_is_waited_for(servers: Servers) -> None:
    def late() -> None:
        time.sleep(1.0)
        servers.create_database("late")

    starter = threading.Thread(target=late)
    starter.start()
    done = _migrate(servers.database_url("late"), "--wait", "20")
    starter.join()
    assert done.returncode == 0, done.stderr
    servers.drop_database("late")
