"""The flags of a detector, and what they make: its decoder, and pictures with its boxes.

Beside a detector NAME.keras or NAME.tflite lies NAME.anchors.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nested_keras import detection, files, runtime
from nested_keras.cli import arguments
from nested_keras.cli.parts import Reading
from nested_keras.detection import drawing
from nested_keras.detection.average_precision import Found
from nested_keras.typing import Flags


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flag --anchors and those that say which boxes count."""
    group: Flags = parser.add_argument_group("detection")
    limits = detection.Limits()
    group.add_argument(
        "--anchors",
        type=Path,
        default=None,
        metavar="FILE",
        help="the anchors of a detector (default NAME.anchors.json beside the model NAME.tflite)",
    )
    group.add_argument(
        "--min-score",
        type=float,
        default=limits.score_threshold,
        metavar="P",
        help=f"the least score of a box, 0..1 (default {limits.score_threshold})",
    )
    group.add_argument(
        "--max-overlap",
        type=float,
        default=limits.iou_threshold,
        metavar="IOU",
        help="of two boxes of a class that overlap by more, the one with the higher score stays "
        f"(default {limits.iou_threshold})",
    )
    group.add_argument(
        "--max-boxes",
        type=arguments.positive,
        default=limits.max_boxes,
        metavar="N",
        help=f"boxes of an image at most (default {limits.max_boxes})",
    )


def beside(model: Path) -> Path:
    """Returns the path of the anchors beside a model."""
    return model.with_suffix(".anchors.json")


def decoder_of(args: argparse.Namespace, content: bytes) -> detection.Decoder | None:
    """Returns the decoder of a model, or None where the model has no anchors.

    Args:
        args: The arguments of a command with MODEL and the flags of `add_flags`.
        content: The contents of the .tflite.

    Raises:
        ValueError: If the anchors are damaged or of another model, or a limit is out of range.
        OSError: If the anchors cannot be read.
    """
    path = args.anchors or beside(args.model)
    if args.anchors is None and not path.exists():
        return None
    try:
        anchors = detection.Anchors.from_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    limits = detection.Limits(
        score_threshold=args.min_score,
        iou_threshold=args.max_overlap,
        max_boxes=args.max_boxes,
        max_candidates=max(detection.Limits().max_candidates, 4 * args.max_boxes),
    )
    return runtime.decoder_for(content, anchors.boxes(), limits)


def pictures(
    x: npt.NDArray[np.generic], model: runtime.Program, reading: Reading
) -> npt.NDArray[np.uint8]:
    """Returns the inputs of a model as images of 8 bits.

    Args:
        x: Inputs [n, height, width, 1 or 3], int8 as the model takes them, or real numbers.
        model: The model.
        reading: What black and white are for the model.

    Raises:
        ValueError: If the inputs are no images.
    """
    if x.ndim != 4 or x.shape[3] not in (1, 3):
        raise ValueError(
            f"boxes are drawn into images [n, height, width, 1 or 3]: got {list(x.shape)}"
        )
    real = x.astype(np.float64)
    if x.dtype == np.int8:
        details = model.tensors[model.inputs[0]]
        real = details.scale * (real - details.zero_point)
    low, high = reading.pixels
    return np.clip(np.round((real - low) * (255 / (high - low))), 0, 255).astype(np.uint8)


def draw(
    folder: Path,
    images: npt.NDArray[np.uint8],
    found_of_levels: Sequence[Sequence[Found]],
    classes: Sequence[str],
) -> int:
    """Writes a PNG for each image and level: `0000_level0.png` and so on.

    Args:
        folder: The folder, made where it is missing.
        images: [n, height, width, 1 or 3].
        found_of_levels: For each level the boxes of each image.
        classes: The names of the classes; may be empty.

    Returns:
        The number of files.
    """
    contents = {
        f"{index:04}_level{level}.png": drawing.draw(image, boxes, classes)
        for level, found in enumerate(found_of_levels)
        for index, (image, boxes) in enumerate(zip(images, found, strict=True))
    }
    files.write_folder(folder, contents)
    return len(contents)
