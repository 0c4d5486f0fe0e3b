"""The network that stays up: `up` starts a supervisor and leaves, the supervisor holds the network until `down`.

The supervisor is a process of its own in a session of its own. It starts the network, tells its starter how far it is
(one JSON object a line on its standard output), writes .run/network.json, starts nodes again that die, and stops
everything when it is told to end. When it is killed, all it started dies with it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import orjson

from cli import where
from cli.network import Network, NetworkFailed, Plan, Report
from cli.plan import SELLERS

#: How long `down` waits for a graceful end before it kills.
DOWN_S_MAX = 60.0
#: How often the supervisor looks whether its nodes live.
LOOK_S = 0.5
#: A node that died is started again after this long, so that one that cannot start does not spin.
START_AGAIN_S = 2.0


class UnableToStand(RuntimeError):
    """The network did not come up; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What network shall stand, kept where."""

    directory: Path
    first_port: int
    #: Where every wire message is recorded; None: nowhere.
    record: Path | None = None
    #: With a utility's node, which every BPP asks.
    has_utility: bool = False
    #: Where a driven trading clock starts, RFC 3339; empty: the wall clock dates energy.
    trading_start: str = ""

    def order(self) -> dict[str, Any]:
        """What the supervisor is told, as JSON."""
        return {
            "directory": str(self.directory.resolve()),
            "first_port": self.first_port,
            "record": None if self.record is None else str(self.record.resolve()),
            "has_utility": self.has_utility,
            "trading_start": self.trading_start,
        }


def plan_of(order: dict[str, Any]) -> Plan:
    """The network that an order asks for."""
    start = order["trading_start"]
    return Plan.of(
        bpps=SELLERS,
        settings={"TRADING_CLOCK": "driven", "TRADING_START": start} if start else {},
        directory=Path(order["directory"]),
        record=Path(order["record"]) if order["record"] else None,
        first_port=order["first_port"],
        utility=order["has_utility"],
    )


def up(wish: Wish, *, report: Report) -> None:
    """Start a supervisor and wait until its network is ready; raises UnableToStand. Call it when none is up."""
    order, logs = wish.order(), wish.directory / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with (logs / "supervisor.log").open("ab") as log:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "cli.standing", orjson.dumps(order).decode()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    try:
        _follow(supervisor, report)
    except BaseException:
        supervisor.terminate()
        raise


def _follow(supervisor: subprocess.Popen[bytes], report: Report) -> None:
    if supervisor.stdout is None:
        raise UnableToStand("the supervisor has no output to follow")
    with supervisor.stdout as lines:
        for line in lines:
            said = orjson.loads(line)
            if said.get("ready"):
                return
            if "failed" in said:
                raise UnableToStand(said["failed"])
            report(said["stage"], said["done"], said["total"])
    raise UnableToStand("the supervisor ended without a word; see logs/supervisor.log")


def down(directory: Path) -> bool:
    """Stop the network that is up; False when there is none."""
    if not where.is_up(directory):
        where.state_path(directory).unlink(missing_ok=True)
        return False
    supervisor = int((directory / "supervisor.pid").read_text())
    os.kill(supervisor, signal.SIGTERM)
    deadline = time.monotonic() + DOWN_S_MAX
    while where.is_up(directory):
        if time.monotonic() > deadline:
            os.kill(supervisor, signal.SIGKILL)
        time.sleep(0.05)
    return True


def supervise(order: dict[str, Any]) -> int:
    """Hold a network until a SIGTERM; the exit code."""
    directory = Path(order["directory"])
    lock = where.take_lock(directory)
    if lock is None:
        _say({"failed": f"a network is already up in {directory}"})
        return 1
    (directory / "supervisor.pid").write_text(f"{os.getpid()}\n")
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        with Network.start(
            plan_of(order), report=lambda stage, done, total: _say({"stage": stage, "done": done, "total": total})
        ) as network:
            _write_state(directory, network)
            _say({"ready": True})
            _log("the network is up")
            while True:
                _start_the_dead_again(network)
                time.sleep(LOOK_S)
    except NetworkFailed as failure:
        _log(str(failure))
        _say({"failed": str(failure)})
        return 1
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        where.state_path(directory).unlink(missing_ok=True)
        _log("the network is down")


def _start_the_dead_again(network: Network) -> None:
    for node in network:
        if not node.is_alive:
            code = None if node.process is None else node.process.returncode
            _log(f"{node.name} ended with code {code} and is started again; see {node.log}")
            time.sleep(START_AGAIN_S)
            node.start()
            _write_state(network.plan.directory or where.DIRECTORY, network)


def _write_state(directory: Path, network: Network) -> None:
    state = network.to_json() | {"supervisor_pid": os.getpid()}
    for node, document in zip(network, state["nodes"], strict=True):
        document["environment"] = node.environment
    path = where.state_path(directory)
    new = path.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_bytes(orjson.dumps(state, option=orjson.OPT_INDENT_2))
    new.replace(path)


def _say(what: dict[str, Any]) -> None:
    """Tell the starter, who may have left."""
    with contextlib.suppress(BrokenPipeError):
        os.write(1, orjson.dumps(what) + b"\n")


def _log(sentence: str) -> None:
    sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {sentence}\n")
    sys.stderr.flush()


def _end(_signal: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # one is enough; a second must not cut the stopping short
    raise SystemExit(0)


if __name__ == "__main__":
    raise SystemExit(supervise(orjson.loads(sys.argv[1])))
