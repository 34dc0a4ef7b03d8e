"""Images from an .npz file, and epochs of augmented batches that depend on their number alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_PADDING = 4


@dataclass(frozen=True, eq=False)
class Data:
    """A labelled image set.

    Attributes:
        x_train: uint8 [n, height, width, channels].
        y_train: int32 [n].
        x_test: float32 [m, height, width, channels] in [0, 1].
        y_test: int32 [m].
        classes: Number of classes.
    """

    x_train: Any
    y_train: Any
    x_test: Any
    y_test: Any
    classes: int


def load(path: Path, *, train_images: int | None = None, test_images: int | None = None) -> Data:
    """Reads x_train, y_train, x_test and y_test; images are uint8, labels [n] or [n, 1].

    Raises:
        ValueError: if the images are not uint8.
    """
    with np.load(path) as archive:
        x_train, x_test = archive["x_train"][:train_images], archive["x_test"][:test_images]
        y_train, y_test = archive["y_train"].reshape(-1), archive["y_test"].reshape(-1)
    if x_train.dtype != np.uint8:
        raise ValueError(f"{path}: expected uint8 images, got {x_train.dtype}")
    return Data(
        x_train,
        y_train[:train_images].astype(np.int32),
        normalised(x_test),
        y_test[:test_images].astype(np.int32),
        classes=int(y_train.max()) + 1,
    )


def normalised(images: Any) -> Any:
    """Images in [0, 1], float32."""
    return images.astype(np.float32) / 255.0


class Epochs:
    """Training batches, flipped and cropped at random.

    The batches of an epoch depend on the seed and the epoch's number alone, so that a resumed run
    sees what it would have seen.

    Args:
        data: The images.
        batch_size: Images per batch; what is left over at an epoch's end is left out.
        seed: Of order and augmentation.

    Attributes:
        steps: Batches per epoch.
        epoch: The epoch that the next pass gives; set it when an epoch begins.
    """

    def __init__(self, data: Data, *, batch_size: int, seed: int) -> None:
        self._data = data
        self._batch_size = batch_size
        self._seed = seed
        self.steps = len(data.x_train) // batch_size
        self.epoch = 0

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        """Yields the batches of the epoch that `epoch` names."""
        rng = np.random.default_rng((self._seed, self.epoch))
        order = rng.permutation(len(self._data.x_train))
        for step in range(self.steps):
            chosen = np.sort(order[step * self._batch_size : (step + 1) * self._batch_size])
            yield augmented(self._data.x_train[chosen], rng), self._data.y_train[chosen]

    def dataset(self) -> Any:
        """The same as a tf.data.Dataset; each iteration gives the epoch that `epoch` names."""
        import tensorflow as tf

        shape = self._data.x_train.shape[1:]
        signature = (
            tf.TensorSpec((self._batch_size, *shape), tf.float32),
            tf.TensorSpec((self._batch_size,), tf.int32),
        )
        batches = tf.data.Dataset.from_generator(lambda: iter(self), output_signature=signature)
        return batches.apply(tf.data.experimental.assert_cardinality(self.steps)).prefetch(4)

    def images(self, count: int) -> Any:
        """So many augmented training images at least, as one array: for BatchNorm statistics."""
        self.epoch = 0
        batches, wanted = [], min(count, self.steps * self._batch_size)
        for x, _ in self:
            batches.append(x)
            if sum(map(len, batches)) >= wanted:
                break
        return np.concatenate(batches)


def augmented(images: Any, rng: np.random.Generator) -> Any:
    """Crops images at random places of their padded selves and mirrors half of them.

    Args:
        images: uint8 [n, height, width, channels].
        rng: What decides.

    Returns:
        float32 of the same shape, in [0, 1]; the padding is 0.
    """
    count, height, width, _ = images.shape
    padding = ((0, 0), (_PADDING, _PADDING), (_PADDING, _PADDING), (0, 0))
    padded = np.pad(normalised(images), padding)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(1, 2))
    top, left = rng.integers(0, 2 * _PADDING + 1, (2, count))
    cropped = windows[np.arange(count), top, left].transpose(0, 2, 3, 1)
    mirror = rng.random(count) < 0.5
    cropped[mirror] = cropped[mirror, :, ::-1]
    return np.ascontiguousarray(cropped)
