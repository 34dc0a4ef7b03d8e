"""Print the operators of a `Program` as C: one small function each.

The parameter structs of tflm_ops/include/nk_ops.h have the field names of the dataclasses in
`nested_keras.tflite.program`, so one routine prints them all; each operator adds only its call.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from nested_keras import format as stream_format
from nested_keras.codegen import ctext
from nested_keras.codegen.dense_stream import dense_stream
from nested_keras.codegen.firmware_errors import CodegenError
from nested_keras.cortex_m.cycles import MAX_SIDE
from nested_keras.cortex_m.scratch import nested_conv_scratch_bytes, nested_function
from nested_keras.tflite import program as ir

_MAX_RANK = 4


@dataclass(frozen=True, eq=False)
class OpCode:
    """The C of one operator.

    Attributes:
      kernel: The tflm_ops function it calls.
      function: The text of `static nk_status op<index>(<inputs>, output[, level][, scratch])`.
      stream: Name of its packed stream, if any.
      takes_level: Whether the function takes the level, one of the model's. The stream has one
        level otherwise: the layer is the same at all levels.
      scratch_bytes: Size of the scratch buffer; the function takes a pointer to it when positive.
    """

    kernel: str
    function: str
    stream: str | None = None
    takes_level: bool = False
    scratch_bytes: int = 0


@dataclass(frozen=True, eq=False)
class _Operands:
    """What a printer needs besides the operator: its number, its tensors, where constants go."""

    index: int
    inputs: tuple[ir.Tensor, ...]
    output: ir.Tensor
    constants: ctext.Constants


@dataclass(frozen=True, eq=False)
class _Printer:
    """How one type of operator is printed.

    Attributes:
      kernel: tflm_ops function.
      arguments: The call's arguments after `&params`, and the statements that declare them.
    """

    kernel: str
    arguments: Callable[[ir.Op, _Operands], tuple[list[str], list[str]]]


def print_op(program: ir.Program, index: int, constants: ctext.Constants) -> OpCode:
    """Prints one operator.

    Args:
      program: The graph.
      index: Which operator of it; not a Reshape, which needs no code of its own.
      constants: Receives the arrays that the operator uses.

    Returns:
      Its C code.

    Raises:
      CodegenError: An operator, a rank or a dtype that cannot be printed.
    """
    op = program.ops[index]
    printer = _PRINTERS.get(type(op))
    if printer is None and not isinstance(op, ir.NestedSparseConv):
        known = ", ".join(sorted(t.__name__ for t in (*_PRINTERS, ir.NestedSparseConv)))
        raise CodegenError(
            f"operator {index} ({op.name!r}) is a {type(op).__name__}; expected one of {known}"
        )
    inputs = tuple(program.tensors[i] for i in op.inputs if i != program.level_input)
    operands = _Operands(index, inputs, program.tensors[op.outputs[0]], constants)
    for tensor in (*operands.inputs, operands.output):
        _check_tensor(tensor)
    if _slides_a_window(op):
        for tensor in (inputs[0], operands.output):
            _check_sides(op, index, tensor)
    if isinstance(op, ir.NestedSparseConv):
        return _print_stream(op, operands, op.layer, level="level")
    assert printer is not None
    stream = None
    if type(op) is ir.Conv2D:
        stream = dense_stream(op, inputs[0].shape, operands.output.shape)
    if stream is not None:
        return _print_stream(op, operands, stream, level="0")
    declarations, arguments = printer.arguments(op, operands)
    params = _params(op, operands)
    struct = printer.kernel.replace("_s8_f32", "").replace("_f32_s8", "").removesuffix("_s8")
    body = [f"  static const {struct}_params params = {{\n{params}  }};", *declarations]
    body.append(_return(printer.kernel, ["&params", *arguments]))
    return OpCode(printer.kernel, _function(op, operands, body))


def _check_tensor(tensor: ir.Tensor) -> None:
    if tensor.dtype not in ("int8", "float32"):
        raise CodegenError(
            f"tensor {tensor.name!r} is {tensor.dtype}; expected an int8 or float32 activation"
        )
    if len(tensor.shape) > _MAX_RANK:
        raise CodegenError(
            f"tensor {tensor.name!r} has shape {tensor.shape}; "
            f"expected at most {_MAX_RANK} dimensions"
        )


def _slides_a_window(op: ir.Op) -> bool:
    if isinstance(op, ir.NestedSparseConv):
        kind = op.layer.params.kind
        return kind is not stream_format.LayerKind.FULLY_CONNECTED
    return isinstance(op, (ir.Conv2D, ir.DepthwiseConv2D, ir.AveragePool2D, ir.MaxPool2D))


def _check_sides(op: ir.Op, index: int, tensor: ir.Tensor) -> None:
    height, width = _shape4(tensor.shape)[1:3]
    if max(height, width) > MAX_SIDE:
        raise CodegenError(
            f"operator {index} ({op.name!r}) has an image of {height}x{width} pixels; "
            f"expected at most {MAX_SIDE} a side"
        )


def _shape4(shape: Sequence[int]) -> list[int]:
    """The shape with leading ones."""
    return [1] * (_MAX_RANK - len(shape)) + list(shape)


def _dims(name: str, shape: Sequence[int]) -> str:
    return f"  static const nk_dims4 {name} = {ctext.initializer(_shape4(shape))};"


def _return(function: str, arguments: Sequence[str]) -> str:
    return ctext.call(function, arguments, prefix="return ")


# --- Parameter structs ----------------------------------------------------------------------------


def _params(op: ir.Op, operands: _Operands) -> str:
    """The designated initialisers of the operator's parameter struct."""
    base = {field.name for field in dataclasses.fields(ir.Op)}
    lines: list[str] = []
    for field in dataclasses.fields(op):
        if field.name in base:
            continue
        value = getattr(op, field.name)
        if isinstance(value, np.ndarray):
            text = operands.constants.add(f"op{operands.index}_{field.name}", value)
        elif isinstance(value, (float, np.floating)):
            text = ctext.float_literal(float(value))
        elif field.name == "paddings":
            rows = ((0, 0),) * (_MAX_RANK - len(value)) + tuple(value)
            text = "{" + ", ".join(ctext.initializer(row) for row in rows) + "}"
        elif field.name == "axis":  # counted in nk_dims4, which has leading ones
            text = str(value + _MAX_RANK - len(operands.output.shape))
        else:
            text = str(value)
        lines.append(f"      .{field.name} = {text},\n")
        if field.name == "filter":
            shape = value.shape
            dims = shape if len(shape) == _MAX_RANK else (shape[0], 1, 1, shape[1])
            lines.append(f"      .filter_dims = {ctext.initializer(dims)},\n")
    return "".join(lines)


# --- Calls: (declarations, arguments) of each operator --------------------------------------------


def _dims_in_out(op: ir.Op, operands: _Operands) -> tuple[list[str], list[str]]:
    declarations = [
        _dims("input_dims", operands.inputs[0].shape),
        _dims("output_dims", operands.output.shape),
    ]
    return declarations, ["&input_dims", "input", "&output_dims", "output"]


def _two_operands(op: ir.Op, operands: _Operands) -> tuple[list[str], list[str]]:
    declarations = [
        _dims("input0_dims", operands.inputs[0].shape),
        _dims("input1_dims", operands.inputs[1].shape),
        _dims("output_dims", operands.output.shape),
    ]
    arguments = ["&input0_dims", "input0", "&input1_dims", "input1", "&output_dims", "output"]
    return declarations, arguments


def _fully_connected(op: ir.Op, operands: _Operands) -> tuple[list[str], list[str]]:
    assert isinstance(op, ir.FullyConnected)
    rows = operands.inputs[0].size // op.filter.shape[1]
    return [], [str(rows), "input", "output"]


def _mean(op: ir.Op, operands: _Operands) -> tuple[list[str], list[str]]:
    return [_dims("input_dims", operands.inputs[0].shape)], ["&input_dims", "input", "output"]


def _softmax(op: ir.Op, operands: _Operands) -> tuple[list[str], list[str]]:
    depth = operands.inputs[0].shape[-1]
    return [], [str(operands.inputs[0].size // depth), str(depth), "input", "output"]


def _element_wise(op: ir.Op, operands: _Operands) -> tuple[list[str], list[str]]:
    return [], [str(operands.inputs[0].size), "input", "output"]


def _concatenation(op: ir.Op, operands: _Operands) -> tuple[list[str], list[str]]:
    count = len(operands.inputs)
    shapes = (ctext.initializer(_shape4(tensor.shape)) for tensor in operands.inputs)
    declarations = [
        "  // clang-format off",
        f"  static const nk_dims4 input_dims[{count}] = {_indexed(shapes)};",
        f"  const int8_t *const inputs[{count}] = {_indexed(_input_names(operands))};",
        "  // clang-format on",
        _dims("output_dims", operands.output.shape),
    ]
    return declarations, [str(count), "input_dims", "inputs", "&output_dims", "output"]


def _indexed(values: Iterable[str]) -> str:
    """An array initialiser with one `[i] = value,` in a line."""
    rows = "".join(f"      [{i}] = {value},\n" for i, value in enumerate(values))
    return f"{{\n{rows}  }}"


_PRINTERS: dict[type[ir.Op], _Printer] = {
    ir.Conv2D: _Printer("nk_conv2d_s8", _dims_in_out),
    ir.DepthwiseConv2D: _Printer("nk_depthwise_conv2d_s8", _dims_in_out),
    ir.FullyConnected: _Printer("nk_fully_connected_s8", _fully_connected),
    ir.Add: _Printer("nk_add_s8", _two_operands),
    ir.Mul: _Printer("nk_mul_s8", _two_operands),
    ir.AveragePool2D: _Printer("nk_average_pool2d_s8", _dims_in_out),
    ir.MaxPool2D: _Printer("nk_max_pool2d_s8", _dims_in_out),
    ir.Mean: _Printer("nk_mean_s8", _mean),
    ir.Pad: _Printer("nk_pad_s8", _dims_in_out),
    ir.Concatenation: _Printer("nk_concatenation_s8", _concatenation),
    ir.Softmax: _Printer("nk_softmax_s8", _softmax),
    ir.Lookup: _Printer("nk_lookup_s8", _element_wise),
    ir.Quantize: _Printer("nk_quantize_f32_s8", _element_wise),
    ir.Dequantize: _Printer("nk_dequantize_s8_f32", _element_wise),
}


def _print_stream(
    op: ir.Op, operands: _Operands, layer: stream_format.Stream, *, level: str
) -> OpCode:
    """A layer whose weights are a packed stream, at the level that `level` gives in C."""
    params = layer.params
    source = operands.inputs[0]
    if params.kind is stream_format.LayerKind.FULLY_CONNECTED:
        dims = [source.size // params.in_channels, 1, 1, 1, 1]
    else:
        batches, input_h, input_w, _ = _shape4(source.shape)
        dims = [batches, input_h, input_w, *_shape4(operands.output.shape)[1:3]]
    names = ("batches", "input_h", "input_w", "output_h", "output_w")
    fields = "".join(f"      .{n} = {d},\n" for n, d in zip(names, dims, strict=True))
    scratch = nested_conv_scratch_bytes(layer, dims)
    stream = operands.constants.add(
        f"op{operands.index}_stream", np.frombuffer(layer.data, dtype=np.uint8)
    )
    kernel = nested_function(params)
    arguments = [kernel, stream, f"sizeof {stream}", level, "&dims", "input", "output"]
    arguments += ["scratch", str(scratch)] if scratch else ["NULL", "0"]
    body = [
        f"  static const nk_conv_dims dims = {{\n{fields}  }};",
        _return("run_nested", arguments),
    ]
    takes_level = level == "level"
    extra = ["int32_t level"] if takes_level else []
    extra += ["void *scratch"] if scratch else []
    return OpCode(
        kernel=kernel,
        function=_function(op, operands, body, extra),
        stream=stream,
        takes_level=takes_level,
        scratch_bytes=scratch,
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
    parameters += [f"{ctext.c_type(operands.output.dtype)} *output", *extra]
    shapes = ", ".join(_shape_text(tensor) for tensor in operands.inputs)
    title = f"{type(op).__name__} {op.name}: {shapes} -> {_shape_text(operands.output)}"
    head = ctext.call(
        f"op{operands.index}", parameters, prefix="static nk_status ", indent="", tail=" {"
    )
    return "\n".join([ctext.comment(title), head, *body, "}", ""])


def _shape_text(tensor: ir.Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
