"""Assets whole, richer offers found in price order, a meter's limit that the database keeps, and indices."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_SERIES_LEAST = """
CREATE FUNCTION series_least(series bigint[]) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (SELECT min(value) FROM unnest(series) AS value);
"""

#: On the path of every hold and sale: it stops at the slot that settles the question.
_SERIES_LEAVE = """
CREATE FUNCTION series_leave(held bigint[], sold bigint[], offered bigint[], wanted bigint) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    free bigint = 0;
BEGIN
    FOR slot IN 1 .. cardinality(offered) LOOP
        free = free + coalesce(offered[slot] - held[slot] - sold[slot], 0);
        IF free >= wanted THEN
            RETURN true;
        END IF;
    END LOOP;
    RETURN false;
END
$$;
"""

#: A provider's "lat, lon" becomes the point (lon, lat) by itself, so that no code can keep one without the other.
_PROVIDERS = """
ALTER TABLE providers
    ADD COLUMN rating_count bigint NOT NULL DEFAULT 0,
    ADD COLUMN rating_mean numeric,
    ADD COLUMN settled bigint NOT NULL DEFAULT 0,
    ADD COLUMN contracted_wh bigint NOT NULL DEFAULT 0,
    ADD COLUMN delivered_wh bigint NOT NULL DEFAULT 0,
    ADD COLUMN delivered_per_mille integer GENERATED ALWAYS AS
        (CASE WHEN contracted_wh > 0 THEN div(delivered_wh * 1000::numeric, contracted_wh::numeric)::integer END)
        STORED,
    ADD COLUMN position point GENERATED ALWAYS AS
        (CASE WHEN gps ~ '^-?[0-9]{1,2}([.][0-9]+)?, ?-?[0-9]{1,3}([.][0-9]+)?$'
              THEN point(split_part(gps, ',', 2)::float8, split_part(gps, ',', 1)::float8) END) STORED;
UPDATE providers SET (rating_count, rating_mean) = (
    SELECT count(*), avg(value::numeric) FROM ratings
    WHERE ratings.provider_id = providers.provider_id AND category = 'Provider');
"""

_ASSETS = """
ALTER TABLE assets
    ADD COLUMN meter_id text NOT NULL DEFAULT '',
    ADD COLUMN gps text NOT NULL DEFAULT '',
    ADD COLUMN sanctioned_load_w bigint,
    ADD COLUMN details jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN retired_at timestamptz;
UPDATE assets SET meter_id = providers.meter_id FROM providers WHERE providers.provider_id = assets.provider_id;
CREATE UNIQUE INDEX assets_one_connection ON assets (meter_id)
    WHERE kind = 'GRID_CONNECTION' AND retired_at IS NULL;
"""

_INDICES = """
CREATE TABLE indices (
    kind text,
    name text,
    currency text NOT NULL,
    note text NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (kind, name)
);
CREATE TABLE index_points (
    kind text,
    name text,
    starts_at timestamptz,
    slot_s integer NOT NULL,
    value bigint NOT NULL,
    PRIMARY KEY (kind, name, starts_at)
);
"""

#: What searches filter and order by stands in columns that the table keeps by itself. `has_free` changes only when an
#: offer sells out or is freed again, so that holds and sales stay updates that touch no index.
_OFFERS = """
ALTER TABLE offers
    ADD COLUMN policy text NOT NULL DEFAULT 'plain@1',
    ADD COLUMN asset_id text NOT NULL DEFAULT '',
    ADD COLUMN price_model jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN renewable_per_mille integer,
    ADD COLUMN carbon_g_per_kwh bigint[],
    ADD COLUMN certificates text[] NOT NULL DEFAULT '{}',
    ADD COLUMN position point,
    ADD COLUMN is_listed boolean NOT NULL DEFAULT true,
    ADD COLUMN price_least bigint GENERATED ALWAYS AS
        (LEAST(series_least(price_micro_per_kwh), (price_model ->> 'price_least')::bigint)) STORED,
    ADD COLUMN carbon_least bigint GENERATED ALWAYS AS (series_least(carbon_g_per_kwh)) STORED,
    ADD COLUMN has_free boolean GENERATED ALWAYS AS (series_leave(held_wh, sold_wh, offered_wh, order_wh_min)) STORED;
UPDATE offers SET position = providers.position FROM providers WHERE providers.provider_id = offers.provider_id;
DROP INDEX offers_window;
CREATE INDEX offers_window ON offers USING gist (tstzrange(starts_at, ends_at))
    WHERE state = 'PUBLISHED' AND is_listed AND has_free;
CREATE INDEX offers_cheapest ON offers (price_least, offer_id) WHERE state = 'PUBLISHED' AND is_listed AND has_free;
CREATE INDEX offers_place ON offers USING gist (position) WHERE state = 'PUBLISHED' AND is_listed AND has_free;
CREATE INDEX offers_ended ON offers (ends_at) WHERE is_listed;
CREATE INDEX offers_meter ON offers (meter_id, starts_at);
"""

#: What the limit of a meter leaves in each slot after everything held and sold over all its offers; NULL without a
#: limit. Energy of a slot that begins or ends elsewhere counts in full in every slot it touches. `claim` waits for the
#: meter's row: what is read afterwards stands until the transaction ends, for whoever takes energy claims the row.
#: It must stay VOLATILE, so that its second query sees what was committed while the first one waited.
_METER_LIMITS = """
CREATE TABLE meter_limits (
    meter_id text PRIMARY KEY,
    export_w bigint NOT NULL,
    changed_at timestamptz NOT NULL,
    CONSTRAINT meter_limit_positive CHECK (export_w >= 0)
);

CREATE FUNCTION meter_free_wh(meter text, first timestamptz, step_s integer, slots integer, claim boolean)
RETURNS bigint[] LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    limit_w bigint;
BEGIN
    IF claim THEN
        SELECT export_w INTO limit_w FROM meter_limits WHERE meter_id = meter FOR NO KEY UPDATE;
    ELSE
        SELECT export_w INTO limit_w FROM meter_limits WHERE meter_id = meter;
    END IF;
    IF limit_w IS NULL THEN
        RETURN NULL;
    END IF;
    RETURN ARRAY(
        SELECT limit_w * step_s / 3600 - coalesce(taken.wh, 0)
        FROM generate_series(0, slots - 1) AS slot (place)
        LEFT JOIN (
            SELECT touched.place, sum(part.held + part.sold)::bigint AS wh
            FROM offers AS o
            CROSS JOIN LATERAL unnest(o.held_wh, o.sold_wh) WITH ORDINALITY AS part (held, sold, nth)
            CROSS JOIN LATERAL (
                SELECT extract(epoch FROM o.starts_at - first) + (part.nth - 1) * o.slot_s AS begins_s) AS at
            CROSS JOIN LATERAL generate_series(
                floor(at.begins_s / step_s)::integer,
                ceil((at.begins_s + o.slot_s) / step_s)::integer - 1) AS touched (place)
            WHERE o.meter_id = meter AND part.held + part.sold > 0
                AND o.starts_at < first + make_interval(secs => step_s * slots)
                AND o.ends_at > first AND o.starts_at > first - interval '32 days'
            GROUP BY touched.place
        ) AS taken USING (place)
        ORDER BY place
    );
END
$$;

CREATE FUNCTION keep_within_meter_limit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM meter_limits WHERE meter_id = NEW.meter_id) THEN
        RETURN NULL;
    END IF;
    IF series_least(
        meter_free_wh(NEW.meter_id, NEW.starts_at, NEW.slot_s, cardinality(NEW.offered_wh), true)) < 0 THEN
        RAISE EXCEPTION 'meter % would export more than its limit', NEW.meter_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'offers_within_meter_limit', TABLE = 'offers';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER within_meter_limit AFTER INSERT ON offers
    FOR EACH ROW EXECUTE FUNCTION keep_within_meter_limit();
CREATE TRIGGER within_meter_limit_changed AFTER UPDATE ON offers
    FOR EACH ROW WHEN (NEW.held_wh IS DISTINCT FROM OLD.held_wh OR NEW.sold_wh IS DISTINCT FROM OLD.sold_wh
        OR NEW.meter_id <> OLD.meter_id OR NEW.starts_at <> OLD.starts_at OR NEW.slot_s <> OLD.slot_s)
    EXECUTE FUNCTION keep_within_meter_limit();
"""


def upgrade() -> None:
    """Make everything, in order."""
    for part in (_SERIES_LEAST, _SERIES_LEAVE, _PROVIDERS, _ASSETS, _INDICES, _OFFERS, _METER_LIMITS):
        op.execute(part)


def downgrade() -> None:
    """Offers are not taken back to what they were."""
    raise NotImplementedError("restore a backup instead")
