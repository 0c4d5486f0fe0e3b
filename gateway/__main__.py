"""`python -m gateway`: the gateway of a network."""

from __future__ import annotations

from beckn import config, node
from gateway import app
from gateway.config import GatewaySettings


def main() -> None:
    """Read the settings, build the gateway, serve until told to stop."""
    settings = config.load(GatewaySettings)
    try:
        gateway = app.build(settings)
    except config.BadConfiguration as error:
        config.refuse_to_start(error)
    node.run(gateway, settings)


if __name__ == "__main__":
    main()
