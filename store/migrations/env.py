"""Alembic's environment: it writes SQL and never connects.

The project's one PostgreSQL driver is asyncpg, which alembic cannot drive by itself; `store.migrate` runs the SQL that
is written here. So every migration must be plain SQL that does not look at the database from Python.
"""

from __future__ import annotations

from alembic import context

if not context.is_offline_mode():
    raise SystemExit("migrations are applied with `powershare migrate`, which asks alembic for the SQL alone")

# The caller wraps everything in one transaction of its own, together with the lock.
context.configure(
    dialect_name="postgresql",
    dialect_opts={"paramstyle": "named"},  # or every % of the SQL would be doubled for a driver that is not there
    literal_binds=True,
    transactional_ddl=False,
)
context.run_migrations()
