"""`python -m registry`: the registry of a network."""

from __future__ import annotations

from beckn import config, node
from registry import app
from registry.config import RegistrySettings


def main() -> None:
    """Read the settings, build the registry, serve until told to stop."""
    settings = config.load(RegistrySettings)
    try:
        registry = app.build(settings)
    except config.BadConfiguration as error:
        config.refuse_to_start(error)
    node.run(registry, settings)


if __name__ == "__main__":
    main()
