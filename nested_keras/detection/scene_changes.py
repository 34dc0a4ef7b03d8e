"""Random changes of training images with boxes: cut-outs, zooms, mirrored images, colours."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from nested_keras.detection.average_precision import Truth
from nested_keras.detection.detection_data import WHOLE, Region, cut

Pixels = npt.NDArray[np.float32]
_TRIES = 20


@dataclasses.dataclass(frozen=True)
class SceneChanges:
    """Changes an image and its boxes at random.

    Of three images about one is cut, one shrunk and one left whole.

    Attributes:
        cut: The least side of a cut-out as a share of the image, in (0, 1]; 1 for no cut-outs.
        shrink: How many times as large as the image its surroundings are at most, >= 1; 1 for none.
        flip: Whether every other image is mirrored, left to right.
        turn: Whether every other image is turned upside down: for pictures from above.
        colour: How strongly brightness, contrast and saturation change, 0..1.

    Raises:
        ValueError: If a number is out of its range.
    """

    cut: float = 0.4
    shrink: float = 2.0
    flip: bool = True
    turn: bool = False
    colour: float = 0.5

    def __post_init__(self) -> None:
        """Refuses numbers out of range."""
        if not (0.0 < self.cut <= 1.0 <= self.shrink and 0.0 <= self.colour <= 1.0):
            raise ValueError(
                "changes must have 0 < cut <= 1, shrink >= 1 and 0 <= colour <= 1: got "
                f"{self.cut}, {self.shrink} and {self.colour}"
            )

    def region(self, truth: Truth, rng: np.random.Generator) -> Region:
        """Draws what part of an image is seen; a cut-out has an object, if the image has one.

        Args:
            truth: The objects of the image.
            rng: What decides.

        Returns:
            (y0, x0, y1, x1), shares of the image; it may reach out of the image.
        """
        kind = rng.integers(3)
        if kind == 1:
            size = rng.uniform(1.0, self.shrink)
            y, x = rng.uniform(1.0 - size, 0.0, 2)
            return float(y), float(x), float(y + size), float(x + size)
        for _ in range(_TRIES if kind == 2 else 0):
            high, wide = rng.uniform(self.cut, 1.0, 2)
            y, x = rng.uniform(0.0, 1.0 - high), rng.uniform(0.0, 1.0 - wide)
            found = float(y), float(x), float(y + high), float(x + wide)
            useful = not len(truth.boxes) or not cut(truth, found).ignored.all()
            if 0.5 <= high / wide <= 2.0 and useful:
                return found
        return WHOLE

    def mirrored(
        self, image: Pixels, truth: Truth, rng: np.random.Generator
    ) -> tuple[Pixels, Truth]:
        """Returns an image [height, width, channels] and its objects, mirrored or not."""
        boxes = truth.boxes
        if self.flip and rng.random() < 0.5:
            image, boxes = image[:, ::-1], _swapped(boxes, 1)
        if self.turn and rng.random() < 0.5:
            image, boxes = image[::-1], _swapped(boxes, 0)
        return image, Truth(boxes, truth.classes, truth.ignored)

    def recoloured(self, image: Pixels, rng: np.random.Generator) -> Pixels:
        """Returns an image [height, width, channels] in 0..255 with other colours."""
        if not self.colour:
            return image
        brightness = rng.uniform(-64.0, 64.0) * self.colour
        contrast, saturation = 1.0 + rng.uniform(-0.8, 0.8, 2) * self.colour
        image = image + np.float32(brightness)
        image = _blend(image, image.mean(), contrast)
        image = _blend(image, image.mean(axis=2, keepdims=True), saturation)
        return np.clip(image, 0.0, 255.0)


def _blend(image: Pixels, grey: Pixels | np.floating, factor: float) -> Pixels:
    return ((image - grey) * np.float32(factor) + grey).astype(np.float32)


def _swapped(boxes: npt.NDArray[np.float32], axis: int) -> npt.NDArray[np.float32]:
    """Returns boxes mirrored along y (0) or x (1)."""
    found = boxes.copy()
    found[:, axis], found[:, axis + 2] = 1.0 - boxes[:, axis + 2], 1.0 - boxes[:, axis]
    return found
