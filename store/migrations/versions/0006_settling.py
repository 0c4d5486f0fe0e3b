"""Allocations, corrections and disputes: when an order is due, by which meters it is found, which meters said news.

A trigger notes every meter that was read, in the transaction that keeps the readings, so that no upload is ever
forgotten by the settlement, however it came in and whatever stopped afterwards.
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_ORDERS = """
ALTER TABLE orders ADD COLUMN buyer_meter_id text NOT NULL DEFAULT '', ADD COLUMN next_due timestamptz;
UPDATE orders SET next_due = delivery_end + interval '30 days'
    WHERE state IN ('CONFIRMING', 'UNANSWERED', 'ACTIVE', 'DELIVERING', 'CANCELLING');
CREATE INDEX orders_due ON orders (side, next_due) WHERE next_due IS NOT NULL;
CREATE INDEX orders_buyer_meter ON orders (buyer_meter_id, delivery_start) WHERE buyer_meter_id <> '';
CREATE INDEX orders_dispute ON orders ((document -> 'dispute' ->> 'dispute_id'))
    WHERE jsonb_typeof(document -> 'dispute') = 'object';
DROP INDEX orders_meter;
CREATE INDEX orders_meter ON orders (meter_id, delivery_end) WHERE meter_id <> '';
"""

_METERS_READ = """
CREATE TABLE meters_read (
    meter_id text,
    flow text,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    notes bigint NOT NULL,
    PRIMARY KEY (meter_id, flow)
);
CREATE FUNCTION note_meters_read() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO meters_read AS m (meter_id, flow, starts_at, ends_at, notes)
    SELECT meter_id, flow, min(starts_at), max(starts_at + slot_s * interval '1 second'), 1
      FROM added GROUP BY meter_id, flow ORDER BY meter_id, flow
    ON CONFLICT (meter_id, flow) DO UPDATE SET starts_at = least(m.starts_at, excluded.starts_at),
        ends_at = greatest(m.ends_at, excluded.ends_at), notes = m.notes + 1;
    RETURN NULL;
END
$$;
CREATE TRIGGER noted AFTER INSERT ON readings REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION note_meters_read();
"""

#: A consumer's meter belongs to one account.
_ACCOUNTS = """
ALTER TABLE customer_accounts ADD COLUMN meter_id text NOT NULL DEFAULT '';
CREATE UNIQUE INDEX customer_accounts_meter ON customer_accounts (meter_id) WHERE meter_id <> '';
"""

_STATEMENTS: tuple[str, ...] = (_ORDERS, _METERS_READ, _ACCOUNTS)


def upgrade() -> None:
    """Run every statement in order."""
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """A ledger is not taken back."""
    raise NotImplementedError("restore a backup instead")
