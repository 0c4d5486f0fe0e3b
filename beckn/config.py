"""Settings of a node: one frozen object, read once from the environment and passed down.

Every setting is an environment variable of the same name in capitals; `NAME_FILE` gives the path of a file that holds
the value instead (for secrets that an orchestrator mounts). Every limit has a name, a bound and a sentence here. A
configuration that cannot work stops the process with exit code 2 and one sentence per setting at fault.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NoReturn, Self, TypeVar

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from beckn import challenge, envelope, signing

S = TypeVar("S", bound="NodeSettings")

#: Where the protocol lives under PUBLIC_URL.
PROTOCOL_PATH = "/beckn"


class BadConfiguration(Exception):
    """The settings cannot work; one sentence per setting at fault."""

    def __init__(self, sentences: list[str]) -> None:
        self.sentences = sentences
        super().__init__("\n".join(sentences))


class NodeSettings(BaseSettings):
    """What every node needs to know. Shops add their own settings in a subclass."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", case_sensitive=False, env_ignore_empty=True)

    # --- Who and where -------------------------------------------------------------------------------------------
    #: Address to listen on.
    host: str = "127.0.0.1"
    #: TCP port to listen on; 0 takes any free one.
    port: int = Field(ge=0, le=65_535)
    #: URL at which peers reach this node; the registered URL is this plus /beckn (the registry: this alone).
    public_url: str
    #: This node's id on the network, normally its domain name.
    subscriber_id: str = Field(min_length=1, max_length=255, pattern=r"^[A-Za-z0-9._:-]+$")
    #: Id of the key that this node signs with.
    key_id: str = Field(min_length=1, max_length=255, pattern=r"^[A-Za-z0-9._:-]+$")
    #: Ed25519 private key: base64 of a 32-byte seed, a 64-byte secret key or PKCS8 DER.
    signing_key: str = Field(repr=False)
    #: Id of the key before this one, while the registry does not know the new one.
    previous_key_id: str = Field(default="", max_length=255, pattern=r"^[A-Za-z0-9._:-]*$")
    #: The key before this one: it signs the change of keys.
    previous_signing_key: str = Field(default="", repr=False)
    #: X25519 private key for the registry's challenge: base64 of 32 bytes or PKCS8 DER. The registry may leave it out.
    encryption_key: str = Field(default="", repr=False)
    #: URL of the registry's protocol endpoints.
    registry_url: str = ""
    #: The registry's Ed25519 public key, base64: what its change feed must be signed with.
    registry_public_key: str = ""

    # --- The two servers -----------------------------------------------------------------------------------------
    #: PostgreSQL, such as postgresql://user:secret@host/name or postgresql://user@/name?host=/socket/directory.
    database_url: str = Field(min_length=1, repr=False)
    #: Most connections this process opens to PostgreSQL.
    database_pool_max: int = Field(default=8, ge=2, le=100)
    #: How long to wait at the start for PostgreSQL to answer before giving up, seconds.
    database_wait_s: float = Field(default=30.0, ge=0, le=600)
    #: Redis for nudges between replicas; empty: none. It may be away at any time.
    redis_url: str = Field(default="", repr=False)

    # --- The network ---------------------------------------------------------------------------------------------
    #: The one domain this node trades in.
    domain: str = Field(default="uei:p2p_trading", min_length=1, max_length=255)
    #: Country code written in every context (ISO 3166 alpha-3).
    country_code: str = Field(default="IND", min_length=2, max_length=8)
    #: Country name written in every context.
    country_name: str = Field(default="India", min_length=1, max_length=100)
    #: City code written in every context.
    city_code: str = Field(default="std:080", min_length=1, max_length=50)
    #: City name written in every context.
    city_name: str = Field(default="Bengaluru", min_length=1, max_length=100)
    #: Check letters received against the closed `emit` schemas too, not only against `accept`.
    strict_schemas: bool = False

    # --- People and clocks ---------------------------------------------------------------------------------------
    #: Bearer token of the node's operator; empty switches the operator's calls off.
    admin_token: str = Field(default="", repr=False)
    #: What dates energy: the wall clock, or a clock that the operator drives (demo and tests).
    trading_clock: Literal["wall", "driven"] = "wall"
    #: Where a driven clock starts, RFC 3339 with a zone.
    trading_start: datetime | None = None
    #: What proves whose meter it is: the word of the node's operator, or (`code`) always a code of the meter's utility.
    meter_proof: Literal["operator", "code"] = "operator"
    #: Subscriber ids of the utilities whose codes of ownership count here, with commas between them.
    meter_utilities: str = Field(default="", max_length=2048, pattern=r"^[A-Za-z0-9._:, -]*$")
    #: Let outgoing webhooks and registered URLs point at loopback and private addresses (demo and tests).
    allow_private_urls: bool = False
    #: Least level that is logged.
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    #: Write every wire message as received into this directory; empty: do not.
    record_dir: str = ""

    # --- Limits on what is received ------------------------------------------------------------------------------
    #: Largest body read, bytes.
    body_bytes_max: int = Field(default=1_048_576, ge=1024, le=67_108_864)
    #: How long a peer may take to send the body of a letter, seconds.
    body_read_s_max: float = Field(default=10.0, gt=0, le=300)
    #: Deepest nesting of objects and lists in a letter.
    json_depth_max: int = Field(default=64, ge=8, le=512)
    #: How far ahead of our clock a letter's timestamp may lie, seconds.
    timestamp_ahead_s_max: float = Field(default=30.0, ge=0, le=3600)
    #: Letters per second accepted from one signer, sustained; 0: no limit.
    letters_per_s_max: float = Field(default=10_000, ge=0, le=1_000_000)
    #: Letters waiting for their durable row; above this many new ones are refused with 503.
    inbox_waiting_max: int = Field(default=2048, ge=1, le=100_000)
    #: Letters stored in one statement at most.
    inbox_batch_max: int = Field(default=256, ge=1, le=1000)
    #: Statements storing letters at the same time.
    inbox_writers: int = Field(default=1, ge=1, le=4)

    # --- Limits on what is processed and sent --------------------------------------------------------------------
    #: Letters processed at the same time; 0: this process only receives.
    inbox_workers: int = Field(default=16, ge=0, le=256)
    #: Letters accepted but not yet processed that are held in memory; more wait in the database.
    inbox_memory_max: int = Field(default=4096, ge=1, le=100_000)
    #: Tries before a letter that cannot be processed is parked.
    inbox_attempts_max: int = Field(default=5, ge=1, le=100)
    #: How long a process may hold a letter before others may take it over, seconds.
    lease_s: float = Field(default=15.0, ge=1, le=300)
    #: How often the tables are searched for letters nobody holds, seconds.
    poll_s: float = Field(default=1.0, ge=0.05, le=60)
    #: Letters being sent at the same time; 0: this process does not send.
    outbox_workers: int = Field(default=256, ge=0, le=10_000)
    #: Letters being sent to one destination at the same time.
    outbox_per_destination_max: int = Field(default=16, ge=1, le=256)
    #: Letters waiting to be sent that are held in memory; more wait in the database.
    outbox_memory_max: int = Field(default=2048, ge=1, le=100_000)
    #: First delay after a destination failed, seconds; it doubles with every further failure.
    outbox_backoff_s_min: float = Field(default=0.2, ge=0.01, le=60)
    #: Longest delay between tries of a failing destination, seconds.
    outbox_backoff_s_max: float = Field(default=60.0, ge=0.1, le=3600)
    #: How long connecting to a peer may take, seconds.
    connect_s_max: float = Field(default=5.0, gt=0, le=60)
    #: How long a peer may take to acknowledge a letter, seconds.
    answer_s_max: float = Field(default=15.0, gt=0, le=300)
    #: How long a graceful stop waits for what was accepted, seconds.
    stop_s_max: float = Field(default=20.0, gt=0, le=600)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments first, then the environment, then the files that the environment names."""
        return (init_settings, env_settings, _Files(settings_cls))

    @field_validator("public_url", "registry_url")
    @classmethod
    def _url(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return value.rstrip("/")

    @field_validator("signing_key", "previous_signing_key")
    @classmethod
    def _signing_key(cls, value: str, info: ValidationInfo) -> str:
        if value or info.field_name == "signing_key":
            signing.import_private_key(value)
        return value

    @field_validator("encryption_key")
    @classmethod
    def _encryption_key(cls, value: str) -> str:
        if value:
            challenge.import_private(value)
        return value

    @field_validator("registry_public_key")
    @classmethod
    def _registry_public_key(cls, value: str) -> str:
        if value:
            signing.import_public_key(value)
        return value

    @field_validator("trading_start")
    @classmethod
    def _trading_start(cls, value: datetime | None) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("must carry a zone, such as 2016-08-02T00:00:00Z")
        return value

    @model_validator(mode="after")
    def _previous_key_is_whole(self) -> Self:
        if bool(self.previous_key_id) != bool(self.previous_signing_key):
            raise ValueError("PREVIOUS_KEY_ID and PREVIOUS_SIGNING_KEY must be set together")
        if self.previous_key_id == self.key_id:
            raise ValueError("PREVIOUS_KEY_ID must differ from KEY_ID: a new key needs a new id")
        return self

    @model_validator(mode="after")
    def _driven_clock_has_a_start(self) -> Self:
        if self.trading_clock == "driven" and self.trading_start is None:
            raise ValueError("TRADING_START must be set when TRADING_CLOCK is driven")
        return self

    @property
    def trusted_utilities(self) -> frozenset[str]:
        """The utilities whose codes of ownership count here."""
        return frozenset(filter(None, (name.strip() for name in self.meter_utilities.split(","))))

    @property
    def protocol_url(self) -> str:
        """The URL this node is registered with."""
        return self.public_url + PROTOCOL_PATH

    @property
    def identity(self) -> signing.Identity:
        """Who signs this node's letters."""
        return signing.Identity(self.subscriber_id, self.key_id, signing.import_private_key(self.signing_key))

    @property
    def previous_identity(self) -> signing.Identity | None:
        """Who signed before the last rotation; None when that is over."""
        if not self.previous_key_id:
            return None
        seed = signing.import_private_key(self.previous_signing_key)
        return signing.Identity(self.subscriber_id, self.previous_key_id, seed)

    @property
    def network(self) -> envelope.Network:
        """What every context says."""
        return envelope.Network(
            domain=self.domain,
            country_code=self.country_code,
            country_name=self.country_name,
            city_code=self.city_code,
            city_name=self.city_name,
        )


class _Files(PydanticBaseSettingsSource):
    """Reads `NAME_FILE`. Naming both NAME and NAME_FILE is refused: one of the two is a mistake."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        """Not used: `__call__` reads all fields at once."""
        raise NotImplementedError

    def __call__(self) -> dict[str, Any]:
        environment: Mapping[str, str] = os.environ
        values: dict[str, Any] = {}
        for name, field in self.settings_cls.model_fields.items():
            variable = str(field.alias or name).upper()
            path = environment.get(f"{variable}_FILE")
            if not path:
                continue
            if environment.get(variable):
                raise BadConfiguration([f"{variable}: set either {variable} or {variable}_FILE, not both"])
            try:
                values[name] = Path(path).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise BadConfiguration([f"{variable}_FILE: cannot read {path}: {error}"]) from error
        return values


def read(cls: type[S], **overrides: Any) -> S:
    """The settings from the environment; raises BadConfiguration naming every setting at fault."""
    try:
        return cls(**overrides)
    except ValidationError as error:
        raise BadConfiguration([_sentence(problem) for problem in error.errors(include_url=False)]) from error


def load(cls: type[S]) -> S:
    """The settings from the environment; a bad configuration ends the process with code 2 and its sentences."""
    try:
        return read(cls)
    except BadConfiguration as error:
        refuse_to_start(error)


def refuse_to_start(error: BadConfiguration) -> NoReturn:
    """Print the sentences on standard error and end the process with code 2."""
    for sentence in error.sentences:
        sys.stderr.write(f"{sentence}\n")
    raise SystemExit(2)


def _sentence(problem: Any) -> str:
    """One sentence that names the setting and never shows a value, which might be a secret."""
    message = str(problem["msg"]).removeprefix("Value error, ")
    if not problem["loc"]:
        return message
    name = str(problem["loc"][0]).upper()
    if problem["type"] == "missing":
        return f"{name}: must be set (or {name}_FILE, the path of a file that holds it)"
    return f"{name}: {message[0].lower()}{message[1:]}"
