"""The life of a node's process: tuned, listening, told to stop, stopped."""

from __future__ import annotations

import asyncio
import gc
import signal

import structlog
import uvloop
from aiohttp import web

from beckn import config, logs
from beckn.config import NodeSettings

log = structlog.get_logger("beckn.lifecycle")

#: Idle connections of peers are kept this long, seconds: longer than peers of our own kind keep theirs.
KEEPALIVE_S = 75.0


def run(app: web.Application, settings: NodeSettings) -> None:
    """Serve until SIGTERM or SIGINT, then finish what was accepted. A bad configuration ends with exit code 2."""
    logs.configure(settings.log_level, node=settings.subscriber_id)
    try:
        uvloop.run(_serve(app, settings))
    except config.BadConfiguration as error:
        config.refuse_to_start(error)


async def _serve(app: web.Application, settings: NodeSettings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(
        app,
        access_log=None,
        # Bodies are verified as they were signed: never decompressed on the way.
        auto_decompress=False,
        keepalive_timeout=KEEPALIVE_S,
        shutdown_timeout=settings.stop_s_max / 2,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.host, settings.port, backlog=1024)
        try:
            await site.start()
        except OSError as error:
            raise config.BadConfiguration(
                [f"PORT: cannot listen on {settings.host}:{settings.port}: {error}"]
            ) from error
        _tune_garbage_collector()
        log.info("listening", host=settings.host, port=settings.port, public_url=settings.public_url)
        await stop.wait()
        log.info("stopping")
    finally:
        await runner.cleanup()
    log.info("stopped")


def _tune_garbage_collector() -> None:
    """What was imported lives for ever: leave it out of collections, and collect the rest less often.

    A letter makes hundreds of short-lived objects and no cycles; with the default threshold the collector costs a
    large letter more than its parsing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
