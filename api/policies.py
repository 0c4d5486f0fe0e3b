"""The policies a node knows, for whoever wants to check what a contract is settled by. Public, on both nodes."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from api.desk import Call, Desk
from api.paging import ListOf
from api.problems import not_found
from trade import policy
from trade.policy import Policy

_TAGS = ["policies"]


class PolicyOut(BaseModel):
    """One version of one policy: the rules and rates that contracts name."""

    id: str = Field(description='How offers and contracts name it, "name@version"')
    digest: str = Field(description="First 16 hex digits of the SHA-256 of `rules` as canonical JSON")
    rules: dict[str, Any] = Field(description="Rates: micro-units of the currency per kWh; shares: parts per million")

    @classmethod
    def of(cls, entry: Policy) -> PolicyOut:
        """From the rules' policy."""
        return cls.model_construct(id=entry.id, digest=policy.digest(entry), rules=policy.document(entry))


def add_routes(desk: Desk) -> None:
    """Give the desk the calls about policies; the node's settings know them."""

    @desk.route("GET", "/api/policies", role=None, answer=ListOf[PolicyOut], tags=_TAGS)
    async def list_policies(call: Call[None]) -> ListOf[PolicyOut]:
        """List the policies this node can make and settle contracts under, all at once."""
        known = [PolicyOut.of(entry) for entry in call.node.settings.policies]
        return ListOf[PolicyOut].model_construct(items=known, next=None)

    @desk.route("GET", "/api/policies/{policy_id}", role=None, answer=PolicyOut, tags=_TAGS)
    async def get_policy(call: Call[None]) -> PolicyOut:
        """Show one policy by its id, such as street@1."""
        entry = call.node.settings.policies.get(call.path["policy_id"])
        if entry is None:
            raise not_found("policy", call.path["policy_id"][:80])
        return PolicyOut.of(entry)
