"""Child processes that cannot outlive us.

Every server and node this package starts is on a leash: the kernel sends it a signal when the thread that started it
is gone (PR_SET_PDEATHSIG), also after `kill -9`, when no handler of ours runs. Two traps of that leash are met here:
it belongs to the *thread* that forked, so all forking is done by one thread that lives as long as the process; and a
change of uid clears it, so it is put on after the uid is dropped.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


_Promise = Future[subprocess.Popen[bytes]]


class _Launcher:
    """The thread that forks; it ends with the process and not before."""

    def __init__(self) -> None:
        self._orders: queue.SimpleQueue[tuple[Callable[[], subprocess.Popen[bytes]], _Promise]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._guard = threading.Lock()

    def start(self, start: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        with self._guard:
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="launcher", daemon=True)
                self._thread.start()
        promise = _Promise()
        self._orders.put((start, promise))
        return promise.result()

    def _serve(self) -> None:
        while True:
            start, promise = self._orders.get()
            try:
                promise.set_result(start())
            except BaseException as error:  # raised again where result() is awaited
                promise.set_exception(error)


_launcher = _Launcher()


def _replace_launcher() -> None:
    """A forked copy of this process has no launcher thread; it gets its own on first use."""
    global _launcher  # noqa: PLW0603 - the one place that may
    _launcher = _Launcher()


os.register_at_fork(after_in_child=_replace_launcher)


def _leash(dies_by: int, parent: int) -> Callable[[], None]:
    def put_on() -> None:
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)  # a shell's background job ignores some of them
        _libc.prctl(_PR_SET_PDEATHSIG, dies_by, 0, 0, 0)
        if os.getppid() != parent:  # the parent died before the leash was on
            os._exit(1)

    return put_on


def launch(
    arguments: Sequence[str | Path],
    *,
    dies_by: int = signal.SIGKILL,
    uid: int | None = None,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    log: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start a process that is sent `dies_by` when this process ends, however it ends.

    `uid` (and the same gid, no other groups) is what it runs as; only root may name one. `log` is appended to with
    all it prints; without one, what it prints is dropped. It has a session of its own, so a Ctrl-C in the terminal
    reaches us alone and we decide the order in which things stop. Raises OSError when it cannot be started.
    """
    as_user: dict[str, Any] = {} if uid is None else {"user": uid, "group": uid, "extra_groups": []}

    def start() -> subprocess.Popen[bytes]:
        with contextlib.ExitStack() as stack:
            output = subprocess.DEVNULL if log is None else stack.enter_context(log.open("ab"))
            # preexec_fn is safe here: it calls three system calls and takes no lock.
            return subprocess.Popen(
                [str(argument) for argument in arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if environment is None else dict(environment),
                cwd=directory,
                start_new_session=True,
                preexec_fn=_leash(dies_by, os.getpid()),  # noqa: PLW1509
                **as_user,
            )

    return _launcher.start(start)


def stop(process: subprocess.Popen[bytes], *steps: tuple[int, float]) -> int:
    """Send each step's signal and wait its seconds, then SIGKILL; the exit code. Safe to call twice."""
    for number, grace_s in steps:
        if process.poll() is not None:
            break
        process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(grace_s)
    if process.poll() is None:
        process.kill()
    return process.wait()


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, for the message that says why a process ended; empty when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 16_384))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""
