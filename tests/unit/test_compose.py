"""compose.yaml against the code: every command, port, path and variable in it exists, and every node would start."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import typer
import yaml

from bap.config import BuyerSettings
from beckn import config
from beckn.config import NodeSettings
from bpp.config import SellerSettings
from cli import keys, main
from gateway.config import GatewaySettings
from registry.config import RegistrySettings

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "compose.yaml").read_text()
SERVICES: dict[str, Any] = yaml.safe_load(TEXT)["services"]
SETTINGS: dict[str, type[NodeSettings]] = {
    "registry": RegistrySettings,
    "gateway": GatewaySettings,
    "bap": BuyerSettings,
    "bpp": SellerSettings,
}
#: Variables a person may set beside the secret ones; each has a default in compose.yaml.
OPTIONAL = {"LOG_LEVEL", "AUTO_APPROVE"}
_VARIABLE = re.compile(r"\$\{([A-Z_]+)(?::-([^}]*))?\}")


def _filled_in(value: str, secrets: dict[str, str]) -> str:
    return _VARIABLE.sub(lambda found: secrets.get(found[1], found[2] or ""), value)


@pytest.fixture(params=SETTINGS)
def node(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_all_four_nodes_and_both_servers_are_there() -> None:
    assert set(SETTINGS) | {"postgres", "redis", "migrate"} <= set(SERVICES)


def test_a_node_runs_a_module_that_exists(node: str) -> None:
    python, option, module = SERVICES[node]["command"]
    assert (python, option) == ("python", "-m")
    assert importlib.util.find_spec(f"{module}.__main__") is not None


def test_a_node_has_only_settings_that_the_code_reads(node: str) -> None:
    known = {name.upper() for name in SETTINGS[node].model_fields}
    assert set(SERVICES[node]["environment"]) <= known


def test_a_node_would_start_with_the_keys_that_the_command_makes(node: str, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = keys.for_compose()
    for variable, value in SERVICES[node]["environment"].items():
        monkeypatch.setenv(variable, _filled_in(str(value), secrets))
    settings = config.read(SETTINGS[node])
    assert settings.subscriber_id == f"{node}.powershare.example"
    assert settings.admin_token == secrets[f"{node.upper()}_ADMIN_TOKEN"]


def test_a_node_without_keys_refuses_to_start_and_names_the_setting(node: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in SERVICES[node]["environment"].items():
        monkeypatch.setenv(variable, _filled_in(str(value), {}))
    with pytest.raises(config.BadConfiguration, match="SIGNING_KEY"):
        config.read(SETTINGS[node])


def test_a_node_listens_where_it_says_it_does(node: str) -> None:
    service = SERVICES[node]
    port = service["environment"]["PORT"]
    assert urlsplit(service["environment"]["PUBLIC_URL"]).netloc == f"{node}:{port}"
    assert service["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert service["environment"]["HOST"] == "0.0.0.0"


def test_no_two_nodes_share_a_port_or_a_database() -> None:
    environments = [SERVICES[name]["environment"] for name in SETTINGS]
    for variable in ("PORT", "DATABASE_URL", "SUBSCRIBER_ID"):
        assert len({environment[variable] for environment in environments}) == len(SETTINGS)


def test_every_node_knows_the_one_registry() -> None:
    registry = SERVICES["registry"]["environment"]["PUBLIC_URL"]
    assert {SERVICES[name]["environment"]["REGISTRY_URL"] for name in SETTINGS} == {registry}
    secrets = keys.for_compose()
    known = _filled_in(SERVICES["bap"]["environment"]["REGISTRY_PUBLIC_KEY"], secrets)
    signing_key = secrets["REGISTRY_SIGNING_KEY"]
    assert known == keys.Keys("", signing_key, "").signing_public_key


def test_the_migration_job_makes_every_database_that_a_node_uses() -> None:
    command = SERVICES["migrate"]["command"]
    used = {urlsplit(SERVICES[name]["environment"]["DATABASE_URL"]).path[1:] for name in SETTINGS}
    assert used <= set(command)
    assert "--create" in command


@pytest.mark.parametrize("service", ["migrate", "keys"])
def test_a_powershare_command_is_one_that_exists_with_those_options(service: str) -> None:
    program, *arguments = SERVICES[service]["command"]
    assert program in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    group: Any = typer.main.get_command(main.app)
    context = group.make_context(program, list(arguments), resilient_parsing=False)
    while hasattr(group, "commands"):
        name, group, arguments = group.resolve_command(context, arguments)
        context = group.make_context(name, list(arguments), parent=context)
    assert not context.args


def test_every_variable_comes_from_the_command_that_makes_the_keys_or_has_a_default() -> None:
    wanted = {found[1] for found in _VARIABLE.finditer(TEXT)}
    assert wanted == set(keys.for_compose()) | OPTIONAL
    assert all(found[2] for found in _VARIABLE.finditer(TEXT) if found[1] in OPTIONAL)


def test_passwords_need_no_escaping_inside_a_url() -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]+", keys.for_compose()["POSTGRES_PASSWORD"])


def test_whatever_must_be_healthy_first_has_a_health_check() -> None:
    for name, service in SERVICES.items():
        for needed, how in service.get("depends_on", {}).items():
            assert needed in SERVICES, f"{name} depends on {needed}"
            if how["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[needed]
    for name in SETTINGS:
        assert "/health" in SERVICES[name]["healthcheck"]["test"][-1]
        assert SERVICES[name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"


def test_the_image_holds_every_package_and_runs_as_nobody_in_particular() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) <= sent
    assert {"LICENSE", "NOTICE", "README.md", "pyproject.toml", "requirements.lock", "requirements-build.lock"} <= sent
    assert all((ROOT / name).exists() for name in sent)
    dockerfile = (ROOT / "Dockerfile").read_text()
    last_stage = dockerfile[dockerfile.rindex("\nFROM ") :]
    assert "\nUSER 10001:10001\n" in last_stage
    assert "pip" not in last_stage
    for service in (*SETTINGS, "migrate", "keys"):
        assert SERVICES[service]["image"] == "powershare"
