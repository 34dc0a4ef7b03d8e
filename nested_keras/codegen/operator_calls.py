"""Print the operators of a `Program` as C: one small function each.

The registration of an operator names its C function, the parameters and the arguments
(`nested_keras.tflite.operators.registration.CCall`). This file prints the registration as text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nested_keras import format as stream_format
from nested_keras.codegen import ctext
from nested_keras.codegen.firmware_errors import CodegenError
from nested_keras.codegen.fusion import ConvAdd, sum_kernel
from nested_keras.codegen.scratch_needs import conv_dims, kernel_of, scratch_bytes, stream_at
from nested_keras.codegen.strips import Call
from nested_keras.codegen.weights_file import ExternalConstants
from nested_keras.cortex_m.channel_parts import is_in_place
from nested_keras.cortex_m.cycles import MAX_SIDE
from nested_keras.tflite import operators, program as ir
from nested_keras.tflite.operators.registration import MAX_RANK, CArgument, CCall, Count

_STREAM_HEAD = 28  # of a stream, up to the numbers that training determines


@dataclass(frozen=True, eq=False)
class OpCode:
    """The C of one operator.

    Attributes:
        kernel: The tflm_ops function that the operator calls.
        function: The text of `static nk_status op<index>(<inputs>, output[, rows][, level]
            [, scratch])`; an operator of a group takes the rows of a strip.
        stream: C text of its packed stream, if any.
        header: The first bytes of the stream: kind, levels and sizes of the layer.
        takes_level: Whether the function takes the level. A layer without a level is equal at all
            levels, and its stream has one level.
        scratch_bytes: Size of the scratch buffer; the function takes a pointer to it when positive.
        in_place: Whether the kernel reads all levels of the stream in place.
    """

    kernel: str
    function: str
    stream: str | None = None
    header: bytes = b""
    takes_level: bool = False
    scratch_bytes: int = 0
    in_place: bool = True


@dataclass(frozen=True, eq=False)
class _Operands:
    """The other needs of a printer: the operator's number, its tensors, the list of constants.

    `has_sums` says whether the program has a `ConvAdd`, so that run_nested() takes a sum. `calls`
    are the calls of an operator that runs strip by strip; one that runs whole has none.
    """

    index: int
    inputs: tuple[ir.Tensor, ...]
    output: ir.Tensor
    constants: ctext.Constants
    has_sums: bool
    calls: tuple[Call, ...] = ()


def print_op(
    program: ir.Program,
    index: int,
    constants: ctext.Constants,
    calls: Sequence[Call] = (),
    *,
    in_parts: bool = False,
) -> OpCode:
    """Prints one operator.

    Args:
        program: The graph.
        index: The position of the operator; not a Reshape, which needs no code of its own.
        constants: Receives the arrays that the operator uses.
        calls: The calls of the operator, if it runs strip by strip.
        in_parts: Whether a convolution runs a part of its channels at a time.

    Returns:
        The C code of the operator.

    Raises:
        CodegenError: The operator, a rank or a dtype cannot be printed.
    """
    op = program.ops[index]
    if isinstance(op, ConvAdd):
        return _print_conv_add(program, index, op, constants)
    registration = operators.registration_of(op)
    c_call = registration.c_call if registration else None
    if c_call is None and not isinstance(op, operators.NestedSparseConv):
        raise CodegenError(
            f"operator {index} ({op.name!r}) is a {type(op).__name__}; "
            f"expected one of {_printed_names()}"
        )
    inputs = tuple(program.tensors[i] for i in op.inputs if i != program.level_input)
    output = program.tensors[op.outputs[0]]
    has_sums = any(isinstance(each, ConvAdd) for each in program.ops)
    operands = _Operands(index, inputs, output, constants, has_sums, tuple(calls))
    for tensor in (*operands.inputs, operands.output):
        _check_tensor(tensor, takes_shapes=c_call is None or _takes_shapes(c_call))
    if _slides_a_window(op, c_call):
        for tensor in (inputs[0], operands.output):
            _check_sides(op, index, tensor)
    stream = stream_at(program, index)
    if stream is not None:
        any_weights = isinstance(constants, ExternalConstants)
        scratch = scratch_bytes(program, index, calls, any_weights=any_weights, in_parts=in_parts)
        kernel = kernel_of(program, stream, in_parts=in_parts)
        return _print_stream(op, operands, stream, kernel, scratch)
    assert c_call is not None
    declarations, arguments = _arguments(op, c_call, operands)
    params = _params(op, c_call, operands)
    if params:
        declarations.insert(0, f"  {constants.storage} {c_call.struct} params = {{\n{params}  }};")
        arguments.insert(0, "&params")
    if calls and hasattr(op, "pad_top"):
        declarations += [f"  {c_call.struct} padded = params;", "  padded.pad_top = rows->pad_top;"]
        arguments[0] = "&padded"
    body = [*declarations, _return(c_call.function, arguments)]
    return OpCode(c_call.function, _function(op, operands, body))


def _printed_names() -> str:
    """The classes that `print_op` takes."""
    names = [
        entry.op.__name__
        for entry in operators.OPERATORS
        if entry.c_call is not None or entry.op is operators.NestedSparseConv
    ]
    return ", ".join(sorted(names))


def _takes_shapes(c_call: CCall) -> bool:
    """Whether the function takes the dimensions of tensors, and not just their elements."""
    shapes = {CArgument.INPUTS, CArgument.INPUT_LIST, CArgument.OUTPUT_DIMS}
    return not shapes.isdisjoint(c_call.arguments)


def _check_tensor(tensor: ir.Tensor, *, takes_shapes: bool) -> None:
    if tensor.dtype not in ("int8", "uint8", "float32"):
        raise CodegenError(
            f"tensor {tensor.name!r} is {tensor.dtype}; "
            "expected an int8, uint8 or float32 activation"
        )
    if takes_shapes and any(size != 1 for size in tensor.shape[:-MAX_RANK]):
        raise CodegenError(
            f"tensor {tensor.name!r} has shape {tensor.shape}; "
            f"expected at most {MAX_RANK} dimensions after leading ones"
        )


def _slides_a_window(op: ir.Op, c_call: CCall | None) -> bool:
    if isinstance(op, operators.NestedSparseConv):
        kind = op.layer.params.kind
        return kind is not stream_format.LayerKind.FULLY_CONNECTED
    return c_call is not None and c_call.slides_a_window


def _check_sides(op: ir.Op, index: int, tensor: ir.Tensor) -> None:
    height, width = _shape4(tensor.shape)[1:3]
    if max(height, width) > MAX_SIDE:
        raise CodegenError(
            f"operator {index} ({op.name!r}) has an image of {height}x{width} pixels; "
            f"expected at most {MAX_SIDE} a side"
        )


def _shape4(shape: Sequence[int]) -> list[int]:
    """The shape with leading ones, or without some of them."""
    return [1] * (MAX_RANK - len(shape)) + list(shape[-MAX_RANK:])


def _dims(name: str, shape: Sequence[int], height: str = "") -> str:
    """The dimensions of a tensor, or of rows of an image whose number a C expression gives."""
    if not height:
        return f"  static const nk_dims4 {name} = {ctext.initializer(_shape4(shape))};"
    batches, _, width, channels = _shape4(shape)
    return f"  const nk_dims4 {name} = {{{batches}, {height}, {width}, {channels}}};"


def _input_height(operands: _Operands, tensor: ir.Tensor) -> str:
    """The rows of an input in a call; empty for a tensor that every call reads as a whole."""
    whole = tensor.data is not None or _shape4(tensor.shape)[1] == 1
    return "rows->input_h" if operands.calls and not whole else ""


def _return(function: str, arguments: Sequence[str]) -> str:
    return ctext.call(function, arguments, prefix="return ")


# --- Parameter structs ----------------------------------------------------------------------------


def _params(op: ir.Op, c_call: CCall, operands: _Operands) -> str:
    """The designated initialisers of the operator's parameter struct."""
    fields = c_call.parameters(op, len(operands.output.shape))
    texts = (
        (name, _value(f"op{operands.index}_{name}", value, name, operands.constants))
        for name, value in fields.items()
    )
    return "".join(f"      .{name} = {text},\n" for name, text in texts)


# The fields that training determines; the others follow from the shapes of the network.
_TRAINED = re.compile(
    r"(input[12]?|output|alpha)_offset"
    r"|((input[12]?|output|positive|negative)_)?(left_)?(multiplier|shift)"
    r"|activation_(min|max)|scale|zero_point|diff_min|value|short_(factor[12]|constant)"
)


def _value(name: str, value: Any, field: str, constants: ctext.Constants) -> str:
    """The initialiser of one field; an array becomes a constant called `name`."""
    if isinstance(value, np.ndarray):
        return constants.add(name, value)
    if isinstance(value, tuple):
        return "{" + ", ".join(_value(name, item, field, constants) for item in value) + "}"
    number = float(value) if isinstance(value, (float, np.floating)) else int(value)
    if _TRAINED.fullmatch(field):
        return constants.number(number)
    return ctext.Constants().number(number)


# --- Arguments ------------------------------------------------------------------------------------


def _arguments(op: ir.Op, c_call: CCall, operands: _Operands) -> tuple[list[str], list[str]]:
    """The statements before the call, and its arguments after the parameters."""
    declarations: list[str] = []
    arguments: list[str] = []
    for argument in c_call.arguments:
        if not isinstance(argument, CArgument):
            arguments.append(_count(op, argument, operands))
        elif argument is CArgument.INPUT:
            arguments.append(_bytes_of(_input_names(operands)[0], operands.inputs[0], "const "))
        elif argument is CArgument.INPUTS:
            for name, tensor in zip(_input_names(operands), operands.inputs, strict=True):
                height = _input_height(operands, tensor)
                declarations.append(_dims(f"{name}_dims", tensor.shape, height))
                arguments += [f"&{name}_dims", name]
        elif argument is CArgument.INPUT_LIST:
            declarations += _input_list(operands)
            arguments += [str(len(operands.inputs)), "input_dims", "inputs"]
        elif argument is CArgument.OUTPUT_DIMS:
            height = "rows->output_h" if operands.calls else ""
            declarations.append(_dims("output_dims", operands.output.shape, height))
            arguments.append("&output_dims")
        else:
            arguments.append(_bytes_of("output", operands.output))
    return declarations, arguments


def _count(op: ir.Op, count: Count, operands: _Operands) -> str:
    """A number of elements or rows, in a strip in proportion to its height."""
    shape = operands.inputs[0].shape
    if not operands.calls:
        return str(count(op, shape))
    return f"rows->input_h * {count(op, (shape[0], 1, *shape[2:]))}"


def _bytes_of(name: str, tensor: ir.Tensor, const: str = "") -> str:
    """A pointer to int8, because the kernels know no uint8."""
    return f"({const}int8_t *){name}" if tensor.dtype == "uint8" else name


def _input_list(operands: _Operands) -> list[str]:
    """The arrays of the inputs' dimensions and pointers."""
    count = len(operands.inputs)
    shapes = (ctext.initializer(_shape4(tensor.shape)) for tensor in operands.inputs)
    return [
        "  // clang-format off",
        f"  static const nk_dims4 input_dims[{count}] = {_indexed(shapes)};",
        f"  const int8_t *const inputs[{count}] = {_indexed(_input_names(operands))};",
        "  // clang-format on",
    ]


def _indexed(values: Iterable[str]) -> str:
    """An array initialiser with one `[i] = value,` in a line."""
    rows = "".join(f"      [{i}] = {value},\n" for i, value in enumerate(values))
    return f"{{\n{rows}  }}"


def _dims_statement(layer: stream_format.Stream, operands: _Operands) -> str:
    dims: list[int | str] = list(conv_dims(layer, operands.inputs[0], operands.output))
    if operands.calls:
        dims[1], dims[3] = "rows->input_h", "rows->output_h"
    names = ("batches", "input_h", "input_w", "output_h", "output_w")
    fields = "".join(f"      .{n} = {d},\n" for n, d in zip(names, dims, strict=True))
    storage = "const" if operands.calls else "static const"
    return f"  {storage} nk_conv_dims dims = {{\n{fields}  }};"


def _add_stream(layer: stream_format.Stream, operands: _Operands) -> str:
    """The C text of the packed weights."""
    return operands.constants.add(f"op{operands.index}_stream", np.frombuffer(layer.data, np.uint8))


def _print_stream(
    op: ir.Op, operands: _Operands, layer: stream_format.Stream, kernel: str, scratch: int
) -> OpCode:
    """A layer whose weights are a packed stream."""
    stream = _add_stream(layer, operands)
    takes_level = isinstance(op, operators.NestedSparseConv)
    arguments = [kernel, stream, operands.constants.size_of(stream)]
    arguments += ["level" if takes_level else "0", "&dims", "input", "output"]
    arguments += ["scratch", "scratch_size"] if scratch else ["NULL", "0"]
    if operands.calls:
        arguments.append("rows->pad_top")
    elif operands.has_sums:
        arguments += ["NULL", "NULL"]
    body = [
        _dims_statement(layer, operands),
        _return("run_rows" if operands.calls else "run_nested", arguments),
    ]
    extra = ["int32_t level"] if takes_level else []
    extra += ["void *scratch", "size_t scratch_size"] if scratch else []
    return OpCode(
        kernel=kernel,
        function=_function(op, operands, body, extra),
        stream=stream,
        header=layer.data[:_STREAM_HEAD],
        takes_level=takes_level,
        scratch_bytes=scratch,
        in_place=is_in_place(layer),
    )


def _print_conv_add(
    program: ir.Program, index: int, op: ConvAdd, constants: ctext.Constants
) -> OpCode:
    """A convolution and the addition that follows in one call."""
    x, other = (program.tensors[i] for i in op.inputs)
    operands = _Operands(index, (x, other), program.tensors[op.outputs[0]], constants, True)
    for tensor in (x, other, operands.output):
        _check_tensor(tensor, takes_shapes=True)
    for tensor in (x, operands.output):
        _check_sides(op, index, tensor)
    kernel, scratch = sum_kernel(program), scratch_bytes(program, index)
    registration = operators.registration_of(op.sum)
    assert kernel is not None
    assert registration is not None
    assert registration.c_call is not None
    params = _params(op.sum, registration.c_call, operands)
    stream = _add_stream(op.layer, operands)
    arguments = ["NULL", stream, constants.size_of(stream), "level" if op.takes_level else "0"]
    arguments += ["&dims", "input0", "output", "scratch", "scratch_size", "&sum", "input1"]
    body = [
        _dims_statement(op.layer, operands),
        f"  static const nk_add_params sum = {{\n{params}  }};",
        _return("run_nested", arguments),
    ]
    extra = ["int32_t level"] if op.takes_level else []
    return OpCode(
        kernel=kernel,
        function=_function(op, operands, body, [*extra, "void *scratch", "size_t scratch_size"]),
        stream=stream,
        header=op.layer.data[:_STREAM_HEAD],
        takes_level=op.takes_level,
        scratch_bytes=scratch,
        in_place=is_in_place(op.layer),
    )


# --- The function around them ---------------------------------------------------------------------


def _input_names(operands: _Operands) -> list[str]:
    if len(operands.inputs) == 1:
        return ["input"]
    return [f"input{i}" for i in range(len(operands.inputs))]


def _function(
    op: ir.Op, operands: _Operands, body: Sequence[str], extra: Sequence[str] = ()
) -> str:
    parameters = [
        f"const {ctext.c_type(tensor.dtype)} *{name}"
        for name, tensor in zip(_input_names(operands), operands.inputs, strict=True)
    ]
    parameters.append(f"{ctext.c_type(operands.output.dtype)} *output")
    parameters += ["const strip *rows"] if operands.calls else []
    parameters += extra
    shapes = ", ".join(_shape_text(tensor) for tensor in operands.inputs)
    title = f"{type(op).__name__} {op.name}: {shapes} -> {_shape_text(operands.output)}"
    head = ctext.call(
        f"op{operands.index}", parameters, prefix="static nk_status ", indent="", tail=" {"
    )
    return "\n".join([ctext.comment(title), head, *body, "}", ""])


def _shape_text(tensor: ir.Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
