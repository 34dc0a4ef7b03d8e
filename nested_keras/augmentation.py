"""Random changes of training images: shifts and mirrored images, in NumPy.

The task decides which changes fit: a mirrored cat is a cat, but a mirrored digit is no digit.
`tolerated` measures on a trained model which changes fit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Changes a batch of images at random; `nested_keras.runs.EpochShuffled` takes it.

    Attributes:
        shift: The largest shift of an image along height and width, as a share of each, 0..1. New
            pixels repeat the border, because models rarely know black edges: zeros cost a ResNet-8
            of CIFAR-10 eleven points of accuracy, repeated pixels cost it half a point.
        flip: Whether every other image is mirrored, left to right.
    """

    shift: float = 0.0
    flip: bool = False

    def __call__(self, images: Images, rng: np.random.Generator) -> Images:
        """Returns changed images.

        Args:
            images: Images [n, height, width, channels].
            rng: Draws the changes.

        Returns:
            The same shape and type.
        """
        if self.shift:
            images = _shifted(images, self.pixels(images.shape), rng)
        if self.flip:
            mirrored = rng.random(len(images)) < 0.5
            images = np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)
        return images

    def pixels(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Returns the largest shifts of images [n, height, width, channels], in pixels."""
        return round(self.shift * shape[1]), round(self.shift * shape[2])

    def __bool__(self) -> bool:
        """Returns whether the augmentation changes anything."""
        return bool(self.shift or self.flip)


# The usual shift for CIFAR-10: four pixels of 32.
SHIFT = Augmentation(shift=0.125)
FLIP = Augmentation(flip=True)


def tolerated(
    accuracy: Callable[[Images], float], images: Images, *, loss: float = 0.05, seed: int = 0
) -> Augmentation:
    """Returns the changes of images under which a trained model stays nearly as accurate.

    A change that lowers the accuracy of a trained model does not fit the task, or the model cannot
    teach changed images.

    Args:
        accuracy: Returns the accuracy, 0..1, of the trained model on changed `images`.
        images: Images [n, height, width, channels] of all classes, outside of the training data.
        loss: The accuracy that a change may cost, 0..1.
        seed: The seed of the shifts.

    Returns:
        Shifts by up to an eighth of each side, mirrored images, both or nothing.
    """
    enough = accuracy(images) - loss
    shifted = SHIFT(images, np.random.default_rng(seed))
    return Augmentation(
        shift=SHIFT.shift if accuracy(shifted) >= enough else 0.0,
        flip=accuracy(images[:, :, ::-1]) >= enough,
    )


def _shifted(images: Images, most: tuple[int, int], rng: np.random.Generator) -> Images:
    count, height, width, _ = images.shape
    (high, wide) = most
    padded = np.pad(images, ((0, 0), (high, high), (wide, wide), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(1, 2))
    top, left = rng.integers(0, 2 * high + 1, count), rng.integers(0, 2 * wide + 1, count)
    return np.ascontiguousarray(windows[np.arange(count), top, left].transpose(0, 2, 3, 1))
