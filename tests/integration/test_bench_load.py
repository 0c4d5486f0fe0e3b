"""The load client sends what it was given and counts what comes back."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from bench import load, trades


def test_a_request_is_whole_http() -> None:
    sent = load.request("/beckn/select", b"{}", {"Authorization": "Signature x"})
    head, _, body = sent.partition(b"\r\n\r\n")
    assert head.splitlines()[0] == b"POST /beckn/select HTTP/1.1"
    assert b"Content-Length: 2" in head
    assert b"Authorization: Signature x" in head
    assert body == b"{}"


async def test_every_request_is_sent_once_and_answers_are_counted_by_status() -> None:
    bodies: list[bytes] = []

    async def answer(request: web.Request) -> web.Response:
        bodies.append(await request.read())
        return web.Response(status=200 if len(bodies) % 2 else 401, body=b"{}")

    app = web.Application()
    app.router.add_post("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    requests = [load.request("/", str(number).encode(), {}) for number in range(50)]
    async with asyncio.timeout(30):
        answers = await load.run(f"http://127.0.0.1:{port}", requests, connections=4)
    await runner.cleanup()
    assert sorted(map(int, bodies)) == list(range(50))
    assert answers.statuses == {"200": 25, "401": 25}
    assert answers.accepted == 25


@pytest.mark.parametrize(
    ("values", "p50", "p99"), [([1.0] * 9, 1.0, 1.0), ([float(n) for n in range(101)], 50.0, 99.0)]
)
def test_percentiles_are_of_the_sample(values: list[float], p50: float, p99: float) -> None:
    found = trades.percentiles(values)
    assert (found["p50"], found["p99"]) == (p50, p99)
