"""Join a convolution with the addition that follows, so that no tensor lies between the two.

The kernel adds each tile of outputs while the tile is hot. The sum may take the place of the tensor
that is added, so that a residual block needs two large tensors at a time, not three.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

from nested_keras.codegen.dense_stream import stream_of
from nested_keras.cortex_m import dense_pairs
from nested_keras.cortex_m.scratch import nested_function
from nested_keras.format import LayerKind, Stream
from nested_keras.tflite import program as ir
from nested_keras.tflite.operators import Add, Conv2D, NestedSparseConv
from nested_keras.tflite.operators.elementwise import has_short_form
from nested_keras.tflite.operators.registration import own_fields

_KERNELS = {
    "nk_nested_conv2d_small_s8": "nk_nested_conv2d_add_small_s8",
    "nk_nested_conv2d_s8": "nk_nested_conv2d_add_s8",
    "nk_nested_conv2d_parts_s8": "nk_nested_conv2d_add_parts_s8",
}
"""By the function of a convolution that with a sum. Each runs the layers of those before."""


@dataclass(frozen=True, eq=False)
class ConvAdd(ir.Op):
    """A convolution and the addition of its output and a second input.

    Attributes:
        layer: The convolution.
        takes_level: Whether the layer has levels.
        sum: The addition; its first operand is the output of the convolution.
    """

    layer: Stream
    takes_level: bool
    sum: Add


def sum_kernel(program: ir.Program) -> str | None:
    """Names the function of tflm_ops that runs each `ConvAdd` of a program; None without any."""
    needed = {
        nested_function(op.layer, pixels=pixels(program, op))
        for op in program.ops
        if isinstance(op, ConvAdd)
    }
    return next((_KERNELS[name] for name in reversed(_KERNELS) if name in needed), None)


def pixels(program: ir.Program, op: ir.Op) -> int:
    """The pixels of the output of an operator, batches included."""
    return math.prod(program.tensors[op.outputs[0]].shape[:-1])


@dataclass(frozen=True, eq=False)
class Joined(ir.Op):
    """The place of a convolution that a later `ConvAdd` runs."""


def join_additions(program: ir.Program) -> ir.Program:
    """Replaces each addition right after a convolution, where the kernel can run both at once.

    Args:
        program: The graph.

    Returns:
        The same graph with as many operators, for the planner and the printer.
    """
    readers = Counter(tensor for op in program.ops for tensor in op.inputs)
    readers.update(program.outputs)
    ops = list(program.ops)
    for index in range(1, len(ops)):
        joined = _join(program, ops[index - 1], ops[index], readers)
        if joined is not None:
            ops[index - 1] = Joined(ops[index - 1].name, (), ())
            ops[index] = joined
    return dataclasses.replace(program, ops=tuple(ops))


def _join(program: ir.Program, conv: ir.Op, add: ir.Op, readers: Counter[int]) -> ConvAdd | None:
    if not isinstance(add, Add) or not isinstance(conv, NestedSparseConv | Conv2D):
        return None
    (y,) = conv.outputs
    if readers[y] != 1 or y not in add.inputs:
        return None
    tensors = program.tensors
    first, second = (tensors[index] for index in add.inputs)
    if first.shape != second.shape or not has_short_form(add):
        return None
    layer = stream_of(conv, *program.shapes(conv))
    if layer is None or layer.params.kind is not LayerKind.CONV:
        return None
    if nested_function(layer) not in _KERNELS:
        return None
    if dense_pairs.takes(layer.params, [level.encoding for level in layer.levels]):
        return None  # a kernel of its own, which takes no sum
    swapped = add if add.inputs[0] == y else _swapped(add)
    return ConvAdd(
        name=add.name,
        inputs=(*conv.inputs, swapped.inputs[1]),
        outputs=add.outputs,
        layer=layer,
        takes_level=isinstance(conv, NestedSparseConv),
        sum=swapped,
    )


def _swapped(add: Add) -> Add:
    """The same sum with its operands in the other order."""
    values: dict[str, Any] = own_fields(add)
    for name in ("offset", "multiplier", "shift"):
        values[f"input1_{name}"], values[f"input2_{name}"] = (
            values[f"input2_{name}"],
            values[f"input1_{name}"],
        )
    return Add(name=add.name, inputs=add.inputs[::-1], outputs=add.outputs, **values)
