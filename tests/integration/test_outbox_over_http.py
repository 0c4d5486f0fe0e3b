"""Delivering letters over real sockets from a real database: in order, until they arrive, and what if they do not."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from beckn import errors, signing
from beckn.actions import Role
from beckn.outbox import Post
from store import dead_letters
from store.messages import OutboxRows
from tests.support.post_office import BAP, BPP, GATEWAY, Office, office

ACK = b'{"message":{"ack":{"status":"ACK"}}}'
Script = Callable[[web.Request, bytes], Awaitable[web.StreamResponse]]


@dataclass
class Peer:
    """A stranger's node: notes what it gets and answers as told."""

    url: str = ""
    got: list[tuple[str, bytes, Any]] = field(default_factory=list)
    #: How to answer the next requests; ACK when it runs out.
    script: list[Script | tuple[int, bytes]] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    pause_s: float = 0.0

    async def serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.got.append((request.path.rpartition("/")[2], body, request.headers.copy()))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(self.pause_s)
        self.in_flight -= 1
        step = self.script.pop(0) if self.script else (200, ACK)
        if isinstance(step, tuple):
            return web.Response(status=step[0], body=step[1], content_type="application/json")
        return await step(request, body)

    def orders(self) -> list[str]:
        """The order ids of what came, in order."""
        return [orjson.loads(body)["message"]["order_id"] for _, body, _ in self.got]


@asynccontextmanager
async def peer(port: int = 0) -> AsyncIterator[Peer]:
    here = Peer()
    app = web.Application()
    app.router.add_post("/beckn/{action}", here.serve)
    server = TestServer(app, port=port or None)
    await server.start_server()
    here.url = f"http://127.0.0.1:{server.port}/beckn"
    try:
        yield here
    finally:
        await server.close()


@pytest.fixture
async def stranger() -> AsyncIterator[Peer]:
    async with peer() as running:
        yield running


@pytest.fixture
async def here(shared_database_url: str) -> AsyncIterator[Office]:
    async with office(shared_database_url, role=Role.BAP, outbox_backoff_s_min=0.02) as running:
        yield running


async def post(
    here: Office, url: str, *, order: str = "1", transaction_id: str = "", action: str = "status",
    now: datetime | None = None, authorization: str | None = None,
) -> bytes:  # fmt: skip
    """Post one letter in a unit of work of its own; its bytes."""
    transaction_id = transaction_id or str(uuid.uuid4())
    context = here.request_context(action, transaction_id=transaction_id)
    body = orjson.dumps({"context": context, "message": {"order_id": order}})
    async with here.node.database.unit_of_work() as uow:
        await here.node.outbox.post(
            uow, action=action, receiver_id=BPP.subscriber_id, url=url, body=body, transaction_id=transaction_id,
            message_id=context["message_id"], authorization=authorization, now=now,
        )  # fmt: skip
    return body


async def states(here: Office) -> list[str]:
    return [row["state"] for row in await here.rows("SELECT state FROM outbox ORDER BY seq")]


async def sent(here: Office, count: int) -> None:
    async def all_sent() -> bool:
        return await states(here) == ["SENT"] * count

    await here.until(all_sent)


def nack(kind: type[errors.Refusal]) -> tuple[int, bytes]:
    return kind.http_status, kind().nack_body()


# --- Arriving --------------------------------------------------------------------------------------------------------


async def test_a_letter_is_signed_when_it_is_sent_and_arrives_as_its_exact_bytes(here: Office, stranger: Peer) -> None:
    body = await post(here, stranger.url)
    await sent(here, 1)
    [(action, received, headers)] = stranger.got
    assert (action, received) == ("status", body)
    assert headers["Content-Type"] == "application/json"
    parsed = signing.parse_header(headers["Authorization"])
    signing.check_dates(parsed, now=datetime.now(UTC))
    signing.verify(signing.digest(received), parsed, public_key=BAP.public_key)
    assert parsed.expires - parsed.created == 300
    assert "X-Gateway-Authorization" not in headers
    [row] = await here.rows("SELECT outcome, attempts, finished_at FROM outbox")
    assert (row["outcome"], row["attempts"]) == ({"result": "ACK", "http_status": 200}, 1)


async def test_a_url_with_a_path_and_a_slash_is_joined_with_one_slash(here: Office, stranger: Peer) -> None:
    await post(here, stranger.url + "/")
    await sent(here, 1)


async def test_a_rotated_key_signs_what_is_sent_from_then_on(here: Office, stranger: Peer) -> None:
    here.node.identity = signing.Identity(BAP.subscriber_id, "k2", bytes([7]) * 32)
    await post(here, stranger.url)
    await sent(here, 1)
    assert signing.parse_header(stranger.got[0][2]["Authorization"]).key_id == "k2"


async def test_a_letter_that_was_rolled_back_is_never_sent(here: Office, stranger: Peer) -> None:
    with pytest.raises(ZeroDivisionError):
        async with here.node.database.unit_of_work() as uow:
            await here.node.outbox.post(uow, action="status", receiver_id="x", url=stranger.url, body=b"{}",
                                        transaction_id="t", message_id="m")  # fmt: skip
            raise ZeroDivisionError
    await asyncio.sleep(0.3)
    assert (stranger.got, await states(here)) == ([], [])


@pytest.mark.parametrize(
    "answer",
    [
        (200, ACK),
        (202, b'{"context":{},"message":{"ack":{"status":"ACK"}}}'),
        (200, b' {"message":{"ack":{"status":"ACK","tags":[]}}} '),
    ],
)
async def test_the_acknowledgements_of_all_peers_are_understood(
    here: Office, stranger: Peer, answer: tuple[int, bytes]
) -> None:
    stranger.script = [answer]
    await post(here, stranger.url)
    await sent(here, 1)


async def test_a_gateway_keeps_the_senders_header_and_adds_its_own_twice(
    shared_database_url: str, stranger: Peer
) -> None:
    async with office(shared_database_url, role=Role.BG) as gateway, peer() as second:
        body = gateway.letter("search")
        senders = signing.sign(body, identity=BAP, now=datetime.now(UTC))
        copies = [
            Post("search", "bpp", url, body, "t", "m", authorization=senders) for url in (stranger.url, second.url)
        ]
        async with gateway.node.database.unit_of_work() as uow:
            assert len(set(await gateway.node.outbox.post_all(uow, copies))) == 2
        await sent(gateway, 2)
        for receiver in (stranger, second):
            [(_, received, headers)] = receiver.got
            assert received == body
            assert headers["Authorization"] == senders
            assert headers["X-Gateway-Authorization"] == headers["Proxy-Authorization"]
            ours = signing.parse_header(headers["X-Gateway-Authorization"], by_gateway=True)
            signing.verify(signing.digest(received), ours, public_key=GATEWAY.public_key)


# --- Order and width -------------------------------------------------------------------------------------------------


async def test_letters_of_one_destination_and_transaction_go_one_after_another(here: Office, stranger: Peer) -> None:
    stranger.pause_s = 0.005
    for number in range(10):
        await post(here, stranger.url, order=str(number), transaction_id="t")
    await sent(here, 10)
    assert stranger.orders() == [str(number) for number in range(10)]
    assert stranger.most_in_flight == 1


async def test_transactions_go_side_by_side_up_to_the_bound(shared_database_url: str, stranger: Peer) -> None:
    async with office(shared_database_url, role=Role.BAP, outbox_per_destination_max=4) as here:
        stranger.pause_s = 0.02
        await asyncio.gather(*(post(here, stranger.url) for _ in range(20)))
        await sent(here, 20)
        assert stranger.most_in_flight == 4


async def test_all_letters_get_their_turn_when_few_may_be_in_flight(shared_database_url: str, stranger: Peer) -> None:
    async with office(shared_database_url, role=Role.BAP, outbox_workers=2) as here, peer() as second:
        for _ in range(10):
            await post(here, stranger.url)
            await post(here, second.url)
        await sent(here, 20)
        assert stranger.most_in_flight + second.most_in_flight <= 4


async def test_letters_beyond_memory_wait_in_the_table_and_keep_their_order(
    shared_database_url: str, stranger: Peer
) -> None:
    async with office(shared_database_url, role=Role.BAP, outbox_memory_max=3) as here:
        stranger.pause_s = 0.01
        for number in range(15):
            await post(here, stranger.url, order=str(number), transaction_id="t")
        await sent(here, 15)
        assert stranger.orders() == [str(number) for number in range(15)]


# --- Failing and trying again ----------------------------------------------------------------------------------------


async def test_a_peer_that_is_down_gets_its_letters_in_order_when_it_is_back(here: Office) -> None:
    async with peer() as gone:
        port = int(gone.url.split(":")[2].split("/")[0])
    for number in range(3):
        await post(here, gone.url, order=str(number), transaction_id="t")

    async def tried() -> bool:
        return (await here.rows("SELECT max(attempts) FROM outbox"))[0][0] >= 2

    await here.until(tried)
    assert await here.rows("SELECT DISTINCT uncertain FROM outbox") == [(False,)], "nothing can have arrived"
    async with peer(port) as back:
        await sent(here, 3)
        assert back.orders() == ["0", "1", "2"]


async def test_a_failing_destination_does_not_hold_up_another(shared_database_url: str, stranger: Peer) -> None:
    async with office(shared_database_url, role=Role.BAP, outbox_backoff_s_min=30) as here:
        await post(here, "http://127.0.0.1:9/beckn")
        await asyncio.sleep(0.1)
        started = time.monotonic()
        await post(here, stranger.url)
        await here.until(lambda: stranger.got)
        assert time.monotonic() - started < 1


async def test_a_failing_destination_is_tried_by_one_letter_at_a_time_and_less_and_less_often(here: Office) -> None:
    async with peer() as busy:
        busy.script = [(503, b"")] * 100
        busy.pause_s = 0.005
        for _ in range(30):
            await post(here, busy.url)
        await asyncio.sleep(1.0)
        # Whoever was in flight together, then one after each pause: 0.02 s doubling makes 5 to 8 in a second.
        assert 5 <= len(busy.got) <= 16 + 8
        busy.script = []
        await here.until(lambda: len(busy.got) > 30)
        await sent(here, 30)


@pytest.mark.parametrize(
    "answer", [(503, b""), (500, b"oops"), (429, b""), nack(errors.UnableToStore), (502, b"<html>")]
)
async def test_an_answer_that_says_not_now_is_tried_again(
    here: Office, stranger: Peer, answer: tuple[int, bytes]
) -> None:
    stranger.script = [answer]
    await post(here, stranger.url)
    await sent(here, 1)
    assert len(stranger.got) == 2
    assert here.undelivered == []


async def test_a_connection_cut_after_the_letter_makes_it_uncertain_and_is_tried_again(
    here: Office, stranger: Peer
) -> None:
    async def cut(request: web.Request, body: bytes) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    stranger.script = [cut]
    body = await post(here, stranger.url)
    await sent(here, 1)
    assert [received for _, received, _ in stranger.got] == [body, body]
    assert await here.rows("SELECT uncertain, attempts FROM outbox") == [(True, 2)]


async def test_a_peer_that_does_not_answer_is_given_up_and_tried_again(
    shared_database_url: str, stranger: Peer
) -> None:
    async with office(shared_database_url, role=Role.BAP, answer_s_max=0.2, outbox_backoff_s_min=0.01) as here:

        async def never(request: web.Request, body: bytes) -> web.StreamResponse:
            await asyncio.sleep(1)
            return web.Response()

        stranger.script = [never]
        await post(here, stranger.url)
        await sent(here, 1)
        assert await here.rows("SELECT uncertain, attempts FROM outbox") == [(True, 2)]


async def test_a_letter_from_a_peer_ends_the_back_off(shared_database_url: str) -> None:
    async with office(shared_database_url, outbox_backoff_s_min=60) as here:
        async with peer() as gone:
            port = int(gone.url.split(":")[2].split("/")[0])
        here.bap = replace(here.bap, url=gone.url)
        here.directory.records = [replace(here.directory.records[0], url=gone.url)]
        await post(here, gone.url)

        async def tried() -> bool:
            return bool(await here.rows("SELECT 1 FROM outbox WHERE attempts = 1"))

        await here.until(tried)
        async with peer(port):
            assert (await here.post(here.letter()))[0] == 200
            await sent(here, 1)


# --- Not arriving ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [nack(errors.StaleLetter), nack(errors.SignatureInvalid), (
    202, b'{"message":{"ack":{"status":"NACK"}},"error":{"code":"30004","message":"no such item"}}')])  # fmt: skip
async def test_a_refusal_parks_the_letter_tells_the_shop_and_lets_the_next_go(
    here: Office, stranger: Peer, answer: tuple[int, bytes]
) -> None:
    stranger.script = [answer]
    await post(here, stranger.url, order="refused", transaction_id="t")
    await post(here, stranger.url, order="next", transaction_id="t")

    async def over() -> bool:
        return await states(here) == ["DEAD", "SENT"]

    await here.until(over)
    [(letter, outcome, certain)] = here.undelivered
    assert (letter.action, letter.transaction_id, certain) == ("status", "t", True)
    assert outcome["result"] == "NACK" and outcome["http_status"] == answer[0] and outcome["code"]
    assert stranger.orders() == ["refused", "next"]


async def test_a_refusal_after_a_cut_is_not_certain(here: Office, stranger: Peer) -> None:
    """The peer may have accepted the first try and refuse the second for another reason, such as its age."""

    async def cut(request: web.Request, body: bytes) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    stranger.script = [cut, nack(errors.StaleLetter)]
    await post(here, stranger.url)
    await here.until(lambda: here.undelivered)
    assert here.undelivered[0][2] is False


async def test_a_success_that_acknowledges_nothing_is_a_refusal_but_not_a_certain_one(
    here: Office, stranger: Peer
) -> None:
    stranger.script = [(404, b"<html>no such page</html>")]
    await post(here, stranger.url)
    await here.until(lambda: here.undelivered)
    assert here.undelivered[0][2] is False


async def test_a_letter_whose_time_is_over_is_given_up_with_certainty_when_nobody_was_there(here: Office) -> None:
    long_ago = datetime.now(UTC) - timedelta(seconds=29.5)  # a question is tried for 30 s
    await post(here, "http://127.0.0.1:9/beckn", action="search", now=long_ago)
    await here.until(lambda: here.undelivered)
    [(_, outcome, certain)] = here.undelivered
    assert (outcome["result"], certain) == ("GIVEN_UP", True)
    assert await states(here) == ["DEAD"]


async def test_a_letter_whose_time_is_over_is_uncertain_after_a_time_out(
    shared_database_url: str, stranger: Peer
) -> None:
    async with office(shared_database_url, role=Role.BAP, answer_s_max=0.1, outbox_backoff_s_min=0.5) as here:
        stranger.pause_s = 0.5
        await post(here, stranger.url, action="search", now=datetime.now(UTC) - timedelta(seconds=29.7))
        await here.until(lambda: here.undelivered)
        assert here.undelivered[0][1]["result"] == "GIVEN_UP"
        assert here.undelivered[0][2] is False


async def test_a_shop_that_fails_to_hear_of_it_is_told_again(shared_database_url: str, stranger: Peer) -> None:
    async with office(shared_database_url, role=Role.BAP, lease_s=1.0) as here:
        bugs = [RuntimeError("a bug in the shop")]

        def told(item: Any) -> None:
            if bugs:
                raise bugs.pop()
            here.undelivered.append(item)

        here.told = told
        stranger.script = [nack(errors.StaleLetter)] * 2
        await post(here, stranger.url)
        await here.until(lambda: here.undelivered)
        assert await states(here) == ["DEAD"]


async def test_dead_letters_are_listed_and_sent_again(here: Office, stranger: Peer) -> None:
    stranger.script = [nack(errors.StaleLetter)]
    await post(here, stranger.url)
    await here.until(lambda: here.undelivered)
    async with here.node.database.unit_of_work() as uow:
        [dead] = await dead_letters.outgoing(uow, state="DEAD")
        assert (dead["action"], dead["outcome"]["code"]) == ("status", errors.StaleLetter.code)
        now = here.clock.now()
        assert await dead_letters.resend(uow, [dead["seq"], 10**9], now=now, deliver_for_s=60) == [dead["seq"]]
    await sent(here, 1)


# --- Age -------------------------------------------------------------------------------------------------------------


async def test_a_letter_that_outlived_its_ttl_on_the_way_is_dated_anew(here: Office, stranger: Peer) -> None:
    body = await post(here, stranger.url, now=datetime.now(UTC) - timedelta(hours=2))
    await sent(here, 1)
    first, second = orjson.loads(body), orjson.loads(stranger.got[0][1])
    assert second["context"].pop("timestamp") >= first["context"].pop("timestamp")
    assert first == second and stranger.got[0][1] != body


async def test_a_request_that_may_have_arrived_keeps_its_bytes(here: Office, stranger: Peer) -> None:
    """Under a message_id that the peer knows, other bytes would be refused."""
    stranger.script = [(500, b"")]
    body = await post(here, stranger.url, now=datetime.now(UTC) - timedelta(minutes=59, seconds=59.8))
    await here.until(lambda: len(stranger.got) == 1)
    here.clock.shift = timedelta(hours=2)
    await sent(here, 1)
    assert [received for _, received, _ in stranger.got] == [body, body]


# --- Crashes and stops -----------------------------------------------------------------------------------------------


async def test_a_letter_of_a_process_that_died_in_mid_air_is_sent_again_and_uncertain(
    shared_database_url: str,
) -> None:
    async with peer() as slow:
        slow.pause_s = 30
        async with office(shared_database_url, role=Role.BAP, stop_s_max=0.1) as first:
            await post(first, slow.url)
            await first.until(lambda: slow.got)
            slow.pause_s = 0
            async with office(shared_database_url, role=Role.BAP) as second:
                await asyncio.sleep(0.3)
                assert len(slow.got) == 1, "the claim has not lapsed"
                second.clock.shift = timedelta(seconds=20)
                await sent(second, 1)
                assert len(slow.got) == 2
                assert await second.rows("SELECT uncertain FROM outbox") == [(True,)]


async def test_an_acknowledgement_that_could_not_be_noted_does_not_lose_the_letter(
    shared_database_url: str, stranger: Peer
) -> None:
    class Forgetful(OutboxRows):
        fails = 1

        async def sent(self, results: Any) -> None:
            if Forgetful.fails:
                Forgetful.fails -= 1
                raise ConnectionResetError("cut in the middle")
            await super().sent(results)

    async with office(shared_database_url, role=Role.BAP, outbox_rows=Forgetful, lease_s=1.0) as here:
        body = await post(here, stranger.url)
        await sent(here, 1)
        assert [received for _, received, _ in stranger.got] == [body, body]


async def test_a_graceful_stop_sends_what_is_in_memory(shared_database_url: str, stranger: Peer) -> None:
    stranger.pause_s = 0.02
    async with office(shared_database_url, role=Role.BAP) as here:
        for number in range(5):
            await post(here, stranger.url, order=str(number), transaction_id="t")
    assert len(stranger.got) == 5


async def test_a_stop_gives_back_what_it_cannot_send(shared_database_url: str, stranger: Peer) -> None:
    stranger.pause_s = 5
    async with office(shared_database_url, role=Role.BAP, stop_s_max=0.1) as here:
        await post(here, stranger.url, order="0", transaction_id="t")
        await post(here, stranger.url, order="1", transaction_id="t")
        await here.until(lambda: stranger.got)
    stranger.pause_s = 0
    async with office(shared_database_url, role=Role.BAP) as here:
        rows = await here.rows("SELECT uncertain FROM outbox ORDER BY seq")
        assert [row[0] for row in rows] == [True, False], "only the one in flight may have arrived"
        await sent(here, 2)


async def test_two_processes_share_the_work_and_send_nothing_twice(shared_database_url: str, stranger: Peer) -> None:
    async with (
        office(shared_database_url, role=Role.BAP) as one,
        office(shared_database_url, role=Role.BAP) as two,
        office(shared_database_url, role=Role.BAP, outbox_workers=0) as writer,
    ):
        for number in range(40):
            door = (one, two, writer)[number % 3]
            await post(door, stranger.url, order=str(number), transaction_id=f"t{number % 4}")
        await sent(one, 40)
        assert len(stranger.got) == 40
