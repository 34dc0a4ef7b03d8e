"""The keywords of renode-test that the suite uses, on the stand-in for Renode (monitor.py)."""

from __future__ import annotations

import re
from types import SimpleNamespace

from tests.renode.monitor import Monitor

_STEP_S = 0.01


class Keywords:
    """A Robot Framework library; every test has an emulation of its own."""

    ROBOT_LIBRARY_SCOPE = "TEST"

    def __init__(self) -> None:
        self._monitor = Monitor()
        self._timeout = 8.0
        self._seen = 0

    def execute_command(self, command: str) -> str:
        """Runs a command of the Monitor and returns what it prints."""
        return self._monitor.execute(command) + "\r\n"

    def create_terminal_tester(self, uart: str, *, timeout: float) -> None:
        """Attaches to the UART."""
        assert uart == "sysbus.usart3"
        self._timeout = float(timeout)

    def start_emulation(self) -> None:
        """Does nothing: the emulation advances while a line is waited for."""

    def wait_for_line_on_uart(self, content: str, *, treatAsRegex: bool = False) -> SimpleNamespace:  # noqa: N803
        """Finds the next line that contains or matches the content."""
        pattern = re.compile(content if treatAsRegex else re.escape(content))
        machine = self._monitor.machine
        assert machine is not None
        passed = 0.0
        while True:
            *lines, _ = machine.console.decode().split("\n")
            while self._seen < len(lines):
                line = lines[self._seen]
                self._seen += 1
                if match := pattern.search(line):
                    return SimpleNamespace(Line=line, Groups=list(match.groups()))
            if passed > self._timeout:
                raise AssertionError(f"expected {content!r}: got {lines[-5:]}")
            machine.run_for(_STEP_S)
            passed += _STEP_S
