"""Statements, standing orders, and money that came or went by a bank."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_STATEMENTS: tuple[str, ...] = (
    """
    CREATE TABLE standing_orders (
        standing_order_id text PRIMARY KEY,
        account_id text NOT NULL,
        terms jsonb NOT NULL,
        active boolean NOT NULL,
        next_run_date date,
        next_run_at timestamptz,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL,
        ended_at timestamptz
    )
    """,
    "CREATE INDEX ix_standing_orders_account_id ON standing_orders (account_id)",
    "CREATE INDEX standing_due ON standing_orders (next_run_at) WHERE next_run_at IS NOT NULL",
    """
    CREATE TABLE standing_runs (
        standing_order_id text,
        run_date date,
        account_id text NOT NULL,
        state text NOT NULL,
        wake_at timestamptz,
        document jsonb NOT NULL,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL,
        PRIMARY KEY (standing_order_id, run_date)
    )
    """,
    "CREATE INDEX standing_runs_wake ON standing_runs (wake_at) WHERE wake_at IS NOT NULL",
    "CREATE INDEX orders_provider ON orders (provider_id, delivery_end)",
    """
    CREATE TABLE invoices (
        number bigint PRIMARY KEY,
        account_id text NOT NULL,
        month text NOT NULL,
        body bytea NOT NULL,
        digest bytea NOT NULL,
        issued_at timestamptz NOT NULL,
        CONSTRAINT invoices_month UNIQUE (account_id, month)
    )
    """,
    """
    CREATE TRIGGER only_added_to BEFORE UPDATE OR DELETE OR TRUNCATE ON invoices
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
    """,
)


def upgrade() -> None:
    """Run every statement in order."""
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Invoices are not taken back."""
    raise NotImplementedError("restore a backup instead")
