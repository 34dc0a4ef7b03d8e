"""The packed layer of an operator, and the scratch memory that the layer needs."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from nested_keras.codegen.dense_stream import stream_of
from nested_keras.codegen.fusion import ConvAdd, pixels
from nested_keras.codegen.strips import Call
from nested_keras.cortex_m.scratch import (
    conv_add_scratch_bytes,
    nested_conv_scratch_bytes,
    nested_function,
)
from nested_keras.format import LayerKind, Stream
from nested_keras.tflite import operators, program as ir

_USUAL, _SMALL = "nk_nested_conv2d_s8", "nk_nested_conv2d_small_s8"


def stream_at(program: ir.Program, index: int) -> Stream | None:
    """The packed weights that an operator reads; None without any."""
    op = program.ops[index]
    if not op.outputs:
        return None  # a ConvAdd runs it
    return op.layer if isinstance(op, ConvAdd) else stream_of(op, *program.shapes(op))


def scratch_bytes(
    program: ir.Program,
    index: int,
    calls: Sequence[Call] = (),
    *,
    any_weights: bool = False,
    in_parts: bool = False,
) -> int:
    """Returns the scratch memory that an operator needs.

    Args:
        program: The graph.
        index: The position of the operator.
        calls: Its calls, if the operator runs strip by strip.
        any_weights: See `nested_conv_scratch_bytes`.
        in_parts: Likewise.
    """
    stream = stream_at(program, index)
    if stream is None:
        return 0
    op = program.ops[index]
    dims = conv_dims(stream, program.tensors[op.inputs[0]], program.tensors[op.outputs[0]])
    if isinstance(op, ConvAdd):
        return conv_add_scratch_bytes(stream, dims)
    sizes = {(call.inputs[0].count, call.output.count) for call in calls} or {(dims[1], dims[3])}
    return max(
        nested_conv_scratch_bytes(
            stream,
            [dims[0], rows, dims[2], made, dims[4]],
            any_weights=any_weights,
            in_parts=in_parts,
        )
        for rows, made in sizes
    )


def kernel_of(program: ir.Program, layer: Stream, *, in_parts: bool) -> str:
    """Names the function that runs a layer: one function for all convolutions in place.

    Args:
        program: The graph.
        layer: Its packed layer.
        in_parts: Whether the layer runs in parts though its levels can be read in place.
    """
    name = nested_function(layer, in_parts=in_parts)
    if name not in (_USUAL, _SMALL):
        return name
    return _USUAL if _has_chains(program) else _SMALL


@functools.lru_cache(maxsize=4)
def _has_chains(program: ir.Program) -> bool:
    return any(
        nested_function(stream, pixels=pixels(program, op)) == _USUAL
        for index, op in enumerate(program.ops)
        if (stream := stream_at(program, index))
    )


def ops_for_parts(program: ir.Program, *, any_weights: bool) -> frozenset[int]:
    """Returns the convolutions that need less scratch memory in parts."""
    return frozenset(
        index
        for index, op in enumerate(program.ops)
        if isinstance(op, operators.NestedSparseConv)
        and nested_function(op.layer) in (_USUAL, _SMALL)
        and scratch_bytes(program, index, any_weights=any_weights, in_parts=True)
        < scratch_bytes(program, index, any_weights=any_weights)
    )


def conv_dims(
    layer: Stream, source: ir.Tensor, output: ir.Tensor
) -> tuple[int, int, int, int, int]:
    """The fields of nk_conv_dims."""
    if layer.params.kind is LayerKind.FULLY_CONNECTED:
        return source.size // layer.params.in_channels, 1, 1, 1, 1
    batches, input_h, input_w, _ = source.shape
    output_h, output_w = output.shape[1:3]
    return batches, input_h, input_w, output_h, output_w
