"""Programs that this package starts, and temporary folders: both end with the process.

Python's own answer to SIGTERM and SIGHUP is to die at once, which leaves emulators running and
folders behind. While a program runs or a temporary folder exists, these signals raise SystemExit
instead, so that all `finally` blocks run.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import IO, Any

# Windows has no SIGHUP.
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
_GRACE_S = 10.0


def _leave(number: int, _: FrameType | None) -> None:
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)  # a second one must not cut the cleaning up short
    raise SystemExit(128 + number)  # as a shell reports a death by this signal


@contextlib.contextmanager
def signals_raise() -> Iterator[None]:
    """Turns SIGTERM and SIGHUP into SystemExit(128 + number) for a block.

    A handler of the caller's own, or of a block around this one, stays. Outside of the main thread,
    where Python takes no handlers, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    taken = [each for each in _SIGNALS if signal.getsignal(each) is signal.SIG_DFL]
    for each in taken:
        signal.signal(each, _leave)
    try:
        yield
    finally:
        for each in taken:
            signal.signal(each, signal.SIG_DFL)


@contextlib.contextmanager
def temporary_folder(prefix: str = "nested_keras_") -> Iterator[Path]:
    """Makes a temporary folder, and removes the folder however the block ends."""
    with signals_raise(), tempfile.TemporaryDirectory(prefix=prefix) as name:
        yield Path(name)


@contextlib.contextmanager
def running(
    command: Sequence[str | os.PathLike[str]],
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int | IO[bytes] = subprocess.PIPE,
    stderr: int | IO[bytes] = subprocess.PIPE,
    cwd: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Starts a program, and ends the whole process group at the end of the block.

    Args:
        command: Path of the program, and its arguments.
        stdin: As for subprocess.Popen.
        stdout: As for subprocess.Popen.
        stderr: As for subprocess.Popen.
        cwd: Working directory of the program.

    Yields:
        The process, the leader of a group of its own.
    """
    with signals_raise():
        with _signals_put_off() as arrived:
            process = subprocess.Popen(
                command, stdin=stdin, stdout=stdout, stderr=stderr, cwd=cwd, start_new_session=True
            )
        try:
            for number in arrived:
                signal.raise_signal(number)
            yield process
        finally:
            _end(process)


def run(
    command: Sequence[str | os.PathLike[str]],
    *,
    timeout_s: float | None = None,
    stderr: int = subprocess.PIPE,
) -> subprocess.CompletedProcess[bytes]:
    """Runs a program to its end, with nothing to read on its standard input.

    Args:
        command: Path of the program, and its arguments.
        timeout_s: Seconds after which the program is ended; None for no limit.
        stderr: subprocess.PIPE, or subprocess.STDOUT to put errors into the standard output.

    Returns:
        Exit status and outputs.

    Raises:
        subprocess.TimeoutExpired: The time passed; has the output so far.
    """
    with running(command, stderr=stderr) as process:
        output, errors = process.communicate(timeout=timeout_s)
        return subprocess.CompletedProcess(command, process.returncode, output, errors)


@contextlib.contextmanager
def _signals_put_off() -> Iterator[list[int]]:
    """Collects signals for a block, in which an exception would lose a program just started."""
    arrived: list[int] = []
    handlers: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        all_handlers = {each: signal.getsignal(each) for each in (signal.SIGINT, *_SIGNALS)}
        handlers = {each: old for each, old in all_handlers.items() if callable(old)}
    for each in handlers:
        signal.signal(each, lambda number, _: arrived.append(number))
    try:
        yield arrived
    finally:
        for each, old in handlers.items():
            signal.signal(each, old)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the group of a process, and closes the pipes to the process."""
    try:
        if _signal_group(process, signal.SIGTERM):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE_S)
    finally:
        _signal_group(process, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def _signal_group(process: subprocess.Popen[bytes], number: int) -> bool:
    """Sends a signal to the rest of the group; returns whether a process was left."""
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):  # macOS refuses where only a zombie is left
        return False
    return True
