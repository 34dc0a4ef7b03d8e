"""The decoder of a detector that is a .tflite, from the scales of its outputs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nested_keras.detection import decoding
from nested_keras.runtime.runner import AnyModel, load_program


def decoder_for(
    model: AnyModel,
    anchors: npt.NDArray[np.float32],
    limits: decoding.Limits | None = None,
) -> decoding.Decoder:
    """Makes the decoder of a detector.

    Args:
        model: Contents of a .tflite, its path, or a prepared graph: with the int8 outputs `boxes`
            [1, A, 4] and `scores` [1, A, classes + 1], in this order.
        anchors: [A, 4]: centre y, centre x, height, width as shares of the image.
        limits: Which boxes count; None for the defaults.

    Returns:
        The decoder: for `generate`, `HostModel` and `QemuModel`, and to find boxes in outputs.

    Raises:
        ValueError: If the outputs are others, or the anchors do not fit the outputs.
        ModelError: If the bytes are no model that can be run.
    """
    program = load_program(model)
    outputs = [program.tensors[index] for index in program.outputs]
    count = len(anchors)
    shapes = [tensor.shape for tensor in outputs]
    fits = (
        len(outputs) == 2
        and shapes[0] == (1, count, 4)
        and len(shapes[1]) == 3
        and shapes[1][:2] == (1, count)
        and shapes[1][2] >= 2
    )
    if not fits or any(tensor.dtype != "int8" for tensor in outputs):
        found = ", ".join(f"{t.dtype} {list(t.shape)}" for t in outputs)
        raise ValueError(
            f"a detector of {count} anchors must have the outputs int8 [1, {count}, 4] and int8 "
            f"[1, {count}, classes + 1]: got {found}"
        )
    boxes, scores = outputs
    return decoding.decoder(
        anchors,
        boxes_scale=boxes.scale,
        boxes_zero_point=boxes.zero_point,
        scores_scale=scores.scale,
        classes=scores.shape[2] - 1,
        limits=limits,
    )
