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

_UTILITY = """
CREATE TABLE utility_meters (
    meter_id text PRIMARY KEY,
    sanctioned_load_w bigint NOT NULL,
    limit_percent integer NOT NULL,
    export_limit_w bigint,
    import_limit_w bigint,
    wheeling_buyer_micro_per_kwh bigint NOT NULL,
    wheeling_seller_micro_per_kwh bigint NOT NULL,
    currency text NOT NULL,
    updated_at timestamptz NOT NULL
);

CREATE TABLE utility_trades (
    trade_id text PRIMARY KEY,
    bpp_id text NOT NULL,
    order_id text NOT NULL,
    transaction_id text NOT NULL,
    state text NOT NULL,
    seller_meter_id text NOT NULL,
    buyer_meter_id text NOT NULL,
    currency text NOT NULL,
    starts_at timestamptz NOT NULL,
    slot_s integer NOT NULL,
    energy_wh bigint[] NOT NULL,
    seller_alloc_wh bigint[],
    buyer_alloc_wh bigint[],
    wheeling_buyer_micro_per_kwh bigint NOT NULL,
    wheeling_seller_micro_per_kwh bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT utility_trades_once UNIQUE (bpp_id, order_id)
);
CREATE INDEX utility_trades_listed ON utility_trades (created_at, trade_id);

CREATE TABLE utility_usage (
    meter_id text NOT NULL,
    flow text NOT NULL,
    starts_at timestamptz NOT NULL,
    used_j bigint NOT NULL,
    limit_j bigint NOT NULL,
    PRIMARY KEY (meter_id, flow, starts_at),
    CONSTRAINT utility_usage_within_limit CHECK (used_j >= 0 AND used_j <= limit_j)
);

CREATE TABLE utility_codes (
    nonce_digest text PRIMARY KEY,
    meter_id text NOT NULL,
    issued_by text NOT NULL,
    issued_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX ix_utility_codes_meter_id ON utility_codes (meter_id);
"""

_QUESTIONS = """
CREATE TABLE utility_questions (
    transaction_id text PRIMARY KEY,
    order_id text NOT NULL,
    utility_id text NOT NULL,
    action text NOT NULL,
    buyer_message_id text NOT NULL,
    asked_at timestamptz NOT NULL,
    due_at timestamptz
);
CREATE INDEX ix_utility_questions_order_id ON utility_questions (order_id);
CREATE INDEX utility_questions_due ON utility_questions (due_at) WHERE due_at IS NOT NULL;
"""

_STATEMENTS: tuple[str, ...] = (_CLAIMS, _CUSTODY, _UTILITY, _QUESTIONS)


def upgrade() -> None:
    """Run every statement in order."""
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """A ledger is not taken back."""
    raise NotImplementedError("restore a backup instead")
