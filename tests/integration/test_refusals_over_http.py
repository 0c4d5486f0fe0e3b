"""Every refusal the inbox can give, posted over HTTP: status, code, path, challenge header, and no row."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beckn import errors, signing
from beckn.actions import Role
from store.messages import InboxRows
from tests.support.post_office import BAP, BPP, GATEWAY, LONG_AGO, OTHER_BAP, Office, identity, office, record


@pytest.fixture
async def here(shared_database_url: str) -> AsyncIterator[Office]:
    async with office(shared_database_url) as running:
        yield running


async def refused(
    here: Office,
    kind: type[errors.Refusal],
    body: bytes,
    headers: dict[str, str] | None = None,
    *,
    action: str = "status",
    path: str | None = None,
) -> str:
    """Post a letter that must be refused with this error and leave no row; the sentence."""
    status, answer, answered = await here.post(body, headers, action=action)
    assert answer["message"]["ack"]["status"] == "NACK", answer
    assert (status, answer["error"]["code"]) == (kind.http_status, kind.code), answer
    assert answer["error"].get("paths", "") == (kind.path if path is None else path)
    sentence: str = answer["error"]["message"]
    assert len(sentence) > 20
    assert ("WWW-Authenticate" in answered) == (status == 401)
    if status == 401:
        assert answered["WWW-Authenticate"] == 'Signature realm="bpp.example",headers="(created) (expires) digest"'
    counted = here.node.metrics.exposition().decode()
    name = "unknown" if kind is errors.UnknownAction else action
    assert f'action="{name}",outcome="{kind.__name__}"' in counted
    assert await here.rows("SELECT 1 FROM inbox") == []
    return sentence


# --- Size and form ---------------------------------------------------------------------------------------------------


async def test_a_body_over_the_cap_is_refused_by_its_announced_length(here: Office) -> None:
    body = b"x" * (here.node.settings.body_bytes_max + 1)
    sentence = await refused(here, errors.BodyTooLarge, body)
    assert str(here.node.settings.body_bytes_max) in sentence


async def test_a_body_over_the_cap_is_refused_while_it_streams(here: Office) -> None:
    async def pages() -> AsyncIterator[bytes]:
        for _ in range(here.node.settings.body_bytes_max // 65_536 + 2):
            yield b" " * 65_536

    headers = {"Content-Type": "application/json", "Authorization": "Signature x"}
    async with here.client.post(f"{here.url}/beckn/status", data=pages(), headers=headers) as response:
        assert response.status == 413
        assert orjson.loads(await response.read())["message"]["ack"]["status"] == "NACK"


async def test_a_body_that_never_arrives_is_given_up(database_url: str) -> None:
    async with office(database_url, body_read_s_max=0.2) as here:

        async def drip() -> AsyncIterator[bytes]:
            yield b"{"
            await asyncio.sleep(3)

        headers = {"Content-Type": "application/json"}
        async with here.client.post(f"{here.url}/beckn/status", data=drip(), headers=headers) as response:
            assert response.status == 400
            assert b"did not arrive within 0.2 s" in await response.read()


@pytest.mark.parametrize("media", ["text/plain", "", "application/x-www-form-urlencoded"])
async def test_another_content_type_is_refused(here: Office, media: str) -> None:
    body = here.letter()
    await refused(here, errors.WrongContentType, body, here.headers(body, **{"Content-Type": media}))


async def test_a_content_type_with_a_charset_is_accepted(here: Office) -> None:
    body = here.letter()
    status, _, _ = await here.post(body, here.headers(body, **{"Content-Type": "Application/JSON; charset=utf-8"}))
    assert status == 200


async def test_a_compressed_body_is_refused(here: Office) -> None:
    body = here.letter()
    await refused(here, errors.WrongContentType, body, here.headers(body, **{"Content-Encoding": "gzip"}))


@pytest.mark.parametrize("body", [b"", b"not json", b"[]", b'"text"', b"{", b'{"context":"\xff"}', b"[" * 2000])
async def test_a_body_that_is_no_json_object_is_refused(here: Office, body: bytes) -> None:
    await refused(here, errors.InvalidJson, body, here.headers(body))


async def test_a_nul_character_is_refused_because_the_database_cannot_keep_it(here: Office) -> None:
    body = here.letter("status", {"order_id": "a\x00b"})
    await refused(here, errors.InvalidJson, body)


async def test_a_body_that_nests_too_deep_is_refused(here: Office) -> None:
    deep: Any = "leaf"
    for _ in range(here.node.settings.json_depth_max + 1):
        deep = {"inner": deep}
    await refused(here, errors.TooDeep, here.letter("status", {"order_id": "1", "extra": deep}))


async def test_a_wide_body_is_not_mistaken_for_a_deep_one(here: Office) -> None:
    status, _, _ = await here.post(here.letter("status", {"order_id": "1", "extra": [{} for _ in range(500)]}))
    assert status == 200


# --- Names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["on_status", "teleport"])
async def test_an_action_this_role_does_not_serve_is_refused_by_name(here: Office, action: str) -> None:
    body = here.letter()
    sentence = await refused(here, errors.UnknownAction, body, action=action)
    assert f'"{action}"' in sentence and "confirm" in sentence


async def test_an_action_other_than_the_path_is_refused(here: Office) -> None:
    await refused(here, errors.ActionMismatch, here.letter("status"), action="cancel")


async def test_an_unknown_domain_is_refused_by_name(here: Office) -> None:
    sentence = await refused(here, errors.UnknownDomain, here.letter(domain="uei:p2p-trading"))
    assert "uei:p2p-trading" in sentence and "uei:p2p_trading" in sentence


@pytest.mark.parametrize("version", ["1.1.1", "1.1", "2.0.0"])
async def test_an_unknown_version_is_refused_by_name(here: Office, version: str) -> None:
    sentence = await refused(here, errors.UnknownVersion, here.letter(version=version))
    assert version in sentence and "1.1.0" in sentence


@pytest.mark.parametrize(
    "field", ["domain", "action", "bap_id", "bap_uri", "transaction_id", "message_id", "timestamp"]
)
async def test_a_context_without_a_needed_field_is_refused_by_its_path(here: Office, field: str) -> None:
    await refused(here, errors.InvalidContext, here.letter(**{field: None}), path=f"context.{field}")


async def test_a_letter_without_a_context_is_refused(here: Office) -> None:
    await refused(here, errors.InvalidContext, orjson.dumps({"message": {}}))


async def test_a_ttl_of_another_form_is_refused(here: Office) -> None:
    await refused(here, errors.InvalidContext, here.letter(ttl="30 seconds"), path="context.ttl")


async def test_a_time_without_a_zone_is_refused(here: Office) -> None:
    letter = here.letter(timestamp="2026-01-15T10:00:00.000")
    await refused(here, errors.InvalidContext, letter, path="context.timestamp")


async def test_a_letter_that_breaks_its_schema_is_refused_with_the_failing_path(here: Office) -> None:
    letter = here.letter("status", {"order_id": 7})
    sentence = await refused(here, errors.SchemaInvalid, letter, path="message.order_id")
    assert "message.order_id" in sentence


async def test_an_unknown_field_is_kept_unless_the_network_is_strict(database_url: str, here: Office) -> None:
    letter = here.letter("status", {"order_id": "1", "colour": "green"})
    assert (await here.post(letter))[0] == 200


async def test_an_unknown_field_is_refused_in_a_strict_network(database_url: str) -> None:
    async with office(database_url, strict_schemas=True) as here:
        letter = here.letter("status", {"order_id": "1", "colour": "green"})
        await refused(here, errors.SchemaInvalid, letter, path="message.colour")


# --- Time ------------------------------------------------------------------------------------------------------------


async def test_a_letter_older_than_its_ttl_is_refused(here: Office) -> None:
    written = (datetime.now(UTC) - timedelta(seconds=31)).isoformat()
    sentence = await refused(here, errors.StaleLetter, here.letter(timestamp=written, ttl="PT30S"))
    assert "ttl is 30 s" in sentence


async def test_an_enormous_ttl_is_no_error(here: Office) -> None:
    assert (await here.post(here.letter(ttl="P999999W")))[0] == 200


async def test_a_letter_without_a_ttl_lives_as_long_as_its_signature(here: Office) -> None:
    written = (datetime.now(UTC) - timedelta(days=2)).isoformat()
    assert (await here.post(here.letter(timestamp=written, ttl=None)))[0] == 200


async def test_a_letter_from_the_far_future_is_refused(here: Office) -> None:
    written = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    await refused(here, errors.LetterFromTheFuture, here.letter(timestamp=written))


# --- The signature ---------------------------------------------------------------------------------------------------


async def test_a_letter_without_a_signature_is_refused(here: Office) -> None:
    await refused(here, errors.MissingSignature, here.letter(), {"Content-Type": "application/json"})


def malformations(header: str) -> dict[str, str]:
    return {
        "empty": "",
        "another scheme": header.replace("Signature ", "Bearer ", 1),
        "no parameters": "Signature ",
        "two parts in keyId": header.replace("|k1|ed25519", "|ed25519"),
        "four parts in keyId": header.replace("|k1|", "|k1|k2|"),
        "no keyId": header.replace("keyId=", "kid="),
        "keyId twice": header + ',keyId="a|b|ed25519"',
        "no quotes": header.replace('"', ""),
        "signature is no base64": header[: header.index('signature="')] + 'signature="???"',
        "signature is too short": header[: header.index('signature="')] + 'signature="AAAA"',
        "created is no number": header.replace('created="', 'created="x'),
        "created is negative": header.replace('created="', 'created="-'),
        "created is enormous": header.replace('created="', 'created="99999999999'),
        "longer than any": header + "," + "x" * 2000,
    }


@pytest.mark.parametrize("fault", malformations('keyId="|k1|ed25519",created="1",signature="'))
async def test_a_malformed_header_is_401_and_never_500(here: Office, fault: str) -> None:
    body = here.letter()
    headers = here.headers(body)
    headers["Authorization"] = malformations(headers["Authorization"])[fault]
    await refused(here, errors.MalformedSignature, body, headers)


async def test_another_algorithm_is_refused(here: Office) -> None:
    body = here.letter()
    headers = here.headers(body)
    headers["Authorization"] = headers["Authorization"].replace("ed25519", "rsa-sha256")
    await refused(here, errors.WrongAlgorithm, body, headers)


async def test_the_receiver_decides_what_is_covered(here: Office) -> None:
    body = here.letter()
    headers = here.headers(body)
    headers["Authorization"] = headers["Authorization"].replace("(created) (expires) digest", "(created)")
    await refused(here, errors.WrongCoveredHeaders, body, headers)


def signed_at(body: bytes, shift: timedelta, *, ttl_s: int = 300) -> dict[str, str]:
    header = signing.sign(body, identity=BAP, now=datetime.now(UTC) + shift, ttl_s=ttl_s)
    return {"Content-Type": "application/json", "Authorization": header}


async def test_a_signature_from_the_future_is_refused(here: Office) -> None:
    body = here.letter()
    await refused(here, errors.SignatureFromTheFuture, body, signed_at(body, timedelta(seconds=20)))


async def test_a_signature_four_seconds_ahead_is_accepted(here: Office) -> None:
    body = here.letter()
    assert (await here.post(body, signed_at(body, timedelta(seconds=4))))[0] == 200


async def test_an_expired_signature_is_refused_without_tolerance(here: Office) -> None:
    body = here.letter()
    await refused(here, errors.SignatureExpired, body, signed_at(body, timedelta(seconds=-300)))


async def test_a_signature_that_lives_too_long_is_refused(here: Office) -> None:
    body = here.letter()
    await refused(here, errors.SignatureLivesTooLong, body, signed_at(body, timedelta(), ttl_s=3662))


async def test_a_signature_as_protocol_server_makes_it_is_accepted(here: Office) -> None:
    body = here.letter()
    assert (await here.post(body, signed_at(body, timedelta(seconds=-59), ttl_s=3660)))[0] == 200


async def test_a_signature_of_another_key_is_refused(here: Office) -> None:
    body = here.letter()
    impostor = identity(BAP.subscriber_id, 99)
    await refused(here, errors.SignatureInvalid, body, here.headers(body, impostor))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
async def test_a_letter_with_any_byte_altered_is_refused(here: Office, data: st.DataObject) -> None:
    body = here.letter()
    headers = here.headers(body)
    place = data.draw(st.integers(0, len(body) - 1))
    altered = bytearray(body)
    altered[place] ^= data.draw(st.integers(1, 255))
    await refused(here, errors.SignatureInvalid, bytes(altered), headers)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
async def test_a_signature_with_any_bit_flipped_is_refused(here: Office, data: st.DataObject) -> None:
    body = here.letter()
    parsed = signing.parse_header(here.headers(body)["Authorization"])
    place = data.draw(st.integers(0, 511))
    altered = bytearray(parsed.signature)
    altered[place // 8] ^= 1 << place % 8
    header = parsed.raw.replace(base64.b64encode(parsed.signature).decode(), base64.b64encode(bytes(altered)).decode())
    status, answer, _ = await here.post(body, {"Content-Type": "application/json", "Authorization": header})
    assert (status, answer["error"]["code"]) == (401, errors.SignatureInvalid.code)


# --- The signer ------------------------------------------------------------------------------------------------------


async def test_an_unknown_signer_is_refused(here: Office) -> None:
    body = here.letter()
    sentence = await refused(here, errors.UnknownSigner, body, here.headers(body, identity("nobody.example", 5)))
    assert "nobody.example" in sentence


async def test_a_known_subscriber_with_an_unknown_key_is_refused(here: Office) -> None:
    body = here.letter()
    await refused(here, errors.UnknownSigner, body, here.headers(body, replace(BAP, key_id="k2")))


async def test_an_unknown_signer_is_refused_when_the_registry_is_away(here: Office) -> None:
    here.directory.silent = True
    body = here.letter()
    await refused(here, errors.RegistryUnreachable, body, here.headers(body, identity("nobody.example", 5)))


@pytest.mark.parametrize("status", ["INITIATED", "UNDER_SUBSCRIPTION", "EXPIRED", "UNSUBSCRIBED", "INVALID_SSL"])
async def test_a_signer_that_is_not_subscribed_is_refused_by_its_status(here: Office, status: str) -> None:
    here.directory.records = [record(BAP, Role.BAP, here.bap.url, status=status)]
    assert status in await refused(here, errors.SignerNotSubscribed, here.letter())


@pytest.mark.parametrize(
    "validity",
    [{"valid_until": LONG_AGO}, {"valid_from": datetime(2099, 1, 1, tzinfo=UTC)}],
)
async def test_a_key_outside_its_validity_is_refused(here: Office, validity: dict[str, datetime]) -> None:
    here.directory.records = [record(BAP, Role.BAP, here.bap.url, **validity)]
    await refused(here, errors.KeyNotValidNow, here.letter())


async def test_a_seller_may_not_send_a_buyers_letter(here: Office) -> None:
    body = here.letter()
    assert "BPP" in await refused(here, errors.WrongRole, body, here.headers(body, BPP))


async def test_a_signer_other_than_the_sender_is_refused(here: Office) -> None:
    body = here.letter()
    sentence = await refused(here, errors.SignerIsNotSender, body, here.headers(body, OTHER_BAP), path="context.bap_id")
    assert BAP.subscriber_id in sentence and OTHER_BAP.subscriber_id in sentence


@pytest.mark.parametrize(
    "bap_uri", ["http://127.0.0.1:9/beckn/other", "http://169.254.169.254/latest", "http://127.0.0.1:9/BECKN"]
)
async def test_a_url_other_than_the_registered_is_refused(here: Office, bap_uri: str) -> None:
    sentence = await refused(here, errors.UnregisteredUrl, here.letter(bap_uri=bap_uri), path="context.bap_uri")
    assert here.bap.url in sentence


async def test_a_trailing_slash_of_a_url_makes_no_difference(here: Office) -> None:
    assert (await here.post(here.letter(bap_uri=here.bap.url + "/")))[0] == 200


async def test_a_letter_for_another_seller_is_refused(here: Office) -> None:
    await refused(here, errors.InvalidContext, here.letter(bpp_id="bpp2.example"), path="context.bpp_id")


async def test_a_letter_that_names_no_seller_is_refused_unless_it_is_a_search(here: Office) -> None:
    body = here.letter(bpp_id=None, bpp_uri=None)
    await refused(here, errors.InvalidContext, body, path="context.bpp_id")
    search = here.letter("search", bpp_id=None, bpp_uri=None)
    assert (await here.post(search, action="search"))[0] == 200


async def test_a_letter_for_us_at_another_url_is_refused(here: Office) -> None:
    await refused(here, errors.UnregisteredUrl, here.letter(bpp_uri="http://bpp.example/old"), path="context.bpp_uri")


# --- The gateway -----------------------------------------------------------------------------------------------------


async def by_gateway(here: Office, header: str, value: str | None = None) -> tuple[int, Any, Any]:
    body = here.letter("search", bpp_id=None, bpp_uri=None)
    ours = signing.sign(body, identity=GATEWAY, now=datetime.now(UTC)) if value is None else value
    return await here.post(body, here.headers(body, **{header: ours}), action="search")


@pytest.mark.parametrize("header", ["X-Gateway-Authorization", "Proxy-Authorization"])
async def test_a_letter_that_a_gateway_carried_is_accepted_with_both_signatures(here: Office, header: str) -> None:
    assert (await by_gateway(here, header))[0] == 200
    [row] = await here.rows("SELECT headers FROM inbox")
    assert "gateway.example" in row["headers"]["gateway"]


@pytest.mark.parametrize("header", ["X-Gateway-Authorization", "Proxy-Authorization"])
async def test_a_bad_gateway_signature_is_refused_with_proxy_authenticate(here: Office, header: str) -> None:
    signed_for_another = signing.sign(b"another body", identity=GATEWAY, now=datetime.now(UTC))
    status, answer, headers = await by_gateway(here, header, signed_for_another)
    assert (status, answer["error"]["paths"]) == (401, "header.X-Gateway-Authorization")
    assert headers["Proxy-Authenticate"].startswith('Signature realm="bpp.example"')
    assert "WWW-Authenticate" not in headers
    assert await here.rows("SELECT 1 FROM inbox") == []


async def test_a_malformed_gateway_header_is_401(here: Office) -> None:
    status, _, headers = await by_gateway(here, "X-Gateway-Authorization", "nonsense")
    assert status == 401 and "Proxy-Authenticate" in headers


async def test_a_carrier_that_is_no_gateway_is_refused(here: Office) -> None:
    body = here.letter("search", bpp_id=None, bpp_uri=None)
    forged = signing.sign(body, identity=OTHER_BAP, now=datetime.now(UTC))
    headers = here.headers(body, **{"X-Gateway-Authorization": forged})
    status, answer, answered = await here.post(body, headers, action="search")
    assert status == 401 and "BG" in answer["error"]["message"] and "Proxy-Authenticate" in answered


async def test_a_good_gateway_does_not_make_up_for_a_bad_sender(here: Office) -> None:
    body = here.letter("search", bpp_id=None, bpp_uri=None)
    gateway = signing.sign(body, identity=GATEWAY, now=datetime.now(UTC))
    headers = here.headers(body, identity(BAP.subscriber_id, 99), **{"X-Gateway-Authorization": gateway})
    status, _, answered = await here.post(body, headers, action="search")
    assert status == 401 and "WWW-Authenticate" in answered


# --- The guard -------------------------------------------------------------------------------------------------------


async def test_a_signer_in_a_hurry_is_told_to_slow_down(database_url: str) -> None:
    async with office(database_url, letters_per_s_max=5) as here:
        answers = [await here.post(here.letter()) for _ in range(30)]
        refusals = [answer for status, answer, _ in answers if status == 429]
        assert 15 <= len(refusals) <= 20
        assert refusals[0]["error"]["code"] == errors.TooManyLetters.code
        body = here.letter(bap_id=OTHER_BAP.subscriber_id)
        status, _, _ = await here.post(body, here.headers(body, OTHER_BAP))
        assert status == 200, "one signer's haste is not another's"


async def test_forged_letters_do_not_use_up_the_rate_of_whom_they_name(shared_database_url: str) -> None:
    async with office(shared_database_url, letters_per_s_max=1) as here:
        body = here.letter()
        forged = here.headers(body, identity(BAP.subscriber_id, 99))
        assert {(await here.post(body, forged))[0] for _ in range(20)} == {401}
        assert (await here.post(here.letter()))[0] == 200


async def test_a_letter_that_cannot_be_stored_is_not_acknowledged(here: Office) -> None:
    await here.node.database.close()  # the database is away
    status, answer, _ = await here.post(here.letter())
    assert (status, answer["error"]["code"]) == (errors.UnableToStore.http_status, errors.UnableToStore.code)
    await here.node.database.open()
    assert (await here.post(here.letter()))[0] == 200


async def test_a_full_line_refuses_instead_of_growing(database_url: str) -> None:
    waiting: list[int] = []

    class Slow(InboxRows):
        async def add(self, rows: Any, **claim: Any) -> list[str]:
            waiting.append(len(rows))
            return await super().add(rows, **claim)

    async with office(database_url, inbox_waiting_max=1, inbox_rows=Slow) as here:
        async with here.node.database.unit_of_work() as uow:
            await uow.connection.execute("LOCK TABLE inbox IN EXCLUSIVE MODE")  # nothing can be stored for now
            posts = [asyncio.create_task(here.post(here.letter()))]
            await here.until(lambda: len(waiting) == 1)
            posts += [asyncio.create_task(here.post(here.letter())) for _ in range(3)]
            await here.until(lambda: sum(post.done() for post in posts) == 2)
        statuses = sorted([(await post)[0] for post in posts])
        assert statuses == [200, 200, 503, 503]


async def test_a_failure_of_our_own_is_a_nack_with_a_reference_and_no_acknowledgement(
    here: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("beckn.checks.check_context", bug)
    assert "quote reference" in await refused(here, errors.FailedHere, here.letter())


async def test_a_signer_registered_in_another_domain_is_unknown_here(here: Office) -> None:
    here.directory.records = [record(BAP, Role.BAP, here.bap.url, domain="uei:ev_charging")]
    assert "uei:ev_charging" in await refused(here, errors.UnknownSigner, here.letter())


async def test_every_refusal_of_the_kernel_has_a_test_here() -> None:
    """A new error in beckn/errors.py must be posted over HTTP in this file before it is used."""
    tested = Path(__file__).read_text()
    kinds = [errors.Refusal]
    for kind in kinds:
        kinds += kind.__subclasses__()
    own = {kind for kind in kinds if not kind.__subclasses__() and kind.__module__ == errors.__name__}
    concrete = {kind.__name__ for kind in own} - {"MessageIdReused"}
    assert {name for name in concrete if f"errors.{name}" not in tested} == set()


async def test_a_connection_cut_in_the_middle_of_a_letter_leaves_the_node_well(here: Office) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", here.node.settings.port)
    writer.write(
        b"POST /beckn/status HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
    )
    await writer.drain()
    writer.close()
    assert (await here.post(here.letter()))[0] == 200
