"""The C structures of TFLite that a delegate touches, as ctypes types (64-bit layout).

TFLite keeps this layout stable for external delegates: tflite/core/c/common.h. The fields of each
structure are listed up to the last field in use; a structure passed by value is complete. The
functions below compare the values that they read with the values that must be there, so that
another layout ends in an error and not in a crash.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt

from nested_keras.tflite.flatbuffer import text
from nested_keras.tflite.program import Tensor
from nested_keras.typing import CPointer

OK = 0
ERROR = 1
BUILTIN_SOFTMAX = 25
BUILTIN_CUSTOM = 32
BUILTIN_DELEGATE = 51
BUILTIN_QUANTIZE = 114
FLAG_ALLOW_DYNAMIC_TENSORS = 1

_READ_ONLY = 1  # kTfLiteMmapRo: constant data of the file
_DTYPES = {1: "float32", 2: "int32", 3: "uint8", 4: "int64", 9: "int8"}
_MAX_RANK = 8

_Pointer = ctypes.c_void_p


class LayoutError(RuntimeError):
    """This interpreter's structures differ from the structures declared here."""


class QuantizationParams(ctypes.Structure):
    """TfLiteQuantizationParams."""

    _fields_ = [("scale", ctypes.c_float), ("zero_point", ctypes.c_int32)]


class TfLiteTensor(ctypes.Structure):
    """TfLiteTensor; complete, because tensors lie in an array."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("data", _Pointer),
        ("dims", ctypes.POINTER(ctypes.c_int)),
        ("params", QuantizationParams),
        ("allocation_type", ctypes.c_int),
        ("bytes", ctypes.c_size_t),
        ("allocation", _Pointer),
        ("name", ctypes.c_char_p),
        ("delegate", _Pointer),
        ("buffer_handle", ctypes.c_int),
        ("data_is_stale", ctypes.c_bool),
        ("is_variable", ctypes.c_bool),
        ("quantization_type", ctypes.c_int),
        ("quantization_params", _Pointer),
        ("sparsity", _Pointer),
        ("dims_signature", _Pointer),
    ]


class TfLiteNode(ctypes.Structure):
    """TfLiteNode, the first fields."""

    _fields_ = [
        ("inputs", ctypes.POINTER(ctypes.c_int)),
        ("outputs", ctypes.POINTER(ctypes.c_int)),
        ("intermediates", _Pointer),
        ("temporaries", _Pointer),
        ("user_data", _Pointer),
        ("builtin_data", _Pointer),
    ]


class TfLiteSoftmaxParams(ctypes.Structure):
    """TfLiteSoftmaxParams, the `builtin_data` of a node of SOFTMAX."""

    _fields_ = [("beta", ctypes.c_float)]


InitFunction = ctypes.CFUNCTYPE(_Pointer, _Pointer, _Pointer, ctypes.c_size_t)
FreeFunction = ctypes.CFUNCTYPE(None, _Pointer, _Pointer)
NodeFunction = ctypes.CFUNCTYPE(ctypes.c_int, _Pointer, ctypes.POINTER(TfLiteNode))


class TfLiteRegistration(ctypes.Structure):
    """TfLiteRegistration; complete, because TFLite takes the structure by value."""

    _fields_ = [
        ("init", InitFunction),
        ("free", FreeFunction),
        ("prepare", NodeFunction),
        ("invoke", NodeFunction),
        ("profiling_string", _Pointer),
        ("builtin_code", ctypes.c_int32),
        ("custom_name", ctypes.c_char_p),
        ("version", ctypes.c_int),
        ("registration_external", _Pointer),
        ("async_kernel", _Pointer),
        ("inplace_operator", ctypes.c_uint64),
    ]


class TfLiteDelegateParams(ctypes.Structure):
    """TfLiteDelegateParams, the argument of `init` of a delegate's kernel."""

    _fields_ = [
        ("delegate", _Pointer),
        ("nodes_to_replace", ctypes.POINTER(ctypes.c_int)),
        ("input_tensors", ctypes.POINTER(ctypes.c_int)),
        ("output_tensors", ctypes.POINTER(ctypes.c_int)),
    ]


class TfLiteContext(ctypes.Structure):
    """TfLiteContext, the first fields."""

    _fields_ = [
        ("tensors_size", ctypes.c_size_t),
        (
            "get_execution_plan",
            ctypes.CFUNCTYPE(ctypes.c_int, _Pointer, ctypes.POINTER(ctypes.POINTER(ctypes.c_int))),
        ),
        ("tensors", ctypes.POINTER(TfLiteTensor)),
        ("impl", _Pointer),
        ("resize_tensor", _Pointer),
        # Variadic in C. The call passes the format alone, because all calling conventions pass a
        # single argument alike.
        ("report_error", ctypes.CFUNCTYPE(None, _Pointer, ctypes.c_char_p)),
        ("add_tensors", _Pointer),
        (
            "get_node_and_registration",
            ctypes.CFUNCTYPE(
                ctypes.c_int,
                _Pointer,
                ctypes.c_int,
                ctypes.POINTER(ctypes.POINTER(TfLiteNode)),
                ctypes.POINTER(ctypes.POINTER(TfLiteRegistration)),
            ),
        ),
        (
            "replace_node_subsets",
            ctypes.CFUNCTYPE(
                ctypes.c_int, _Pointer, TfLiteRegistration, ctypes.POINTER(ctypes.c_int), _Pointer
            ),
        ),
    ]


DelegatePrepareFunction = ctypes.CFUNCTYPE(ctypes.c_int, _Pointer, _Pointer)


class TfLiteDelegate(ctypes.Structure):
    """TfLiteDelegate; complete, because the interpreter reads it."""

    _fields_ = [
        ("data", _Pointer),
        ("prepare", DelegatePrepareFunction),
        ("copy_from_buffer_handle", _Pointer),
        ("copy_to_buffer_handle", _Pointer),
        ("free_buffer_handle", _Pointer),
        ("flags", ctypes.c_int64),
        ("opaque_delegate_builder", _Pointer),
    ]


# Sizes on every 64-bit platform, as TFLite's own headers give them.
_SIZES = {TfLiteTensor: 112, TfLiteRegistration: 88, TfLiteDelegate: 56}


def check_platform() -> None:
    """Raises LayoutError where the structures do not have TFLite's 64-bit layout."""
    for structure, size in _SIZES.items():
        if ctypes.sizeof(structure) != size:
            raise LayoutError(
                f"the delegate needs a 64-bit platform where {structure.__name__} has {size} "
                f"bytes: here it has {ctypes.sizeof(structure)}"
            )


def int_array(pointer: CPointer) -> tuple[int, ...]:
    """Contents of a TfLiteIntArray: its size, then its numbers."""
    if not pointer:
        return ()
    return tuple(pointer[index + 1] for index in range(pointer[0]))


def new_int_array(*values: int) -> Any:
    """A TfLiteIntArray that Python owns."""
    return (ctypes.c_int * (len(values) + 1))(len(values), *values)


def tensor(context: TfLiteContext, index: int) -> TfLiteTensor:
    """A tensor of the graph.

    Raises:
        IndexError: If the index is out of range, or -1 for an operand left out of the file.
    """
    if not 0 <= index < context.tensors_size:
        raise IndexError(
            f"expected a tensor in 0..{context.tensors_size - 1}: got {index}"
            + (", an operand left out" if index == -1 else "")
        )
    return context.tensors[index]


def dtype(tensor: TfLiteTensor) -> str | None:
    """Type of a tensor; None for a type that the delegate does not know."""
    return _DTYPES.get(tensor.type)


def describe(tensor: TfLiteTensor) -> Tensor:
    """Name, shape, type and quantisation of a tensor, after a check of the fields.

    Raises:
        LayoutError: If the fields contradict each other.
    """
    dtype = _DTYPES.get(tensor.type)
    rank = tensor.dims[0] if tensor.dims else -1
    if dtype is None or not 0 <= rank <= _MAX_RANK:
        raise LayoutError(
            f"expected a TfLiteTensor of a known type with up to {_MAX_RANK} dimensions: got type "
            f"{tensor.type} and {rank} dimensions; this interpreter's C structures differ from "
            f"the structures of TFLite 2.14 to LiteRT 2.3"
        )
    shape = int_array(tensor.dims)
    description = Tensor(
        name=text(tensor.name),
        shape=shape,
        dtype=dtype,
        scale=tensor.params.scale,
        zero_point=tensor.params.zero_point,
    )
    if min(shape, default=1) < 1 or description.nbytes != tensor.bytes:
        raise LayoutError(
            f"tensor {description.name!r} of shape {list(shape)} must have {description.nbytes} "
            f"bytes: its TfLiteTensor says {tensor.bytes}"
        )
    return description


def view(tensor: TfLiteTensor) -> npt.NDArray[Any]:
    """The tensor's memory as an array, without a copy.

    Raises:
        LayoutError: If the tensor has no memory or its fields contradict each other.
    """
    description = describe(tensor)
    if not tensor.data:
        raise LayoutError(f"tensor {description.name!r} has no memory yet")
    memory = (ctypes.c_uint8 * tensor.bytes).from_address(tensor.data)
    return np.frombuffer(memory, description.dtype).reshape(description.shape)


def read_int32(tensor: TfLiteTensor) -> int:
    """The value of a tensor that holds one int32.

    Raises:
        LayoutError: If the tensor holds anything else.
    """
    values = view(tensor)
    if values.dtype != np.int32 or values.size != 1:
        name = text(tensor.name)
        raise LayoutError(
            f"tensor {name!r} must hold one int32: got {values.dtype}{list(values.shape)}"
        )
    return int(values.reshape(())[()])


def constant(tensor: TfLiteTensor) -> bytes:
    """Bytes of a constant uint8 tensor.

    Raises:
        LayoutError: If the tensor is no uint8 constant.
    """
    description = describe(tensor)
    if description.dtype != "uint8" or tensor.allocation_type != _READ_ONLY:
        raise LayoutError(
            f"tensor {description.name!r} must be a uint8 constant (allocation type "
            f"{_READ_ONLY}): got {description.dtype}, allocation type {tensor.allocation_type}"
        )
    return view(tensor).tobytes()
