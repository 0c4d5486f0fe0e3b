"""Transfers of several legs, in thousandths of a minor unit."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_STATEMENTS: tuple[str, ...] = (
    "ALTER TABLE ledger_accounts RENAME COLUMN balance_minor TO balance_milli",
    "ALTER TABLE ledger_transfers RENAME COLUMN amount_minor TO amount_milli",
)


def upgrade() -> None:
    """Run every statement in order."""
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """A ledger is not taken back."""
    raise NotImplementedError("restore a backup instead")
