"""Claims on meters, proof of ownership, trading limits, and a seller's questions to its utility."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_CLAIMS = """
CREATE TABLE meter_salt (
    one boolean PRIMARY KEY,
    salt text NOT NULL,
    CONSTRAINT meter_salt_one CHECK (one)
);

CREATE TABLE meter_claims (
    meter_hash text NOT NULL,
    flow text NOT NULL,
    subscriber_id text NOT NULL,
    claimed_at timestamptz NOT NULL,
    PRIMARY KEY (meter_hash, flow)
);
CREATE INDEX meter_claims_holder ON meter_claims (subscriber_id, meter_hash, flow);

CREATE TABLE meter_proofs (
    nonce_digest text PRIMARY KEY,
    meter_hash text NOT NULL,
    flow text NOT NULL,
    subscriber_id text NOT NULL,
    utility_id text NOT NULL,
    used_at timestamptz NOT NULL
);
"""

_CUSTODY = """
CREATE TABLE released_meters (
    provider_id text PRIMARY KEY,
    released_at timestamptz NOT NULL
);
"""

_STATEMENTS: tuple[str, ...] = (_CLAIMS, _CUSTODY)


def upgrade() -> None:
    """Run every statement in order."""
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """A ledger is not taken back."""
    raise NotImplementedError("restore a backup instead")
