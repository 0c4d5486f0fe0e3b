"""Private directories for servers: short enough for a socket, locked while the owner lives, swept when it is dead.

Also the uids that root's servers run as, since PostgreSQL refuses to run as root.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import pwd
import shutil
import stat
import tempfile
from pathlib import Path

from cli.binaries import UnableToServe

#: What a unix socket's path may measure (sun_path is 108 with its final zero).
SOCKET_PATH_BYTES_MAX = 107
_PREFIX = "powershare-"
#: The file that makes a directory one of these; nothing without it is ever swept.
_LOCK = ".powershare-servers"
#: systemd's list of uid ranges calls 60578..61183 unused; there root's servers find a uid of their own.
_FREE_UIDS = range(60578, 61184)


def _bases() -> tuple[Path, ...]:
    return Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")  # noqa: S108 - mkdtemp makes private ones


def sweep() -> int:
    """Remove the private directories whose owners are dead; how many there were.

    The owner holds a file lock for as long as it lives, which tells the dead from the living even across containers
    that share a /tmp. Only real directories of our own uid are touched.
    """
    swept = 0
    for base in set(_bases()):
        for home in base.glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):
                status = home.lstat()
                if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and _is_abandoned(home):
                    shutil.rmtree(home, ignore_errors=True)
                    swept += 1
    return swept


def _is_abandoned(home: Path) -> bool:
    try:
        lock = os.open(home / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True


def private_directory(*, for_others: bool) -> tuple[Path, int]:
    """A fresh directory short enough for sockets, and the lock (a file descriptor) that says its owner lives.

    `for_others`: another uid must be able to reach it and to execute a file in it.
    """
    for base in _bases():
        example = base / f"{_PREFIX}12345678" / "run" / ".s.PGSQL.5432"
        if len(os.fsencode(example)) > SOCKET_PATH_BYTES_MAX or not os.access(base, os.W_OK):
            continue
        if for_others and (not is_open_to_all(base) or os.statvfs(base).f_flag & os.ST_NOEXEC):
            continue
        home = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
        if for_others:
            home.chmod(0o711)
        # The lock is taken before it has its name, so that no sweep can see it free.
        lock = os.open(home / f"{_LOCK}.new", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        (home / f"{_LOCK}.new").rename(home / _LOCK)
        return home, lock
    raise UnableToServe("no temporary directory is short, writable and open enough for the servers; set TMPDIR")


def is_open_to_all(directory: Path) -> bool:
    """Whether any uid may pass through every folder down to this one."""
    resolved = directory.resolve()
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (resolved, *resolved.parents))


def data_directory(wanted: Path) -> Path:
    """Where databases that belong into `wanted` can be kept: there, or in /var/tmp when only root could reach them.

    Raises UnableToServe when that place in /var/tmp is somebody else's.
    """
    wanted.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0 or is_open_to_all(wanted.parent):
        return wanted
    name = hashlib.sha256(os.fsencode(wanted.resolve())).hexdigest()[:16]
    elsewhere = Path("/var/tmp") / f"kept-by-powershare-{name}"  # noqa: S108 - its owner is checked
    with contextlib.suppress(FileExistsError):
        elsewhere.mkdir(mode=0o711)
    status = elsewhere.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise UnableToServe(f"{elsewhere} should keep the databases and belongs to somebody else")
    return elsewhere


def require_reachable(directory: Path, uid: int) -> None:
    """Raise UnableToServe when `uid` cannot pass every folder above `directory`."""
    for folder in directory.resolve().parents:
        status = folder.stat()
        if not status.st_mode & stat.S_IXOTH and status.st_uid != uid:
            raise UnableToServe(
                f"PostgreSQL does not run as root, and the uid it runs as cannot pass {folder}; "
                "keep the databases in a directory every user can reach"
            )


def give(directory: Path, uid: int) -> None:
    """Make a uid the owner of a directory and all within."""
    for folder, _, files in os.walk(directory):
        for path in (folder, *(os.path.join(folder, file) for file in files)):  # noqa: PTH118 - thousands of paths
            os.chown(path, uid, uid, follow_symlinks=False)


def unowned_uid() -> int:
    """A uid that is nobody's, so that nothing else on the machine can reach what it owns; raises UnableToServe."""
    for uid in _FREE_UIDS:
        try:
            pwd.getpwuid(uid)
        except KeyError:
            return uid
    raise UnableToServe(f"every uid from {_FREE_UIDS[0]} to {_FREE_UIDS[-1]} is somebody's; run as an ordinary user")


def named_uid() -> int:
    """An unprivileged uid that has a name, for initdb."""
    with contextlib.suppress(KeyError):
        return pwd.getpwnam("nobody").pw_uid
    for entry in pwd.getpwall():
        if entry.pw_uid != 0:
            return entry.pw_uid
    raise UnableToServe("initdb needs a uid with a name and this machine has only root; run as an ordinary user")
