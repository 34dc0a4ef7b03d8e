"""The C kernels through ctypes, called as nested_keras.tflite.operators.run_op is."""

import ctypes

import numpy as np

from nested_keras.tflite import operators
from nested_keras.tflite.operators.registration import CArgument

GUARD = 64
GUARD_BYTE = 0x55
# More than sizeof(nk_stream) on any host: its fields are not looked at from here.
STREAM_STRUCT_BYTES = 8192


class Dims4(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int32) for name in "nhwc"]


class ConvDims(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_int32) for name in ("batches", "input_h", "input_w", "output_h", "output_w")
    ]


class StatusError(Exception):
    """A kernel returned something else than NK_OK; `args[0]` is the status name."""


def dims4(shape):
    """The shape with leading dimensions of 1."""
    return Dims4(*(1,) * (4 - len(shape)), *shape)


def pointer(array):
    return None if array is None else ctypes.c_void_p(array.ctypes.data)


def aligned_copy(data, alignment=16):
    """A uint8 array that starts at a multiple of `alignment`; `data` is bytes."""
    room = np.zeros(len(data) + alignment, np.uint8)
    start = -room.ctypes.data % alignment
    copy = room[start : start + len(data)]
    copy[:] = np.frombuffer(data, np.uint8)
    return copy


class Guarded:
    """An array between two guard zones, to catch writes outside of it."""

    def __init__(self, shape, dtype):
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        self.room = np.full(size + 2 * GUARD, GUARD_BYTE, np.uint8)
        self.array = self.room[GUARD : GUARD + size].view(dtype).reshape(shape)

    def is_intact(self):
        zones = np.concatenate([self.room[:GUARD], self.room[-GUARD:]])
        return bool((zones == GUARD_BYTE).all())


def params_struct(op, rank=4):
    """The nk_*_params of an operator, with an output of `rank` dimensions."""
    fields, values, alive = [], [], []
    for name, value in operators.registration_of(op).c_call.parameters(op, rank).items():
        if isinstance(value, np.ndarray):
            array = np.ascontiguousarray(value)
            alive.append(array)
            fields.append((name, ctypes.c_void_p))
            values.append(array.ctypes.data)
        elif isinstance(value, tuple):
            numbers = np.ravel(value).tolist()
            fields.append((name, ctypes.c_int32 * len(numbers)))
            values.append((ctypes.c_int32 * len(numbers))(*numbers))
        else:
            fields.append((name, ctypes.c_float if name == "scale" else ctypes.c_int32))
            values.append(value)
    struct = type("Params", (ctypes.Structure,), {"_fields_": fields})(*values)
    struct.alive = alive
    return struct


def arguments(argument, op, inputs, output):
    """What one `CArgument` or count of a call stands for."""
    if argument is CArgument.INPUT:
        return [pointer(inputs[0])]
    if argument is CArgument.INPUTS:
        return [part for x in inputs for part in (ctypes.byref(dims4(x.shape)), pointer(x))]
    if argument is CArgument.INPUT_LIST:
        count = len(inputs)
        shapes = (Dims4 * count)(*(dims4(x.shape) for x in inputs))
        return [count, shapes, (ctypes.c_void_p * count)(*(x.ctypes.data for x in inputs))]
    if argument is CArgument.OUTPUT_DIMS:
        return [ctypes.byref(dims4(output.shape))]
    if argument is CArgument.OUTPUT:
        return [pointer(output)]
    return [argument(op, inputs[0].shape)]


class Call:
    """The arguments of a C call, which a test may spoil one by one."""

    def __init__(self, nk, op, inputs, output):
        c_call = operators.registration_of(op).c_call
        self.nk = nk
        self.inputs, self.output = inputs, output
        self.function = getattr(nk.c, c_call.function)
        self.params = params_struct(op, output.ndim)
        self.rest = [
            part for arg in c_call.arguments for part in arguments(arg, op, inputs, output)
        ]

    @property
    def head(self):
        """The parameters, if the function takes any."""
        return [ctypes.byref(self.params)] if self.params._fields_ else []

    def status(self, *call):
        """The name of what the function returns, to these arguments or to its own."""
        return self.nk.c.nk_status_name(self.function(*(call or (*self.head, *self.rest)))).decode()

    def dims(self):
        """Every nk_dims4 that the call hands over."""
        for argument in self.rest:
            target = getattr(argument, "_obj", argument)
            if isinstance(target, Dims4):
                yield target
            elif isinstance(target, ctypes.Array) and target._type_ is Dims4:
                yield from target


class Library:
    """libnk.so."""

    def __init__(self, path):
        self.c = ctypes.CDLL(str(path))
        self.c.nk_status_name.restype = ctypes.c_char_p

    def check(self, status):
        if status != 0:
            raise StatusError(self.c.nk_status_name(status).decode())

    def run_op(self, op, inputs, output_shape, level=0):
        """Runs an operator as `operators.operators.run_op` does; raises StatusError."""
        dtype = np.float32 if isinstance(op, operators.Dequantize) else np.int8
        output = Guarded(output_shape, dtype)
        inputs = [np.ascontiguousarray(x) for x in inputs]
        if isinstance(op, operators.NestedSparseConv):
            self.run_nested(op.layer.data, level, inputs[0], output.array)
        else:
            status = Call(self, op, inputs, output.array).status()
            if status != "NK_OK":
                raise StatusError(status)
        assert output.is_intact()
        return output.array

    def open(self, data, *, offset=0, null=False):
        """nk_stream_open on a copy of the bytes: the struct, which keeps the copy alive."""
        stream = ctypes.create_string_buffer(STREAM_STRUCT_BYTES)
        stream.data = aligned_copy(bytes(offset) + data)[offset:]
        address = None if null else pointer(stream.data)
        self.check(self.c.nk_stream_open(address, ctypes.c_size_t(len(data)), stream))
        return stream

    def validate(self, data):
        """nk_stream_open, then nk_stream_validate."""
        stream = self.open(data)
        self.check(self.c.nk_stream_validate(stream))
        return stream

    def buffer_size(self, stream, dims):
        return self.c.nk_nested_conv_s8_get_buffer_size(stream, ctypes.byref(dims))

    def run_nested(self, data, level, x, output, *, function="nk_nested_conv_s8"):
        """Validates a stream and runs it with a scratch buffer of just the right size."""
        stream = self.validate(data)
        if x.ndim == 4:
            dims = ConvDims(x.shape[0], *x.shape[1:3], *output.shape[1:3])
        else:
            dims = ConvDims(x.shape[0], 1, 1, 1, 1)
        needed = self.buffer_size(stream, dims)
        if needed < 0:
            raise StatusError("NK_ERROR_SHAPE")
        scratch = Guarded((needed,), np.uint8)
        self.check(
            getattr(self.c, function)(
                stream,
                level,
                ctypes.byref(dims),
                pointer(x),
                pointer(output),
                pointer(scratch.array),
                ctypes.c_size_t(needed),
            )
        )
        assert scratch.is_intact()
