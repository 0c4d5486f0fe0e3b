"""`powershare up` and what an operator does with the network that stays up. One network serves the whole file."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest

from cli import doctor, keys, where
from cli.ask import ask, tell
from cli.node_process import free_ports

ROOT = Path(__file__).resolve().parents[2]


class Terminal:
    """Somebody at a terminal, in whose directory a network is kept."""

    def __init__(self, directory: Path, first_port: int) -> None:
        self.directory = directory
        self.first_port = first_port

    def run(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "cli.main", *arguments, "--directory", str(self.directory)],
            cwd=ROOT,
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    @property
    def letters(self) -> Path:
        """Where the network records what it receives."""
        return self.directory.parent / "letters"

    def up(self) -> subprocess.CompletedProcess[str]:
        return self.run("up", "--first-port", str(self.first_port), "--record", str(self.letters))

    def node(self, name: str) -> where.Node:
        return where.node(name, self.directory)

    def pid(self, name: str) -> int:
        nodes: list[dict[str, Any]] = where.standing_network(self.directory)["nodes"]
        return next(int(node["pid"]) for node in nodes if node["name"] == name)

    def execute(self, name: str, *statements: str) -> list[Any]:
        async def run() -> list[Any]:
            connection = await asyncpg.connect(self.node(name).database_url)
            try:
                return [await connection.fetchval(statement) for statement in statements]
            finally:
                await connection.close()

        return asyncio.run(run())


def _first_of_free_ports(count: int) -> int:
    """The first of so many free ports in a row."""
    while True:
        first = free_ports([0])[0]
        try:
            free_ports([first + offset for offset in range(count)])
        except RuntimeError:
            continue
        return first


def _eventually(holds: Callable[[], bool], limit_s: float = 20.0) -> bool:
    deadline = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.fixture(scope="module")
def terminal() -> Iterator[Terminal]:
    """A network that is up, in a folder that everybody can pass."""
    home = Path(tempfile.mkdtemp(prefix="standing-"))
    home.chmod(0o755)
    person = Terminal(home / ".run", _first_of_free_ports(6))
    try:
        done = person.up()
        assert done.returncode == 0, done.stderr
        yield person
    finally:
        person.run("down")
        shutil.rmtree(home, ignore_errors=True)


def test_a_port_that_is_taken_is_named_and_nothing_is_left(terminal: Terminal, tmp_path: Path) -> None:
    other = Terminal(tmp_path / ".run", terminal.first_port)
    done = other.up()
    assert done.returncode == 1
    assert f"port {terminal.first_port} is in use" in done.stderr
    assert not where.is_up(other.directory)


def test_a_network_that_is_up_is_shown_and_not_started_again(terminal: Terminal) -> None:
    before = terminal.pid("registry")
    done = terminal.up()
    assert done.returncode == 0
    assert "is up already" in done.stderr
    assert terminal.node("bap").admin_token in done.stdout
    assert terminal.pid("registry") == before


def test_all_six_nodes_are_subscribed_and_ready(terminal: Terminal) -> None:
    for node in where.nodes(terminal.directory):
        assert ask("GET", f"{node.url}/ready")[0] == 200, node.name
    listed = terminal.run("subscriber", "list").stdout
    for name in ("gateway", "bap", "bpp-solo", "bpp-east", "bpp-west"):
        line = next(line for line in listed.splitlines() if line.split()[:1] == [f"{name}.powershare.example"])
        assert "SUBSCRIBED" in line


def test_a_wall_clock_is_shown_and_moved_by_nobody(terminal: Terminal) -> None:
    shown = terminal.run("clock")
    assert (shown.returncode, shown.stdout.count("wall")) == (0, 6), shown.stderr
    moved = terminal.run("clock", "--to", "2026-06-01T00:00:00Z")
    assert (moved.returncode, "TRADING_CLOCK is wall" in moved.stderr) == (1, True), moved.stderr


def test_a_network_with_a_utility_has_a_clock_that_its_operator_moves(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path / ".run", _first_of_free_ports(7))
    ports = ("--first-port", str(terminal.first_port))
    try:
        up = terminal.run("up", *ports, "--utility", "--trading-start", "2026-06-01T00:00:00Z")
        assert up.returncode == 0, up.stderr
        assert terminal.node("bpp-east").environment["UTILITY_ID"] == terminal.node("utility").subscriber_id
        moved = terminal.run("clock", "--to", "2026-06-01T12:00:00Z")
        assert (moved.returncode, moved.stdout.count("2026-06-01T12:00:00")) == (0, 7), moved.stderr
        assert "never goes back" in terminal.run("clock", "--to", "2026-06-01T11:00:00Z").stderr
    finally:
        terminal.run("down")


def test_what_holds_tokens_and_keys_is_the_owners_alone(terminal: Terminal) -> None:
    for name in ("network.json", "secrets.json"):
        assert (terminal.directory / name).stat().st_mode & 0o777 == 0o600
    for log in (terminal.directory / "logs").iterdir():
        text = log.read_text()
        for node in where.nodes(terminal.directory):
            assert node.admin_token not in text
            assert node.environment["SIGNING_KEY"] not in text


@pytest.mark.parametrize("name", ["bap", "bpp-solo", "gateway", "registry"])
def test_the_doctor_finds_nothing_wrong_with_a_healthy_node(terminal: Terminal, name: str) -> None:
    done = terminal.run("doctor", "--node", name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "NO " not in done.stdout


@pytest.mark.parametrize(
    ("change", "about", "word"),
    [
        ({"SIGNING_KEY": keys.generate("x").signing_key}, "key", "SIGNING_KEY does not belong"),
        ({"SIGNING_KEY": keys.generate("x").signing_key}, "peer", "refuses our letters"),
        ({"KEY_ID": "forgotten"}, "identity", "not forgotten"),
        ({"SUBSCRIBER_ID": "stranger.example"}, "identity", "no record of stranger.example"),
        ({"PUBLIC_URL": "http://127.0.0.1:9"}, "route", "PUBLIC_URL makes it http://127.0.0.1:9/beckn"),
        ({"CITY_CODE": "std:999"}, "identity", "city is 'std:080' there and 'std:999' here"),
        ({"REGISTRY_PUBLIC_KEY": keys.generate("x").signing_public_key}, "registry", "cannot be asked or believed"),
        ({"REGISTRY_URL": "http://127.0.0.1:9"}, "registry", "cannot be asked or believed"),
        ({"DATABASE_URL": "postgresql://x@/y?host=/nowhere"}, "database", "PostgreSQL cannot be used"),
    ],
)
def test_the_doctor_names_what_disagrees(terminal: Terminal, change: dict[str, str], about: str, word: str) -> None:
    findings = doctor.examine({**terminal.node("bap").environment, **change})
    wrong = [finding.sentence for finding in findings if finding.is_right is False and finding.about == about]
    assert any(word in sentence for sentence in wrong), findings


def test_a_database_without_tables_is_the_doctors_business_too(terminal: Terminal) -> None:
    settings = dict(terminal.node("bap").environment)
    empty = settings["DATABASE_URL"].replace("/bap?", "/postgres?")
    done = terminal.run("doctor", **{**settings, "DATABASE_URL": empty})
    assert done.returncode == 1
    assert "run `powershare migrate`" in done.stdout


def test_a_suspended_seller_is_seen_so_until_it_is_approved_again(terminal: Terminal) -> None:
    seller = "bpp-west.powershare.example"
    done = terminal.run("subscriber", "suspend", seller, "--reason", "meter under inspection")
    assert done.stdout.strip() == f"{seller} BPP bpp-west-1 is SUSPENDED."
    registry = terminal.node("registry")
    audit = tell("GET", f"{registry.url}/api/audit?subject={seller}", token=registry.admin_token)["items"]
    assert audit[0]["act"] == "suspend"
    assert audit[0]["detail"]["reason"] == "meter under inspection"
    bpp = terminal.node("bpp-west")
    assert _eventually(lambda: ask("GET", f"{bpp.url}/ready")[0] == 503)
    assert "UNSUBSCRIBED" in terminal.run("doctor", "--node", "bpp-west").stdout
    assert "is SUBSCRIBED" in terminal.run("subscriber", "approve", seller).stdout
    assert _eventually(lambda: ask("GET", f"{bpp.url}/ready")[0] == 200)


def test_an_act_on_nobody_is_the_registrys_refusal(terminal: Terminal) -> None:
    done = terminal.run("subscriber", "revoke", "nobody.example")
    assert done.returncode == 1
    assert "404" in done.stderr


def test_a_subscriber_added_by_hand_is_listed_and_can_be_revoked(terminal: Terminal) -> None:
    made = keys.generate("theirs-1")
    options = ["--type", "BPP", "--url", "https://theirs.example/beckn", "--key-id", "theirs-1"]
    keys_given = ["--public-key", made.signing_public_key, "--encryption-key", made.encryption_public_key]
    assert terminal.run("subscriber", "add", "theirs.example", *options, *keys_given).returncode == 0
    assert "theirs.example" in terminal.run("subscriber", "list", "--status", "SUBSCRIBED").stdout
    again = terminal.run("subscriber", "add", "theirs.example", *options, *keys_given)
    assert again.returncode == 1
    assert "409" in again.stderr
    assert "UNSUBSCRIBED" in terminal.run("subscriber", "revoke", "theirs.example").stdout


def test_a_claim_is_listed_by_meter_and_freed_with_a_reason(terminal: Terminal) -> None:
    provider = {"provider_id": "home-cli", "name": "Home", "gps": "34.1, -117.4", "meter_id": "meter-cli"}
    solo = terminal.node("bpp-solo")
    assert ask("POST", f"{solo.url}/api/providers", token=solo.admin_token, body=provider)[0] == 201
    listed = terminal.run("claim", "list", "--meter", "meter-cli").stdout
    assert "EXPORT" in listed
    assert solo.subscriber_id in listed
    assert solo.subscriber_id in terminal.run("claim", "list", "--node", solo.subscriber_id).stdout
    freed = terminal.run("claim", "release", "meter-cli", "--reason", "the owner moved")
    assert f"is free; {solo.subscriber_id} held it" in freed.stdout
    again = terminal.run("claim", "release", "meter-cli")
    assert again.returncode == 1
    assert "404" in again.stderr
    assert terminal.run("claim", "release", "no meter at all").returncode == 1


def test_books_that_balance_and_agree_are_said_to(terminal: Terminal) -> None:
    done = terminal.run("ledger", "check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All books balance, every order is covered, and the nodes agree about each." in done.stdout
    one = terminal.run("ledger", "check", "bap")
    assert one.stdout.strip().endswith("The books balance, and every order is covered.")


def test_a_balance_that_no_transfer_explains_is_found(terminal: Terminal) -> None:
    terminal.execute(
        "bpp-solo", "INSERT INTO ledger_accounts (account, currency, balance_milli) VALUES ('wallet:thief', 'USD', 500)"
    )
    try:
        done = terminal.run("ledger", "check", "bap", "bpp-solo")
        assert done.returncode == 1
        assert "wallet:thief in USD holds 500 but its transfers sum to 0" in done.stderr
        assert "NOT right" in done.stdout
        node = terminal.node("bpp-solo")
        by_url = terminal.run("ledger", "check", f"{node.subscriber_id}={node.database_url}")
        assert by_url.returncode == 1
    finally:
        terminal.execute("bpp-solo", "DELETE FROM ledger_accounts WHERE account = 'wallet:thief'")


def test_a_dead_letter_is_listed_and_sent_again_by_the_running_node(terminal: Terminal) -> None:
    """It was given up before it was ever tried; the seller then has its say on it, which ends it one way or another."""
    seller = terminal.node("bpp-east")
    (seq,) = terminal.execute(
        "bap",
        "INSERT INTO outbox (letter_id, destination_url, receiver_id, action, message_id, transaction_id, body,"
        " created_at, give_up_at, next_at, state, finished_at, outcome) VALUES ('lost', '"
        f"{seller.url}/beckn/support', '{seller.subscriber_id}', 'support', 'm', 'lost-transaction', '{{}}',"
        " now(), now(), now(), 'DEAD', now(), '{\"problem\": \"given up\"}') RETURNING seq",
    )
    listed = terminal.run("outbox", "list", "--node", "bap").stdout
    assert "lost-transaction" in listed
    assert "given up" in listed
    assert terminal.run("outbox", "resend", "999999", "--node", "bap").returncode == 1
    done = terminal.run("outbox", "resend", str(seq), "--node", "bap")
    assert done.stdout.strip() == f"queued again: {seq}"
    tried = f"SELECT attempts > 0 AND state <> 'QUEUED' FROM outbox WHERE seq = {seq}"
    assert _eventually(lambda: terminal.execute("bap", tried) == [True])
    assert "lost-transaction" in terminal.run("outbox", "list", "--node", "bap", "--state", "ANY").stdout


def test_a_parked_letter_is_listed_and_processed_again(terminal: Terminal) -> None:
    terminal.execute(
        "bap",
        "INSERT INTO inbox (letter_id, signer_id, action, message_id, variant, digest, transaction_id, body, headers,"
        " received_at, state, attempts, error) VALUES ('stuck', 's', 'on_support', 'm', '', '', 'stuck-transaction',"
        " '{}', '{}', now(), 'PARKED', 5, 'KeyError: reference 17')",
    )
    listed = terminal.run("inbox", "list", "--node", "bap").stdout
    assert "stuck-transaction" in listed
    assert "reference 17" in listed
    assert terminal.run("inbox", "retry", "stuck", "--node", "bap").stdout.strip() == "processed again: stuck"
    assert terminal.run("inbox", "retry", "unknown", "--node", "bap").returncode == 1


def test_a_node_that_is_killed_is_started_again(terminal: Terminal) -> None:
    killed = terminal.pid("bap")
    os.kill(killed, signal.SIGKILL)
    assert _eventually(lambda: terminal.pid("bap") != killed)
    assert _eventually(lambda: ask("GET", f"{terminal.node('bpp-solo').url}/health")[0] == 200)
    bap = terminal.node("bap")

    def is_ready() -> bool:
        try:
            return ask("GET", f"{bap.url}/ready")[0] == 200
        except Exception:  # not listening yet
            return False

    assert _eventually(is_ready)


def _check_what_was_recorded(letters: Path) -> None:
    """Every letter as received, byte for byte, and at the end the registry's records."""
    challenges = sorted(letters.glob("*-on_subscribe.body"))
    assert len(challenges) >= 5
    for body in challenges:
        headers = orjson.loads(body.with_suffix(".headers").read_bytes())
        assert int(headers["Content-Length"]) == len(body.read_bytes())
    records = orjson.loads((letters / "registry.json").read_bytes())
    assert {record["subscriber_id"] for record in records} >= {"bap.powershare.example", "bpp-solo.powershare.example"}


def test_down_ends_everything_and_up_finds_it_again(terminal: Terminal) -> None:
    """The same keys, tokens and databases: nobody has to be approved again, and what was stored is there."""
    pids = [terminal.pid(node.name) for node in where.nodes(terminal.directory)]
    token = terminal.node("bap").admin_token
    assert "is down" in terminal.run("down").stdout
    assert not any(_is_alive(pid) for pid in pids)
    assert "No network is up" in terminal.run("down").stdout
    _check_what_was_recorded(terminal.letters)
    done = terminal.up()
    assert done.returncode == 0, done.stderr
    assert terminal.node("bap").admin_token == token
    assert terminal.execute("bap", "SELECT count(*) FROM outbox WHERE transaction_id = 'lost-transaction'") == [1]


def test_everything_dies_with_a_supervisor_that_is_killed(terminal: Terminal) -> None:
    pids = [terminal.pid(node.name) for node in where.nodes(terminal.directory)]
    supervisor = int((terminal.directory / "supervisor.pid").read_text())
    os.kill(supervisor, signal.SIGKILL)
    assert _eventually(lambda: not any(_is_alive(pid) for pid in pids), limit_s=2.0)
    with pytest.raises(where.NotFound):
        terminal.node("bap")
    assert terminal.up().returncode == 0, "what a kill left must not be in the way"


def test_a_seller_that_is_kept_out_does_not_keep_the_network_down(terminal: Terminal) -> None:
    seller = "bpp-west.powershare.example"
    terminal.run("subscriber", "suspend", seller)
    terminal.run("down")
    assert terminal.up().returncode == 0
    assert ask("GET", f"{terminal.node('bpp-west').url}/ready")[0] == 503
    terminal.run("subscriber", "approve", seller)
    assert _eventually(lambda: ask("GET", f"{terminal.node('bpp-west').url}/ready")[0] == 200, limit_s=60.0)
