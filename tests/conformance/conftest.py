"""Fixtures of the tests of conformance."""

from __future__ import annotations

from tests.network.conftest import network

__all__ = ["network"]
