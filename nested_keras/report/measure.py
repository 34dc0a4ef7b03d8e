"""Run every level of a .tflite on one target; measure its accuracy and its cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from nested_keras import arrays, export, firmware, runtime
from nested_keras.detection.average_precision import Truth
from nested_keras.detection.decoding import Decoder
from nested_keras.report.boxes import Boxes, listed, mean_precision
from nested_keras.runtime.runner import ModelRunner
from nested_keras.tflite.operators import Dequantize

# Inputs per piece: a few tenths of a second of work, and many times the batch of a runtime.
_INPUTS_AT_ONCE = 64

TARGETS = ("reference", "litert", "tflm", "host", "qemu", "renode")

_DEVICES = {"qemu": firmware.QemuModel, "renode": firmware.RenodeModel}
_ON_THIS_PC = {
    "litert": lambda model, _: runtime.LiteRTModel(model),
    "tflm": lambda model, _: firmware.TflmModel(model),
    "host": lambda model, decoder: firmware.HostModel(model, decoder=decoder),
}
_Outputs: TypeAlias = tuple[npt.NDArray[Any], ...]


@dataclass(frozen=True)
class LevelSize:
    """The weights that one level of a .tflite reads.

    Attributes:
        level: Level, 0 is the sparsest.
        sparsity: Share of zeros among the weights of all layers, dense ones included, 0..1.
        nnz: Weights that are not zero, over all layers.
        weight_bytes: Bytes of weights, biases and requantisation tables.
    """

    level: int
    sparsity: float
    nnz: int
    weight_bytes: int


@dataclass(frozen=True)
class LevelRun:
    """One level on one target.

    Attributes:
        level: Level, 0 is the sparsest.
        accuracy: Share of inputs whose largest output is the label, 0..1; None without labels.
        instructions: Mean instructions per inference; None for a target that does not count.
        arena_bytes: Working memory of the generated code or of TFLite Micro; None on a PC.
        flash_bytes: Code and constants of the firmware without the images; None on a PC.
        stack_bytes: Deepest use of the stack in the whole run, the firmware's own part included;
            None on a PC.
        mismatches_against_reference: Output elements that differ from the NumPy reference; of a
            detector also numbers of boxes.
        detections: Of a detector, the boxes of each input, int32 [k, 6] as `Decoder.detect` returns
            them; None of another model.
        average_precision: Of a detector, the mean over the classes at an overlap of 0.5, 0..1; None
            without objects to find.
    """

    level: int
    accuracy: float | None
    instructions: int | None
    arena_bytes: int | None
    flash_bytes: int | None
    stack_bytes: int | None
    mismatches_against_reference: int
    detections: Boxes | None = dataclasses.field(default=None, repr=False, compare=False)
    average_precision: float | None = None


@dataclass(frozen=True)
class TargetRun:
    """All levels on one target.

    Attributes:
        target: One of `TARGETS`.
        runtime: The runtime on an emulated device, one of `firmware.RUNTIMES`; None on a PC.
        inputs: Number of inputs run at every level.
        levels: One row a level, sparsest first.
    """

    target: str
    runtime: str | None
    inputs: int
    levels: Sequence[LevelRun]

    def to_dict(self) -> dict[str, Any]:
        """Returns the content of the file that `nested-keras run --json` writes."""
        levels = [dataclasses.asdict(row) for row in self.levels]
        for row in levels:
            precision, detections = row.pop("average_precision"), row.pop("detections")
            if detections is not None:
                row["average_precision"] = precision
                row["detections"] = [listed(each) for each in detections]
        return {**{k: getattr(self, k) for k in ("target", "runtime", "inputs")}, "levels": levels}


def level_sizes(model: bytes) -> tuple[LevelSize, ...]:
    """Sums up the layers of a .tflite.

    Args:
        model: Contents of a .tflite, nested or not.

    Returns:
        One row a level, sparsest first.

    Raises:
        nested_keras.runtime.ModelError: If the file is no model, or damaged.
    """
    layers = export.summarize_model(model)
    weights = sum(layer.weights for layer in layers)
    nnz_of_levels = [sum(column) for column in zip(*(layer.nnz for layer in layers), strict=True)]
    bytes_of_levels = [
        sum(column) for column in zip(*(layer.bytes for layer in layers), strict=True)
    ]
    return tuple(
        LevelSize(level=level, sparsity=1 - nnz / weights, nnz=nnz, weight_bytes=size)
        for level, (nnz, size) in enumerate(zip(nnz_of_levels, bytes_of_levels, strict=True))
    )


def accuracy(
    outputs: npt.NDArray[Any], labels: npt.NDArray[Any], *, threshold: float = 0.0
) -> float:
    """Returns the top-1 accuracy.

    Args:
        outputs: Scores [n, ...], flattened per input.
        labels: Class indices [n] or [n, 1].
        threshold: If there is one score per input, a score above the threshold stands for class 1,
            any other score for class 0.

    Returns:
        Share of inputs whose largest score is at the label, 0..1; of equal scores the first counts.

    Raises:
        ValueError: If the numbers of labels and outputs differ, or a label is no class.
    """
    scores = outputs.reshape(len(outputs), -1)
    single = scores.shape[1] == 1
    classes = 2 if single else scores.shape[1]
    wanted = arrays.class_indices(labels, count=len(outputs), classes=classes, name="labels")
    found = scores[:, 0] > threshold if single else np.argmax(scores, axis=1)
    return float(np.mean(found == wanted))


def run_levels(
    model: bytes,
    x: npt.NDArray[Any],
    labels: npt.NDArray[Any] | None = None,
    *,
    target: str,
    device_runtime: str = "standalone",
    build_dir: Path | None = None,
    board: str | Path | None = None,
    decoder: Decoder | None = None,
    truths: Sequence[Truth] | None = None,
    progress: Callable[[str], None] | None = None,
) -> TargetRun:
    """Runs a model at every level and compares all outputs with the NumPy reference.

    Args:
        model: Contents of a .tflite with one output, or of a detector.
        x: Inputs [n, ...]: int8 as the model takes them, or real numbers, which are quantised.
        labels: Class indices [n], for the accuracy.
        target: One of `TARGETS`.
        device_runtime: The runtime on an emulated device: one of `firmware.RUNTIMES`.
        build_dir: Where the firmware of an emulator is built; a temporary folder by default.
        board: As for `firmware.QemuModel`.
        decoder: Of a detector (`runtime.decoder_for`); generated C finds the boxes by itself.
        truths: The objects of each input, for the average precision of a detector.
        progress: Called with a short text on what is run now.

    Returns:
        One row a level.

    Raises:
        ValueError: If the target is unknown, the model has several inputs or outputs, there is no
            input, a shape or the number of labels is wrong, a value is no finite real number, or a
            label is no class.
        ToolchainError: If a compiler, the emulator or TFLite Micro is missing.
        ImportError: If the package tflite-micro is missing.
    """
    _check_target(target, device_runtime, board)
    tell = progress or (lambda text: None)
    x = arrays.real_images(x, name="x")
    program = runtime.lower(model)
    reference = runtime.ReferenceModel(program)
    _require_one_input_and_output(reference, decoder)
    expected = [_run(reference, x, k, tell, "NumPy reference") for k in range(reference.levels)]
    outputs, boxes, device = expected, None, None
    if target in _DEVICES:
        tell(f"building firmware and running {len(x)} inputs on {target}")
        device = _DEVICES[target](
            model, runtime=device_runtime, build_dir=build_dir, board=board, decoder=decoder
        ).run_all(x)
        outputs, boxes = [*map(_as_tuple, device.outputs)], device.detections
    elif target in _ON_THIS_PC:
        outputs, boxes = _run_on_this_pc(target, model, x, decoder, tell)
    scores = _accuracies(program, [values[0] for values in outputs], labels)
    rows = _level_runs(scores, outputs, expected, device)
    if decoder is not None:
        own = boxes or [decoder.detect(*values) for values in outputs]
        rows = _with_boxes(rows, own, expected, truths, decoder)
    used = None if device is None else device_runtime
    return TargetRun(target=target, runtime=used, inputs=len(x), levels=rows)


def _run_on_this_pc(
    target: str,
    model: bytes,
    x: npt.NDArray[Any],
    decoder: Decoder | None,
    tell: Callable[[str], None],
) -> tuple[list[_Outputs], tuple[Boxes, ...] | None]:
    """Returns the outputs of each level, and the boxes where C finds them."""
    runner = _ON_THIS_PC[target](model, decoder)
    outputs = [_run(runner, x, level, tell, target) for level in range(runner.levels)]
    if decoder is None or not isinstance(runner, firmware.HostModel):
        return outputs, None
    return outputs, tuple(runner.detect(*values) for values in outputs)


def _with_boxes(
    rows: Sequence[LevelRun],
    boxes: Sequence[Boxes],
    expected: Sequence[_Outputs],
    truths: Sequence[Truth] | None,
    decoder: Decoder,
) -> list[LevelRun]:
    """Returns the rows of a detector with its boxes, and with the numbers of them that differ.

    Args:
        rows: The levels.
        boxes: The boxes of each level.
        expected: The outputs of each level in NumPy.
        truths: As for `run_levels`.
        decoder: As for `run_levels`.
    """
    found = []
    for row, own, outputs in zip(rows, boxes, expected, strict=True):
        wrong = row.mismatches_against_reference + _differing(own, decoder.detect(*outputs))
        precision = mean_precision(own, truths, classes=decoder.classes)
        found.append(
            dataclasses.replace(
                row,
                mismatches_against_reference=wrong,
                detections=own,
                average_precision=precision,
            )
        )
    return found


def _differing(values: _Outputs, expected: _Outputs) -> int:
    """Counts the elements that differ; where a shape differs, all of the larger array."""
    return sum(
        int(np.sum(one != other)) if one.shape == other.shape else max(one.size, other.size)
        for one, other in zip(values, expected, strict=True)
    )


def _check_target(target: str, device_runtime: str, board: str | Path | None) -> None:
    if target not in TARGETS:
        raise ValueError(f"target must be one of {', '.join(TARGETS)}: got {target!r}")
    if device_runtime != "standalone" and target not in _DEVICES:
        raise ValueError(
            f"runtime {device_runtime!r} is for the targets {', '.join(_DEVICES)}: got {target!r}"
        )
    if board is not None and target not in _DEVICES:
        raise ValueError(f"a board is for the targets {', '.join(_DEVICES)}: got {target!r}")


def _run(
    runner: ModelRunner,
    x: npt.NDArray[Any],
    level: int,
    tell: Callable[[str], None],
    name: str,
) -> _Outputs:
    """Runs a level in pieces, so that the progress can be told."""
    batch = runner.input_details[0].shape[0]
    size = batch * max(1, _INPUTS_AT_ONCE // batch)
    pieces = []
    for start in range(0, len(x), size):
        tell(f"{name}, level {level}/{runner.levels - 1}: {start}/{len(x)} inputs")
        pieces.append(_as_tuple(runner.run(x[start : start + size], level)))
    return tuple(np.concatenate(parts) for parts in zip(*pieces, strict=True))


def _as_tuple(outputs: npt.NDArray[Any] | _Outputs) -> _Outputs:
    return outputs if isinstance(outputs, tuple) else (np.asarray(outputs),)


def _require_one_input_and_output(model: runtime.ReferenceModel, decoder: Decoder | None) -> None:
    inputs, outputs = len(model.input_details), len(model.output_details)
    if (inputs, outputs) != (1, 1 if decoder is None else 2):
        hint = "" if decoder or outputs != 2 else "; a detector needs its anchors"
        raise ValueError(
            f"the model must have one input and one output: got {inputs} and {outputs}{hint}"
        )


def _accuracies(
    program: runtime.Program,
    outputs: Sequence[npt.NDArray[Any]],
    labels: npt.NDArray[Any] | None,
) -> list[float | None]:
    """Returns the accuracy of each level's outputs, None without labels."""
    if labels is None:
        return [None for _ in outputs]
    threshold = _threshold(program)
    return [accuracy(output, labels, threshold=threshold) for output in outputs]


def _level_runs(
    scores: Sequence[float | None],
    outputs: Sequence[_Outputs],
    expected: Sequence[_Outputs],
    device: firmware.DeviceResult | None,
) -> list[LevelRun]:
    """Returns the rows of all levels; costs are None where no device ran the model."""
    return [
        LevelRun(
            level=level,
            accuracy=score,
            instructions=None if device is None else round(device.instructions[level]),
            arena_bytes=None if device is None else device.arena_bytes,
            flash_bytes=None if device is None else device.text_bytes,
            stack_bytes=None if device is None else device.stack_bytes,
            mismatches_against_reference=_differing(outputs[level], expected[level]),
        )
        for level, score in enumerate(scores)
    ]


def _threshold(model: runtime.Program) -> float:
    """Returns the output above which a model with one score per input means class 1.

    TFLite fixes the int8 form of a sigmoid to scale 1/256 and zero point -128. The form tells
    probabilities from logits.
    """
    output, last = model.tensors[model.outputs[0]], model.ops[-1]
    real = isinstance(last, Dequantize)
    quantized = last if isinstance(last, Dequantize) else output
    lowest = 0 if output.dtype == "uint8" else -128
    middle = 0.5 if (quantized.scale, quantized.zero_point) == (1 / 256, lowest) else 0.0
    return middle if real else middle / quantized.scale + quantized.zero_point
