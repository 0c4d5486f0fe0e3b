"""Meters between node, registry and utility: what a seller let go of."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field, SQLModel

from store.tables.columns import instant, text_column


class ReleasedMeter(SQLModel, table=True):
    """BPP: a provider whose meter this node no longer holds at the registry; nothing is sold from it here."""

    __tablename__ = "released_meters"
    provider_id: str = Field(sa_column=text_column(primary_key=True))
    released_at: datetime = Field(sa_column=instant())
