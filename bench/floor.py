"""The floor: what aiohttp and uvloop cost without us. `python -m bench.floor PORT` reads bodies, answers a constant."""

from __future__ import annotations

import gc
import sys

import uvloop
from aiohttp import web

_ACK = b'{"message":{"ack":{"status":"ACK"}}}'


async def _answer(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(body=_ACK, content_type="application/json")


def main() -> None:
    """Serve until stopped."""
    app = web.Application(client_max_size=1_048_576)
    app.router.add_post("/{path:.*}", _answer)
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    uvloop.install()
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=lambda *_: None)


if __name__ == "__main__":
    main()
