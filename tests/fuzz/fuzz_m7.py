"""Runs random layers on the emulated Cortex-M7: tuned kernels against the portable reference.

    python -m tests.fuzz.fuzz_m7 --seconds 60 [--seed N]

The program is tests/tflm_ops/nested_grid.c, with other layers each time; layer i of a run depends
on seed + i alone. The exit status is 1 where an output differs or a guard was written to.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from nested_keras.codegen.firmware_errors import DeviceError
from nested_keras.devices import qemu
from tests.tflm_ops.test_nested_conv_m7 import build

LAYERS = 1000


def main(argv=None):
    """Runs the fuzzer; returns its exit status."""
    flags = argparse.ArgumentParser()
    flags.add_argument("--seconds", type=float, default=60)
    flags.add_argument("--seed", type=int, default=1_000_000)
    args = flags.parse_args(argv)
    end = time.monotonic() + args.seconds
    count = 0
    with tempfile.TemporaryDirectory() as folder:
        while count == 0 or time.monotonic() < end:
            seed = args.seed + count
            elf = build(Path(folder), Path(folder) / "objects", first_seed=seed, layers=LAYERS)
            try:
                qemu.run(elf, timeout_s=600)
            except DeviceError as error:
                sys.stderr.write(f"{error}\nrepeat with: --seed {seed} --seconds 0\n")
                return 1
            count += LAYERS
    sys.stdout.write(f"{count} layers, 0 findings\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
