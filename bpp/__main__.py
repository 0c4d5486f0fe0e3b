"""`python -m bpp`: a seller's node."""

from __future__ import annotations

from beckn import config, node
from bpp import app
from bpp.config import SellerSettings


def main() -> None:
    """Read the settings, build the node, serve until told to stop."""
    settings = config.load(SellerSettings)
    try:
        seller = app.build(settings)
    except config.BadConfiguration as error:
        config.refuse_to_start(error)
    node.run(seller, settings)


if __name__ == "__main__":
    main()
