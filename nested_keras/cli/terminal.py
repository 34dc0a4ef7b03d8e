"""Print the results, the notes and, after two seconds, the progress of a command."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TextIO

_FIRST_S = 2.0
_AGAIN_S = 10.0
_TICK_S = 0.2
_WIDTH = 79
_UNREAD = 141  # as a shell reports a death by SIGPIPE


@contextlib.contextmanager
def ends_where_unread() -> Iterator[None]:
    """Ends the process without a word where nobody reads on, as in `nested-keras ... | head`.

    Raises:
        SystemExit: In the place of BrokenPipeError.
    """
    try:
        yield
    except BrokenPipeError:
        # Python writes once more what is left, as it ends.
        null = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(null, stream.fileno())
        raise SystemExit(_UNREAD) from None


class Terminal:
    """Prints the lines of one command.

    Results and notes go to standard output, and progress goes to standard error. On a terminal,
    progress is one line that appears after two seconds and changes in place. Elsewhere, progress is
    a new line after every ten seconds without a line.

    Args:
        quiet: Whether notes and progress are left out.
        json_to_stdout: Whether standard output is for JSON alone; results then go to standard
            error, or nowhere if the command is quiet.
    """

    def __init__(self, *, quiet: bool = False, json_to_stdout: bool = False) -> None:
        self._quiet = quiet
        self._json_to_stdout = json_to_stdout
        self._lock = threading.Lock()
        self._status: str | None = None
        self._shown = ""
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._last = time.monotonic()

    def say(self, text: str) -> None:
        """Prints a result."""
        if self._quiet and self._json_to_stdout:
            return
        with self._lock:
            self._clear()
            self._last = time.monotonic()
            print(text, file=sys.stderr if self._json_to_stdout else sys.stdout, flush=True)

    def note(self, text: str) -> None:
        """Prints a line that a quiet command leaves out."""
        if not self._quiet:
            self.say(text)

    def json(self, text: str) -> None:
        """Prints JSON to standard output."""
        with self._lock:
            self._clear()
            print(text, flush=True)

    def status(self, text: str | None) -> None:
        """Sets the present task of the command; None for no long task."""
        self._status = text
        if self._thread is None and text is not None and not self._quiet:
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()

    def counter(self, task: str) -> Callable[[int, int], None]:
        """Returns a function (done, total) that shows the progress of a task."""
        return lambda done, total: self.status(f"{task}: {done}/{total}")

    def __enter__(self) -> Terminal:
        """Begins the command."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Removes the progress line."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            self._clear()

    def _watch(self) -> None:
        stream, start = sys.stderr, time.monotonic()
        while not self._ended.wait(_TICK_S):
            now, text = time.monotonic(), self._status
            if text is None or now - start < _FIRST_S:
                continue
            with self._lock:
                if stream.isatty():
                    self._show(stream, f"{text} ({now - start:.0f} s)"[:_WIDTH])
                elif now - self._last >= _AGAIN_S:
                    self._last = now
                    print(f"{text} ({now - start:.0f} s)"[:_WIDTH], file=stream, flush=True)

    def _show(self, stream: TextIO, text: str) -> None:
        if text != self._shown:
            stream.write("\r" + text.ljust(len(self._shown)))
            stream.flush()
            self._shown = text

    def _clear(self) -> None:
        if self._shown:
            sys.stderr.write("\r" + " " * len(self._shown) + "\r")
            sys.stderr.flush()
            self._shown = ""
