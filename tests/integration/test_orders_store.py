"""Orders in a real database: exact round trips, one order a session, jobs that share the work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store import disputes, order_document, orders, readings, settling
from store.db import Database
from store.readings import Reading
from store.settling import Note
from tests.support.trade_cases import EVENING_BEFORE, SLOT_START, TERMS, an_order, energies, hours
from trade.order import (
    Customer,
    Dispute,
    Order,
    OrderState,
    Side,
)
from trade.policy import BUILT_IN
from trade.quote import (
    CancellationTerm,
    Flow,
    LineKind,
    Party,
    Quote,
    QuoteLine,
    SettlementResult,
)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = await Database.connect(database_url, pool_max=4)
    yield opened
    await opened.close()


def sold(number: int, state: OrderState = OrderState.ACTIVE, **changes: Any) -> Order:
    """A seller's order of its own session."""
    side = changes.pop("side", Side.SELLER)
    return an_order(
        side=side,
        order_id=f"order-{number}",
        wire_order_id=f"wire-{number}",
        transaction_id=f"transaction-{number}",
        meter_id="meter-7",
        state=state,
        created_at=EVENING_BEFORE + timedelta(seconds=number),
        **changes,
    )


async def keep(database: Database, *kept: Order) -> None:
    async with database.unit_of_work() as uow:
        for order in kept:
            await orders.insert(uow, order)


async def test_a_second_order_of_a_session_is_refused(database: Database) -> None:
    await keep(database, sold(1))
    with pytest.raises(orders.OrderExists):
        await keep(database, replace(sold(2), transaction_id="transaction-1"))
    with pytest.raises(orders.OrderExists):
        await keep(database, replace(sold(1), transaction_id="transaction-3"))


async def test_saving_an_order_that_was_never_inserted_is_refused(database: Database) -> None:
    async with database.unit_of_work() as uow:
        with pytest.raises(orders.OrderMissing):
            await orders.save(uow, sold(1))


async def test_another_nodes_order_is_never_found_by_its_wire_id(database: Database) -> None:
    await keep(database, sold(1))
    async with database.unit_of_work() as uow:
        stranger = {"side": Side.SELLER, "counterparty_id": "stranger.example"}
        assert await orders.lock_by_wire(uow, **stranger, wire_order_id="wire-1") is None
        owner = {"side": Side.SELLER, "counterparty_id": "bap.example"}
        assert await orders.lock_by_wire(uow, **owner, wire_order_id="") is None
        assert await orders.lock_by_wire(uow, **owner, wire_order_id="wire-1") == sold(1)


async def test_an_order_is_saved_whole_and_found_by_id_and_session(database: Database) -> None:
    order = sold(1, ratings=(("Order", "5"),), customer=Customer("Anna", "anna@homes.example", "+15550100"))
    await keep(database, order)
    changed = replace(order, state=OrderState.DELIVERING, contracted_wh=hours(0, 1500))
    async with database.unit_of_work() as uow:
        await orders.save(uow, changed)
    async with database.unit_of_work() as uow:
        assert await orders.get(uow, "order-1") == changed
        assert await orders.lock(uow, "order-1") == changed
        assert await orders.get(uow, "order-2") is None
        session = {"counterparty_id": "bap.example", "transaction_id": "transaction-1", "provider_id": "home-7"}
        assert await orders.lock_session(uow, side=Side.SELLER, **session) == changed
        assert await orders.lock_session(uow, side=Side.BUYER, **session) is None


async def test_a_wire_id_is_taken_only_by_another_order_of_the_same_node(database: Database) -> None:
    await keep(database, sold(1))
    async with database.unit_of_work() as uow:

        async def taken(by: str, other_than: str) -> bool:
            return await orders.is_wire_id_taken(
                uow, side=Side.SELLER, counterparty_id=by, wire_order_id="wire-1", by_other_than=other_than
            )

        assert await taken("bap.example", "order-2")
        assert not await taken("bap.example", "order-1")
        assert not await taken("stranger.example", "order-2")


async def test_lists_are_pages_newest_first_within_their_filters(database: Database) -> None:
    await keep(database, *(sold(n, provider_id=f"home-{n % 2}") for n in range(1, 6)))
    async with database.unit_of_work() as uow:
        first = await orders.list_for(uow, side=Side.SELLER, limit=2)
        assert [order.order_id for order in first] == ["order-5", "order-4"]
        rest = await orders.list_for(uow, side=Side.SELLER, after="order-4", limit=9)
        assert [order.order_id for order in rest] == ["order-3", "order-2", "order-1"]
        odd = await orders.list_for(uow, side=Side.SELLER, provider_id="home-1", state=OrderState.ACTIVE, limit=9)
        assert [order.order_id for order in odd] == ["order-5", "order-3", "order-1"]
        assert await orders.list_for(uow, side=Side.BUYER, limit=9) == []
        assert await orders.list_for(uow, side=Side.SELLER, transaction_id="transaction-2", limit=9) == [
            sold(2, provider_id="home-0")
        ]


async def test_expired_quotes_are_shared_between_two_workers_and_never_taken_twice(database: Database) -> None:
    await keep(database, *(sold(n, OrderState.INITIALISED) for n in range(1, 5)), sold(9))
    later = EVENING_BEFORE + timedelta(seconds=301)
    async with database.unit_of_work() as one, database.unit_of_work() as two:
        first = await orders.expired_quotes(one, later, 2)
        second = await orders.expired_quotes(two, later, 9)
        ids = sorted(order.order_id for order in first + second)
        assert ids == ["order-1", "order-2", "order-3", "order-4"]
        assert len(first) == 2
    async with database.unit_of_work() as uow:
        assert await orders.expired_quotes(uow, EVENING_BEFORE, 9) == []


async def test_orders_wait_for_an_answer_until_their_time_is_over(database: Database) -> None:
    waiting = sold(1, OrderState.CONFIRMING, awaiting_until=EVENING_BEFORE, awaiting_message_id="m")
    await keep(database, replace(waiting, side=Side.BUYER), sold(2))
    async with database.unit_of_work() as uow:
        assert [order.order_id for order in await orders.unanswered(uow, EVENING_BEFORE, 9)] == ["order-1"]
        assert await orders.unanswered(uow, EVENING_BEFORE - timedelta(seconds=1), 9) == []


async def test_delivery_starts_with_the_first_slot_that_holds_energy(database: Database) -> None:
    empty_first = hours(0, 1000, 0)
    await keep(database, sold(1, energy_wh=empty_first))
    async with database.unit_of_work() as uow:
        assert await orders.to_start(uow, SLOT_START, 9) == []
        begun = await orders.to_start(uow, SLOT_START + timedelta(hours=1), 9)
        assert [order.order_id for order in begun] == ["order-1"]


async def test_claims_on_a_meter_are_locked_in_line_and_in_parts(database: Database) -> None:
    next_day = hours(500, start=SLOT_START + timedelta(days=1))
    await keep(
        database,
        sold(1, energy_wh=next_day),
        sold(2, OrderState.DISPUTED),
        sold(3, OrderState.COMPLETED),
        sold(4, OrderState.EXPIRED),
    )
    week = (SLOT_START, SLOT_START + timedelta(days=7))

    async def line(uow: Any, start: datetime, end: datetime, **given_: Any) -> list[str]:
        found = await orders.lock_on_meter(uow, "meter-7", start, end, **({"limit": 9} | given_))
        return [order.order_id for order in found]

    async with database.unit_of_work() as uow:
        assert await line(uow, *week) == ["order-2", "order-3", "order-1"]
        assert await line(uow, SLOT_START + timedelta(hours=2), week[1]) == ["order-1"]
        assert await line(uow, *week, limit=2) == ["order-2", "order-3"]
        assert await line(uow, *week, limit=2, after=orders.place(sold(3))) == ["order-1"]


async def test_a_contract_is_overdue_when_its_policy_says(database: Database) -> None:
    street = BUILT_IN["street@1"]
    await keep(
        database,
        sold(1, policy=street),
        replace(sold(2), meter_id="meter-8"),
        sold(3, OrderState.COMPLETED, policy=street),
        sold(4, side=Side.BUYER, policy=street),
    )
    end = SLOT_START + timedelta(hours=2)

    async def overdue(at: datetime, after: str = "") -> list[str]:
        async with database.unit_of_work() as uow:
            return [meter_id for meter_id, *_ in await orders.overdue(uow, at, after=after, limit=9)]

    assert await overdue(end + timedelta(days=2, seconds=-1)) == []
    assert await overdue(end + timedelta(days=2)) == ["meter-7"]
    assert await overdue(end + timedelta(days=30)) == ["meter-7", "meter-8"]
    assert await overdue(end + timedelta(days=30), after="meter-7") == ["meter-8"]
    async with database.unit_of_work() as uow:
        [found] = await orders.overdue(uow, end + timedelta(days=2), limit=9)
        assert found == ("meter-7", SLOT_START, end)


async def test_every_reading_notes_its_meter_and_a_note_is_struck_unless_more_came(database: Database) -> None:
    async def measure(hour: int, wh: int, flow: str = "EXPORT") -> None:
        async with database.unit_of_work() as uow:
            reading = Reading(SLOT_START + timedelta(hours=hour), 3600, wh)
            await readings.add(uow, "meter-7", flow, [reading], SLOT_START + timedelta(days=1))

    async def noted(flow: str = "EXPORT", **given_: Any) -> list[Note]:
        async with database.unit_of_work() as uow:
            return await settling.noted(uow, flow, **given_)

    assert await noted() == []
    await measure(3, 100)
    await measure(1, 100, flow="IMPORT")
    await measure(1, 100)
    [note] = await noted(limit=9)
    assert note == Note(
        "meter-7", "EXPORT", SLOT_START + timedelta(hours=1), SLOT_START + timedelta(hours=4), 2
    )  # fmt: skip
    assert await noted(meter_id="meter-8") == []
    assert await noted(after="meter-7") == []
    await measure(1, 150)  # a correction is news, too
    async with database.unit_of_work() as uow:
        assert not await settling.strike(uow, note)
        assert await settling.strike(uow, (await settling.noted(uow, "EXPORT"))[0])
        await settling.note(uow, "meter-7", "EXPORT", SLOT_START, SLOT_START)
    assert [entry.notes for entry in await noted()] == [1]
    await measure(1, 150)  # what is known already is none
    assert [entry.notes for entry in await noted()] == [1]
    assert len(await noted("IMPORT")) == 1


async def test_an_upload_that_fails_leaves_no_note(database: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        async with database.unit_of_work() as uow:
            await readings.add(uow, "meter-7", "EXPORT", [Reading(SLOT_START, 3600, 1)], SLOT_START)
            raise ZeroDivisionError
    async with database.unit_of_work() as uow:
        assert await settling.noted(uow, "EXPORT") == []


async def test_disputes_are_found_by_id_and_listed_newest_first(database: Database) -> None:
    def dispute(number: int) -> Dispute:
        opened_at = SLOT_START + timedelta(hours=number)
        return Dispute(f"d-{number}", Side.BUYER, "why", opened_at, opened_at + timedelta(days=14))

    await keep(
        database,
        sold(1, OrderState.DISPUTED, dispute=dispute(1)),
        sold(2, OrderState.COMPLETED, dispute=dispute(2)),
        sold(3),
        sold(4, OrderState.DISPUTED, dispute=dispute(4), provider_id="home-8"),
        sold(5, OrderState.DISPUTED, dispute=dispute(5), side=Side.BUYER),
    )

    async def listed(**given_: Any) -> list[str]:
        async with database.unit_of_work() as uow:
            return [order.order_id for order in await disputes.newest(uow, Side.SELLER, **({"limit": 9} | given_))]

    assert await listed() == ["order-4", "order-2", "order-1"]
    assert await listed(is_open=True) == ["order-4", "order-1"]
    assert await listed(is_open=False) == ["order-2"]
    assert await listed(provider_id="home-7") == ["order-2", "order-1"]
    assert await listed(limit=1, after="d-4") == ["order-2"]
    async with database.unit_of_work() as uow:
        found = await disputes.lock(uow, Side.SELLER, "d-2")
        assert found is not None
        assert found.order_id == "order-2"
        assert await disputes.lock(uow, Side.SELLER, "d-5") is None
        lapsed = await orders.lapsed_disputes(uow, Side.SELLER, SLOT_START + timedelta(days=14, hours=1), 9)
        assert [order.order_id for order in lapsed] == ["order-1"]


async def test_all_claims_on_a_meter_are_found_by_the_time_they_share(database: Database) -> None:
    later = hours(500, start=SLOT_START + timedelta(hours=1))
    next_day = hours(500, start=SLOT_START + timedelta(days=1))
    await keep(
        database,
        sold(1, OrderState.DELIVERING),
        sold(2, OrderState.COMPLETED, energy_wh=later),
        sold(3, energy_wh=next_day),
        sold(4, OrderState.CANCELLED),
        replace(sold(5), meter_id="meter-8"),
    )
    async with database.unit_of_work() as uow:
        sharing = await orders.on_meter(uow, "meter-7", SLOT_START, SLOT_START + timedelta(hours=2))
        assert [order.order_id for order in sharing] == ["order-1", "order-2"]
        assert len(await orders.on_meter(uow, "meter-7")) == 3


async def test_all_orders_of_a_transaction_are_found_for_their_own_node_alone(database: Database) -> None:
    second = replace(sold(2), transaction_id="transaction-1", provider_id="home-8")
    await keep(database, sold(1), second, sold(3))
    async with database.unit_of_work() as uow:
        mine = {"side": Side.SELLER, "counterparty_id": "bap.example", "transaction_id": "transaction-1"}
        assert await orders.lock_transaction(uow, **mine) == [sold(1), second]
        assert await orders.lock_transaction(uow, **(mine | {"counterparty_id": "stranger.example"})) == []


async def test_only_one_worker_settles_a_meter_at_a_time(database: Database) -> None:
    async with database.unit_of_work() as one:
        assert await orders.claim_meter(one, "meter-7")
        async with database.unit_of_work() as two:
            assert not await orders.claim_meter(two, "meter-7")
            assert await orders.claim_meter(two, "meter-8")
    async with database.unit_of_work() as three:
        assert await orders.claim_meter(three, "meter-7")


async def test_a_locked_order_waits_for_the_unit_of_work_that_has_it(database: Database) -> None:
    await keep(database, sold(1))
    seen: list[OrderState] = []

    async def read_after_the_other() -> None:
        async with database.unit_of_work() as uow:
            order = await orders.lock(uow, "order-1")
            assert order is not None
            seen.append(order.state)

    async with database.unit_of_work() as uow:
        await orders.lock(uow, "order-1")
        waiting = asyncio.create_task(read_after_the_other())
        await asyncio.sleep(0.05)
        await orders.save(uow, sold(1, OrderState.CANCELLED))
    await waiting
    assert seen == [OrderState.CANCELLED]


texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)
instants = st.datetimes(datetime(2016, 1, 1), datetime(2036, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
whole = st.integers(-(2**53) + 1, 2**53 - 1)
lines = st.lists(
    st.builds(QuoteLine, st.sampled_from(LineKind), texts, whole, st.none() | whole, st.none() | whole), max_size=3
).map(tuple)
flows = st.lists(st.builds(Flow, st.sampled_from(LineKind), st.sampled_from(Party), st.sampled_from(Party), whole)).map(
    tuple
)
settlements = st.builds(SettlementResult, energies(), lines, instants, flows, st.integers(1, 9))
any_dispute = st.builds(
    Dispute, texts, st.sampled_from(Side), texts, instants, instants, st.none() | whole, st.none() | whole, texts,
    st.none() | instants,
)  # fmt: skip
any_order = st.builds(
    Order,
    **{name.name: texts for name in fields(Order) if name.type == "str"},
    side=st.sampled_from(Side),
    state=st.sampled_from(OrderState),
    contracted_wh=energies(),
    price_micro_per_kwh=energies(),
    created_at=instants,
    updated_at=instants,
    wheeling_micro_per_kwh=whole,
    quote=st.none() | st.builds(Quote, texts, texts, lines, instants, whole),
    customer=st.none() | st.builds(Customer, texts, texts, texts),
    cancellation_terms=st.just(TERMS) | st.lists(st.builds(CancellationTerm, whole, whole), max_size=2).map(tuple),
    settlement=st.none() | settlements,
    superseded=st.lists(settlements, max_size=2).map(tuple),
    dispute=st.none() | any_dispute,
    policy=st.sampled_from(list(BUILT_IN.values())),
    **{name: st.none() | energies() for name in order_document._GROWING},
    utility_sides=st.lists(st.sampled_from(Side), max_size=2).map(tuple),
    awaiting_until=st.none() | instants,
    ratings=st.lists(st.tuples(texts, texts), max_size=2).map(tuple),
)


@given(any_order)
def test_every_order_survives_its_document_exactly(order: Order) -> None:
    import orjson

    document = orjson.loads(orjson.dumps(order_document.to_document(order)))
    assert order_document.from_document(document) == order
