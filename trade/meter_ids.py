"""One name for one meter: how people and peers write a meter's id, and how it is stored.

A meter is named by its IEEE 2030.5 mRID: 128 bits, written as 32 hexadecimal digits (HexBinary128, upper case), which
others write in lower case, or as a UUID with dashes or as a URN. Some networks send `der://meter/<id>`. All of these
are one meter, so they are stored as one text: without the prefix, an mRID in upper case without dashes. An id that is
no mRID (a utility's own number) is kept as it is written. Two spellings of one meter would let it be sold twice.
"""

from __future__ import annotations

import re

#: Longest id that is stored, characters.
METER_ID_CHARS_MAX = 128

_PREFIXES = ("der://meter/", "urn:uuid:")
_MRID = re.compile(r"[0-9A-Fa-f]{32}")
_UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_ID = re.compile(rf"[A-Za-z0-9._:@\-]{{1,{METER_ID_CHARS_MAX}}}")


class MeterIdRefused(ValueError):
    """Text that names no meter; the sentence says what to send."""


def bare_meter_id(text: str) -> str:
    """The id as it is stored; raises MeterIdRefused. What is bare already comes back unchanged."""
    bare = text.strip()
    for prefix in _PREFIXES:
        if bare[: len(prefix)].lower() == prefix:
            bare = bare[len(prefix) :]
            break
    if _UUID.fullmatch(bare):
        bare = bare.replace("-", "")
    if _MRID.fullmatch(bare):
        return bare.upper()
    if not _ID.fullmatch(bare):
        raise MeterIdRefused(
            f"{text[:60]!r} names no meter; send an mRID of 32 hexadecimal digits, der://meter/<id>, or 1 to"
            f" {METER_ID_CHARS_MAX} letters, digits and . _ : @ -"
        )
    return bare
