"""The migrations against the declared tables, and the guards they put into the database itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import asyncpg
import pytest
from sqlalchemy import create_mock_engine
from sqlalchemy.dialects import postgresql
from sqlmodel import SQLModel

import store.tables  # noqa: F401 - fills SQLModel.metadata
from cli.servers import Servers
from store import migrate, transfers
from store.db import Database

#: All that makes a table: columns with type, default, identity and compression left out; keys, checks, indexes.
_CATALOGUE = """
SELECT 'column' AS kind, c.relname AS table, a.attname AS name,
       format_type(a.atttypid, a.atttypmod)
       || ' null:' || (NOT a.attnotnull)::text || ' identity:' || a.attidentity::text
       || ' default:' || coalesce(pg_get_expr(d.adbin, d.adrelid), '') AS definition
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (c.oid, a.attnum)
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL
SELECT 'index', tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
"""


async def _catalogue(url: str) -> dict[tuple[str, str, str], str]:
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(_CATALOGUE)
    finally:
        await connection.close()
    return {(r["kind"], r["table"], r["name"]): r["definition"] for r in rows if r["table"] != "alembic_version"}


def _declared_sql() -> str:
    statements: list[str] = []
    engine = create_mock_engine(
        "postgresql+asyncpg://", lambda sql, *_, **__: statements.append(str(sql.compile(dialect=postgresql.dialect())))
    )
    SQLModel.metadata.create_all(engine, checkfirst=False)
    return ";\n".join(statements)


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    opened = await asyncpg.connect(database_url)
    yield opened
    await opened.close()


async def _publish(
    connection: asyncpg.Connection, offered: list[int | None], held: list[int | None], sold: list[int | None]
) -> None:
    await connection.execute(
        "INSERT INTO offers VALUES ('o', 'p', 'm', 'SOLAR', 'USD', now(), now(), 3600, $1, $2, $3, $1, 0, 0, 0, 0, 0, "
        "'[]', 'DELIVERY', now(), now(), 'PUBLISHED', now(), now())",
        offered,
        held,
        sold,
    )


@pytest.mark.parametrize(
    ("offered", "held", "sold"),
    [
        pytest.param([10, 10], [0, 5], [0, 6], id="one slot oversold"),
        pytest.param([10], [11], [0], id="held beyond what is offered"),
        pytest.param([10], [-1], [0], id="held below zero"),
        pytest.param([10], [2], [-1], id="sold below zero"),
        pytest.param([10, 10], [0], [0, 0], id="a slot missing in held"),
        pytest.param([10], [0], [0, 0], id="a slot too many in sold"),
        pytest.param([10], [None], [0], id="a slot without a number"),
        pytest.param([None], [0], [0], id="an offered slot without a number"),
    ],
)
async def test_an_offer_beyond_itself_is_refused_by_the_database(
    connection: asyncpg.Connection, offered: list[int | None], held: list[int | None], sold: list[int | None]
) -> None:
    with pytest.raises(asyncpg.CheckViolationError, match="offers_never_oversold"):
        await _publish(connection, offered, held, sold)


async def test_two_huge_numbers_cannot_wrap_around_into_an_offer(connection: asyncpg.Connection) -> None:
    with pytest.raises(asyncpg.NumericValueOutOfRangeError):
        await _publish(connection, [10], [2**63 - 1], [2**63 - 1])


async def test_an_offer_sold_to_the_last_watt_hour_is_kept(connection: asyncpg.Connection) -> None:
    await _publish(connection, [10, 0], [4, 0], [6, 0])
    with pytest.raises(asyncpg.CheckViolationError):
        await connection.execute("UPDATE offers SET sold_wh = '{7,0}'")


@pytest.mark.parametrize(
    ("table", "column"),
    [("ledger_transfers", "at"), ("ledger_legs", "leg"), ("audit", "at"), ("registry_changes", "at")],
)
@pytest.mark.parametrize("change", ["UPDATE {0} SET {1} = {1}", "DELETE FROM {0}", "TRUNCATE {0}"])
async def test_rows_that_are_only_added_to_refuse_every_change(
    connection: asyncpg.Connection, table: str, column: str, change: str
) -> None:
    with pytest.raises(asyncpg.RestrictViolationError, match=f"{table} is only ever added to"):
        await connection.execute(change.format(table, column))


async def test_an_overdraft_is_refused_unless_the_account_may(connection: asyncpg.Connection) -> None:
    await connection.execute(
        "INSERT INTO ledger_accounts (account, currency, overdraft_milli, balance_milli)"
        " VALUES ('external', 'USD', NULL, -5)"
    )
    with pytest.raises(asyncpg.CheckViolationError, match="ledger_no_overdraft"):
        await connection.execute(
            "INSERT INTO ledger_accounts (account, currency, balance_milli) VALUES ('wallet', 'USD', -5)"
        )


#: A ledger of the first release: a deposit of 10.00, an order over 0.69 confirmed and settled at 0.67.
_FIRST_RELEASE = """
INSERT INTO ledger_transfers (transfer_id, order_id, debit, credit, amount_minor, currency, memo, at) VALUES
    ('deposit/anna/1', '', 'external', 'wallet:anna', 1000, 'USD', 'deposit 1', now()),
    ('o/reserve', 'o', 'wallet:anna', 'escrow:o', 69, 'USD', 'reserve', now()),
    ('o/settle', 'o', 'escrow:o', 'payable:bpp', 67, 'USD', 'settle', now()),
    ('o/settle-rest', 'o', 'escrow:o', 'wallet:anna', 2, 'USD', 'settle-rest', now());
INSERT INTO ledger_accounts (account, currency, may_overdraw, balance_minor) VALUES
    ('external', 'USD', true, -1000), ('wallet:anna', 'USD', false, 933), ('escrow:o', 'USD', false, 0),
    ('payable:bpp', 'USD', false, 67);
INSERT INTO orders (order_id, side, state, transaction_id, counterparty_id, provider_id, offer_id, delivery_start,
    delivery_end, document, created_at, updated_at) VALUES
    ('o', 'BUYER', 'COMPLETED', 't', 'bpp', 'p', 'f', now(), now(),
     '{"quote": {"lines": [{"kind": "ENERGY", "amount_minor": 63, "energy_wh": 3000}, {"amount_minor": 6}]},
       "settlement": {"lines": [{"amount_minor": 67}], "settled_at": "x"}, "dispute": {"buyer_total_minor": null},
       "ratings": [], "currency": "USD"}', now(), now());
"""


async def test_a_ledger_of_the_first_release_becomes_one_of_legs_and_thousandths(servers: Servers) -> None:
    url = servers.create_database("first_release")
    connection = await asyncpg.connect(url)
    await connection.execute(migrate._sql("", "0001"))
    await connection.execute(_FIRST_RELEASE)
    await connection.execute(migrate._sql("0001", migrate.head()))
    await connection.close()
    database = await Database.connect(url, pool_max=1)
    async with database.unit_of_work() as uow:
        proof = await transfers.proof(uow)
        assert (proof.problems, proof.transfers, proof.moved_milli) == ((), 4, {"USD": 1_138_000})
        assert await transfers.balances(uow, "wallet:anna") == {"USD": 933_000}
        newest = (await transfers.statement(uow, "wallet:anna", limit=1))[0]
        assert [(leg.account, leg.amount_milli) for leg in newest.legs] == [
            ("escrow:o", -2_000),
            ("wallet:anna", 2_000),
        ]
        allowed = {name: (await transfers.overdrafts(uow, name))["USD"] for name in ("external", "wallet:anna")}
        assert allowed == {"external": None, "wallet:anna": 0}
        document = json.loads(await uow.connection.fetchval("SELECT document::text FROM orders"))
    await database.close()
    assert document == {
        "quote": {"lines": [{"kind": "ENERGY", "amount_milli": 63_000, "energy_wh": 3000}, {"amount_milli": 6_000}]},
        "settlement": {"lines": [{"amount_milli": 67_000}], "settled_at": "x"},
        "dispute": {"buyer_total_milli": None},
        "ratings": [],
        "currency": "USD",
    }
    servers.drop_database("first_release")


_FIRST_CATALOGUE = """
INSERT INTO providers VALUES ('home', 'Home', '', '', '34.106, -117.435', 'meter-7', now()),
    ('lost', 'Lost', '', '', 'somewhere', 'meter-8', now());
INSERT INTO ratings VALUES ('bap', 'Provider', 'home', 'home', '4', now()),
    ('b', 'Provider', 'home', 'home', '5', now()), ('bap', 'Order', 'o', 'home', '1', now());
INSERT INTO assets VALUES ('roof', 'home', 'SOLAR', 'Roof', 5000, now());
INSERT INTO offers SELECT name, name, 'm', 'SOLAR', 'USD', now(), now() + interval '2 h', 3600,
    '{5,5}', '{0,0}', '{5,4}', '{9,7}', 0, 1, 9, 0, 60, '[]', 'DELIVERY', now(), now(), 'PUBLISHED', now(), now()
    FROM unnest(ARRAY['home', 'lost']) AS name;
"""


async def test_a_catalogue_of_the_first_release_can_be_searched(servers: Servers) -> None:
    url = servers.create_database("first_catalogue")
    connection = await asyncpg.connect(url)
    await connection.execute(migrate._sql("", "0001"))
    await connection.execute(_FIRST_CATALOGUE)
    await connection.execute(migrate._sql("0001", migrate.head()))
    found = "SELECT offer_id FROM offers WHERE position <@ box '((-117,35),(-118,34))' AND has_free AND price_least = 7"
    assert [row["offer_id"] for row in await connection.fetch(found)] == ["home"]
    rated = "SELECT provider_id, rating_count, rating_mean, delivered_per_mille FROM providers ORDER BY provider_id"
    rows = [tuple(row) for row in await connection.fetch(rated)]
    assert rows == [("home", 2, Decimal("4.5"), None), ("lost", 0, None, None)]
    assert await connection.fetchval("SELECT meter_id FROM assets") == "meter-7"
    await connection.close()
    servers.drop_database("first_catalogue")


async def test_migrated_tables_are_exactly_the_declared_ones(servers: Servers, database_url: str) -> None:
    declared = servers.create_database("declared")
    connection = await asyncpg.connect(declared)
    for name, taken, given in (
        ("series_within", "bigint[], bigint[], bigint[]", "boolean"),
        ("series_leave", "bigint[], bigint[], bigint[], bigint", "boolean"),
        ("series_least", "bigint[]", "bigint"),
    ):
        await connection.execute(f"CREATE FUNCTION {name}({taken}) RETURNS {given} IMMUTABLE RETURN NULL::{given}")
    await connection.execute(_declared_sql())
    await connection.close()
    assert await _catalogue(database_url) == await _catalogue(declared)
    servers.drop_database("declared")


def test_a_second_upgrade_changes_nothing(database_url: str) -> None:
    before = asyncio.run(_catalogue(database_url))
    assert migrate.upgrade(database_url) == (migrate.head(), migrate.head())
    assert asyncio.run(_catalogue(database_url)) == before


def test_nodes_that_migrate_at_the_same_moment_do_it_once(servers: Servers) -> None:
    url = servers.create_database("crowded")
    with ThreadPoolExecutor(4) as crowd:
        outcomes = list(crowd.map(lambda _: migrate.upgrade(url), range(4)))
    assert sorted(before for before, _ in outcomes) == ["", *[migrate.head()] * 3]
    servers.drop_database("crowded")


def test_a_database_of_a_newer_release_is_left_alone(servers: Servers, migrated_template: str) -> None:
    url = servers.create_database("newer", template=migrated_template)

    async def pretend() -> None:
        connection = await asyncpg.connect(url)
        await connection.execute("UPDATE alembic_version SET version_num = '9999'")
        await connection.close()

    asyncio.run(pretend())
    with pytest.raises(migrate.UnknownRevision, match="9999"):
        migrate.upgrade(url)
    servers.drop_database("newer")


def test_a_migration_that_fails_leaves_the_database_empty(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    url = servers.create_database("halfway")
    complete = migrate._sql
    monkeypatch.setattr(migrate, "_sql", lambda before, after: complete(before, after) + "\nSELECT 1 / 0;")
    with pytest.raises(asyncpg.DivisionByZeroError):
        migrate.upgrade(url)
    assert asyncio.run(_catalogue(url)) == {}
    servers.drop_database("halfway")
