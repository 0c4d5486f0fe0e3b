"""`python -m bap`: a buyer's node."""

from __future__ import annotations

from bap import app
from bap.config import BuyerSettings
from beckn import config, lifecycle


def main() -> None:
    """Read the settings, build the node, serve until told to stop."""
    settings = config.load(BuyerSettings)
    try:
        buyer = app.build(settings)
    except config.BadConfiguration as error:
        config.refuse_to_start(error)
    lifecycle.run(buyer, settings)


if __name__ == "__main__":
    main()
