"""What meters said, version by version, and where each import of a file stands."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Column, DateTime, Integer
from sqlmodel import Field, SQLModel

from store.tables.columns import document, instant, integer, text_column


class Reading(SQLModel, table=True):
    """What a meter measured in one slot; a correction, an estimate or an edit is a new version, the old one stays."""

    __tablename__ = "readings"
    meter_id: str = Field(sa_column=text_column(primary_key=True))
    flow: str = Field(sa_column=text_column(primary_key=True))  # EXPORT or IMPORT
    starts_at: datetime = Field(sa_column=Column(DateTime(timezone=True), primary_key=True))
    version: int = Field(sa_column=Column(Integer, primary_key=True))
    slot_s: int = Field(sa_column=Column(Integer, nullable=False))
    energy_wh: int = Field(sa_column=integer())
    quality: str = Field(sa_column=text_column(default="MEASURED"))  # MEASURED, ESTIMATED, EDITED
    received_at: datetime = Field(sa_column=instant())
    #: Why an estimate or an edit was made; empty for what was measured.
    reason: str = Field(sa_column=text_column(default=""))
    #: The upload or import it came with.
    source: str = Field(sa_column=text_column(default=""))


class MeterImport(SQLModel, table=True):
    """A file that is brought in chunk by chunk: named by its digest, so that it can be gone on with and is in once."""

    __tablename__ = "meter_imports"
    meter_id: str = Field(sa_column=text_column(primary_key=True))
    import_id: str = Field(sa_column=text_column(primary_key=True))  # SHA-256 of the file and of how it is read
    name: str = Field(sa_column=text_column())
    state: str = Field(sa_column=text_column(default="OPEN"))  # OPEN, DONE
    started_by: str = Field(sa_column=text_column())
    started_at: datetime = Field(sa_column=instant())
    finished_at: datetime | None = Field(sa_column=instant(nullable=True))


class MeterImportChunk(SQLModel, table=True):
    """What became of one chunk of an import; said again, it is answered from here."""

    __tablename__ = "meter_import_chunks"
    meter_id: str = Field(sa_column=text_column(primary_key=True))
    import_id: str = Field(sa_column=text_column(primary_key=True))
    chunk: int = Field(sa_column=Column(Integer, primary_key=True))
    digest: str = Field(sa_column=text_column())
    accepted: int = Field(sa_column=Column(Integer, nullable=False))
    unchanged: int = Field(sa_column=Column(Integer, nullable=False))
    corrected: int = Field(sa_column=Column(Integer, nullable=False))
    refused: list[Any] = Field(sa_column=document())  # [line, reason] each
