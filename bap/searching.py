"""A search begins: kept with who asked for it, and its letter on its way, through the gateway or to one seller.

Apps ask through `api_searches`, standing orders by themselves; both begin here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bap import letters, translate
from beckn import envelope
from beckn.node import Node
from energy_catalog.offers import Intent
from store import searches
from store.db import UnitOfWork


class NoGateway(Exception):
    """The registry knows no gateway just now."""


async def begin(
    uow: UnitOfWork,
    node: Node,
    *,
    intent: Intent,
    asked: Mapping[str, Any],
    token_id: str,
    account_id: str,
    seller_id: str | None,
    transaction_id: str,
    message_id: str,
    now: datetime,
) -> bool:
    """Keep a search (`asked`: as its app wrote it) and put its letter into the outbox; False when the account is not
    the token's.

    Without `seller_id` it goes to everybody. Raises NoGateway, letters.SellerUnknown.
    """
    kept = await searches.insert(
        uow,
        transaction_id=transaction_id,
        token_id=token_id,
        account_id=account_id,
        message_id=message_id,
        intent=dict(asked),
        now=now,
    )
    if not kept:
        return False
    message = translate.search_to_wire(intent)
    letter: dict[str, Any] = {"transaction_id": transaction_id, "message_id": message_id, "now": now}
    if seller_id is not None:
        await letters.send(uow, node, action="search", seller_id=seller_id, message=message, **letter)
    else:
        await _send_to_gateway(uow, node, message, **letter)
    return True


async def _send_to_gateway(
    uow: UnitOfWork, node: Node, message: dict[str, Any], *, transaction_id: str, message_id: str, now: datetime
) -> None:
    gateways = await node.directory.find("BG", node.settings.domain)
    if not gateways:
        raise NoGateway
    context = envelope.request_context(
        action="search",
        network=node.network,
        bap=node.me,
        bpp=None,
        transaction_id=transaction_id,
        message_id=message_id,
        now=now,
    )
    await node.outbox.post(
        uow,
        action="search",
        receiver_id=gateways[0].subscriber_id,
        url=gateways[0].url,
        body=envelope.build(context, message),
        transaction_id=transaction_id,
        message_id=message_id,
        now=now,
    )
