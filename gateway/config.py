"""The gateway's own settings, beside those of every node."""

from __future__ import annotations

from pydantic import Field

from beckn.config import NodeSettings


class GatewaySettings(NodeSettings):
    """What the gateway needs to know. A seller that is slow to acknowledge is given less time than elsewhere."""

    #: Most copies of one search; of more sellers some are drawn by lot.
    fanout_max: int = Field(default=2000, ge=1, le=100_000)
    #: How long connecting to a peer may take, seconds; with the answer, a copy takes 5 s at most.
    connect_s_max: float = Field(default=1.5, gt=0, le=60)
    #: How long a peer may take to acknowledge a letter, seconds.
    answer_s_max: float = Field(default=3.5, gt=0, le=300)
    #: Copies being sent to one seller at the same time.
    outbox_per_destination_max: int = Field(default=4, ge=1, le=256)
    #: First delay after a seller failed, seconds.
    outbox_backoff_s_min: float = Field(default=1.0, ge=0.01, le=60)
    #: Copies waiting to be sent that are held in memory; more wait in the database.
    outbox_memory_max: int = Field(default=8192, ge=1, le=100_000)
