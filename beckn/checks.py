"""The checks of a letter received: who signed it, whether they may say this, to us, now. No I/O, no clock.

Each function is one or two of the numbered steps of `beckn.inbox` and raises the refusal from `beckn.errors` that says
what is wrong and what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from beckn import errors, signing
from beckn.actions import Action, Role
from beckn.envelope import Context, Party
from beckn.records import Record
from beckn.signing import ParsedSignature
from schemas import validate

#: A letter carried by a gateway has the gateway's signature in one of these, or the same in both.
GATEWAY_HEADERS = ("X-Gateway-Authorization", "Proxy-Authorization")

_CONTAINERS = frozenset({dict, list})


@dataclass(frozen=True, slots=True)
class Local:
    """What a receiving node is and insists on."""

    me: Party
    role: Role
    domain: str
    version: str
    json_depth_max: int
    timestamp_ahead_s_max: float
    strict_schemas: bool


def check_form(headers: Mapping[str, str], *, body_bytes_max: int) -> None:
    """The cheapest refusals: type, encoding and announced size of the body."""
    media = headers.get("Content-Type", "")
    if media != "application/json" and media.partition(";")[0].strip().lower() != "application/json":
        raise errors.WrongContentType(f'Content-Type is "{media[:100]}"; it must be application/json')
    if headers.get("Content-Encoding", "identity") != "identity":
        # The digest is of the bytes sent; a compressed body would be signed in one form and read in another.
        raise errors.WrongContentType("Content-Encoding is not supported; send the body as it was signed")
    announced = headers.get("Content-Length", "0")
    if announced.isdigit() and int(announced) > body_bytes_max:
        raise too_large(body_bytes_max)


def too_large(body_bytes_max: int) -> errors.BodyTooLarge:
    """The refusal that names the limit."""
    return errors.BodyTooLarge(f"the body may have at most {body_bytes_max} bytes; send less, or several letters")


def parse_signatures(headers: Mapping[str, str], *, now: datetime) -> tuple[ParsedSignature, list[ParsedSignature]]:
    """The sender's signature and those of a gateway, with dates that hold; nothing is believed yet."""
    header = headers.get("Authorization")
    if header is None:
        raise errors.MissingSignature
    sender = signing.parse_header(header)
    signing.check_dates(sender, now=now)
    gateways: list[ParsedSignature] = []
    for name in GATEWAY_HEADERS:
        value = headers.get(name)
        if value is not None and not any(value == seen.raw for seen in gateways):
            gateway = signing.parse_header(value, by_gateway=True)
            signing.check_dates(gateway, now=now, by_gateway=True)
            gateways.append(gateway)
    return sender, gateways


def check_signer(
    record: Record | None,
    parsed: ParsedSignature,
    *,
    role: Role,
    domain: str,
    now: datetime,
    by_gateway: bool = False,
) -> Record:
    """The record, if its subscriber may sign as `role` now."""
    who = f"{parsed.subscriber_id}|{parsed.key_id}"
    if record is None:
        raise errors.UnknownSigner(
            f'the registry knows no subscriber and key "{who}"; subscribe, or correct the keyId', by_gateway=by_gateway
        )
    if record.type != role:
        raise errors.WrongRole(
            f'"{parsed.subscriber_id}" is registered as {record.type}; only a {role.value} may sign here',
            by_gateway=by_gateway,
        )
    if record.domain != domain and not by_gateway:  # gateways carry letters of many domains
        raise errors.UnknownSigner(f'"{who}" is registered in the domain "{record.domain}", not in "{domain}"')
    if record.status != "SUBSCRIBED":
        raise errors.SignerNotSubscribed(
            f'"{who}" is {record.status} at the registry; it must be SUBSCRIBED', by_gateway=by_gateway
        )
    if not record.valid_from <= now < record.valid_until:
        raise errors.KeyNotValidNow(
            f'the key "{who}" is valid from {record.valid_from.isoformat()} to {record.valid_until.isoformat()}',
            by_gateway=by_gateway,
        )
    return record


def parse_document(body: bytes, *, json_depth_max: int) -> dict[str, Any]:
    """The letter as a document: JSON, an object at the top, not too deep, without NUL characters."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise errors.InvalidJson(f"the body is not JSON: {error}") from error
    if type(document) is not dict:
        raise errors.InvalidJson("the body must be a JSON object with context and message")
    # Nothing nests deeper than it has brackets, so most letters need no walk.
    if body.count(b"{") + body.count(b"[") > json_depth_max and _is_deeper_than(document, json_depth_max):
        raise errors.TooDeep(f"the body nests deeper than {json_depth_max} levels")
    if b"\\u0000" in body:
        raise errors.InvalidJson("the body contains a NUL character (\\u0000); leave it out")
    return document


def _is_deeper_than(document: Any, limit: int) -> bool:
    level = [document]
    for _ in range(limit):
        level = [
            value
            for container in level
            for value in (container.values() if type(container) is dict else container)
            if type(value) in _CONTAINERS
        ]
        if not level:
            return False
    return True


def check_context(context: Context, *, action: Action, signer: Record, local: Local, now: datetime) -> None:
    """Action, version and domain are ours; the signer is the sender, at its registered URL; we are the receiver."""
    if context.action != action.name:
        raise errors.ActionMismatch(
            f'context.action is "{context.action}" but the letter was posted to /{action.name}; make them agree'
        )
    if context.version != local.version:
        raise errors.UnknownVersion(f'context.version is "{context.version}"; this node speaks {local.version}')
    if context.domain != local.domain:
        raise errors.UnknownDomain(f'context.domain is "{context.domain}"; this node trades in {local.domain}')
    if action.is_callback:
        _check_sender("bpp", context.bpp_id, context.bpp_uri, signer)
        _check_receiver("bap", context.bap_id, context.bap_uri, local, must_be_named=True)
    else:
        _check_sender("bap", context.bap_id, context.bap_uri, signer)
        _check_receiver("bpp", context.bpp_id, context.bpp_uri, local, must_be_named=not action.through_gateway)
    check_time(context, local=local, now=now)


def _check_sender(side: str, subscriber_id: str, uri: str, signer: Record) -> None:
    if subscriber_id != signer.subscriber_id:
        raise errors.SignerIsNotSender(
            f'context.{side}_id is "{subscriber_id}" but the letter was signed by "{signer.subscriber_id}"',
            path=f"context.{side}_id",
        )
    if uri.rstrip("/") != signer.url:
        raise errors.UnregisteredUrl(
            f'context.{side}_uri is "{uri}" but "{subscriber_id}" is registered with "{signer.url}"; '
            "answers go only to registered URLs",
            path=f"context.{side}_uri",
        )


def _check_receiver(side: str, subscriber_id: str, uri: str, local: Local, *, must_be_named: bool) -> None:
    """A letter signed for one receiver must not be played to another. A gateway is never the one addressed."""
    if local.role is Role.BG:
        return
    if subscriber_id != local.me.subscriber_id and (subscriber_id or must_be_named):
        raise errors.InvalidContext(
            f'context.{side}_id is "{subscriber_id}"; this node is "{local.me.subscriber_id}"',
            path=f"context.{side}_id",
        )
    if uri and uri.rstrip("/") != local.me.url:
        raise errors.UnregisteredUrl(
            f'context.{side}_uri is "{uri}"; this node is registered with "{local.me.url}"', path=f"context.{side}_uri"
        )


def check_time(context: Context, *, local: Local, now: datetime) -> None:
    """The letter was written about now, and its ttl is not over. One without a ttl lives as long as its signature."""
    age_s = (now - context.timestamp).total_seconds()
    if age_s < -local.timestamp_ahead_s_max:
        raise errors.LetterFromTheFuture(
            f"context.timestamp lies {round(-age_s)} s in the future; at most {local.timestamp_ahead_s_max:g} s are "
            "allowed, check the sender's clock"
        )
    if context.ttl_s is not None and age_s >= context.ttl_s:
        raise errors.StaleLetter(
            f"the letter is {round(age_s)} s old and its ttl is {context.ttl_s} s; send it with a fresh timestamp"
        )


def check_schema(action: Action, document: dict[str, Any], *, local: Local) -> None:
    """The letter satisfies the schema of its action; in a strict network also the closed one of what we would send."""
    try:
        validate.check(action.name, document, profile="accept")
        if local.strict_schemas:
            validate.check(action.name, document, profile="emit")
    except validate.Invalid as error:
        raise errors.SchemaInvalid(error.sentence, path=error.path) from error
