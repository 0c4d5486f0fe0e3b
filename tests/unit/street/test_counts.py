"""Counting letters out of a node's Prometheus page."""

from cli.street import counts

PAGE = """\
# HELP beckn_letters_received_total Letters received
# TYPE beckn_letters_received_total counter
beckn_letters_received_total{action="select",outcome="accepted"} 7.0
beckn_letters_received_total{action="select",outcome="duplicate"} 2.0
beckn_letters_received_total{action="select",outcome="SignatureExpired"} 1.0
beckn_letters_received_total{action="confirm",outcome="accepted"} 4.0
# HELP beckn_letters_sent_total Attempts to deliver
# TYPE beckn_letters_sent_total counter
beckn_letters_sent_total{action="select",outcome="ack"} 99.0
"""


def test_a_refused_letter_is_no_acknowledged_one() -> None:
    assert counts.letters(PAGE) == ({"select": 9, "confirm": 4}, {"select": 1})


def test_a_node_that_received_nothing_counts_nothing() -> None:
    assert counts.letters("") == ({}, {})
