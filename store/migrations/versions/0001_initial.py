"""Every table of the first release, the guard against overselling, and the rows that are only ever added to.

Checked by hand against store/tables/ and, catalogue by catalogue, by tests/integration/test_migrations.py.
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

#: A CHECK passes when it is NULL, so every comparison must come out TRUE: a NULL slot or a missing one refuses.
_SERIES_WITHIN = """
CREATE FUNCTION series_within(held bigint[], sold bigint[], offered bigint[]) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF (cardinality(held) = cardinality(offered) AND cardinality(sold) = cardinality(offered)) IS NOT TRUE THEN
        RETURN false;
    END IF;
    FOR slot IN 1 .. cardinality(offered) LOOP
        IF (held[slot] >= 0 AND sold[slot] >= 0 AND held[slot] + sold[slot] <= offered[slot]) IS NOT TRUE THEN
            RETURN false;
        END IF;
    END LOOP;
    RETURN true;
END
$$;
"""

_POST_OFFICE = """
CREATE TABLE inbox (
    letter_id text PRIMARY KEY,
    signer_id text NOT NULL,
    action text NOT NULL,
    message_id text NOT NULL,
    variant bytea NOT NULL,
    digest bytea NOT NULL,
    transaction_id text NOT NULL,
    body bytea NOT NULL,
    headers jsonb NOT NULL,
    received_at timestamptz NOT NULL,
    state text NOT NULL DEFAULT 'NEW',
    attempts integer NOT NULL DEFAULT 0,
    claimed_by text,
    claimed_until timestamptz,
    finished_at timestamptz,
    error text,
    CONSTRAINT inbox_once UNIQUE (signer_id, action, message_id, variant)
);
CREATE INDEX inbox_waiting ON inbox (received_at) WHERE state = 'NEW';
CREATE INDEX inbox_transaction ON inbox (transaction_id);

CREATE TABLE outbox (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    letter_id text NOT NULL UNIQUE,
    destination_url text NOT NULL,
    receiver_id text NOT NULL,
    action text NOT NULL,
    message_id text NOT NULL,
    transaction_id text NOT NULL,
    body bytea NOT NULL,
    "authorization" text,
    created_at timestamptz NOT NULL,
    give_up_at timestamptz NOT NULL,
    next_at timestamptz NOT NULL,
    state text NOT NULL DEFAULT 'QUEUED',
    attempts integer NOT NULL DEFAULT 0,
    claimed_by text,
    claimed_until timestamptz,
    uncertain boolean NOT NULL DEFAULT false,
    finished_at timestamptz,
    outcome jsonb
);
CREATE INDEX outbox_waiting ON outbox (next_at) WHERE state = 'QUEUED';
CREATE INDEX outbox_transaction ON outbox (transaction_id);
CREATE INDEX outbox_dead ON outbox (created_at) WHERE state = 'DEAD';

CREATE TABLE clock_state (
    name text PRIMARY KEY,
    trading_time timestamptz NOT NULL
);
"""

_DIRECTORY = """
CREATE TABLE directory_records (
    subscriber_id text,
    type text,
    domain text,
    key_id text,
    record jsonb NOT NULL,
    good_until timestamptz NOT NULL,
    PRIMARY KEY (subscriber_id, type, domain, key_id)
);

CREATE TABLE directory_state (
    registry_url text PRIMARY KEY,
    last_seq bigint NOT NULL,
    read_at timestamptz NOT NULL
);

CREATE TABLE subscriptions (
    subscriber_id text,
    type text,
    domain text,
    key_id text,
    url text NOT NULL,
    country text NOT NULL DEFAULT '',
    city text NOT NULL DEFAULT '',
    location jsonb,
    signing_public_key text NOT NULL,
    encr_public_key text NOT NULL DEFAULT '',
    valid_from timestamptz NOT NULL,
    valid_until timestamptz NOT NULL,
    status text NOT NULL,
    challenge_passed boolean NOT NULL DEFAULT false,
    created timestamptz NOT NULL,
    updated timestamptz NOT NULL,
    PRIMARY KEY (subscriber_id, type, domain, key_id)
);

CREATE TABLE registry_changes (
    seq bigint PRIMARY KEY,
    record jsonb NOT NULL,
    at timestamptz NOT NULL
);

CREATE TABLE audit (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    actor text NOT NULL,
    act text NOT NULL,
    subject text NOT NULL,
    detail jsonb NOT NULL
);

CREATE TABLE gateway_searches (
    letter_id text PRIMARY KEY,
    transaction_id text NOT NULL,
    message_id text NOT NULL,
    bap_id text NOT NULL,
    destinations integer NOT NULL,
    received_at timestamptz NOT NULL
);
CREATE INDEX ix_gateway_searches_transaction_id ON gateway_searches (transaction_id);
"""

_DESK = """
CREATE TABLE tokens (
    token_id text PRIMARY KEY,
    token_hash bytea NOT NULL UNIQUE,
    role text NOT NULL,
    name text NOT NULL,
    scope text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL,
    revoked_at timestamptz
);

CREATE TABLE idempotency_keys (
    token_id text,
    key text,
    request_digest bytea NOT NULL,
    status integer NOT NULL,
    body bytea NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (token_id, key)
);

CREATE TABLE events (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token_id text NOT NULL,
    subject text NOT NULL,
    kind text NOT NULL,
    data jsonb NOT NULL,
    at timestamptz NOT NULL
);
CREATE INDEX events_subject ON events (subject, seq);
CREATE INDEX events_token ON events (token_id, seq);

CREATE TABLE webhooks (
    webhook_id text PRIMARY KEY,
    token_id text NOT NULL,
    url text NOT NULL,
    secret text NOT NULL,
    kinds jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    deleted_at timestamptz
);
CREATE INDEX ix_webhooks_token_id ON webhooks (token_id);

CREATE TABLE webhook_deliveries (
    delivery_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    webhook_id text NOT NULL,
    event_seq bigint NOT NULL,
    state text NOT NULL DEFAULT 'QUEUED',
    attempts integer NOT NULL DEFAULT 0,
    next_at timestamptz NOT NULL,
    claimed_until timestamptz,
    last_error text,
    finished_at timestamptz
);
CREATE INDEX webhook_waiting ON webhook_deliveries (next_at) WHERE state = 'QUEUED';

CREATE TABLE customer_accounts (
    account_id text PRIMARY KEY,
    token_id text NOT NULL,
    name text NOT NULL,
    email text NOT NULL,
    phone text NOT NULL,
    currency text NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX ix_customer_accounts_token_id ON customer_accounts (token_id);

CREATE TABLE searches (
    transaction_id text PRIMARY KEY,
    token_id text NOT NULL,
    account_id text NOT NULL DEFAULT '',
    message_id text NOT NULL,
    intent jsonb NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE TABLE search_offers (
    transaction_id text,
    seller_id text,
    provider_id text,
    offer_id text,
    document jsonb NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (transaction_id, seller_id, provider_id, offer_id)
);
"""

_TRADE = """
CREATE TABLE providers (
    provider_id text PRIMARY KEY,
    name text NOT NULL,
    short_desc text NOT NULL,
    image_url text NOT NULL,
    gps text NOT NULL,
    meter_id text NOT NULL UNIQUE,
    created_at timestamptz NOT NULL
);

CREATE TABLE assets (
    asset_id text PRIMARY KEY,
    provider_id text NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    rating_w bigint NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX ix_assets_provider_id ON assets (provider_id);

CREATE TABLE offers (
    offer_id text PRIMARY KEY,
    provider_id text NOT NULL,
    meter_id text NOT NULL,
    source text NOT NULL,
    currency text NOT NULL,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    slot_s integer NOT NULL,
    offered_wh bigint[] NOT NULL,
    held_wh bigint[] NOT NULL,
    sold_wh bigint[] NOT NULL,
    price_micro_per_kwh bigint[] NOT NULL,
    wheeling_micro_per_kwh bigint NOT NULL,
    order_wh_min bigint NOT NULL,
    order_wh_max bigint NOT NULL,
    gate_closure_s bigint NOT NULL,
    quote_ttl_s bigint NOT NULL,
    cancellation_terms jsonb NOT NULL,
    fulfillment_type text NOT NULL,
    valid_from timestamptz NOT NULL,
    valid_until timestamptz NOT NULL,
    state text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT offers_never_oversold CHECK (series_within(held_wh, sold_wh, offered_wh))
);
CREATE INDEX offers_window ON offers (starts_at, ends_at) WHERE state = 'PUBLISHED';
CREATE INDEX offers_provider ON offers (provider_id);

CREATE TABLE orders (
    order_id text PRIMARY KEY,
    side text NOT NULL,
    state text NOT NULL,
    transaction_id text NOT NULL,
    counterparty_id text NOT NULL,
    wire_order_id text NOT NULL DEFAULT '',
    provider_id text NOT NULL,
    offer_id text NOT NULL,
    meter_id text NOT NULL DEFAULT '',
    account_id text NOT NULL DEFAULT '',
    delivery_start timestamptz NOT NULL,
    delivery_end timestamptz NOT NULL,
    quote_expires_at timestamptz,
    awaiting_until timestamptz,
    document jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE INDEX orders_wire ON orders (counterparty_id, wire_order_id);
CREATE INDEX orders_state ON orders (state, delivery_end);
CREATE INDEX orders_meter ON orders (meter_id, delivery_start);
CREATE INDEX orders_account ON orders (account_id, created_at);
CREATE INDEX ix_orders_offer_id ON orders (offer_id);
CREATE UNIQUE INDEX orders_session ON orders (side, counterparty_id, transaction_id, provider_id);

CREATE TABLE readings (
    meter_id text,
    flow text,
    starts_at timestamptz,
    version integer,
    slot_s integer NOT NULL,
    energy_wh bigint NOT NULL,
    quality text NOT NULL DEFAULT 'MEASURED',
    received_at timestamptz NOT NULL,
    PRIMARY KEY (meter_id, flow, starts_at, version)
);

CREATE TABLE ratings (
    rater_id text,
    category text,
    subject_id text,
    provider_id text NOT NULL,
    value text NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (rater_id, category, subject_id)
);
CREATE INDEX ix_ratings_provider_id ON ratings (provider_id);

CREATE TABLE ledger_accounts (
    account text,
    currency text,
    may_overdraw boolean NOT NULL,
    balance_minor bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (account, currency),
    CONSTRAINT ledger_no_overdraft CHECK (may_overdraw OR balance_minor >= 0)
);

CREATE TABLE ledger_transfers (
    transfer_id text PRIMARY KEY,
    seq bigint GENERATED ALWAYS AS IDENTITY,
    order_id text NOT NULL DEFAULT '',
    debit text NOT NULL,
    credit text NOT NULL,
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    memo text NOT NULL DEFAULT '',
    at timestamptz NOT NULL,
    CONSTRAINT ledger_amount_positive CHECK (amount_minor > 0)
);
CREATE INDEX ix_ledger_transfers_order_id ON ledger_transfers (order_id);
"""

_ONLY_ADDED_TO = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is only ever added to, % is refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER only_added_to BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_transfers
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER only_added_to BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER only_added_to BEFORE UPDATE OR DELETE OR TRUNCATE ON registry_changes
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""

#: Letters are kilobytes of JSON; lz4 compresses them several times faster than the default, where it was built in.
_COMPRESS_BODIES = """
DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)) THEN
        ALTER TABLE inbox ALTER COLUMN body SET COMPRESSION lz4;
        ALTER TABLE outbox ALTER COLUMN body SET COMPRESSION lz4;
        ALTER TABLE idempotency_keys ALTER COLUMN body SET COMPRESSION lz4;
    END IF;
END
$$;
"""


def upgrade() -> None:
    """Make everything."""
    for part in (_SERIES_WITHIN, _POST_OFFICE, _DIRECTORY, _DESK, _TRADE, _ONLY_ADDED_TO, _COMPRESS_BODIES):
        op.execute(part)


def downgrade() -> None:
    """There is nothing before the first release to go back to."""
    raise NotImplementedError("restore a backup instead")
