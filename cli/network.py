"""A whole network on one machine: two servers and any number of nodes, every one its own process.

What `up`, the demo, the tests and the bench start. Keys and tokens are made, ports found, databases copied from one
migrated template; then the registry starts, then the others, which subscribe themselves and prove their keys; this
side plays the registry's operator and approves them, and waits until every node says it is ready. Whatever ends this
process, `kill -9` included, ends all of it.

    with Network.start(Plan.of(bpps=3)) as network:
        network["bap"].url, network["bap"].admin_token
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from beckn.directory import FIND_FRESH_S
from cli import keys, private, processes
from cli.ask import NoAnswer, ask
from cli.binaries import UnableToServe
from cli.node_process import PortTaken, RunningNode, free_ports
from cli.plan import UTILITY, NodePlan, Plan, Report, subscriber_id
from cli.servers import Servers

__all__ = ["Network", "NetworkFailed", "NodePlan", "Plan", "Report", "RunningNode"]

#: How long the nodes may take until all are ready, seconds.
READY_S_MAX = 60.0
#: How often the nodes are asked whether they are there, seconds.
POLL_S = 0.05
_TEMPLATE = "powershare_template"
#: All a node sees of our environment: settings have no prefix, so a stray PORT or DOMAIN must not reach it.
_PASSED_ON = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "PYTHONPATH",
    "PYTHONDONTWRITEBYTECODE",
    "COVERAGE_PROCESS_START",
)


class NetworkFailed(RuntimeError):
    """A node did not start, or died; the sentence names it and gives the end of its log."""


class Network:
    """The running whole."""

    def __init__(self, plan: Plan, servers: Servers, nodes: dict[str, RunningNode]) -> None:
        self.plan = plan
        self.servers = servers
        self.nodes = nodes
        #: Names of nodes that the registry's operator keeps out; they run, and are not waited for.
        self.kept_out: set[str] = set()

    @classmethod
    def start(cls, plan: Plan, *, report: Report | None = None) -> Self:
        """Start everything and wait until every node is subscribed and ready. Raises NetworkFailed."""
        tell_progress: Report = report or (lambda _stage, _done, _total: None)
        tell_progress("starting PostgreSQL and Redis", 0, 1)
        try:
            kept = None if plan.directory is None else private.data_directory(plan.directory / "data")
            servers = Servers.start(kept, durable=plan.durable)
        except UnableToServe as error:
            raise NetworkFailed(str(error)) from error
        network = cls(plan, servers, {})
        try:
            network._prepare(tell_progress)
            network._start_nodes(tell_progress)
        except PortTaken as error:
            network.stop()
            raise NetworkFailed(str(error)) from error
        except BaseException:
            network.stop()
            raise
        return network

    def __getitem__(self, name: str) -> RunningNode:
        return self.nodes[name]

    def __iter__(self) -> Iterator[RunningNode]:
        return iter(self.nodes.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def registry(self) -> RunningNode:
        """The one registry."""
        return self.of_role("registry")[0]

    def of_role(self, role: str) -> list[RunningNode]:
        """The nodes of a role, in the plan's order."""
        return [node for node in self.nodes.values() if node.role == role]

    def check(self) -> None:
        """Raise NetworkFailed when a node has died, with its last words."""
        for node in self.nodes.values():
            if node.process is not None and not node.is_alive:
                raise NetworkFailed(
                    f"{node.name} ended with code {node.process.returncode}:\n{processes.tail(node.log)}"
                )

    def await_ready(self, *names: str, limit_s: float = READY_S_MAX, report: Report | None = None) -> None:
        """Wait until the named nodes (without a name: all that may take part) are ready. Raises NetworkFailed."""
        waiting = [self.nodes[name] for name in names or self.nodes if name not in self.kept_out]
        self._await("waiting until every node is ready", waiting, _not_ready, limit_s=limit_s, report=report)

    def approve(self, node: RunningNode) -> None:
        """Approve a node that has proven its keys to the registry, as the registry's operator."""
        self.registry.post(f"/api/subscribers/{node.subscriber_id}/approve", {"reason": "part of this network"})

    def lookup(self) -> list[dict[str, Any]]:
        """Every record the registry gives away, as a stranger would ask for them."""
        status, records = ask("POST", f"{self.registry.url}/lookup", body={})
        if status != 200 or not isinstance(records, list):
            raise NetworkFailed(f"the registry answered a lookup with HTTP {status}: {records}")
        return records

    def stop(self) -> None:
        """Stop the nodes in one go, then the servers; what is recorded gets the registry's records. Safe to repeat."""
        if self.plan.record is not None and self.nodes and self.registry.is_alive:
            self._record_registry(self.plan.record)
        for node in self.nodes.values():
            if node.is_alive and node.process is not None:
                node.process.send_signal(signal.SIGTERM)
        for node in self.nodes.values():
            node.stop()
        self.servers.stop()

    def to_json(self) -> dict[str, Any]:
        """What a person or another command needs to use this network."""
        return {
            "nodes": [node.to_json() for node in self.nodes.values()],
            "redis_url": self.servers.redis_url,
            "data": str(self.servers.kept_in or ""),
        }

    def _record_registry(self, directory: Path) -> None:
        try:
            records = self.lookup()
        except (NoAnswer, NetworkFailed):
            return  # a registry that is already broken has been reported; stopping goes on
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "registry.json").write_bytes(orjson.dumps(records, option=orjson.OPT_INDENT_2))

    def _prepare(self, report: Report) -> None:
        """Keys, ports and environments of all nodes, then their databases."""
        home = self.plan.directory or self.servers.home
        logs = home / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        ring = keys.KeyRing(None if self.plan.directory is None else self.plan.directory / "secrets.json")
        ports = free_ports([node.port for node in self.plan.nodes])
        for plan, port in zip(self.plan.nodes, ports, strict=True):
            admin_token, own_keys = ring.of(plan.name)
            self.nodes[plan.name] = RunningNode(
                name=plan.name,
                role=plan.role,
                subscriber_id=plan.settings.get("SUBSCRIBER_ID", subscriber_id(plan.name)),
                port=port,
                admin_token=admin_token,
                keys=own_keys,
                database_url=self.servers.database_url(plan.name),
                log=logs / f"{plan.name}.log",
                environment={},
            )
        ring.keep()
        for plan in self.plan.nodes:
            node = self.nodes[plan.name]
            node.environment.update(self._environment(node) | dict(self.plan.settings) | dict(plan.settings))
        self._make_databases(report)

    def _environment(self, node: RunningNode) -> dict[str, str]:
        passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        registry = self.registry
        return (
            passed_on
            | {
                "PYTHONUNBUFFERED": "1",
                "HOST": "127.0.0.1",
                "PORT": str(node.port),
                "PUBLIC_URL": node.url,
                "SUBSCRIBER_ID": node.subscriber_id,
                "KEY_ID": node.keys.key_id,
                "SIGNING_KEY": node.keys.signing_key,
                "ENCRYPTION_KEY": node.keys.encryption_key,
                "DATABASE_URL": node.database_url,
                "REDIS_URL": self.servers.redis_url,
                "REGISTRY_URL": registry.url,
                "REGISTRY_PUBLIC_KEY": registry.keys.signing_public_key,
                "ADMIN_TOKEN": node.admin_token,
                "ALLOW_PRIVATE_URLS": "true",
                "RECORD_DIR": "" if self.plan.record is None else str(self.plan.record.resolve()),
            }
            | ({"UTILITY": "true"} if node.role == UTILITY else {})
        )

    def _make_databases(self, report: Report) -> None:
        """Migrate once, copy many times; databases that were kept are migrated where they are."""
        from store import migrate

        stage, total = "making databases", len(self.nodes) + 1
        report(stage, 0, total)
        if not self.servers.has_database(_TEMPLATE):
            self.servers.create_database(_TEMPLATE)
        migrate.upgrade(self.servers.database_url(_TEMPLATE))
        for done, name in enumerate(self.nodes, start=1):
            report(stage, done, total)
            if self.servers.has_database(name):
                migrate.upgrade(self.servers.database_url(name))
            else:
                self.servers.create_database(name, template=_TEMPLATE)
        report(stage, total, total)

    def _start_nodes(self, report: Report) -> None:
        others = [node for node in self.nodes.values() if node.role != "registry"]
        self.registry.start()
        self._await("starting the registry", [self.registry], _not_up, report=report)
        for node in others:
            node.start()
        self._await("starting the nodes", others, _not_up, report=report)
        self._await("proving keys to the registry", others, self._not_subscribed, report=report)
        approved_at = time.monotonic()
        self.await_ready(report=report)
        # A search finds who joined at least this long ago; a network that is up has found everybody.
        time.sleep(max(0.0, FIND_FRESH_S - (time.monotonic() - approved_at)))

    def subscribers(self) -> list[dict[str, Any]]:
        """Every subscription the registry holds, as its operator sees them."""
        rows: list[dict[str, Any]] = []
        after = ""
        while True:
            page = self.registry.get(f"/api/subscribers?limit=500{after and f'&after={after}'}")
            rows += page["items"]
            if page["next"] is None:
                return rows
            after = page["next"]

    def _not_subscribed(self, waiting: list[RunningNode]) -> list[RunningNode]:
        """Who is not SUBSCRIBED yet; those that have passed their challenge are approved on the way.

        Whoever is suspended or unsubscribed stays so: that was somebody's decision.
        """
        rows = self.subscribers()
        left = []
        for node in waiting:
            held = [row for row in rows if row["subscriber_id"] == node.subscriber_id]
            states = {row["status"] for row in held}
            roles = {row["type"] for row in held if row["status"] == "SUBSCRIBED"}
            if "UNDER_SUBSCRIPTION" in states:
                self.approve(node)
                left.append(node)
            elif not roles and states & {"SUSPENDED", "UNSUBSCRIBED"}:
                self.kept_out.add(node.name)  # by the operator, in an earlier run of a network that is kept
            elif len(roles) < node.roles:
                left.append(node)
        return left

    def _await(
        self,
        stage: str,
        nodes: list[RunningNode],
        still: Callable[[list[RunningNode]], list[RunningNode]],
        *,
        limit_s: float = READY_S_MAX,
        report: Report | None = None,
    ) -> None:
        deadline = time.monotonic() + limit_s
        waiting, done = list(nodes), -1
        while True:
            waiting = still(waiting)
            if report is not None and len(nodes) - len(waiting) != done:
                done = len(nodes) - len(waiting)
                report(stage, done, len(nodes))
            if not waiting:
                return
            self.check()
            if time.monotonic() > deadline:
                raise NetworkFailed(f"{stage} took more than {limit_s:.0f} s: {_complaints(waiting)}")
            time.sleep(POLL_S)


def _not_up(nodes: list[RunningNode]) -> list[RunningNode]:
    return [node for node in nodes if _status_of(node, "/health") != 200]


def _not_ready(nodes: list[RunningNode]) -> list[RunningNode]:
    return [node for node in nodes if _status_of(node, "/ready") != 200]


def _status_of(node: RunningNode, path: str) -> int:
    try:
        return ask("GET", node.url + path, timeout_s=5.0)[0]
    except NoAnswer:
        return 0


def _complaints(nodes: list[RunningNode]) -> str:
    """What the nodes that are not ready say is missing."""
    said = []
    for node in nodes:
        try:
            said.append(f"{node.name}: {ask('GET', f'{node.url}/ready', timeout_s=5.0)[1]}")
        except NoAnswer as silence:
            said.append(f"{node.name}: {silence}; its log ends:\n{processes.tail(node.log)}")
    return "; ".join(said)
