"""The window that a convolution or a pooling operator slides over an image."""

from __future__ import annotations

from nested_keras.tflite.operator_reader import OperatorReader

_PADDINGS = {0: "SAME", 1: "VALID"}


def require_positive(reader: OperatorReader, **values: int) -> None:
    """Checks that each named option is at least 1."""
    for name, value in values.items():
        if value < 1:
            raise reader.error(f"{name} must be at least 1: got {value}")


def window_geometry(
    reader: OperatorReader, *, size: int, kernel: int, stride: int, dilation: int, padding: int
) -> tuple[int, int]:
    """Returns the output size and the padding in front along one axis, by TFLite's rule."""
    if padding not in _PADDINGS:
        raise reader.error(f"padding must be SAME (0) or VALID (1): got {padding}")
    extent = (kernel - 1) * dilation + 1
    sizes = {"SAME": -(-size // stride), "VALID": (size - extent) // stride + 1}
    output = sizes[_PADDINGS[padding]]
    if output < 1:
        raise reader.error(f"a window of {extent} pixels does not fit into {size}")
    return output, max((output - 1) * stride + extent - size, 0) // 2
