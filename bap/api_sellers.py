"""Questions to a seller that belong to no order: why one may cancel, what one may rate."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from api.desk import Call, Desk
from api.problems import not_found
from bap import letters
from bap.api_calls import reading, unit_of_work, waiting
from bap.api_models import AskIn, AskOut
from store import events

_TAGS = ["sellers"]


def add_routes(desk: Desk) -> None:
    """Give the desk the questions to sellers."""

    @desk.route(
        "POST",
        "/api/sellers/{seller_id}/cancellation_reasons",
        role="app",
        body=AskIn,
        answer=AskOut,
        status=202,
        tags=_TAGS,
        waits=True,
    )
    async def ask_cancellation_reasons(call: Call[AskIn]) -> AskOut:
        """Ask a seller for its reasons for cancelling; `items` is null until it answers."""
        return await _ask(call, "get_cancellation_reasons")

    @desk.route(
        "POST",
        "/api/sellers/{seller_id}/rating_categories",
        role="app",
        body=AskIn,
        answer=AskOut,
        status=202,
        tags=_TAGS,
        waits=True,
    )
    async def ask_rating_categories(call: Call[AskIn]) -> AskOut:
        """Ask a seller what it lets itself be rated for; `items` is null until it answers."""
        return await _ask(call, "get_rating_categories")

    @desk.route("GET", "/api/sellers/{seller_id}/answers/{message_id}", role="app", answer=AskOut, tags=_TAGS)
    async def get_answer(call: Call[None]) -> AskOut:
        """Show a question to a seller and, once it came, the answer."""
        message_id = call.path["message_id"]
        async with reading(call) as uow:
            question = await events.first(uow, f"ask:{message_id}")
            answers = await events.newest(uow, f"ask:{message_id}", ["seller.answered"])
        if (
            question is None
            or question["token_id"] != call.token.token_id
            or question["data"]["seller_id"] != call.path["seller_id"]
        ):
            raise not_found("question", message_id)
        return _shown(question, answers)


async def _ask(call: Call[AskIn], action: str) -> AskOut:
    message_id = letters.new_message_id()
    told = {
        "seller_id": call.path["seller_id"],
        "action": action,
        "message_id": message_id,
        "transaction_id": call.body.transaction_id or str(uuid.uuid4()),
    }
    subject = f"ask:{message_id}"
    with waiting(call, subject) as answer:
        async with unit_of_work(call) as uow:
            await events.append(
                uow,
                token_id=call.token.token_id,
                subject=subject,
                events=[("seller.asked", told)],
                now=call.now,
            )
            await letters.send(
                uow,
                call.node,
                action=action,
                seller_id=told["seller_id"],
                message=None,
                transaction_id=told["transaction_id"],
                message_id=message_id,
                now=call.now,
            )
        await answer.until()
    async with reading(call) as uow:
        answers = await events.newest(uow, subject, ["seller.answered"]) if call.wait else []
    return _shown({"data": told, "at": call.now}, answers)


def _shown(question: Mapping[str, Any], answers: list[tuple[str, dict[str, Any]]]) -> AskOut:
    asked: dict[str, Any] = question["data"]
    answer = answers[0][1] if answers else {}
    return AskOut.model_validate(
        {
            "message_id": asked["message_id"],
            "transaction_id": asked["transaction_id"],
            "seller_id": asked["seller_id"],
            "items": answer.get("items"),
            "refusal": answer.get("refusal"),
            "asked_at": question["at"],
        }
    )
