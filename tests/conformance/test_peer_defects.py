"""What other implementations of the protocol get wrong, and the test that says we do not.

Each defect was found by reading the source of a peer (beckn-onix, protocol-server, Google's accelerator for it, an ONDC
network in TypeScript, the Java registry and gateway). A line names the test that proves it of our nodes; `here` means
below. The table cannot rot: a test below reads it and fails when a test it names is gone or a defect has none.

    ONIX-1   a repeat or replay of a letter runs it again
             integration/test_inbox_over_http.py::test_a_repeat_of_a_letter_gets_the_same_acknowledgement_and_runs_nothing_twice
             integration/test_inbox_over_http.py::test_a_request_under_a_known_message_id_with_another_body_is_refused
             integration/test_refusals_over_http.py::test_a_letter_for_another_seller_is_refused
    ONIX-2   a key from the registry is believed until its valid_until, for years
             integration/test_registry_feed.py::test_a_key_taken_back_is_refused_by_a_polling_node_within_five_seconds
             conformance/test_lookup_dialects.py::test_valid_until_rolls_an_hour_ahead_so_that_no_cache_hides_a_revocation_for_long
    ONIX-3   the first record of a lookup verifies, whatever its key id, validity and status
             here::test_each_key_of_a_subscriber_verifies_only_what_names_it
             integration/test_refusals_over_http.py::test_a_known_subscriber_with_an_unknown_key_is_refused
             integration/test_refusals_over_http.py::test_a_key_outside_its_validity_is_refused
             integration/test_refusals_over_http.py::test_a_signer_that_is_not_subscribed_is_refused_by_its_status
    ONIX-4   answers are posted to whatever URL the body names
             integration/test_refusals_over_http.py::test_a_url_other_than_the_registered_is_refused
             integration/test_gateway_letters.py::test_a_search_with_an_answer_address_that_is_not_registered_is_refused
             integration/test_registry_subscribe.py::test_a_private_address_is_never_called
    ONIX-5   a malformed header is an internal error
             integration/test_refusals_over_http.py::test_a_malformed_header_is_401_and_never_500
             integration/test_refusals_over_http.py::test_another_algorithm_is_refused
             unit/beckn/test_signing.py::test_any_text_is_parsed_or_refused_with_401
    ONIX-6   the acknowledgement waits for the shop, and a failing shop is a bare 502
             here::test_a_slow_or_failing_shop_delays_no_acknowledgement
             integration/test_inbox_over_http.py::test_a_letter_that_cannot_be_processed_is_parked_and_its_lane_goes_on
    ONIX-7   what is queued is lost with the broker's connection
             integration/test_inbox_over_http.py::test_the_database_may_go_away_and_come_back
             integration/test_outbox_over_http.py::test_an_acknowledgement_that_could_not_be_noted_does_not_lose_the_letter
    ONIX-8   an acknowledgement that proves nothing is taken for one (signed ones are version 2's)
             integration/test_outbox_over_http.py::test_a_success_that_acknowledges_nothing_is_a_refusal_but_not_a_certain_one
    ONIX-9   no limit on body or rate; message ids are kept only in version 2's spelling
             integration/test_refusals_over_http.py::test_a_body_over_the_cap_is_refused_while_it_streams
             integration/test_refusals_over_http.py::test_a_signer_in_a_hurry_is_told_to_slow_down
             integration/test_inbox_over_http.py::test_the_same_message_id_serves_two_actions
    ONIX-10  at the level of the sample configurations the log holds whole records and cached values
             here::test_no_secret_is_logged_at_any_level
    PS-1     expired signatures and such from the future are accepted for ever
             integration/test_refusals_over_http.py::test_an_expired_signature_is_refused_without_tolerance
             integration/test_refusals_over_http.py::test_a_signature_from_the_future_is_refused
             integration/test_refusals_over_http.py::test_a_signature_that_lives_too_long_is_refused
    PS-2     whoever has a key may speak for everybody
             integration/test_refusals_over_http.py::test_a_signer_other_than_the_sender_is_refused
             integration/test_refusals_over_http.py::test_a_seller_may_not_send_a_buyers_letter
    PS-3     the private key is in the log, and any challenge is answered
             here::test_no_secret_is_logged_at_any_level
             integration/test_own_subscription.py::test_only_the_registry_gets_a_challenge_answered
    PS-4     logs and internals are open to the world, and to every page in a browser
             here::test_nothing_is_open_to_strangers_pages_or_without_a_name
             integration/test_desk_access.py::test_every_route_refuses_no_token_a_wrong_token_and_the_wrong_role
    PS-5     a template is evaluated as code
             here::test_nothing_that_comes_from_outside_can_become_code
    PS-6     a cache of minutes lasts for days, because milliseconds are taken for seconds
             unit/beckn/test_directory.py::test_a_known_key_is_stale_an_hour_after_the_registry_fell_silent_and_no_sooner
             unit/beckn/test_directory.py::test_what_is_unknown_is_remembered_for_two_seconds
             unit/beckn/test_directory.py::test_a_registry_without_a_feed_is_asked_by_lookup_at_most_once_a_minute
    PS-7     a letter that was acknowledged dies with the process
             network/test_crash_points.py::test_a_confirm_survives_a_node_that_is_killed
             integration/test_inbox_over_http.py::test_letters_of_a_process_that_died_are_taken_over_when_its_claim_lapses
    PS-8     the app hears of a failure when it went well, and nothing when it did not
             integration/test_buyer_orders.py::test_a_refusal_at_the_door_ends_the_order_too
             integration/test_buyer_searches.py::test_a_search_that_could_not_be_delivered_ends_the_wait_and_is_told
    PS-9     the sample configuration is refused by the program it is for
             unit/test_compose.py::test_a_node_would_start_with_the_keys_that_the_command_makes
    GDPI-1   a search that was acknowledged is lost when the gateway is restarted, or its queue stands still when full
             here::test_a_search_that_was_acknowledged_is_passed_on_by_whoever_comes_next
             integration/test_gateway_scale.py::test_a_thousand_sellers_are_queued_in_one_go_and_no_more_than_the_limit_get_a_copy
    GDPI-2   a subscriber has one key, so that a rotation is an outage (lookups are unsigned with us, too: see docs)
             integration/test_registry_subscribe.py::test_rotation_is_signed_by_the_old_key_which_stays_valid_for_the_overlap
    ONDC-N-1 one sender can use up another's message ids
             integration/test_inbox_over_http.py::test_one_signer_cannot_use_up_the_message_ids_of_another
    ONDC-N-2 the rate limit believes the name in a header that nobody has verified
             integration/test_refusals_over_http.py::test_forged_letters_do_not_use_up_the_rate_of_whom_they_name
    ONDC-N-3 letters to a peer that fails are dropped
             integration/test_outbox_over_http.py::test_a_peer_that_is_down_gets_its_letters_in_order_when_it_is_back
    ONDC-N-4 a seller's 503 is final
             integration/test_outbox_over_http.py::test_an_answer_that_says_not_now_is_tried_again
    ONDC-N-5 the gateway writes the JSON anew and breaks the sender's digest
             integration/test_gateway_letters.py::test_every_seller_that_fits_gets_the_same_bytes_and_both_signatures
    ONDC-N-6 guards fail open
             integration/test_refusals_over_http.py::test_a_letter_that_cannot_be_stored_is_not_acknowledged
             integration/test_refusals_over_http.py::test_an_unknown_signer_is_refused_when_the_registry_is_away
    SUC-1    an unsigned registration counts as verified
             integration/test_registry_subscribe.py::test_a_stranger_joins_once_the_operator_approves
             integration/test_registry_subscribe.py::test_a_member_is_not_changed_or_extended_by_a_letter_without_its_signature
             unit/registry/test_membership.py::test_a_stranger_with_a_failed_challenge_is_initiated_and_told_why
    SUC-2    the gateway puts its own signature in the place of the seller's on the way back
             integration/test_gateway_letters.py::test_an_answer_goes_to_the_buyers_registered_url_with_the_sellers_own_signature
    PL-1     the database and the money are not written in one commit
             network/test_crash_points.py::test_a_confirm_survives_a_node_that_is_killed
             network/test_trade_under_mischief.py::test_whatever_happens_to_letters_both_sides_agree_in_the_end
"""

from __future__ import annotations

import ast
import asyncio
import base64
import re
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog

from beckn.actions import Role
from beckn.envelope import Letter
from beckn.node import NODE, Node
from cli.servers import Servers
from gateway import app as gateway_app
from tests.support.gateway_rig import running_gateway, search
from tests.support.network_rig import Network, running_network
from tests.support.post_office import BAP, identity, office, record
from tests.support.registry_rig import free_port, served

TESTS = Path(__file__).parents[1]
#: The packages that run in production.
PACKAGES = (
    "api", "bap", "beckn", "books", "bpp", "cli", "energy_catalog", "gateway", "registry", "schemas", "store", "trade",
)  # fmt: skip
#: How many of each peer's defects the table must speak of.
DEFECTS = {"ONIX": 10, "PS": 9, "GDPI": 2, "ONDC-N": 6, "SUC": 2, "PL": 1}


def table() -> dict[str, list[tuple[str, str]]]:
    """The docstring's table: a defect to the tests that prove it is not ours, as (file, name)."""
    proofs: dict[str, list[tuple[str, str]]] = defaultdict(list)
    defect = ""
    for line in (__doc__ or "").splitlines():
        if named := re.match(r"    ([A-Z-]+-\d+)\s", line):
            defect = named[1]
        elif proof := re.match(r"\s+(here|\S+\.py)::(test_\w+)$", line):
            proofs[defect].append((proof[1], proof[2]))
    return dict(proofs)


# --- The table ------------------------------------------------------------------------------------------------------


def test_every_defect_has_a_line_and_every_line_a_proof() -> None:
    wanted = {f"{peer}-{number}" for peer, count in DEFECTS.items() for number in range(1, count + 1)}
    assert set(table()) == wanted


@pytest.mark.parametrize(("defect", "file", "name"), [(d, *proof) for d, proofs in table().items() for proof in proofs])
def test_the_proof_of_a_defect_is_there(defect: str, file: str, name: str) -> None:
    path = Path(__file__) if file == "here" else TESTS / file
    functions = [
        node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    found = [function for function in functions if function.name == name]
    assert len(found) == 1, f"{defect} is proven by {file}::{name}, which is not there"
    marks = ast.unparse(ast.Module(list(found[0].decorator_list), []))  # type: ignore[arg-type]
    assert "skip" not in marks and "xfail" not in marks


# --- ONIX-3 ---------------------------------------------------------------------------------------------------------


async def test_each_key_of_a_subscriber_verifies_only_what_names_it(database_url: str) -> None:
    """The registry tells two keys of one buyer. The other's record must not do, wherever it stands in the list."""
    newer = replace(identity(BAP.subscriber_id, 77), key_id="k2")
    async with office(database_url) as here:
        here.directory.records.insert(0, record(newer, Role.BAP, here.bap.url))
        for who in (BAP, newer):
            body = here.letter()
            assert (await here.post(body, here.headers(body, who)))[0] == 200
        for who in (replace(BAP, key_id="k2"), replace(newer, key_id="k1")):
            body = here.letter()
            status, answer, _ = await here.post(body, here.headers(body, who))
            assert (status, answer["message"]["ack"]["status"]) == (401, "NACK")


# --- ONIX-6 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fails", [False, True])
async def test_a_slow_or_failing_shop_delays_no_acknowledgement(database_url: str, fails: bool) -> None:
    async def work(letter: Letter, uow: Any, node: Node) -> None:
        if fails:
            raise RuntimeError("the shop is on fire")
        await asyncio.sleep(60)

    with structlog.testing.capture_logs():  # a traceback drawn for people takes half a second
        async with office(database_url, handler=work, stop_s_max=0.1) as here:
            started = time.monotonic()
            for _ in range(20):  # more than there are workers, and more than there are connections to the database
                assert (await here.post(here.letter()))[0] == 200
            assert time.monotonic() - started < 3


# --- ONIX-10, PS-3 --------------------------------------------------------------------------------------------------


async def test_no_secret_is_logged_at_any_level(servers: Servers, migrated_template: str) -> None:
    """Everything the nodes say from their start to their end, while they subscribe and letters come and are refused."""
    with structlog.testing.capture_logs() as said:
        async with running_network(servers, migrated_template, members=("gateway", "bap", "bpp-solo")) as network:
            account_id = await network.new_account()
            await network.buyer.search({"account_id": account_id}, wait_s=5, offers=1)
            url = network["bpp-solo"].settings.protocol_url
            await network.http.post(f"{url}/status", b"{}", {"Content-Type": "application/json", "Authorization": "x"})
            secrets = _secrets_of(network)
    text = "\n".join(repr(entry) for entry in said)
    assert len(said) > 20
    assert [name for name, secret in secrets.items() if secret in text] == []


def _secrets_of(network: Network) -> dict[str, str]:
    """Every secret of the network by name, in the forms in which it might slip out."""
    secrets = {"app": str(network.buyer.node._http.headers["Authorization"]).removeprefix("Bearer ")}
    for name, settings in network.settings.items():
        secrets |= {f"{name} {field}": getattr(settings, field) for field in ("signing_key", "encryption_key")}
        seed = base64.b64decode(settings.signing_key)
        secrets |= {f"{name} seed": repr(seed), f"{name} seed in hex": seed.hex()}
        secrets |= {f"{name} token": settings.admin_token, f"{name} database": settings.database_url}
        for shown in (repr(settings), repr(settings.identity)):
            assert settings.signing_key not in shown and seed.hex() not in shown
    return secrets


# --- PS-4 -----------------------------------------------------------------------------------------------------------


async def test_nothing_is_open_to_strangers_pages_or_without_a_name(network: Network) -> None:
    """No node lets a page of another site read it, and there is nothing but the published paths."""
    http: Any = network.http
    for member in network.members.values():
        base, origin = member.settings.public_url, {"Origin": "https://evil.example"}
        for path in ("/health", "/ready", "/metrics", "/openapi.json", "/api/clock", "/api/orders", "/docs"):
            async with http._session.get(base + path, headers=origin) as answer:
                assert not [name for name in answer.headers if name.lower().startswith("access-control-")], path
        for path in ("/logs", "/process", "/debug", "/api/logs", "/.env", "/schemas/%2e%2e/config.py"):
            async with http._session.get(base + path) as answer:
                assert answer.status == 404, (member.name, path)


# --- PS-5 -----------------------------------------------------------------------------------------------------------


def test_nothing_that_comes_from_outside_can_become_code() -> None:
    forbidden = {"eval", "exec", "compile", "__import__"}
    modules = {"pickle", "marshal", "shelve", "yaml"}
    found = []
    for package in PACKAGES:
        for path in (TESTS.parent / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in forbidden:
                    found.append(f"{path}:{node.lineno} {node.func.id}")
                if isinstance(node, ast.Import) and modules & {alias.name.partition(".")[0] for alias in node.names}:
                    found.append(f"{path}:{node.lineno} {ast.unparse(node)}")
                if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in modules:
                    found.append(f"{path}:{node.lineno} {ast.unparse(node)}")
    assert found == []


# --- GDPI-1 ---------------------------------------------------------------------------------------------------------


async def test_a_search_that_was_acknowledged_is_passed_on_by_whoever_comes_next(
    servers: Servers, migrated_template: str
) -> None:
    """The first gateway accepts and sends nothing (it stands for one that is killed); a second one takes its place."""
    async with running_gateway(servers, migrated_template, outbox_workers=0) as gateway:
        bap, bpp = await gateway.enter("bap.example.org", "BAP"), await gateway.enter("bpp.example.org", "BPP")
        transaction_id, body = search(bap.party)
        assert (await gateway.send(bap, "search", body)).status == 200
        settings = gateway.app[NODE].settings
        second = gateway_app.build(settings.model_copy(update={"outbox_workers": 8, "poll_s": 0.1}))
        async with served(second, free_port()):
            fate = await gateway.settled(transaction_id)
        assert [copy["state"] for copy in fate["copies"]] == ["SENT"]
        assert [received.body for received in bpp.received] == [body]
