"""One question to a node's JSON API, blocking, without a proxy: for commands that start in a blink.

The typed client of `api.client` is for applications; here a second of imports would be longer than the work.
"""

from __future__ import annotations

import http.client
from typing import Any
from urllib.parse import urlsplit

import orjson

#: How long a node may take to answer, seconds.
ANSWER_S_MAX = 30.0


class NoAnswer(Exception):
    """Nobody answered at that URL; the sentence says why."""


class Refused(Exception):
    """The node answered, and said no."""

    def __init__(self, status: int, document: Any) -> None:
        self.status = status
        error = document.get("error") if isinstance(document, dict) else None
        self.sentence = str(error.get("sentence") or error.get("message")) if isinstance(error, dict) else str(document)
        super().__init__(f"HTTP {status}: {self.sentence}")


def ask(
    method: str, url: str, *, token: str = "", body: Any = None, timeout_s: float = ANSWER_S_MAX
) -> tuple[int, Any]:
    """The HTTP status and the answer's JSON (its text when it is none). Raises NoAnswer."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = connect(parts.hostname or "", parts.port, timeout=timeout_s)
    headers = {"Accept": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    if body is not None:
        headers["Content-Type"] = "application/json"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request(method, target, None if body is None else orjson.dumps(body), headers)
        response = connection.getresponse()
        content = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise NoAnswer(f"{parts.scheme}://{parts.netloc} does not answer: {error or type(error).__name__}") from error
    finally:
        connection.close()
    try:
        return response.status, orjson.loads(content)
    except orjson.JSONDecodeError:
        return response.status, content.decode(errors="replace")


def tell(method: str, url: str, *, token: str = "", body: Any = None, timeout_s: float = ANSWER_S_MAX) -> Any:
    """Like `ask`, for a question that must succeed: the answer's JSON. Raises NoAnswer, Refused."""
    status, document = ask(method, url, token=token, body=body, timeout_s=timeout_s)
    if status >= 400:
        raise Refused(status, document)
    return document
