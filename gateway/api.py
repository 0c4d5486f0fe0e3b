"""The gateway's JSON API: what became of a search, seller by seller."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from aiohttp import web
from pydantic import BaseModel, Field

from api.desk import Call, Desk
from api.problems import not_found
from beckn.node import Node
from store import gateway_searches
from store.gateway_searches import Copy, Search

_NOBODY = (
    "No seller got this search: when it came, nobody who is subscribed served its domain, country and city "
    "(or it had outlived its ttl). The gateway acknowledges such a search, because the protocol has no other word."
)
_WAITING = "The search is accepted and about to be passed on."
_PARKED = "The search is accepted but could not be passed on, however often it was tried; the gateway's log says why."


class CopyOut(BaseModel):
    """One copy of a search: QUEUED, SENT (acknowledged) or DEAD (refused, or given up)."""

    message_id: str
    subscriber_id: str
    url: str
    state: str
    attempts: int
    uncertain: bool = Field(description="It may have arrived without our knowing")
    outcome: dict[str, Any] | None = Field(description="What the seller answered, or why nothing came")
    finished_at: datetime | None


class SearchOut(BaseModel):
    """A search that came under this transaction."""

    message_id: str
    bap_id: str
    destinations: int
    received_at: datetime


class SearchesOut(BaseModel):
    """Everything the gateway did with the searches of one transaction."""

    transaction_id: str
    destinations: int
    searches: list[SearchOut]
    copies: list[CopyOut]
    note: str


def mount(app: web.Application, node: Node) -> None:
    """Register the API on the gateway's application."""
    desk = Desk(title="Gateway", version="1.0", description="What became of the searches that passed the gateway.")

    @desk.route("GET", "/api/searches/{transaction_id}", role="operator", answer=SearchesOut, tags=["searches"])
    async def get_search(call: Call[None]) -> SearchesOut:
        """Show to which sellers a search went and how each of them answered.

        A search that went to nobody, or is not passed on yet, says so in `note`. 404 for a transaction that never came.
        """
        transaction_id = call.path["transaction_id"]
        database = call.node.database
        unprocessed = await gateway_searches.unprocessed(database, transaction_id)
        searches = await gateway_searches.of_transaction(database, transaction_id)
        for search in searches:
            unprocessed.pop(search.letter_id, None)  # passed on between the two questions
        if not searches and not unprocessed:
            raise not_found("search", transaction_id)
        limit = call.node.settings.fanout_max * len(searches)
        copies = await gateway_searches.copies(database, transaction_id, limit=limit)
        return _out(transaction_id, searches, copies, _note(searches, set(unprocessed.values())))

    desk.mount(app, node)


def _note(searches: list[Search], unprocessed: set[str]) -> str:
    if "PARKED" in unprocessed:
        return _PARKED
    if "NEW" in unprocessed:
        return _WAITING
    return "" if all(search.destinations for search in searches) else _NOBODY


def _out(transaction_id: str, searches: list[Search], copies: list[Copy], note: str) -> SearchesOut:
    destinations = sum(search.destinations for search in searches)
    return SearchesOut(
        transaction_id=transaction_id,
        destinations=destinations,
        searches=[
            SearchOut(
                message_id=search.message_id,
                bap_id=search.bap_id,
                destinations=search.destinations,
                received_at=search.received_at,
            )
            for search in searches
        ],
        copies=[
            CopyOut(
                message_id=copy.message_id,
                subscriber_id=copy.receiver_id,
                url=copy.url,
                state=copy.state,
                attempts=copy.attempts,
                uncertain=copy.uncertain,
                outcome=copy.outcome,
                finished_at=copy.finished_at,
            )
            for copy in copies
        ],
        note=note,
    )
