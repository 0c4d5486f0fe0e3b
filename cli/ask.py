"""One question to a node's JSON API, blocking, without a proxy: for commands that start in a blink.

The typed client of `api.client` is for applications; here a second of imports would be longer than the work.
"""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson

#: How long a node may take to answer, seconds.
ANSWER_S_MAX = 30.0
#: The largest answer that is read, bytes.
ANSWER_BYTES_MAX = 64 * 1024 * 1024


class NoAnswer(Exception):
    """Nobody answered at that URL; the sentence says why."""


class Refused(Exception):
    """The node answered, and said no."""

    def __init__(self, status: int, document: Any) -> None:
        self.status = status
        error = document.get("error") if isinstance(document, dict) else None
        self.sentence = str(error.get("sentence") or error.get("message")) if isinstance(error, dict) else str(document)
        super().__init__(f"HTTP {status}: {self.sentence}")


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back, as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON, or its text when it is none."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return self.body.decode(errors="replace")


def exchange(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    timeout_s: float = ANSWER_S_MAX,
) -> Reply:
    """Send exactly these bytes and headers. Header names of the reply are in lower case. Raises NoAnswer."""
    parts = urlsplit(url)
    connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = connect(parts.hostname or "", parts.port, timeout=timeout_s)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request(method, target, body, dict(headers or {}))
        response = connection.getresponse()
        content = response.read(ANSWER_BYTES_MAX)
    except (OSError, http.client.HTTPException) as error:
        raise NoAnswer(f"{parts.scheme}://{parts.netloc} does not answer: {error or type(error).__name__}") from error
    finally:
        connection.close()
    return Reply(response.status, {name.lower(): value for name, value in response.getheaders()}, content)


def ask(
    method: str, url: str, *, token: str = "", body: Any = None, timeout_s: float = ANSWER_S_MAX
) -> tuple[int, Any]:
    """Ask a JSON API: the HTTP status and the answer's JSON (its text when it is none). Raises NoAnswer."""
    headers = {"Accept": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    if body is not None:
        headers["Content-Type"] = "application/json"
    content = None if body is None else orjson.dumps(body)
    reply = exchange(method, url, headers=headers, body=content, timeout_s=timeout_s)
    return reply.status, reply.json()


def tell(method: str, url: str, *, token: str = "", body: Any = None, timeout_s: float = ANSWER_S_MAX) -> Any:
    """Like `ask`, for a question that must succeed: the answer's JSON. Raises NoAnswer, Refused."""
    status, document = ask(method, url, token=token, body=body, timeout_s=timeout_s)
    if status >= 400:
        raise Refused(status, document)
    return document
