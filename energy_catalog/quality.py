"""How clean energy is: its renewable share, what making it emits in each slot, and certificates that say so.

What is not known stays unknown. A missing carbon intensity is an error where one was promised and None elsewhere; it
never becomes 0, which would be the best there is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from trade.money import Series

#: Most certificates of one offer, and the highest carbon intensity that is believed, g CO2 per kWh.
CERTIFICATES_MAX = 100
CARBON_G_MAX = 5_000

#: A certificate's reference, such as an I-REC or GO number: it travels in a list with spaces between.
_REFERENCE = re.compile(r"[!-~]{1,128}")


class QualityInvalid(ValueError):
    """A quality nobody can rely on; names the field."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(f"{field}: {sentence}")
        self.field, self.sentence = field, sentence


def check(
    *,
    renewable_per_mille: int | None,
    carbon_g_per_kwh: Series | None,
    certificates: Sequence[str],
    like: Series,
) -> None:
    """Refuse a quality that says the impossible or covers other slots than the energy; raises QualityInvalid."""
    if renewable_per_mille is not None and not 0 <= renewable_per_mille <= 1000:
        raise QualityInvalid("renewable_per_mille", f"is {renewable_per_mille} per mille; send 0 to 1000")
    if carbon_g_per_kwh is not None:
        if not carbon_g_per_kwh.is_aligned(like):
            raise QualityInvalid("carbon", "carbon and energy cover the same slots; leave it out where it is unknown")
        if not all(0 <= grams <= CARBON_G_MAX for grams in carbon_g_per_kwh.values):
            raise QualityInvalid("carbon", f"a carbon intensity is 0 to {CARBON_G_MAX} g CO2 per kWh")
    if len(certificates) > CERTIFICATES_MAX:
        raise QualityInvalid("certificates", f"an offer names at most {CERTIFICATES_MAX} certificates")
    for reference in certificates:
        if not _REFERENCE.fullmatch(reference):
            raise QualityInvalid(
                "certificates", f"{reference[:40]!r} is no reference; send 1 to 128 visible characters"
            )
