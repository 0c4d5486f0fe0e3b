"""What network to start: which nodes, with which settings, kept where. Plain data, said before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

#: The sellers' nodes of a street: a prosumer's own, and two aggregators.
SELLERS = ("bpp-solo", "bpp-east", "bpp-west")

#: What a utility is called in a plan that has one.
UTILITY = "utility"

#: Told what is being done, how much of it is done and how much there is.
Report = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class NodePlan:
    """A node to start. `role` is the package that is run: registry, gateway, bap or bpp.

    A `utility` is a bpp that carries the trades of others.
    """

    name: str
    role: str
    #: Settings of this node alone; they win over the plan's and over what the network sets itself.
    settings: Mapping[str, str] = field(default_factory=dict)
    #: 0: any free port.
    port: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """A network to start. Exactly one node is the registry."""

    nodes: tuple[NodePlan, ...]
    #: Settings of every node, as environment variables.
    settings: Mapping[str, str] = field(default_factory=dict)
    #: Where logs, keys and databases are kept for the next start; None: a private directory that vanishes.
    directory: Path | None = None
    #: Where every wire message is recorded; None: nowhere.
    record: Path | None = None
    #: False turns fsync off: tests only.
    durable: bool = True

    @classmethod
    def of(
        cls,
        *,
        bpps: int | tuple[str, ...] = 1,
        settings: Mapping[str, str] | None = None,
        directory: Path | None = None,
        record: Path | None = None,
        durable: bool = True,
        first_port: int = 0,
        utility: bool = False,
    ) -> Self:
        """One registry, one gateway, one BAP and some BPPs, by number or by name; with a utility that all BPPs ask.

        With `first_port` they take that port and the following ones; without it any free ones.
        """
        sellers = bpps if isinstance(bpps, tuple) else tuple(f"bpp-{number}" for number in range(1, bpps + 1))
        names = [("registry", "registry"), ("gateway", "gateway"), ("bap", "bap"), *((name, "bpp") for name in sellers)]
        asking = {"UTILITY_ID": subscriber_id(UTILITY)} if utility else {}
        names += [(UTILITY, UTILITY)] if utility else []
        nodes = tuple(
            NodePlan(name, role, asking if role == "bpp" else {}, port=first_port + offset if first_port else 0)
            for offset, (name, role) in enumerate(names)
        )
        return cls(nodes, settings or {}, directory, record, durable)


def subscriber_id(name: str) -> str:
    """What a node of a planned network is called on the wire, unless its settings say otherwise."""
    return f"{name}.powershare.example"
