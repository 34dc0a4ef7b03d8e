"""The stack that generated C needs on a Cortex-M7.

The numbers are bounds for gcc 12 at -O2 and -Os, from the frames of all functions on the deepest
way (-fcallgraph-info=su). A test compares the numbers with the call graphs, and the sums with the
stack that firmware uses under QEMU.
"""

from __future__ import annotations

from collections.abc import Iterable

from nested_keras.format.layout import align

KERNEL_BYTES = {
    "nk_depthwise_conv2d_s8": 2088,  # with a tile of the image
    "nk_nested_conv2d_add_parts_s8": 1424,
    "nk_nested_conv2d_add_s8": 1336,
    "nk_nested_conv2d_add_small_s8": 1336,
    "nk_nested_conv2d_parts_s8": 1440,
    "nk_nested_conv2d_s8": 1312,
    "nk_nested_conv2d_small_s8": 1312,
    "nk_nested_conv_s8": 1464,
    "nk_nested_conv_s8_ref": 944,
    "nk_nested_depthwise_parts_s8": 1440,
    "nk_nested_depthwise_s8": 864,
    "nk_nested_fully_connected_parts_s8": 1440,
}
"""Stack under the kernels that need much, in bytes."""

OTHER_KERNELS_BYTES = 456
"""Stack under any other kernel, in bytes."""

STREAM_BYTES = 1088
"""The function that opens a packed stream for a kernel."""

CHECK_BYTES = 1864
"""<name>_check() or <name>_open(), with all that they call."""

UNPACKING_CHECK_BYTES = 768
"""More for the check of streams that cannot be read in place."""

_CALL_BYTES = 64  # <name>_invoke() and <name>_invoke_in(), with the functions of operators inlined
_PARAMETER_BYTES = 4  # for each input and output of the model
_OPERAND_BYTES = 12  # for each input of the operator that has most
_STRIPS_BYTES = 120  # the loops over strips, and shapes and parameters that depend on the strip
_PARAMS_BYTES = 80  # the largest parameter struct, where its numbers come from a file


def call_bytes(
    parameters: int, operands: int, *, external_weights: bool = False, strips: bool = False
) -> int:
    """Returns the stack between the caller of <name>_invoke() and a kernel.

    Args:
        parameters: Number of the model's inputs and outputs.
        operands: Number of inputs of the operator that has most.
        external_weights: Whether the weights come from a file.
        strips: Whether operators run strip by strip.
    """
    params = _PARAMS_BYTES if external_weights else 0
    params += _STRIPS_BYTES if strips else 0
    return _CALL_BYTES + _PARAMETER_BYTES * parameters + _OPERAND_BYTES * operands + params


def stack_bytes(
    kernels: Iterable[tuple[str, bool]],
    *,
    parameters: int,
    operands: int,
    external_weights: bool = False,
    strips: bool = False,
) -> int:
    """Returns a bound of the stack under any function of a generated library.

    Args:
        kernels: For each operator the function that it calls, and whether a packed stream holds
            its weights.
        parameters: Number of the model's inputs and outputs.
        operands: Number of inputs of the operator that has most.
        external_weights: Whether the weights come from a file.
        strips: Whether operators run strip by strip.

    Returns:
        Bytes, a multiple of 8.
    """
    depths, checks = [0], [0]
    for name, has_stream in kernels:
        depth = KERNEL_BYTES.get(name, OTHER_KERNELS_BYTES)
        depths.append(depth + (STREAM_BYTES if has_stream else 0))
        unpacks = name.endswith("_parts_s8") or name == "nk_nested_conv_s8"
        checks.append(CHECK_BYTES + unpacks * UNPACKING_CHECK_BYTES if has_stream else 0)
    calls = call_bytes(parameters, operands, external_weights=external_weights, strips=strips)
    return align(max(calls + max(depths), *checks), 8)
