"""Scratch sizes, as the C functions compute them: the arena is planned before compilation.

A test compares this with nk_nested_conv_s8_get_buffer_size(); at run time the kernel refuses a
buffer that is too small (NK_ERROR_BUFFER).
"""

from __future__ import annotations

from collections.abc import Sequence

from nested_keras.format import LayerKind, LayerParams


def nested_conv_scratch_bytes(params: LayerParams, dims: Sequence[int]) -> int:
    """Scratch of nk_nested_conv_s8: an int32 accumulator for each pixel of one output plane.

    A fully connected layer needs none.

    Args:
      params: The layer, as its stream's header has it.
      dims: The fields of nk_conv_dims: batches, input_h, input_w, output_h, output_w.

    Returns:
      Bytes.
    """
    if params.kind is LayerKind.FULLY_CONNECTED:
        return 0
    _, _, _, output_h, output_w = dims
    return 4 * output_h * output_w
