"""The port of meter claims in memory, for nodes under test that have no registry."""

from __future__ import annotations

from dataclasses import dataclass, field

from beckn.claims import MeterTaken, Proof, RegistrySilent, meter_hash

SALT = bytes(range(32))


@dataclass
class HandHeldClaims:
    """What this node holds, what others hold, and whether the registry answers at all."""

    own: set[tuple[str, str]] = field(default_factory=set)
    elsewhere: set[tuple[str, str]] = field(default_factory=set)
    proofs: list[Proof | None] = field(default_factory=list)
    silent: bool = False
    #: Whether the registry answers everything but a release.
    deaf: bool = False

    async def hash_of(self, meter_id: str) -> str:
        """What the registry knows the meter by."""
        self._check_heard()
        return meter_hash(SALT, meter_id)

    async def take(self, meter_id: str, flow: str, proof: Proof | None = None) -> None:
        """Hold a meter."""
        self._check_heard()
        if (meter_id, flow) in self.elsewhere:
            raise MeterTaken(f"Meter '{meter_id}' is registered with another node of the network.")
        self.own.add((meter_id, flow))
        self.proofs.append(proof)

    async def release(self, meter_id: str, flow: str) -> None:
        """Let go of a meter."""
        self._check_heard()
        if self.deaf:
            raise RegistrySilent("The registry gives no answer; try again.")
        self.own.discard((meter_id, flow))

    def _check_heard(self) -> None:
        if self.silent:
            raise RegistrySilent("The registry gives no answer; nothing was kept, try again.")
