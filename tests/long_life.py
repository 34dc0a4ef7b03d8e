"""Runs a model again and again, and prints by how many bytes the memory of the process grew.

python -m tests.long_life RUNNER invocations COUNT      one model, COUNT invocations
python -m tests.long_life RUNNER interpreters COUNT     COUNT models, one invocation each

A quarter of the work passes before the memory is measured for the first time. The outputs must stay
those of the NumPy reference.
"""

import gc
import sys

import numpy as np
import psutil

from nested_keras.firmware import HostModel
from nested_keras.runtime import LiteRTModel, ReferenceModel
from tests.nested_keras.hostile import many_operators

RUNNERS = {"litert": LiteRTModel, "host": HostModel}


def resident():
    """Bytes of memory that this process has, after a collection."""
    gc.collect()
    return psutil.Process().memory_info().rss


def main(runner, what, count):
    content = many_operators()
    reference = ReferenceModel(content)
    x = np.zeros((1, *reference.input_details[0].shape[1:]), np.int8)
    wanted = [reference.run(x, level) for level in range(reference.levels)]
    model = RUNNERS[runner](content)
    before = 0
    for number in range(int(count)):
        if number == int(count) // 4:
            before = resident()
        if what == "interpreters":
            model = RUNNERS[runner](content)
        level = number % len(wanted)
        np.testing.assert_array_equal(model.run(x, level), wanted[level])
    sys.stdout.write(f"{resident() - before}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
