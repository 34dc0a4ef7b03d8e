"""Runs all fuzzers one after the other, and counts what they tried: `make fuzz`.

    python -m tests.fuzz.run FOLDER [--seconds 60 | --hours N] [TARGET...]

FOLDER is the build folder of the preset `fuzz`. There the corpus of each target grows, and
executions.json keeps the number of inputs tried in all runs. A finding is written to
FOLDER/findings, and the exit status is then 1.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

SEEDS = Path(__file__).parent / "seeds"
# One round of a run of hours gives each target so many seconds.
ROUND = 300


@dataclass(frozen=True)
class Target:
    """A fuzzer.

    Attributes:
        longest: Bytes of the longest input of a libFuzzer target; 0 for a Python program.
        seeds: Folder in SEEDS with inputs to begin with.
    """

    longest: int = 0
    seeds: str | None = None


TARGETS = {
    "stream": Target(2048, "packed"),
    "ops": Target(512),
    "adapter": Target(2048, "packed"),
    "files": Target(),
    "m7": Target(),
}


def command_of(name, folder, seconds, tried):
    """The command that runs a target; a later run of a Python target takes other random numbers."""
    target = TARGETS[name]
    findings = folder / "findings"
    if not target.longest:
        where = [findings] if name == "files" else []
        numbers = ["--seconds", seconds, "--seed", 1_000_000 + tried]
        return [sys.executable, "-m", f"tests.fuzz.fuzz_{name}", *where, *numbers]
    corpus = folder / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    return [
        *(folder / "tests" / "fuzz" / f"fuzz_{name}", corpus),
        *([SEEDS / target.seeds] if target.seeds else []),
        *(f"-max_total_time={seconds}", "-timeout=20", "-print_final_stats=1"),
        *(f"-max_len={target.longest}", f"-artifact_prefix={findings}/{name}-"),
    ]


def count_in(text):
    """The number of inputs that a target says it has tried."""
    found = re.search(r"number_of_executed_units: (\d+)|^(\d+) \w+, 0 findings", text, re.MULTILINE)
    return int(found[1] or found[2]) if found else 0


def run_target(name, folder, seconds):
    """Runs a target; returns whether it found nothing."""
    kept = folder / "executions.json"
    tried = json.loads(kept.read_text()) if kept.exists() else {}
    command = [str(word) for word in command_of(name, folder, seconds, tried.get(name, 0))]
    # A small quarantine and short stacks: several times as many inputs in the same time.
    settings = {"ASAN_OPTIONS": "quarantine_size_mb=4:malloc_context_size=4"}
    done = subprocess.run(
        command, env={**os.environ, **settings}, capture_output=True, text=True, check=False,
        errors="replace",
    )  # fmt: skip
    count = count_in(done.stdout + done.stderr)
    tried[name] = tried.get(name, 0) + count
    kept.write_text(json.dumps(tried))
    sys.stdout.write(f"{name:8} {count:12,} inputs, {tried[name]:14,} in all runs\n")
    sys.stdout.flush()
    if done.returncode != 0:
        (folder / "findings" / f"{name}.txt").write_text(done.stdout + done.stderr)
        sys.stderr.write(f"{name}: exit status {done.returncode}\n{done.stderr[-4000:]}\n")
    elif count == 0:
        sys.stderr.write(f"{name}: expected at least one input to be tried: got none\n")
    return done.returncode == 0 and count > 0


def main(argv=None):
    """Runs the targets; returns the exit status."""
    flags = argparse.ArgumentParser()
    flags.add_argument("folder", type=Path)
    flags.add_argument("targets", nargs="*", metavar="TARGET")
    flags.add_argument("--seconds", type=int, default=60)
    flags.add_argument("--hours", type=float, default=0)
    args = flags.parse_intermixed_args(argv)
    unknown = set(args.targets) - set(TARGETS)
    if unknown:
        flags.error(f"expected targets of {', '.join(TARGETS)}: got {', '.join(sorted(unknown))}")
    (args.folder / "findings").mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 3600 * args.hours
    seconds = ROUND if args.hours else args.seconds
    while True:
        # All targets, also after one of them has found something.
        fine = [run_target(name, args.folder, seconds) for name in args.targets or TARGETS]
        if not all(fine) or time.monotonic() >= end:
            return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main())
