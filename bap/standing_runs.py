"""How a standing order is carried out, step by step, each step stored before the next is tried.

    STARTED     the date's run exists                         -> its search is sent
    SEARCHING   offers come in, for OFFERS_AWAITED_S          -> the choice is made and its orders are named
    BUYING      each order: select, init, confirm             -> every one bought, refused or given up
    DONE        what was bought and why no more, told to the app

A step is one unit of work under the lock of the run's row, so a crash between two steps loses nothing and a second
process finds the row taken. The ids of the orders are stored before the first letter about them is written: a step that
is tried again finds its order and goes on from the order's state. What a seller refuses is looked for once more, among
what the others have left, ROUNDS_MAX rounds in all.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog

from bap import buyer, letters, searching, standing, translate
from bap.buyer import Unable, Wish
from bap.offer_document import offer_from_document, policy_of
from bap.standing_run import Outcome, Run, RunState, Wanted, document, from_row, report
from bap.translate import WireRefusal
from beckn.node import Node
from energy_catalog.offers import Intent, OfferView
from store import customers, events, orders, searches, standing_orders, transfers
from store.db import UnitOfWork
from trade.order import Customer, Order, OrderState

log = structlog.get_logger("bap.standing")

#: How often a run searches anew for what a seller refused.
ROUNDS_MAX = 3
#: How long until a run that waits for an answer looks again (wall clock).
PAUSE = timedelta(seconds=1)
#: How long until a run that found no gateway tries again (wall clock).
GATEWAY_PAUSE = timedelta(seconds=30)
#: How long until a step that failed by a defect is tried again (wall clock).
TROUBLE_PAUSE = timedelta(seconds=60)
#: States in which the money of an order is reserved or spent, and those in which the contract is sure.
_BOUND = buyer.CONTRACTED | {OrderState.DISPUTED}
_CONFIRMED = _BOUND - {OrderState.CONFIRMING, OrderState.UNANSWERED}
#: Runs begun, and steps made, by one wake-up at most; the next goes on.
STEPS_EACH_WAKE = 500


# --- Wake-ups ---------------------------------------------------------------------------------------------------------


async def start_due(node: Node) -> None:
    """Begin the run of every standing order whose time has come (trading clock)."""
    for _ in range(STEPS_EACH_WAKE):
        async with node.database.unit_of_work() as uow:
            if not await _start_next(node, uow):
                return


async def _start_next(node: Node, uow: UnitOfWork) -> bool:
    now_trading, now = node.trading.now(), node.wall.now()
    row = await standing_orders.lock_due(uow, now_trading)
    if row is None:
        return False
    terms = standing.from_document(row["terms"])
    due = standing.latest_run(terms, now=now_trading)
    following = standing.next_run(terms, after=now_trading)
    await standing_orders.schedule(uow, row["standing_order_id"], run_date=following.run_date, at=following.at)
    run = Run(row["standing_order_id"], due.run_date, row["account_id"], RunState.STARTED, terms, due.window)
    begun = await standing_orders.begin_run(
        uow,
        standing_order_id=run.standing_order_id,
        run_date=run.run_date,
        account_id=run.account_id,
        state=run.state,
        wake_at=now,
        document=document(run),
        now=now,
    )
    log.info("standing_run_due", standing_order_id=run.standing_order_id, run_date=str(due.run_date), is_new=begun)
    return True


class _Failed(Exception):
    """One order of a run cannot be had; the unit of work that tried it is undone."""

    def __init__(self, run: Run, wanted: Wanted, sentence: str) -> None:
        super().__init__(sentence)
        self.run, self.wanted, self.sentence = run, wanted, sentence


async def go_on(node: Node) -> None:
    """Make the next step of every run that is to go on (wall clock)."""
    for _ in range(STEPS_EACH_WAKE):
        row = None
        try:
            async with node.database.unit_of_work() as uow:
                row = await standing_orders.lock_waking(uow, node.wall.now())
                if row is None:
                    return
                await _Step(node, uow, from_row(row)).make()
        except _Failed as failure:
            await _note_failure(node, failure)
        except Exception:
            if row is not None:  # a defect: heard of through the job, and no run behind this one waits for it
                await _put_off(node, row)
            raise


async def _put_off(node: Node, row: Mapping[str, Any]) -> None:
    async with node.database.unit_of_work() as uow:
        until = node.wall.now() + TROUBLE_PAUSE
        await standing_orders.put_off(uow, row["standing_order_id"], row["run_date"], until=until)


async def _note_failure(node: Node, failure: _Failed) -> None:
    """Give one order up, in a unit of work of its own: the one that tried it is undone."""
    async with node.database.unit_of_work() as uow:
        row = await standing_orders.lock_run(uow, failure.run.standing_order_id, failure.run.run_date)
        if row is None:
            return
        step = _Step(node, uow, from_row(row))
        for wanted in step.run.orders:
            if wanted.order_id == failure.wanted.order_id and wanted.outcome is Outcome.OPEN:
                wanted.outcome, wanted.sentence = Outcome.GIVEN_UP, failure.sentence
        await step.save()


# --- The steps --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Step:
    """One step of one run, in its unit of work."""

    node: Node
    uow: UnitOfWork
    run: Run

    async def make(self) -> None:
        """Make the step the run's state asks for, and store it."""
        run = self.run
        kept = await standing_orders.get(self.uow, run.standing_order_id, token_id=None)
        steps: dict[RunState, Callable[[], Awaitable[None]]] = {
            RunState.STARTED: self.search,
            RunState.SEARCHING: self.choose,
            RunState.BUYING: self.buy,
        }
        await (self.stop() if kept is None or not kept["active"] else steps[run.state]())
        if run.state is RunState.DONE:
            run.wake_at = None
            await self.tell()
        await self.save()

    async def save(self) -> None:
        """Store how far the run is."""
        await standing_orders.save_run(
            self.uow,
            self.run.standing_order_id,
            self.run.run_date,
            state=self.run.state,
            wake_at=self.run.wake_at,
            document=document(self.run),
            now=self.node.wall.now(),
        )

    async def search(self) -> None:
        """STARTED: ask everybody, unless the window is over or never was."""
        node, uow, run = self.node, self.uow, self.run
        now, terms = node.wall.now(), run.terms
        if run.window.start == run.window.end:
            _finish(run, "The window does not exist on that day: clocks are put forward over it.")
            return
        if run.window.end <= node.trading.now():
            _finish(run, "The window was over before anything could be bought.")
            return
        account = await customers.get(uow, run.account_id, token_id=None)
        if account is None:
            _finish(run, "The account is gone.")
            return
        # The price is no part of the question: what counts here is each slot's, with wheeling, and not an average.
        intent = Intent(
            window_start=run.window.start,
            window_end=run.window.end,
            currency=account["currency"],
            source=terms.source,
        )
        run.transaction_id = str(uuid.uuid4())
        try:
            await searching.begin(
                uow,
                node,
                intent=intent,
                asked={"standing_order_id": run.standing_order_id, "run_date": run.run_date.isoformat()},
                token_id=account["token_id"],
                account_id=run.account_id,
                seller_id=None,
                transaction_id=run.transaction_id,
                message_id=letters.new_message_id(),
                now=now,
            )
        except searching.NoGateway:
            log.warning("gateway_unknown", standing_order_id=run.standing_order_id)
            run.wake_at = now + GATEWAY_PAUSE
            return
        run.state, run.wake_at = RunState.SEARCHING, now + timedelta(seconds=node.settings.standing_offers_s)

    async def choose(self) -> None:
        """SEARCHING: the time for offers is over; choose of those that came, and name the orders."""
        node, uow, run = self.node, self.uow, self.run
        account = await customers.get(uow, run.account_id, token_id=None)
        shown = [offer_from_document(row["document"]) for row in await searches.offers(uow, run.transaction_id)]
        found = [offer for offer in shown if self._may_order(offer, account["meter_id"] if account else "")]
        refused = {(wanted.seller_id, wanted.provider_id, wanted.offer_id) for wanted in run.orders}
        known = [await _order_of(uow, wanted) for wanted in run.orders]
        choice = standing.choose(
            [each for each in found if (each.seller_id, each.provider.provider_id, each.offer_id) not in refused],
            run.terms,
            window=run.window,
            currency=account["currency"] if account else "",
            bought=[order.contracted_wh for order in known if order is not None and order.state in _BOUND],
            spent_milli=_spent_milli(known),
            now_trading=node.trading.now(),
        )
        run.sentences = list(choice.sentences)
        if len(found) < len(shown):
            run.sentences.append(
                f"{len(shown) - len(found)} offer(s) are settled by rules this node does not know, or by the account's"
                " own meter, too, and it has none."
            )
        sessions = {
            (wanted.seller_id, wanted.provider_id)
            for wanted in run.orders
            if wanted.transaction_id == run.transaction_id
        }
        for pick in choice.picks:
            session = (pick.offer.seller_id, pick.offer.provider.provider_id)
            # A session has one order with each provider: another offer of the same one begins a session of its own.
            transaction_id = str(uuid.uuid4()) if session in sessions else run.transaction_id
            sessions.add(session)
            run.orders.append(
                Wanted(str(uuid.uuid4()), transaction_id, *session, pick.offer.offer_id, energy_wh=pick.energy_wh)
            )
        if choice.picks:
            run.state, run.wake_at = RunState.BUYING, node.wall.now()
        else:
            _finish(run)

    def _may_order(self, offer: OfferView, meter_id: str) -> bool:
        """True when this node knows the rules the offer is settled by, and the account has the meter they count."""
        try:
            policy = policy_of(offer, self.node.settings.policies)
        except Unable:
            return False
        return bool(meter_id) or not policy.is_two_sided

    async def buy(self) -> None:
        """BUYING: the next letter of the first order that is ready for one; else wait, search anew, or be done."""
        node, uow, run = self.node, self.uow, self.run
        known = [await _order_of(uow, wanted) for wanted in run.orders]
        for wanted, order in zip(run.orders, known, strict=True):
            if wanted.outcome is not Outcome.OPEN:
                continue
            try:
                acted = await self._further(wanted, order, _spent_milli(known))
            except transfers.InsufficientFunds as refusal:
                raise _Failed(run, wanted, "The wallet holds less than the order costs.") from refusal
            except (Unable, WireRefusal) as refusal:
                raise _Failed(run, wanted, str(refusal)) from refusal
            except letters.SellerUnknown as refusal:
                raise _Failed(run, wanted, f"The registry knows no seller '{refusal}'.") from refusal
            if acted:
                run.wake_at = node.wall.now()
                return
        if any(wanted.outcome is Outcome.OPEN for wanted in run.orders):
            run.wake_at = node.wall.now() + PAUSE
        elif any(wanted.outcome is Outcome.REFUSED for wanted in run.orders) and run.round < ROUNDS_MAX:
            run.state, run.round, run.wake_at = RunState.STARTED, run.round + 1, node.wall.now()
        else:
            _finish(run)

    async def _further(self, wanted: Wanted, order: Order | None, spent_milli: int) -> bool:
        """Bring one order a letter further; True when a letter was written."""
        if order is None:
            await self._select(wanted)
            return True
        if order.state is OrderState.QUOTED:
            return await self._take_further(wanted, order, spent_milli, "init")
        if order.state is OrderState.INITIALISED:
            return await self._take_further(wanted, order, spent_milli, "confirm")
        if order.state in _CONFIRMED:
            wanted.outcome, wanted.bought_wh = Outcome.BOUGHT, order.contracted_wh.total
            wanted.total_milli = order.quote.total_milli if order.quote else 0
        elif order.state is OrderState.UNANSWERED:
            wanted.outcome, wanted.sentence = Outcome.UNANSWERED, "The seller has not answered the confirm yet."
        elif order.state in (OrderState.REFUSED, OrderState.EXPIRED, OrderState.CANCELLED):
            wanted.outcome, wanted.sentence = Outcome.REFUSED, order.refusal or "The quote ran out."
        return False

    async def _select(self, wanted: Wanted) -> None:
        """Ask the seller for a quote, under the id that was stored for the order."""
        node, uow, run = self.node, self.uow, self.run
        account = await customers.get(uow, run.account_id, token_id=None)
        found = account and await searches.choice(
            uow,
            token_id=account["token_id"],
            account_id=run.account_id,
            transaction_id=run.transaction_id,
            seller_id=wanted.seller_id,
            provider_id=wanted.provider_id,
            offer_id=wanted.offer_id,
        )
        if not found or found["offer"] is None:
            raise _Failed(run, wanted, "The offer or the account is gone.")
        now, message_id = node.wall.now(), letters.new_message_id()
        offer = offer_from_document(found["offer"])
        step = buyer.choose(
            offer,
            Wish(
                account_id=run.account_id,
                customer=Customer(found["name"], found["email"], found["phone"]),
                series=wanted.energy_wh,
                policy=policy_of(offer, node.settings.policies),
                meter_id=found["meter_id"],
            ),
            draft=None,
            transaction_id=wanted.transaction_id,
            order_id=wanted.order_id,
            message_id=message_id,
            now=now,
            wait=node.settings.quote_wait,
        )
        order = await letters.keep(uow, node, step, before=None, now=now)
        letters.announce(uow, node, order)
        message = translate.select_to_wire(order)
        await letters.send_about(uow, node, order, action="select", message=message, message_id=message_id, now=now)

    async def _take_further(self, wanted: Wanted, order: Order, spent_milli: int, action: str) -> bool:
        """init or confirm, if the quote keeps to the terms; else the order is given up and its quote runs out."""
        node, uow, run = self.node, self.uow, self.run
        wanted.sentence = standing.fault_of_quote(order, run.terms, spent_milli=spent_milli)
        if wanted.sentence:
            wanted.outcome = Outcome.GIVEN_UP
            return False
        now, message_id = node.wall.now(), letters.new_message_id()
        if action == "init":
            step = buyer.start_init(order, message_id=message_id, now=now, wait=node.settings.hold_wait)
            message = translate.init_to_wire(step.order)
        else:
            step = buyer.start_confirm(order, message_id=message_id, now=now, wait=node.settings.contract_wait)
            message = translate.confirm_to_wire(step.order)
        kept = await letters.keep(uow, node, step, before=order, now=now)
        letters.announce(uow, node, kept)
        await letters.send_about(uow, node, kept, action=action, message=message, message_id=message_id, now=now)
        return True

    async def stop(self) -> None:
        """The standing order was ended or paused: nothing more is confirmed; what is confirmed stays a contract."""
        uow, run = self.uow, self.run
        for wanted in run.orders:
            order = await _order_of(uow, wanted) if wanted.outcome is Outcome.OPEN else None
            if wanted.outcome is Outcome.OPEN and (order is None or order.state not in _BOUND):
                wanted.outcome, wanted.sentence = Outcome.GIVEN_UP, "The standing order was stopped."
        if any(wanted.outcome is Outcome.OPEN for wanted in run.orders):
            await self.buy()
        else:
            _finish(run, "The standing order was stopped.")

    async def tell(self) -> None:
        """Tell the app what its standing order bought and why no more."""
        node, uow, run = self.node, self.uow, self.run
        account = await customers.get(uow, run.account_id, token_id=None)
        if account is None:
            return
        queued = await events.append(
            uow,
            token_id=account["token_id"],
            subject=run.subject,
            events=[("standing.run_done", report(run) | {"currency": account["currency"]})],
            now=node.wall.now(),
        )
        letters.nudge_after(uow, node, run.subject, webhooks_wait=queued)


def _finish(run: Run, *sentences: str) -> None:
    run.state = RunState.DONE
    run.sentences += sentences


async def _order_of(uow: UnitOfWork, wanted: Wanted) -> Order | None:
    """The order as it is now, locked; None before its select."""
    return await orders.lock(uow, wanted.order_id)


def _spent_milli(known: Sequence[Order | None]) -> int:
    """What the run's orders have cost or reserved so far."""
    return sum(order.quote.total_milli for order in known if order and order.quote and order.state in _BOUND)
