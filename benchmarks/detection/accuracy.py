"""Compares nested detectors with stand-alone ones: average precision of each level, float and int8.

For each nested model there is a pattern with {level} for the stand-alone models of its levels. The
results go to stdout as JSON; the .tflite of each nested model is written beside the model.

    python benchmarks/detection/accuracy.py --data VOC_FOLDER --nested n0.keras n1.keras \
        --alone 'level{level}_0.keras' 'level{level}_1.keras' > benchmarks/detection/bccd.json
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

from nested_keras import load_model
from nested_keras.allocation import budget
from nested_keras.cli import detection_data_files, detection_training, examples
from nested_keras.detection import average_precision


def arguments():
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--nested", type=pathlib.Path, nargs="+", required=True)
    parser.add_argument("--alone", nargs="+", required=True, metavar="PATTERN")
    args = parser.parse_args()
    if len(args.nested) != len(args.alone):
        parser.error(f"expected {len(args.nested)} patterns, one a model: got {len(args.alone)}")
    return args


def float_precision(model, data, goal):
    """Returns VOC's mAP@0.5 of each level in float32, 0..1.

    A quantize-aware model computes with the rounding of int8.
    """
    images, truths = goal.reader.images(data), data.truths()
    found = []
    for level in range(model.levels):
        boxes = detection_training.find(model.at_level(level), images, goal)
        found.append(average_precision.voc(truths, boxes, classes=goal.classes).mean())
    return found


def int8_precision(path, data):
    """Exports a model and returns VOC's mAP@0.5 of each level of the .tflite in LiteRT, 0..1."""
    tflite = path.with_suffix(".tflite")
    with tempfile.TemporaryDirectory() as folder:
        result = pathlib.Path(folder) / "run.json"
        boxes = ["--min-score", "0.01", "--max-boxes", "100"]
        for words in (
            ["export", path, "--data", data, "--out", tflite],
            ["run", tflite, "--target", "litert", "--data", data, "--json", result, *boxes],
        ):
            command = [sys.executable, "-m", "nested_keras", *map(str, words), "--quiet"]
            subprocess.run(command, check=True, stdout=sys.stderr)
        levels = json.loads(result.read_text())["levels"]
    return [row["average_precision"] for row in levels]


def compare(path, pattern, folder):
    """Returns the rows of one nested model and of the stand-alone models of its levels."""
    model = load_model(path, compile=False)
    flags = argparse.Namespace(pixels=None, label=None, validation=None)
    reading = examples.reading_of(flags, path)
    goal = detection_training.task_of(model.float_level(0), reading)
    _, test = detection_data_files.load(folder, classes=reading.classes, window=reading.window)
    nested, whole = float_precision(model, test, goal), int8_precision(path, folder)
    alone = [
        float_precision(load_model(pattern.format(level=level), compile=False), test, goal)[0]
        for level in range(model.levels)
    ]
    return {
        "sparsity": [model.level_sparsity(level) for level in range(model.levels)],
        "modelled_cycles": [round(each) for each in budget.total(model, budget.cycles)],
        "nested": nested,
        "nested_int8": whole,
        "alone": alone,
    }


def main():
    """Compares all models."""
    args = arguments()
    pairs = zip(args.nested, args.alone, strict=True)
    print(json.dumps([compare(path, pattern, args.data) for path, pattern in pairs], indent=2))


if __name__ == "__main__":
    main()
