"""Who may do what on this node: an operator everything, a prosumer what concerns its own provider."""

from __future__ import annotations

from typing import Any

from api.desk import Call
from api.problems import ApiError, conflict, not_found
from energy_catalog.offers import Provider
from store import custody, providers

OPERATOR = "operator"
#: Roles of the calls that prosumers make; an operator may make them for anybody.
PROSUMER = ("operator", "prosumer")


def own_provider(call: Call[Any]) -> str | None:
    """The provider a caller is limited to; None for an operator."""
    return None if call.token.role == OPERATOR else call.token.scope


def check_own(call: Call[Any], provider_id: str) -> None:
    """Refuse (403) what concerns another provider than the caller's own: `home-7`, and for its further meters
    `home-7:<anything>`."""
    own = own_provider(call)
    if own is not None and provider_id != own and not provider_id.startswith(f"{own}:"):
        raise ApiError(
            403,
            f"This token speaks for provider '{own}' alone; ask the operator for one of '{provider_id}'.",
            field="Authorization",
            limit=own,
        )


async def find_provider(call: Call[Any], uow: Any, provider_id: str) -> Provider:
    """The provider, if the caller may act for it; 403 or 404 otherwise."""
    check_own(call, provider_id)
    stored = await providers.get(uow, provider_id)
    if stored is None:
        raise not_found("provider", provider_id)
    return Provider(**stored)


def check_is_shop(call: Call[Any]) -> None:
    """Refuse (409) to sell at a utility's node: a grid's operator carries the trades of others."""
    if call.node.settings.utility:
        raise conflict(
            "This node is a utility (UTILITY is true) and sells nothing; register with a seller's node.",
            field="provider_id",
        )


async def check_held(uow: Any, provider: Provider) -> None:
    """Refuse (409) to sell from a meter that this node let go of at the registry."""
    if await custody.is_released(uow, provider.provider_id):
        raise conflict(
            f"Meter '{provider.meter_id}' was released by this node; have the operator claim it again.",
            field="meter_id",
        )


async def find_meter(call: Call[Any], uow: Any, meter_id: str) -> Provider:
    """The provider whose meter it is, if the caller may act for it; 403 or 404 otherwise."""
    stored = await providers.of_meter(uow, meter_id)
    if stored is None:
        raise not_found("meter", meter_id)
    check_own(call, stored["provider_id"])
    return Provider(**stored)
