"""What the gateway does with the two letters that pass it: a search goes to many, an on_search to one.

The bytes and the sender's Authorization are carried as they came; the outbox adds the gateway's own signature as
X-Gateway-Authorization and Proxy-Authorization. Where a letter goes is the registry's word, never the letter's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from beckn.actions import Role
from beckn.envelope import Letter
from beckn.node import Node
from beckn.outbox import Post
from beckn.processing import Handler
from gateway import fanout
from store import gateway_searches

_LOG = structlog.get_logger("gateway")


def table(node: Node) -> Mapping[str, Handler]:
    """The gateway's handlers, by action."""

    async def on_search_(letter: Letter, uow: Any) -> None:
        await on_search(node, letter, uow)

    async def search_(letter: Letter, uow: Any) -> None:
        await search(node, letter, uow)

    return {"search": search_, "on_search": on_search_}


async def search(node: Node, letter: Letter, uow: Any) -> None:
    """Queue a copy for every seller that fits, and note how many, all in one commit."""
    context, now = letter.context, node.wall.now()
    sellers = await node.directory.find(Role.BPP.value, context.domain)
    fan = fanout.destinations(context, sellers, me=node.me.subscriber_id, copies_max=node.settings.fanout_max, now=now)
    await gateway_searches.add(
        uow,
        letter_id=letter.letter_id,
        transaction_id=context.transaction_id,
        message_id=context.message_id,
        bap_id=letter.signer_id,
        destinations=len(fan.copies),
        received_at=letter.received_at,
    )
    copies = [_copy(letter, seller.subscriber_id, seller.url) for seller in fan.copies]
    await node.outbox.post_all(uow, copies, give_up_at=context.expires_at)
    _LOG.info("search_passed_on", transaction_id=context.transaction_id, message_id=context.message_id,
              copies=len(fan.copies), note=fan.note)  # fmt: skip


async def on_search(node: Node, letter: Letter, uow: Any) -> None:
    """Pass a seller's answer on to the buyer's registered URL."""
    context = letter.context
    url = await node.directory.url_of(context.bap_id, Role.BAP.value)
    if url is None:
        _LOG.info("answer_for_nobody", transaction_id=context.transaction_id, message_id=context.message_id,
                  bap_id=context.bap_id)  # fmt: skip
        return
    await node.outbox.post_all(uow, [_copy(letter, context.bap_id, url)], give_up_at=context.expires_at)


def _copy(letter: Letter, receiver_id: str, url: str) -> Post:
    context = letter.context
    return Post(
        action=context.action,
        receiver_id=receiver_id,
        url=url,
        body=letter.body,
        transaction_id=context.transaction_id,
        message_id=context.message_id,
        authorization=letter.authorization,
    )
