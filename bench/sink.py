"""A thousand sellers in one process: acknowledges whatever comes, counts it. `python -m bench.sink PORT`.

GET /count answers how many letters came since the last reset, and when the last of them did (the clock that all
processes of the machine share, `time.perf_counter_ns`).
"""

from __future__ import annotations

import sys
import time

import uvloop
from aiohttp import web

_ACK = b'{"message":{"ack":{"status":"ACK"}}}'


class Sink:
    """What has come in."""

    def __init__(self) -> None:
        self.count, self.last_ns = 0, 0

    async def take(self, request: web.Request) -> web.Response:
        """Acknowledge a letter."""
        await request.read()
        self.count, self.last_ns = self.count + 1, time.perf_counter_ns()
        return web.Response(body=_ACK, content_type="application/json")

    async def report(self, request: web.Request) -> web.Response:
        """How many came, and when the last one did; with `?reset=1` the count begins anew."""
        answer = {"count": self.count, "last_ns": self.last_ns}
        if "reset" in request.query:
            self.count = 0
        return web.json_response(answer)


def main() -> None:
    """Serve until stopped."""
    sink = Sink()
    app = web.Application()
    app.router.add_get("/count", sink.report)
    app.router.add_post("/{path:.*}", sink.take)
    uvloop.install()
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=lambda *_: None)


if __name__ == "__main__":
    main()
