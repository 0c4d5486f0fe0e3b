"""Short payment references: what a payer writes on a bank transfer so that the money finds its account.

A reference is an ISO 11649 creditor reference, `RF` + two check digits + body, which banks carry in a field of its own
and which a mistyped digit cannot turn into another. The body is the first 12 hex digits of the SHA-256 of what it means
for ("wallet:<id>", "provider:<id>", "payout:<id>"): nothing to store, nothing to guess an account's id from.
"""

from __future__ import annotations

import hashlib
import re

#: Hex digits of the body: 48 bits, so two accounts of a million share one with a chance of 1 in 560.
BODY_CHARS = 12
_CANDIDATE = re.compile(r"RF\d{2}(?:[ -]?[0-9A-F]){12}(?![0-9A-Z])")


def body_of(name: str) -> str:
    """The part of a reference that stands for `name`; store.bank computes the same in SQL."""
    return hashlib.sha256(name.encode()).hexdigest()[:BODY_CHARS].upper()


def reference_of(name: str) -> str:
    """The payment reference of an account or a payout.

    ISO 11649: the check digits make body + "RF" + digits, letters written as 10 to 35, leave 1 when divided by 97.
    """
    body = body_of(name)
    return f"RF{98 - _remainder(body + 'RF00'):02}{body}"


def bodies_in(text: str) -> list[str]:
    """The bodies of all references in a text whose check digits are right, each once, in order.

    Blanks and hyphens inside a reference are overlooked, as people copy them from paper.
    """
    found = dict.fromkeys(re.sub(r"[ -]", "", match) for match in _CANDIDATE.findall(text.upper()))
    return [reference[4:] for reference in found if _remainder(reference[4:] + reference[:4]) == 1]


def _remainder(text: str) -> int:
    return int("".join(str(int(char, 36)) for char in text)) % 97
