"""Prepared graphs written by hand, and what the NumPy kernels make of them."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nested_keras import format as stream_format
from nested_keras.format import constants
from nested_keras.tflite import operators, program
from nested_keras.tflite.operators import elementwise
from tests.nested_keras.tflite.operators import samples


class Builder:
    """Adds tensors and operators one after the other; every random number comes from one seed."""

    def __init__(self, seed: int = 0, *, levels: int = 1) -> None:
        self.rng = np.random.default_rng(seed)
        self.levels = levels
        self.tensors: list[program.Tensor] = []
        self.ops: list[program.Op] = []

    def tensor(self, shape: Sequence[int], dtype: str = "int8", data: Any = None) -> int:
        scale, zero_point = (0.05, -3) if dtype == "int8" else (0.0, 0)
        name = f"t{len(self.tensors)}"
        self.tensors.append(program.Tensor(name, tuple(shape), dtype, scale, zero_point, data))
        return len(self.tensors) - 1

    def int8(self, *shape: int) -> Any:
        return self.rng.integers(-128, 128, shape, dtype=np.int8)

    def add(self, kind: type[program.Op], inputs: Sequence[int], output: int, **fields: Any) -> int:
        self.ops.append(kind(self.tensors[output].name, tuple(inputs), (output,), **fields))
        return output

    def build(self, inputs: Sequence[int], outputs: Sequence[int]) -> program.Program:
        return program.Program(
            tuple(self.tensors), tuple(self.ops), tuple(inputs), tuple(outputs), self.levels, None
        )

    def channel_params(self, channels: int, shift: int) -> dict[str, Any]:
        return {
            "bias": self.rng.integers(-2000, 2000, channels, dtype=np.int32),
            "multiplier": self.rng.integers(1 << 30, (1 << 31) - 1, channels).astype(np.int32),
            "shift": np.full(channels, shift, np.int32),
            "input_offset": 3,
            "output_offset": -3,
            "activation_min": -128,
            "activation_max": 127,
        }

    def conv(self, source: int, channels: int, *, kernel: int = 3, stride: int = 1) -> int:
        n, h, w, c = self.tensors[source].shape
        output = self.tensor((n, -(-h // stride), -(-w // stride), channels))
        return self.add(
            operators.Conv2D,
            [source],
            output,
            filter=self.int8(channels, kernel, kernel, c),
            **self.window(kernel, stride),
            **self.channel_params(channels, -7),
        )

    def depthwise(self, source: int, *, multiplier: int = 1) -> int:
        n, h, w, c = self.tensors[source].shape
        output = self.tensor((n, h, w, c * multiplier))
        return self.add(
            operators.DepthwiseConv2D,
            [source],
            output,
            filter=self.int8(c * multiplier, 3, 3, 1),
            depth_multiplier=multiplier,
            **self.window(3, 1),
            **self.channel_params(c * multiplier, -6),
        )

    def window(self, kernel: int, stride: int) -> dict[str, int]:
        pad = (kernel - 1) // 2
        return {
            "stride_h": stride,
            "stride_w": stride,
            "dilation_h": 1,
            "dilation_w": 1,
            "pad_top": pad,
            "pad_left": pad,
        }

    def fully_connected(self, source: int, features: int) -> int:
        n, depth = self.tensors[source].shape
        return self.add(
            operators.FullyConnected,
            [source],
            self.tensor((n, features)),
            filter=self.int8(features, depth),
            **self.channel_params(features, -7),
        )

    def nested(self, source: int, channels: int, *, kernel: int = 3, stride: int = 1) -> int:
        """A nested convolution, or a nested fully connected layer for a source of rank 2."""
        shape = self.tensors[source].shape
        if len(shape) == 2:
            output = self.tensor((shape[0], channels))
            kind, kernel, stride = stream_format.LayerKind.FULLY_CONNECTED, 1, 1
        else:
            n, h, w, _ = shape
            output = self.tensor((n, -(-h // stride), -(-w // stride), channels))
            kind = stream_format.LayerKind.CONV
        weights = self.int8(channels, kernel, kernel, shape[-1])
        weights[weights == 0] = 1
        level_map = self.rng.integers(0, self.levels + 1, weights.shape).astype(np.uint8)
        weights[level_map == self.levels] = 0
        tables = [self.channel_params(channels, -7) for _ in range(self.levels)]
        layer = stream_format.Stream.pack(
            stream_format.NestedWeights(
                stream_format.LayerParams(
                    kind=kind,
                    kernel_h=kernel,
                    kernel_w=kernel,
                    in_channels=shape[-1],
                    out_channels=channels,
                    stride_h=stride,
                    stride_w=stride,
                    pad_top=(kernel - 1) // 2,
                    pad_left=(kernel - 1) // 2,
                    input_offset=3,
                    output_offset=-3,
                ),
                weights,
                level_map,
                np.stack([t["bias"] for t in tables]),
                np.stack([t["multiplier"] for t in tables]),
                np.stack([t["shift"] for t in tables]).astype(np.int8),
            )
        )
        return self.add(operators.NestedSparseConv, [source], output, layer=layer)

    def reshape(self, source: int, *shape: int) -> int:
        return self.add(operators.Reshape, [source], self.tensor(shape))

    def sum(self, first: int, second: int) -> int:
        shape = np.broadcast_shapes(self.tensors[first].shape, self.tensors[second].shape)
        return self.add(
            operators.Add,
            [first, second],
            self.tensor(shape),
            left_shift=20,
            input1_offset=3,
            input1_multiplier=1 << 30,
            input1_shift=0,
            input2_offset=3,
            input2_multiplier=1_800_000_000,
            input2_shift=-1,
            output_offset=-3,
            output_multiplier=1_500_000_000,
            output_shift=-19,
            activation_min=-100,
            activation_max=127,
        )


def nested_net(levels: int = 3, seed: int = 0) -> program.Program:
    """Dense stem, nested convolution with stride 2, nested head."""
    b = Builder(seed, levels=levels)
    x = b.tensor((1, 9, 7, 3))
    y = b.nested(b.conv(x, 6), 8, stride=2)
    y = b.nested(b.reshape(y, 1, 5 * 4 * 8), 5)
    return b.build([x], [y])


def image_chain() -> program.Program:
    """Images that are larger between the layers than at the ends, and a way around a layer."""
    b = Builder(3, levels=2)
    x = b.tensor((1, 17, 5, 3))
    y = b.depthwise(b.nested(x, 8, stride=2), multiplier=2)
    y = b.conv(y, 4, kernel=1)
    y = b.sum(b.conv(b.nested(y, 12), 4), y)
    y = b.sum(y, b.tensor((1, 1, 1, 4), data=b.int8(1, 1, 1, 4)))
    return b.build([x], [b.nested(b.conv(y, 4, kernel=5, stride=2), 4, kernel=1)])


def with_stream(prog: program.Program, change: Callable[[bytes], bytes]) -> program.Program:
    """The program with its first packed stream changed."""
    ops = list(prog.ops)
    index, op = next((i, o) for i, o in enumerate(ops) if isinstance(o, operators.NestedSparseConv))
    ops[index] = dataclasses.replace(
        op, layer=dataclasses.replace(op.layer, data=change(op.layer.data))
    )
    return dataclasses.replace(prog, ops=tuple(ops))


def wrong_nonzeros(stream: bytes) -> bytes:
    """Damage that only reading the weights finds: a wrong number of them, a right checksum."""
    damaged = bytearray(stream)
    start = constants.STREAM_HEADER_BYTES
    header = np.frombuffer(damaged, constants.LEVEL_HEADER, count=1, offset=start)
    header["nnz"] += 1
    block = damaged[start : start + int(header["block_bytes"][0])]
    header["crc32"] = zlib.crc32(block[constants.LEVEL_HEADER_BYTES :], zlib.crc32(block[:28]))
    return bytes(damaged)


def every_op(chosen: slice = slice(None)) -> program.Program:
    """The samples of all operators side by side, each with its own inputs and output.

    Args:
        chosen: Which of the samples, if not all.
    """
    tensors: list[program.Tensor] = []
    ops: list[program.Op] = []
    inputs: list[int] = []
    outputs: list[int] = []
    parts = list(samples.programs().values())[chosen]
    for part in parts:
        start = len(tensors)
        tensors += (
            dataclasses.replace(tensor, name=f"t{start + index}")
            for index, tensor in enumerate(part.tensors)
        )
        (op,) = part.ops
        operands = tuple(start + index for index in op.inputs if index != part.level_input)
        output = start + op.outputs[0]
        ops.append(
            dataclasses.replace(op, name=tensors[output].name, inputs=operands, outputs=(output,))
        )
        inputs += (start + index for index in part.inputs)
        outputs.append(output)
    levels = max(part.levels for part in parts)
    return program.Program(
        tuple(tensors), tuple(ops), tuple(inputs), tuple(outputs), levels, level_input=None
    )


def float_ends() -> program.Program:
    """A chain of many operators with two inputs and three outputs, floats among them."""
    b = Builder(1, levels=2)
    x = b.tensor((1, 6, 6, 4), "float32")
    z = b.tensor((1, 6, 6, 4))
    quantized = b.add(operators.Quantize, [x], b.tensor((1, 6, 6, 4)), scale=0.05, zero_point=-3)
    y = b.sum(quantized, z)
    y = b.sum(y, b.tensor((1, 1, 1, 4), data=b.int8(1, 1, 1, 4)))
    y = b.add(
        operators.Mul,
        [y, b.tensor((4,), data=b.int8(4))],
        b.tensor((1, 6, 6, 4)),
        input1_offset=3,
        input2_offset=-5,
        output_offset=7,
        output_multiplier=1_234_567_890,
        output_shift=-6,
        activation_min=-128,
        activation_max=127,
    )
    y = b.add(elementwise.Maximum, [y, z], b.tensor((1, 6, 6, 4)))
    constant = b.tensor((4,), data=b.int8(4))
    y = b.add(elementwise.Minimum, [constant, y], b.tensor((1, 6, 6, 4)))
    y = b.add(
        operators.Pad,
        [y],
        b.tensor((1, 8, 7, 4)),
        paddings=((0, 0), (2, 0), (0, 1), (0, 0)),
        value=-3,
    )
    y = b.nested(b.depthwise(b.conv(y, 4), multiplier=2), 8)
    pool = {
        "filter_h": 3,
        "filter_w": 3,
        "stride_h": 2,
        "stride_w": 2,
        "pad_top": 1,
        "pad_left": 1,
        "activation_min": -128,
        "activation_max": 127,
    }
    average = b.add(operators.AveragePool2D, [y], b.tensor((1, 4, 4, 8)), **pool)
    maximum = b.add(operators.MaxPool2D, [y], b.tensor((1, 4, 4, 8)), **pool)
    y = b.add(operators.Concatenation, [average, maximum], b.tensor((1, 4, 4, 16)), axis=3)
    table = np.arange(-128, 128).astype(np.int8)[::-1].copy()
    y = b.add(operators.Lookup, [y], b.tensor((1, 4, 4, 16)), table=table)
    features = b.add(
        operators.Mean,
        [y],
        b.tensor((1, 16)),
        input_offset=3,
        output_offset=-3,
        multiplier=1_100_000_000,
        shift=1,
    )
    logits = b.fully_connected(features, 10)
    soft = b.add(
        operators.Softmax,
        [logits],
        b.tensor((1, 10)),
        input_multiplier=1 << 30,
        input_left_shift=23,
        diff_min=-248,
    )
    probabilities = b.add(
        operators.Dequantize, [soft], b.tensor((1, 10), "float32"), scale=1 / 256, zero_point=-128
    )
    return b.build([x, z], [probabilities, soft, b.reshape(y, 1, 256)])


def wide_net() -> program.Program:
    """Long names and many operands: every line has to be broken."""
    b = Builder(5, levels=2)
    x = b.tensor((1, 4, 4, 2))
    parts = [b.nested(x, 3) for _ in range(12)]
    y = b.add(operators.Concatenation, parts, b.tensor((1, 4, 4, 36)), axis=3)
    outputs = [b.conv(y, 2) for _ in range(9)]
    prog = b.build([x], outputs)
    tensors = tuple(
        dataclasses.replace(t, name=f"a_very/long;name*/of/*a???tensor\\{i}" + "x" * 90 + "??/")
        for i, t in enumerate(prog.tensors)
    )
    return dataclasses.replace(prog, tensors=tensors)


def shared_conv() -> program.Program:
    """One convolution called twice, the second time on the output of the first."""
    b = Builder()
    shape = (1, 4, 4, 3)
    x = b.tensor(shape)
    first = b.conv(x, 3)
    output = b.tensor(shape)
    b.ops.append(dataclasses.replace(b.ops[0], inputs=(first,), outputs=(output,)))
    return b.build([x], [output])


def pass_through() -> program.Program:
    """No operator needs code and no activation needs memory."""
    b = Builder()
    x = b.tensor((1, 4, 4, 4))
    return b.build([x], [b.reshape(x, 1, 64)])


def random_inputs(prog: program.Program, count: int, seed: int = 0) -> list[Any]:
    """`count` samples of each input, of the input's dtype."""
    rng = np.random.default_rng(seed)
    arrays = []
    for tensor in (prog.tensors[i] for i in prog.inputs):
        shape = (count, *tensor.shape[1:])
        if tensor.dtype == "int8":
            arrays.append(rng.integers(-128, 128, shape, dtype=np.int8))
        else:
            arrays.append(rng.normal(0, 4, shape).astype(np.float32))
    return arrays


def expected(prog: program.Program, inputs: Sequence[Any], level: int) -> list[Any]:
    """What the NumPy kernels compute, sample by sample, for a graph of batch size 1."""
    samples = []
    for i in range(len(inputs[0])):
        values = {k: t.data for k, t in enumerate(prog.tensors) if t.data is not None}
        values.update({k: x[i : i + 1] for k, x in zip(prog.inputs, inputs, strict=True)})
        for op in prog.ops:
            shape = prog.tensors[op.outputs[0]].shape
            arguments = [values[k] for k in op.inputs]
            values[op.outputs[0]] = operators.run_op(op, arguments, shape, level)
        samples.append([values[k] for k in prog.outputs])
    return [np.concatenate(parts) for parts in zip(*samples, strict=True)]
