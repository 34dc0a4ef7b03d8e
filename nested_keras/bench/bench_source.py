"""Print benchmark cases as C (tflm_ops/bench/nk_bench.h) with their arrays in one binary file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from nested_keras import files
from nested_keras.bench.layer_cases import Case
from nested_keras.bench.operator_cases import OperatorCase
from nested_keras.bench.program_cases import DenseCase
from nested_keras.codegen import marks
from nested_keras.codegen.templating import fill
from nested_keras.devices.firmware_build import incbin_source
from nested_keras.format import LayerKind
from nested_keras.tflite import operators

AnyCase: TypeAlias = Case | DenseCase | OperatorCase

_ALIGNMENT = 16
# The kind in C.
_KINDS = {
    operators.Add: "NK_BENCH_ADD",
    operators.AveragePool2D: "NK_BENCH_AVERAGE_POOL",
    operators.MaxPool2D: "NK_BENCH_MAX_POOL",
    operators.Softmax: "NK_BENCH_SOFTMAX",
}


class Data:
    """The arrays of all cases in one file, which the assembler includes unchanged."""

    def __init__(self) -> None:
        """Starts empty."""
        self._bytes = bytearray()
        self._places: dict[bytes, int] = {}

    def add(self, values: npt.NDArray[np.generic] | bytes, c_type: str) -> str:
        """Stores an array, equal arrays once; returns a C expression that points to the array."""
        content = values if isinstance(values, bytes) else np.ascontiguousarray(values).tobytes()
        if content not in self._places:
            self._bytes += bytes(-len(self._bytes) % _ALIGNMENT)
            self._places[content] = len(self._bytes)
            self._bytes += content
        return f"(const {c_type} *)(const void *)(nk_bench_data + {self._places[content]})"

    def write(self, folder: Path) -> Path:
        """Writes the data and the assembler file that includes the data; returns that file."""
        name = hashlib.sha256(self._bytes).hexdigest()[:24]
        content = folder / f"data-{name}.bin"
        files.write_bytes(content, bytes(self._bytes))
        source = content.with_suffix(".S")
        text = incbin_source("nk_bench_data", content.resolve(), section=".images")
        files.write_text(source, text)
        return source


def cases_source(cases: Sequence[AnyCase], data: Data, *, channels_last_depthwise: bool) -> str:
    """The C file with the list of cases.

    Args:
        cases: In order.
        data: Receives their arrays.
        channels_last_depthwise: Whether depthwise filters are [height][width][out], as in TFLite,
            and not [out][height][width].

    Returns:
        The text of the file.
    """
    definitions, names = [], []
    for index, case in enumerate(cases):
        names.append(f"case{index}")
        if isinstance(case, OperatorCase):
            definitions.append(_operator_case(case, names[-1], data))
        else:
            definitions.append(_layer_case(case, names[-1], data, channels_last_depthwise))
    return fill(
        "bench",
        "bench_cases.c",
        banner=marks.comment(),
        definitions="\n".join(definitions).rstrip("\n"),
        names="\n    ".join(f"&{name}," for name in names),
        count=len(cases),
    )


def _layer_case(
    case: Case | DenseCase, name: str, data: Data, channels_last_depthwise: bool
) -> str:
    dense = case.dense
    channels, *window, depth = dense.filter.shape
    weights = dense.filter.reshape(channels, *(window or (1, 1)), depth)
    stride, pad = (1, 1), (0, 0)
    if isinstance(dense, operators.Conv2D):
        stride, pad = (dense.stride_h, dense.stride_w), (dense.pad_top, dense.pad_left)
    filter_dims = _dims(weights.shape)
    if case.kind == LayerKind.DEPTHWISE and channels_last_depthwise:
        weights = weights.transpose(3, 1, 2, 0)
    stream = "NULL" if case.stream is None else data.add(case.stream.data, "uint8_t")
    return fill(
        "bench",
        "layer_case.c",
        name=name,
        kind=int(case.kind),
        filter=data.add(weights, "int8_t"),
        filter_dims=filter_dims,
        bias=data.add(dense.bias.astype(np.int32), "int32_t"),
        multiplier=data.add(dense.multiplier.astype(np.int32), "int32_t"),
        shift=data.add(dense.shift.astype(np.int32), "int32_t"),
        stride_h=stride[0],
        stride_w=stride[1],
        pad_top=pad[0],
        pad_left=pad[1],
        input_offset=dense.input_offset,
        output_offset=dense.output_offset,
        activation_min=dense.activation_min,
        activation_max=dense.activation_max,
        input_dims=_dims(_image(case.x.shape)),
        output_dims=_dims(_image(case.y.shape)),
        input=data.add(case.x, "int8_t"),
        stream=stream,
        stream_bytes=0 if case.stream is None else len(case.stream.data),
        level=case.level,
    )


def _operator_case(case: OperatorCase, name: str, data: Data) -> str:
    registration = operators.registration_of(case.op)
    assert registration is not None
    c_call = registration.c_call
    assert c_call is not None
    values = c_call.parameters(case.op, case.y.ndim)
    return fill(
        "bench",
        "operator_case.c",
        name=name,
        c_type=c_call.struct,
        fields="\n    ".join(f".{field} = {value}," for field, value in values.items()),
        kind=_KINDS[type(case.op)],
        input_dims=_dims(case.inputs[0].shape),
        output_dims=_dims(case.y.shape),
        input=data.add(case.inputs[0], "int8_t"),
        input2=data.add(case.inputs[-1], "int8_t"),
    )


def _image(shape: Sequence[int]) -> Sequence[int]:
    """The shape of an image [n, height, width, channels]."""
    return (shape[0], *((1, 1) if len(shape) == 2 else shape[1:-1]), shape[-1])


def _dims(shape: Sequence[int]) -> str:
    return f"{{{', '.join(map(str, shape))}}}"
