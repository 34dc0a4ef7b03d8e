"""Predicts what the detector of the paper costs, without training: cycles, bytes, arena.

python benchmarks/detection/costs.py > benchmarks/detection/costs.json
"""

import argparse
import json
import pathlib
import tempfile

import keras
import numpy as np

from nested_keras import applications, export, firmware, nest, report
from nested_keras.allocation import budget

# By width; the densest level costs 1.8 times as much as the sparsest. At width 0.35 the dense model
# takes only 1.75 times the cycles of 90 % sparsity, so the sparsest level has to be sparser.
SPARSITIES = {0.5: (0.9, 0.8, 0.7, 0.45), 0.35: (0.94, 0.8, 0.7, 0.37)}
SHAPE = (160, 160, 3)


def nested(width):
    """Returns the nested detector of one width, pruned, with random weights."""
    keras.utils.set_random_seed(0)
    base = applications.ssd_mobilenet_v2(SHAPE, 10, width=width)
    model = nest(base, SPARSITIES[width], exclude=())
    model.prune()
    return model


def cycles(model):
    """Returns the predicted cycles of each level."""
    return [round(value) for value in budget.total(model, budget.cycles)]


def costs(width):
    """Returns the costs of one width, level by level."""
    model = nested(width)
    images = np.random.default_rng(0).random((4, *SHAPE), np.float32)
    tflite = export.to_tflite(model, representative_dataset=images)
    with tempfile.TemporaryDirectory() as folder:
        library = firmware.generate(tflite, pathlib.Path(folder) / "net", name="net")
    return {
        "width": width,
        "sparsities": SPARSITIES[width],
        "modelled_cycles": cycles(model),
        "weight_bytes": [size.weight_bytes for size in report.level_sizes(tflite)],
        "tflite_bytes": len(tflite),
        "arena_bytes": library.arena_bytes,
    }


def main() -> None:
    """Prints the costs as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("widths", type=float, nargs="*", default=(0.5, 0.35))
    print(json.dumps([costs(width) for width in parser.parse_args().widths], indent=2))


if __name__ == "__main__":
    main()
