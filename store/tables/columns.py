"""The kinds of column the tables are made of."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, Identity, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import UserDefinedType


class Point(UserDefinedType[Any]):
    """A point of the plane, here (longitude, latitude) in degrees."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """The type's name in SQL."""
        return "point"


def text_column(*, primary_key: bool = False, default: str | None = None, nullable: bool = False) -> Any:
    """A text column; `default` is a plain word."""
    server_default = None if default is None else text(f"'{default}'")
    return Column(Text, primary_key=primary_key, nullable=nullable, server_default=server_default)


def instant(*, nullable: bool = False) -> Any:
    """An instant with a zone."""
    return Column(DateTime(timezone=True), nullable=nullable)


def integer(*, default: int | None = None, nullable: bool = False) -> Any:
    """A whole number of 64 bits."""
    return Column(BigInteger, nullable=nullable, server_default=None if default is None else text(str(default)))


def sequence() -> Any:
    """A primary key that the database counts up."""
    return Column(BigInteger, Identity(always=True), primary_key=True)


def series() -> Any:
    """Whole numbers, one for each slot."""
    return Column(ARRAY(BigInteger), nullable=False)


def document(*, nullable: bool = False) -> Any:
    """A JSON document."""
    return Column(JSONB, nullable=nullable)
