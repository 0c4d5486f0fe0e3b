"""Bring a database to the newest schema: alembic writes the SQL, asyncpg runs it in one transaction.

Any number of nodes may start at once on one database: an advisory lock lets the first do the work and the others find
it done. A new migration is a file in store/migrations/versions/ whose `down_revision` names the one before it; the
test that compares the catalogues says what it still lacks against store/tables/.
"""

from __future__ import annotations

import asyncio
import io
import time
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

#: The number of the advisory lock; any, as long as nothing else on the database uses it ("POWR" in ASCII).
LOCK = 0x504F5752
#: How long one try to connect may take, seconds.
CONNECT_S_MAX = 5.0
_MIGRATIONS = Path(__file__).parent / "migrations"


class UnknownRevision(RuntimeError):
    """The database was migrated by a newer release than this one."""


class Unreachable(RuntimeError):
    """PostgreSQL cannot be reached or refuses us; the sentence says why, and never the password."""


def head() -> str:
    """The newest revision there is."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    if revision is None:
        raise RuntimeError(f"{_MIGRATIONS} holds no migration")
    return revision


def upgrade(url: str, *, wait_s: float = 0.0) -> tuple[str, str]:
    """Apply every migration the database at `url` lacks; the revisions before ("" for an empty one) and after.

    All or nothing. A server that is still starting is waited for, `wait_s` seconds at most. Raises Unreachable,
    UnknownRevision, and asyncpg's errors as they come when a migration fails.
    """
    return asyncio.run(_upgrade(url, wait_s))


def named(url: str, name: str) -> str:
    """The URL of another database on the same server."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"/{quote(name, safe='')}"))


def create(url: str, name: str, *, wait_s: float = 0.0) -> bool:
    """Create database `name` on the server of `url`; False when it is there already. Raises Unreachable."""
    return asyncio.run(_create(url, name, wait_s))


async def _create(url: str, name: str, wait_s: float) -> bool:
    connection = await _connect(url, wait_s)
    try:
        # There is no CREATE DATABASE IF NOT EXISTS; two at once are told apart by the error.
        quoted = name.replace('"', '""')
        await connection.execute(f'CREATE DATABASE "{quoted}"')
    except (asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
        return False
    finally:
        await connection.close()
    return True


async def current(connection: asyncpg.Connection) -> str:
    """The revision a database is at; empty before the first migration."""
    if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
        return ""
    return await connection.fetchval("SELECT version_num FROM alembic_version") or ""


async def _connect(url: str, wait_s: float) -> asyncpg.Connection:
    deadline = time.monotonic() + wait_s
    while True:
        try:
            return await asyncpg.connect(url, timeout=CONNECT_S_MAX)
        except (OSError, asyncpg.CannotConnectNowError, asyncpg.InvalidCatalogNameError) as error:
            if time.monotonic() >= deadline:
                raise Unreachable(f"PostgreSQL cannot be reached: {error or type(error).__name__}") from error
            await asyncio.sleep(0.2)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
            raise Unreachable(f"PostgreSQL refuses us: {error}") from error


async def _upgrade(url: str, wait_s: float) -> tuple[str, str]:
    connection = await _connect(url, wait_s)
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
            before, after = await current(connection), head()
            if before != after:
                await connection.execute(_sql(before, after))
    finally:
        await connection.close()
    return before, after


def _sql(before: str, after: str) -> str:
    """What leads from one revision to another."""
    config = _config()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if before and before not in known:
        raise UnknownRevision(
            f"the database is at revision {before}, which this release does not know; update it first"
        )
    output = io.StringIO()
    config.output_buffer = output
    command.upgrade(config, f"{before or 'base'}:{after}", sql=True)
    return output.getvalue()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return config
