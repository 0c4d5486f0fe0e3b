"""Codes of ownership: what they prove, to whom, for how long, and every way to cheat with one."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from beckn import meter_codes
from beckn.actions import Role
from beckn.claims import RegistrySilent, meter_hash
from beckn.meter_codes import CodeRefused
from beckn.records import Record
from tests.support.hand_held_claims import SALT, HandHeldClaims
from tests.support.post_office import BAP, BPP, HandFilledDirectory, record

NOW = datetime.now(UTC).replace(microsecond=0)
UTILITY = BPP
KNOWN = [record(UTILITY, Role.BPP, "http://utility/beckn")]
HASH = meter_hash(SALT, "meter-7")


async def prove(code: str, records: list[Record] | None = None, **changes: Any) -> Any:
    given: dict[str, Any] = {
        "claims": HandHeldClaims(),
        "directory": HandFilledDirectory(KNOWN if records is None else records),
        "trusted": {UTILITY.subscriber_id},
        "now": NOW,
        "meter_id": "meter-7",
    } | changes
    return await meter_codes.prove(code, given.pop("meter_id"), **given)


def issue(identity: Any = UTILITY, days: int = 14) -> str:
    return meter_codes.issue(identity, HASH, expires_at=NOW + timedelta(days=days))[0]


async def test_a_code_proves_its_meter_by_the_digest_of_its_nonce() -> None:
    code, said = meter_codes.issue(UTILITY, HASH, expires_at=NOW + timedelta(days=1))
    proof = await prove(code)
    assert (proof.utility_id, proof.nonce_digest) == (UTILITY.subscriber_id, meter_codes.digest(said.nonce))
    assert said.nonce not in repr(proof)
    assert (await prove(issue())).nonce_digest != proof.nonce_digest
    assert await prove(f" {code}\n", meter_id="METER-7") == proof


async def test_every_cheat_is_refused_with_what_to_do() -> None:
    code = issue()
    payload, signature = code.split(".")
    said = orjson.loads(base64.urlsafe_b64decode(payload + "=="))
    forged = base64.urlsafe_b64encode(orjson.dumps(said | {"exp": said["exp"] + 1})).decode().rstrip("=")
    for wrong, sentence in (
        ("", "cannot be read"),
        ("a.b", "cannot be read"),
        (payload, "cannot be read"),
        ("x" * 2000, "cannot be read"),
        (f"{forged}.{signature}", "not signed with a valid key"),
        (f"{payload}.{signature[:-8]}", "not signed with a valid key"),
        (issue(BAP), "takes codes of these utilities"),
        (issue(replace(BAP, subscriber_id=UTILITY.subscriber_id)), "not signed with a valid key"),
        (issue(days=0), "expired"),
    ):
        with pytest.raises(CodeRefused, match=sentence):
            await prove(wrong)
    with pytest.raises(CodeRefused, match="for another meter"):
        await prove(code, meter_id="meter-8")


@pytest.mark.parametrize(
    "changes",
    [{"type": "BAP"}, {"status": "UNSUBSCRIBED"}, {"valid_until": NOW}, {"signing_public_key": BAP.public_key}],
)
async def test_a_utilitys_key_that_the_registry_does_not_vouch_for_proves_nothing(changes: dict[str, Any]) -> None:
    with pytest.raises(CodeRefused, match="not signed with a valid key"):
        await prove(issue(), [replace(KNOWN[0], **changes)])
    with pytest.raises(CodeRefused, match="not signed with a valid key"):
        await prove(issue(), [])


async def test_while_the_registry_is_silent_nothing_is_proven() -> None:
    with pytest.raises(RegistrySilent):
        await prove(issue(), directory=HandFilledDirectory(KNOWN, silent=True))
    with pytest.raises(RegistrySilent):
        await prove(issue(), claims=HandHeldClaims(silent=True))
