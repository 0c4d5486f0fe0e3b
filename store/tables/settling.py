"""What waits to be settled."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field, SQLModel

from store.tables.columns import instant, integer, text_column


class MeterRead(SQLModel, table=True):
    """Both sides: a meter with readings that settlement has not looked at; a trigger on `readings` writes it."""

    __tablename__ = "meters_read"
    meter_id: str = Field(sa_column=text_column(primary_key=True))
    flow: str = Field(sa_column=text_column(primary_key=True))
    starts_at: datetime = Field(sa_column=instant())
    ends_at: datetime = Field(sa_column=instant())
    #: How many uploads are noted here: whoever has settled strikes the note only if no other came meanwhile.
    notes: int = Field(sa_column=integer())
