"""What meters said, how it was judged, and where an import stands."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_READINGS = """
ALTER TABLE readings ADD COLUMN reason text NOT NULL DEFAULT '', ADD COLUMN source text NOT NULL DEFAULT '';
"""

_IMPORTS = """
CREATE TABLE meter_imports (
    meter_id text,
    import_id text,
    name text NOT NULL,
    state text NOT NULL DEFAULT 'OPEN',
    started_by text NOT NULL,
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    PRIMARY KEY (meter_id, import_id)
);
CREATE TABLE meter_import_chunks (
    meter_id text,
    import_id text,
    chunk integer,
    digest text NOT NULL,
    accepted integer NOT NULL,
    unchanged integer NOT NULL,
    corrected integer NOT NULL,
    refused jsonb NOT NULL,
    PRIMARY KEY (meter_id, import_id, chunk)
);
"""

_STATEMENTS: tuple[str, ...] = (_READINGS, _IMPORTS)


def upgrade() -> None:
    """Run every statement in order."""
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """A ledger is not taken back."""
    raise NotImplementedError("restore a backup instead")
