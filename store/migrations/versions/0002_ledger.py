"""Transfers of several legs, in thousandths of a minor unit; overdrafts; money that comes and goes by a bank.

Every transfer of the first release becomes one with two legs, every amount is multiplied by a thousand, in the ledger
and in the orders' documents. What was already told (events, stored answers) stays as it was told.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_LEGS = """
CREATE TABLE ledger_legs (
    transfer_id text,
    leg integer,
    seq bigint NOT NULL,
    account text NOT NULL,
    currency text NOT NULL,
    amount_milli bigint NOT NULL,
    PRIMARY KEY (transfer_id, leg),
    CONSTRAINT ledger_leg_moves CHECK (amount_milli <> 0)
);
CREATE INDEX ledger_legs_account ON ledger_legs (account, seq);
INSERT INTO ledger_legs
    SELECT transfer_id, 0, seq, debit, currency, -amount_minor * 1000 FROM ledger_transfers
    UNION ALL
    SELECT transfer_id, 1, seq, credit, currency, amount_minor * 1000 FROM ledger_transfers;
ALTER TABLE ledger_transfers DROP COLUMN debit, DROP COLUMN credit, DROP COLUMN amount_minor, DROP COLUMN currency;
"""

_ACCOUNTS = """
ALTER TABLE ledger_accounts DROP CONSTRAINT ledger_no_overdraft;
ALTER TABLE ledger_accounts ADD COLUMN balance_milli bigint NOT NULL DEFAULT 0,
    ADD COLUMN overdraft_milli bigint DEFAULT 0;
UPDATE ledger_accounts SET balance_milli = balance_minor * 1000,
    overdraft_milli = CASE WHEN may_overdraw
        OR split_part(account, ':', 1) IN ('payable', 'provider', 'utility') THEN NULL ELSE 0 END;
ALTER TABLE ledger_accounts DROP COLUMN may_overdraw, DROP COLUMN balance_minor,
    ADD CONSTRAINT ledger_no_overdraft CHECK (overdraft_milli IS NULL OR balance_milli >= -overdraft_milli),
    ADD CONSTRAINT ledger_overdraft_positive CHECK (overdraft_milli >= 0);
"""

#: Legs come with their transfer, all at once, and sum to zero per currency; a transfer never comes without legs.
_BALANCED = """
CREATE FUNCTION refuse_unbalanced() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong text;
BEGIN
    SELECT l.transfer_id INTO wrong FROM added l GROUP BY l.transfer_id, l.currency
    HAVING sum(l.amount_milli) <> 0 LIMIT 1;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'the legs of transfer % do not sum to zero', wrong USING ERRCODE = 'check_violation';
    END IF;
    SELECT a.transfer_id INTO wrong FROM (SELECT transfer_id, count(*) AS legs FROM added GROUP BY transfer_id) a
    WHERE a.legs <> (SELECT count(*) FROM ledger_legs l WHERE l.transfer_id = a.transfer_id)
       OR NOT EXISTS (SELECT FROM ledger_transfers t WHERE t.transfer_id = a.transfer_id) LIMIT 1;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'transfer % takes no more legs', wrong USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END
$$;
CREATE FUNCTION refuse_legless() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong text;
BEGIN
    SELECT t.transfer_id INTO wrong FROM added t
    WHERE NOT EXISTS (SELECT FROM ledger_legs l WHERE l.transfer_id = t.transfer_id AND l.seq = t.seq) LIMIT 1;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'transfer % has no legs', wrong USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER sums_to_zero AFTER INSERT ON ledger_legs REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_unbalanced();
CREATE TRIGGER has_legs AFTER INSERT ON ledger_transfers REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_legless();
CREATE TRIGGER only_added_to BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_legs
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""

#: In an order's document every amount's name ends in _minor.
_DOCUMENTS = """
CREATE FUNCTION pg_temp.in_milli(value jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    CASE jsonb_typeof(value)
    WHEN 'object' THEN
        RETURN (SELECT coalesce(jsonb_object_agg(
            regexp_replace(key, '_minor$', '_milli'),
            CASE WHEN key LIKE '%\\_minor' AND jsonb_typeof(entry) = 'number' THEN to_jsonb((entry)::bigint * 1000)
                 ELSE pg_temp.in_milli(entry) END), '{}') FROM jsonb_each(value) AS e(key, entry));
    WHEN 'array' THEN
        RETURN (SELECT coalesce(jsonb_agg(pg_temp.in_milli(entry) ORDER BY place), '[]')
                FROM jsonb_array_elements(value) WITH ORDINALITY AS e(entry, place));
    ELSE
        RETURN value;
    END CASE;
END
$$;
UPDATE orders SET document = pg_temp.in_milli(document);
DROP FUNCTION pg_temp.in_milli(jsonb);
"""

_BANK = """
CREATE TABLE bank_entries (
    entry_id text PRIMARY KEY,
    seq bigint GENERATED ALWAYS AS IDENTITY,
    is_credit boolean NOT NULL,
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    booked_on date NOT NULL,
    text text NOT NULL,
    counterparty text NOT NULL,
    state text NOT NULL,
    reason text NOT NULL,
    account text NOT NULL,
    payout_id text NOT NULL,
    imported_at timestamptz NOT NULL,
    CONSTRAINT bank_entry_moves CHECK (amount_minor > 0)
);
CREATE INDEX bank_entries_state ON bank_entries (state, seq);
CREATE TABLE payouts (
    payout_id text PRIMARY KEY,
    seq bigint GENERATED ALWAYS AS IDENTITY,
    account text NOT NULL,
    currency text NOT NULL,
    amount_minor bigint NOT NULL,
    reference text NOT NULL UNIQUE,
    state text NOT NULL,
    entry_id text NOT NULL,
    requested_at timestamptz NOT NULL,
    finished_at timestamptz,
    CONSTRAINT payout_moves CHECK (amount_minor > 0)
);
CREATE INDEX payouts_state ON payouts (state, seq);
CREATE TABLE payment_sessions (
    session_id text PRIMARY KEY,
    account_id text NOT NULL,
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    url text NOT NULL,
    state text NOT NULL,
    created_at timestamptz NOT NULL,
    finished_at timestamptz
);
CREATE TABLE payment_events (
    event_id text PRIMARY KEY,
    kind text NOT NULL,
    outcome text NOT NULL,
    received_at timestamptz NOT NULL
);
"""

_STATEMENTS: tuple[str, ...] = (_LEGS, _ACCOUNTS, _BALANCED, _DOCUMENTS, _BANK)


def upgrade() -> None:
    """Run every statement in order."""
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """A ledger is not taken back."""
    raise NotImplementedError("restore a backup instead")
