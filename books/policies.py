"""The policies a node knows: those built in, and those of the network it was given as files.

Read once, at the start, with the settings: POLICY_DIR/*.json, one policy a file. A file that is no policy stops the
process with a sentence that names it, because a contract under a policy nobody can read cannot be settled. An older
version stays where it is: contracts keep the policy they were made under, but orders may still name it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from beckn.config import NodeSettings
from trade import policy
from trade.policy import BUILT_IN, Policy, PolicyInvalid

#: Largest file that is read, bytes, and most files in a directory.
FILE_BYTES_MAX = 65_536
FILES_MAX = 1000


class UnknownPolicy(Exception):
    """An offer or order names a policy this node does not know, or knows otherwise."""


class PolicyBook:
    """The policies a node knows, by the id that contracts name them by ("street@1")."""

    def __init__(self, policies: dict[str, Policy] | None = None) -> None:
        self._policies = {**BUILT_IN, **(policies or {})}
        self._digests = {policy_id: policy.digest(entry) for policy_id, entry in self._policies.items()}

    def __iter__(self) -> Iterator[Policy]:
        return iter(sorted(self._policies.values(), key=lambda entry: (entry.name, entry.version)))

    def get(self, policy_id: str) -> Policy | None:
        """The policy of this id; None when this node does not know it."""
        return self._policies.get(policy_id)

    def digest(self, policy_id: str) -> str:
        """The digest of a policy this node knows."""
        return self._digests[policy_id]

    def named(self, policy_id: str, digest: str) -> Policy:
        """The policy that a peer names by id and digest; no name at all is plain@1.

        Raises UnknownPolicy, with the sentence for the person who wanted to order, when it is not known here or the
        peer means other rules by the same name. A peer that gives no digest is taken at its word.
        """
        if not policy_id:
            return policy.PLAIN
        known = self._policies.get(policy_id)
        if known is None:
            raise UnknownPolicy(
                f"The policy {policy_id[:60]!r} is not known here, so nobody here could check a settlement under it;"
                f" known are {', '.join(entry.id for entry in self)}."
            )
        if digest and digest != self._digests[policy_id]:
            raise UnknownPolicy(
                f"The seller means other rules by {policy_id!r}: its digest is {digest[:16]!r}, here it is"
                f" {self._digests[policy_id]!r}."
            )
        return known


def read(policy_dir: str) -> PolicyBook:
    """The built-in policies and those of a directory's *.json files; "" is no directory.

    Raises ValueError naming the file that is no policy, that cannot be read, that repeats another's name and version,
    or that says something else by a built-in one's.
    """
    if not policy_dir:
        return PolicyBook()
    directory = Path(policy_dir)
    if not directory.is_dir():
        raise ValueError(f"{policy_dir} is no directory; give one with a policy in each *.json file, or leave it empty")
    paths = sorted(directory.glob("*.json"))
    if len(paths) > FILES_MAX:
        raise ValueError(f"{policy_dir} has {len(paths)} files; at most {FILES_MAX} policies are read")
    found: dict[str, Policy] = {}
    for path in paths:
        entry = _read_file(path)
        if entry.id in found or BUILT_IN.get(entry.id, entry) != entry:
            raise ValueError(f"{path}: {entry.id} exists already; a changed policy needs a new version")
        found[entry.id] = entry
    return PolicyBook(found)


def _read_file(path: Path) -> Policy:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ValueError(f"{path}: a policy has at most {FILE_BYTES_MAX} bytes")
        return policy.parse(json.loads(path.read_text(encoding="utf-8")))
    except PolicyInvalid as refusal:
        raise ValueError(f"{path}: {refusal.sentence}") from refusal
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error


class PolicySettings(NodeSettings):
    """What a node needs to know that makes contracts, beside what every node needs."""

    #: Directory with the network's policies, one JSON file each; empty: the built-in ones alone.
    policy_dir: str = Field(default="", max_length=4096)

    @cached_property
    def policies(self) -> PolicyBook:
        """The policies this node knows, read once."""
        return read(self.policy_dir)

    @model_validator(mode="after")
    def _policies_are_readable(self) -> Self:
        try:
            _ = self.policies
        except ValueError as error:
            raise ValueError(f"POLICY_DIR: {error}") from error
        return self
