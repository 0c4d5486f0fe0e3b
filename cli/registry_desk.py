"""The registry's JSON API, as its operator asks it at a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cli import ask, show, where


def tell(method: str, path: str, directory: Path, body: Any = None) -> Any:
    """Speak to the registry; end the command when it cannot be reached or says no."""
    try:
        url, token = where.registry(directory)
        return ask.tell(method, url + path, token=token, body=body)
    except (where.NotFound, ask.NoAnswer, ask.Refused) as error:
        show.fail(error)
