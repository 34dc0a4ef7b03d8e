"""Anchors: the boxes that a detector corrects, a few at each place of each feature map."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Size = tuple[int, int]
Shape = tuple[float, float]

# Far more than the 120,000 of large detectors; a damaged file may ask for any number.
_MOST = 1 << 20


@dataclasses.dataclass(frozen=True)
class Anchors:
    """The anchors of a detector.

    The order is fixed, because the outputs of the detector follow it: feature map by feature map,
    row by row, column by column, and at each place one anchor of each shape.

    Attributes:
        feature_maps: Height and width of each feature map.
        shapes: For each feature map the (height, width) of the anchors at a place, as shares of
            the height and the width of the image, each > 0.

    Raises:
        ValueError: If there is no feature map or no shape, their numbers differ, a size is not
            positive, or there are more than 2^20 anchors.
    """

    feature_maps: tuple[Size, ...]
    shapes: tuple[tuple[Shape, ...], ...]

    def __post_init__(self) -> None:
        """Refuses wrong sizes."""
        if not self.feature_maps or len(self.feature_maps) != len(self.shapes):
            raise ValueError(
                "anchors must have one tuple of shapes for each of one or more feature maps: got "
                f"{len(self.feature_maps)} feature maps and {len(self.shapes)} tuples"
            )
        for size, shapes in zip(self.feature_maps, self.shapes, strict=True):
            if len(size) != 2 or min(size) < 1:
                raise ValueError(f"a feature map must be (height, width), each >= 1: got {size}")
            if not shapes:
                raise ValueError(f"feature map {size} must have one shape or more: got none")
            for shape in shapes:
                if len(shape) != 2 or not all(0.0 < side < math.inf for side in shape):
                    raise ValueError(f"a shape must be (height, width), each > 0: got {shape}")
        if self.count > _MOST:
            raise ValueError(f"there may be {_MOST:,} anchors at most: got {self.count:,}")

    @classmethod
    def ssd(
        cls,
        feature_maps: Sequence[Sequence[int]],
        scales: Sequence[float],
        ratios: Sequence[float] = (1.0, 2.0, 0.5),
    ) -> Anchors:
        """Makes the anchors of SSD (Liu et al., arXiv:1512.02325).

        Map k has anchors of the scale s[k] in each ratio, and one square anchor more of the scale
        sqrt(s[k] * s[k + 1]).

        Args:
            feature_maps: Height and width of each feature map, the finest first.
            scales: The scales, as shares of the image, > 0: one for each map and one more.
            ratios: Width over height, each > 0.

        Raises:
            ValueError: If the number of scales is wrong, or a number is not positive.
        """
        if len(scales) != len(feature_maps) + 1:
            raise ValueError(
                f"{len(feature_maps)} feature maps must have {len(feature_maps) + 1} scales, one "
                f"each and one more: got {len(scales)}"
            )
        if min(scales) <= 0.0 or not ratios or min(ratios) <= 0.0:
            raise ValueError(f"scales and ratios must be above 0: got {scales} and {ratios}")
        shapes = []
        for scale, following in itertools.pairwise(scales):
            roots = [math.sqrt(ratio) for ratio in ratios]
            between = math.sqrt(scale * following)
            shapes.append((*((scale / root, scale * root) for root in roots), (between, between)))
        maps = tuple((int(height), int(width)) for height, width in feature_maps)
        return cls(maps, tuple(shapes))

    @property
    def count(self) -> int:
        """The number of anchors, A."""
        return sum(
            height * width * len(shapes)
            for (height, width), shapes in zip(self.feature_maps, self.shapes, strict=True)
        )

    def boxes(self) -> npt.NDArray[np.float32]:
        """Returns the anchors, float32 [A, 4]: centre y, centre x, height, width in 0..1."""
        parts = []
        for (height, width), shapes in zip(self.feature_maps, self.shapes, strict=True):
            y = (np.arange(height, dtype=np.float64) + 0.5) / height
            x = (np.arange(width, dtype=np.float64) + 0.5) / width
            part = np.empty((height, width, len(shapes), 4))
            part[..., 0] = y[:, None, None]
            part[..., 1] = x[None, :, None]
            part[..., 2:] = np.array(shapes)
            parts.append(part.reshape(-1, 4))
        return np.concatenate(parts).astype(np.float32)

    def to_json(self) -> str:
        """Returns the anchors as JSON; `from_json` makes the same anchors, bit for bit."""
        return json.dumps({"feature_maps": self.feature_maps, "shapes": self.shapes})

    @classmethod
    def from_json(cls, text: str) -> Anchors:
        """Makes anchors from the text of `to_json`.

        Raises:
            ValueError: If the text is something else.
        """
        try:
            value: Any = json.loads(text)
            maps = tuple((int(height), int(width)) for height, width in value["feature_maps"])
            shapes = tuple(
                tuple((float(height), float(width)) for height, width in each)
                for each in value["shapes"]
            )
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"expected the JSON of anchors: got {error!r}") from None
        return cls(maps, shapes)
