"""From files to what a detector trains on: decoded, cut out, resized, as a `tf.data.Dataset`."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from nested_keras.detection import detection_data
from nested_keras.detection.average_precision import Truth
from nested_keras.detection.detection_data import WHOLE, DetectionData, Example, Region
from nested_keras.detection.matching import Matcher
from nested_keras.detection.scene_changes import SceneChanges
from nested_keras.typing import KerasTensor

Pixels = npt.NDArray[np.float32]
_MODES = {1: "L", 3: "RGB"}


@dataclasses.dataclass(frozen=True)
class SceneReader:
    """Reads images in the size and the colours of a model's input.

    Attributes:
        shape: (height, width, channels) of the model's input; one channel or three.
        pixels: What black and white are for the model.

    Raises:
        ValueError: If there are neither one channel nor three.
    """

    shape: tuple[int, int, int]
    pixels: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        """Refuses other shapes."""
        if len(self.shape) != 3 or self.shape[2] not in _MODES:
            raise ValueError(
                f"a detector must take images [height, width, 1 or 3]: got {list(self.shape)}"
            )

    def read(self, example: Example, region: Region = WHOLE) -> Pixels:
        """Returns a region of an image, resized.

        Args:
            example: The image or window.
            region: (y0, x0, y1, x1), shares of it; what lies outside has its mean colour.

        Returns:
            float32 [height, width, channels] in 0..255.

        Raises:
            ValueError: If the image cannot be decoded.
        """
        module = detection_data.pillow()
        height, width, channels = self.shape
        y0, x0, y1, x1 = region
        inside = max(y0, 0.0), max(x0, 0.0), min(y1, 1.0), min(x1, 1.0)
        places = [
            (inside[0] - y0) / (y1 - y0) * height,
            (inside[1] - x0) / (x1 - x0) * width,
            (inside[2] - y0) / (y1 - y0) * height,
            (inside[3] - x0) / (x1 - x0) * width,
        ]
        top, left, bottom, right = (round(place) for place in places)
        bottom, right = max(bottom, top + 1), max(right, left + 1)
        (high, wide), (down, across) = example.size, example.origin
        box = (
            across + inside[1] * wide,
            down + inside[0] * high,
            across + inside[3] * wide,
            down + inside[2] * high,
        )
        try:
            with module.open(example.image) as image:
                part = image.convert(_MODES[channels]).resize(
                    (right - left, bottom - top), module.Resampling.BILINEAR, box=box
                )
        except Exception as error:  # whatever Pillow's decoders raise for damaged bytes
            raise detection_data.unreadable(example.image, error) from error
        seen = np.asarray(part, np.float32).reshape(bottom - top, right - left, channels)
        if seen.shape == self.shape:
            return seen
        found = np.empty(self.shape, np.float32)
        found[:] = seen.mean(axis=(0, 1))
        found[top:bottom, left:right] = seen
        return found

    def scaled(self, image: Pixels) -> Pixels:
        """Returns an image in 0..255 as the model takes it."""
        low, high = self.pixels
        return image * np.float32((high - low) / 255.0) + np.float32(low)

    def changed(
        self, example: Example, changes: SceneChanges, rng: np.random.Generator
    ) -> tuple[Pixels, Truth]:
        """Returns an image in 0..255 and its objects, changed at random."""
        region = changes.region(example.truth, rng)
        image, truth = self.read(example, region), detection_data.cut(example.truth, region)
        image, truth = changes.mirrored(image, truth, rng)
        return changes.recoloured(image, rng), truth

    def images(self, data: DetectionData) -> Pixels:
        """Returns all images of a data set, [n, height, width, channels], as the model takes them.

        Raises:
            ValueError: If an image cannot be decoded.
        """
        found = np.empty((len(data.examples), *self.shape), np.float32)
        for row, example in zip(found, data.examples, strict=True):
            row[:] = self.scaled(self.read(example))
        return found


def dataset(
    data: DetectionData,
    reader: SceneReader,
    matcher: Matcher,
    *,
    batch_size: int,
    changes: SceneChanges | None = None,
    seed: int | None = None,
    passes: int = 1,
    epoch: Callable[[], int] | None = None,
) -> Any:
    """Returns batches of images and targets.

    Args:
        data: The images with their boxes.
        reader: Reads the images.
        matcher: Makes the targets.
        batch_size: Images of a batch, 1..passes * images where the order is random.
        changes: How images are changed; None to leave them.
        seed: Of the order and the changes, >= 0; None for the order of the data.
        passes: How often an epoch shows each image; with `split_batch` one for each level.
        epoch: Returns the number of the epoch that begins, on which order and changes depend. A
            training that is resumed then sees what an uninterrupted one sees. None to count them.

    Returns:
        A `tf.data.Dataset` of (images, {"boxes", "scores"}). With a seed, all batches are full.

    Raises:
        ValueError: If batch_size or passes are out of range, or there is no image.
    """
    import tensorflow as tf

    count = passes * len(data.examples)
    most = count if seed is not None else max(count, batch_size)
    if passes < 1 or not 1 <= batch_size <= most or not count:
        raise ValueError(
            f"passes must be at least 1 and batch_size in 1..{count}: got {passes} and {batch_size}"
        )
    if changes is not None and seed is None:
        raise ValueError("changes must go with a seed: got None")
    order = _Order(len(data.examples), passes, seed, epoch)
    scenes = _Scenes(data, reader, matcher, changes, seed or 0)

    def load(*row: KerasTensor) -> Any:
        image, boxes, scores = tf.numpy_function(scenes.make, row, 3 * [tf.float32], stateful=False)
        image.set_shape(reader.shape)
        boxes.set_shape((len(matcher.anchors), 5))
        scores.set_shape((len(matcher.anchors),))
        return image, {"boxes": boxes, "scores": scores}

    batches = math.ceil(count / batch_size) if seed is None else count // batch_size
    found = tf.data.Dataset.from_generator(
        order.rows, output_signature=tuple(3 * [tf.TensorSpec((), tf.int64)])
    )
    found = found.map(load, num_parallel_calls=tf.data.AUTOTUNE)
    found = found.batch(batch_size, drop_remainder=seed is not None).prefetch(2)
    return found.apply(tf.data.experimental.assert_cardinality(batches))


class _Order:
    """The order of the images in each epoch."""

    def __init__(
        self, count: int, passes: int, seed: int | None, epoch: Callable[[], int] | None
    ) -> None:
        self._count, self._passes, self._seed = count, passes, seed
        self._begun = itertools.count()
        self._epoch = epoch or (lambda: next(self._begun))

    def rows(self) -> Iterator[tuple[int, int, int]]:
        """Yields (image, epoch, place in the epoch)."""
        number = self._epoch()
        order = np.tile(np.arange(self._count), self._passes)
        if self._seed is not None:
            rng = np.random.default_rng((self._seed, number))
            order = np.concatenate([rng.permutation(self._count) for _ in range(self._passes)])
        for place, index in enumerate(order):
            yield int(index), number, place


@dataclasses.dataclass(frozen=True, eq=False)
class _Scenes:
    """Makes image and targets of an index."""

    data: DetectionData
    reader: SceneReader
    matcher: Matcher
    changes: SceneChanges | None
    seed: int

    def make(self, index: int, number: int, place: int) -> tuple[Pixels, Pixels, Pixels]:
        """Returns the image, the targets of its boxes and those of its scores."""
        example = self.data.examples[int(index)]
        if self.changes is None:
            image, truth = self.reader.read(example), example.truth
        else:
            rng = np.random.default_rng((self.seed, int(number), int(place)))
            image, truth = self.reader.changed(example, self.changes, rng)
        targets = self.matcher.targets(truth.boxes, truth.classes, truth.ignored)
        return (self.reader.scaled(image), *targets)
