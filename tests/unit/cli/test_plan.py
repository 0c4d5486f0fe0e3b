"""Plans, ports and environments: what is decided before anything runs."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from cli import node_process
from cli.plan import Plan


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(node_process.PortTaken, match=f"port {port} is in use"):
            node_process.free_ports([port])


def test_free_ports_are_different_and_below_those_of_outgoing_connections() -> None:
    ports = node_process.free_ports([0] * 20)
    assert len(set(ports)) == 20
    first_outgoing = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(port in node_process.PORTS for port in ports)
    assert max(node_process.PORTS) < max(first_outgoing, 32_768)


def test_a_plan_names_one_of_each_and_as_many_sellers_as_asked_for() -> None:
    plan = Plan.of(bpps=2)
    assert [(node.name, node.role) for node in plan.nodes] == [
        ("registry", "registry"),
        ("gateway", "gateway"),
        ("bap", "bap"),
        ("bpp-1", "bpp"),
        ("bpp-2", "bpp"),
    ]
    assert {node.port for node in plan.nodes} == {0}


def test_ports_follow_the_first() -> None:
    assert [node.port for node in Plan.of(bpps=("solo",), first_port=8001).nodes] == [8001, 8002, 8003, 8004]


def test_a_plan_with_a_utility_has_every_seller_ask_it() -> None:
    plan = Plan.of(bpps=("east", "west"), utility=True, first_port=9000)
    assert (plan.nodes[-1].name, plan.nodes[-1].role, plan.nodes[-1].port) == ("utility", "utility", 9005)
    asking = {node.name: node.settings.get("UTILITY_ID") for node in plan.nodes if node.role == "bpp"}
    assert asking == {"east": "utility.powershare.example", "west": "utility.powershare.example"}
    assert not any(node.settings for node in Plan.of(bpps=2).nodes)
