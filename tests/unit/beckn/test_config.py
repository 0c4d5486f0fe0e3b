"""Settings: read once, bounded, named in every refusal, and no secret ever shown."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from beckn import config
from beckn.config import BadConfiguration, NodeSettings

SEED = base64.b64encode(bytes(range(32))).decode()
GOOD = {
    "PORT": "8003",
    "PUBLIC_URL": "https://bap.example/",
    "SUBSCRIBER_ID": "bap.example",
    "KEY_ID": "k1",
    "SIGNING_KEY": SEED,
    "DATABASE_URL": "postgresql://u:hunter2@db/bap",
}
#: Values of settings whose default is empty.
OTHERS = {
    "ADMIN_TOKEN": "t",
    "ENCRYPTION_KEY": SEED,
    "RECORD_DIR": "/records",
    "PREVIOUS_KEY_ID": "k0",
    "PREVIOUS_SIGNING_KEY": SEED,
    "REDIS_URL": "unix:///run/redis",
    "REGISTRY_PUBLIC_KEY": SEED,
    "REGISTRY_URL": "https://registry.example",
    "TRADING_START": "2016-08-02T00:00:00Z",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NodeSettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.delenv(f"{name.upper()}_FILE", raising=False)
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)


def sentences(**overrides: Any) -> str:
    with pytest.raises(BadConfiguration) as caught:
        config.read(NodeSettings, **overrides)
    return "\n".join(caught.value.sentences)


@pytest.mark.parametrize("name", GOOD)
def test_a_missing_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv(name)
    assert sentences() == f"{name}: must be set (or {name}_FILE, the path of a file that holds it)"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "eight"),
        ("PORT", "70000"),
        ("PUBLIC_URL", "bap.example"),
        ("SUBSCRIBER_ID", "with space"),
        ("KEY_ID", "a|b"),
        ("SIGNING_KEY", "not-a-key"),
        ("ENCRYPTION_KEY", "not-a-key"),
        ("REGISTRY_PUBLIC_KEY", "not-a-key"),
        ("TRADING_CLOCK", "sundial"),
        ("TRADING_START", "2016-08-02T00:00:00"),
        ("LOG_LEVEL", "loud"),
        ("BODY_BYTES_MAX", "0"),
        ("INBOX_WORKERS", "-1"),
        ("DATABASE_POOL_MAX", "1000"),
    ],
)
def test_a_bad_setting_is_named_and_its_value_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    said = sentences()
    assert said.startswith(f"{name}: ")
    if "KEY" in name:
        assert value not in said


def test_every_setting_at_fault_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "x")
    monkeypatch.setenv("KEY_ID", "")
    monkeypatch.delenv("DATABASE_URL")
    assert [line.split(":")[0] for line in sentences().splitlines()] == ["PORT", "KEY_ID", "DATABASE_URL"]


def test_a_driven_clock_needs_a_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADING_CLOCK", "driven")
    assert sentences() == "TRADING_START must be set when TRADING_CLOCK is driven"


@pytest.mark.parametrize("name", sorted(NodeSettings.model_fields))
def test_every_setting_may_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    variable = name.upper()
    value = GOOD.get(variable) or OTHERS.get(variable) or str(NodeSettings.model_fields[name].default)
    held = tmp_path / "held"
    held.write_text(f"{value}\n")
    for needed in {"PREVIOUS_KEY_ID", "PREVIOUS_SIGNING_KEY"} if "PREVIOUS" in variable else ():  # one needs the other
        monkeypatch.setenv(needed, OTHERS[needed])
    monkeypatch.setenv(variable, value)
    from_environment = config.read(NodeSettings)
    monkeypatch.delenv(variable)
    monkeypatch.setenv(f"{variable}_FILE", str(held))
    assert config.read(NodeSettings) == from_environment


def test_a_setting_given_twice_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SIGNING_KEY_FILE", str(tmp_path / "key"))
    assert sentences() == "SIGNING_KEY: set either SIGNING_KEY or SIGNING_KEY_FILE, not both"


def test_a_file_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SIGNING_KEY")
    monkeypatch.setenv("SIGNING_KEY_FILE", str(tmp_path / "absent"))
    assert sentences().startswith("SIGNING_KEY_FILE: cannot read ")


def test_settings_are_frozen_and_their_repr_hides_secrets() -> None:
    settings = config.read(NodeSettings, admin_token="s3cret")
    with pytest.raises(ValidationError):
        settings.port = 1  # type: ignore[misc]
    shown = repr(settings)
    for secret in (SEED, "hunter2", "s3cret"):
        assert secret not in shown


def test_what_follows_from_the_settings() -> None:
    settings = config.read(NodeSettings)
    assert settings.protocol_url == "https://bap.example/beckn"
    assert settings.identity.seed == bytes(range(32))
    assert (settings.network.domain, settings.network.version) == ("uei:p2p_trading", "1.1.0")


def test_a_bad_configuration_ends_the_process_with_two(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PORT", "eight")
    with pytest.raises(SystemExit) as ended:
        config.load(NodeSettings)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("PORT: ")


def test_every_setting_has_a_sentence() -> None:
    """Each field of the settings is preceded by a `#:` comment."""
    lines = Path(config.__file__).read_text().splitlines()
    for name in NodeSettings.model_fields:
        [at] = [number for number, line in enumerate(lines) if line.startswith(f"    {name}: ")]
        assert lines[at - 1].startswith("    #: "), name
