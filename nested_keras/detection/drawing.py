"""Draw the boxes of a detector into an image."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nested_keras import extras
from nested_keras.detection.average_precision import Found

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

_COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000")
_SIDE = 320  # a smaller image is enlarged by a whole number, so that its labels can be read


def draw(image: npt.NDArray[np.uint8], found: Found, classes: Sequence[str] = ()) -> bytes:
    """Returns an image with boxes as a PNG.

    Args:
        image: [height, width, 1 or 3].
        found: The boxes.
        classes: The names of the classes; a class without a name is shown by its index.

    Raises:
        ValueError: If the image has another shape.
        ModuleNotFoundError: If Pillow is missing.
    """
    try:
        import PIL.ImageDraw
        from PIL import Image
    except ModuleNotFoundError as error:
        raise extras.missing(error, "drawing boxes") from error
    if image.ndim != 3 or image.shape[2] not in (1, 3):
        raise ValueError(f"an image must be [height, width, 1 or 3]: got {list(image.shape)}")
    height, width, channels = image.shape
    factor = max(1, _SIDE // min(height, width))
    picture = Image.fromarray(image if channels == 3 else image[..., 0]).convert("RGB")
    picture = picture.resize((width * factor, height * factor), Image.Resampling.NEAREST)
    pen = PIL.ImageDraw.Draw(picture)
    size = np.array([height, width, height, width]) * factor
    # The surest box last, above the others.
    for index in reversed(range(len(found.boxes))):
        number = int(found.classes[index])
        name = classes[number] if number < len(classes) else f"class {number}"
        corners = np.round(found.boxes[index] * size).astype(int).tolist()
        _draw_box(pen, corners, f"{name} {found.scores[index]:.2f}", _COLOURS[number % 8])
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def _draw_box(pen: ImageDraw, corners: Sequence[int], label: str, colour: str) -> None:
    y0, x0, y1, x1 = corners
    pen.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=colour, width=2)
    # The font of Pillow lacks most letters beyond Latin-1.
    text = label.encode("latin-1", "replace").decode("latin-1")
    left, top, right, bottom = pen.textbbox((x0 + 2, y0 + 2), text)
    pen.rectangle((left - 2, top - 2, right + 2, bottom + 2), fill=colour)
    pen.text((x0 + 2, y0 + 2), text, fill="white")
