"""Renode's Monitor as far as the scripts of this project use it: `python -m tests.renode.monitor`.

Takes Renode's options, runs a script on `machine.Machine`, and prints numbers as Renode does. A
command that it does not know stops the script, as an error does there; and as there, the commands
after it are lost, `quit` among them, and Renode waits for input.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tests.renode.machine import Machine

# The Monitor ends a path at a space or semicolon, unless a backslash stands before the space.
_PATH = r"@((?:\\ |[^\s;])+)"


def _say(text: str) -> None:
    sys.stdout.write(text + "\r\n")
    sys.stdout.flush()


def _unescape(path: str) -> str:
    return path.replace("\\ ", " ")


class MonitorError(Exception):
    """A command that failed."""


class Monitor:
    """Executes commands; `execute` returns what a command prints."""

    def __init__(self) -> None:
        self.machine: Machine | None = None
        self.variables: dict[str, str] = {}
        self._elf: Path | None = None
        self._uart: Path | None = None

    def include(self, path: Path) -> None:
        """Runs a script."""
        before = self.variables.get("ORIGIN", "")
        self.variables["ORIGIN"] = str(path.resolve().parent)
        lines = iter(path.read_text().splitlines())
        for line in lines:
            if match := re.match(r"macro (\w+)$", line):
                next(lines)  # the opening quotes
                body = [entry.strip() for entry in iter(lambda: next(lines), '"""')]
                self.variables[match[1]] = "\n".join(body)
                continue
            if printed := self.execute(line):
                _say(printed)
        self.variables["ORIGIN"] = before

    def execute(self, command: str) -> str:
        """Runs one command."""
        if not command or command.startswith(("#", ":")) or command == "using sysbus":
            return ""
        if match := re.match(rf"(?:set |\$)(\w+)(?: |(\?)?=){_PATH}$", command):
            name, conditional, value = match.groups()
            if not conditional or name not in self.variables:
                self.variables[name] = _unescape(value)
            return ""
        expanded = re.sub(r"\$(\w+)", lambda m: self.variables[m[1]], command)
        if match := re.match(rf"include {_PATH}$", expanded):
            self.include(Path(_unescape(match[1])))
            return ""
        if re.match(rf"logFile {_PATH} true$|mach create \"\w+\"$", expanded):
            return ""
        if command.startswith("runMacro $"):
            for line in expanded.removeprefix("runMacro ").splitlines():
                self.execute(line)
            return ""
        return self._on_machine(expanded)

    def _on_machine(self, command: str) -> str:
        if match := re.match(r"machine LoadPlatformDescription (.*)$", command):
            self.machine = Machine(Path(match[1]))
        elif match := re.match(r"sysbus LoadELF (.*)$", command):
            self._elf = Path(match[1])
            if not self._elf.exists():
                raise MonitorError(
                    f"There was an error executing command '{command}'\r\nNo such file: {self._elf}"
                )
        elif match := re.match(r"cpu VectorTableOffset (0x\w+)$", command):
            assert self._elf is not None
            self._running().load(self._elf, int(match[1], 16))
        elif match := re.match(rf"sysbus\.usart3 CreateFileBackend {_PATH} true$", command):
            self._uart = Path(_unescape(match[1]))
            self._uart.touch(exist_ok=False)
        elif match := re.match(r'emulation RunFor "([0-9.]+)"$', command):
            self._running().run_for(float(match[1]))
            if self._uart is not None:
                self._uart.write_bytes(self._running().console)
        elif command == "cpu ExecutedInstructions":
            return f"0x{self._running().executed:016X}"
        elif command == "sysbus ReadDoubleWord 0xE0001004":
            return f"0x{self._running().cycle_count():08X}"
        else:
            raise MonitorError(f"There was an error executing command '{command}'")
        return ""

    def _running(self) -> Machine:
        if self.machine is None:
            raise MonitorError("no machine")
        return self.machine


def main(arguments: list[str]) -> None:
    """Renode's command line."""
    expected = ["--disable-xwt", "--console", "--plain", "--hide-log", "-e"]
    if arguments[:5] != expected or arguments[6:] != ["-e", "quit"]:
        raise SystemExit(f"unexpected arguments: {arguments}")
    monitor = Monitor()
    try:
        monitor.execute(arguments[5])
    except MonitorError as error:
        _say(str(error))
        sys.stdin.read()
    _say("Renode is quitting")


if __name__ == "__main__":
    main(sys.argv[1:])
