"""The registration of an operator: its class, its readers, its NumPy kernel, its C call.

Each family file ends with a tuple `OPERATORS` of registrations; `tflite/operators/__init__.py`
joins the tuples. Every other room asks the registration and has no list of operators of its own.
"""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from nested_keras.int8.fixed_point import Int64Array, wrap_int32
from nested_keras.tflite.operator_reader import OperatorReader
from nested_keras.tflite.program import Op, Program
from nested_keras.typing import Int8Array

Array: TypeAlias = npt.NDArray[Any]
Shape: TypeAlias = tuple[int, ...]

MAX_RANK = 4
"""The C kernels take shapes of four dimensions; a shorter shape gets leading ones."""


def own_fields(op: Op) -> dict[str, Any]:
    """Returns the fields that an operator adds to `Op`, which are its C parameter struct."""
    base = {field.name for field in dataclasses.fields(Op)}
    names = [field.name for field in dataclasses.fields(op) if field.name not in base]
    return {name: getattr(op, name) for name in names}


class CArgument(enum.Enum):
    """One argument, or a few arguments together, in the call of a C kernel."""

    INPUTS = enum.auto()
    """For each input the address of its nk_dims4 and the pointer to its elements."""

    INPUT = enum.auto()
    """The pointer to the elements of the first input."""

    INPUT_LIST = enum.auto()
    """The number of inputs, the array of their nk_dims4 and the array of their pointers."""

    OUTPUT_DIMS = enum.auto()
    """The address of the output's nk_dims4."""

    OUTPUT = enum.auto()
    """The pointer to the elements of the output."""


# A number that is known before the call, from the operator and the shape of its first input.
Count: TypeAlias = Callable[[Any, Shape], int]


def elements(op: Op, shape: Shape) -> int:
    """Counts the elements of the first input."""
    return math.prod(shape)


@dataclass(frozen=True, eq=False)
class CCall:
    """The C function of an operator, `nk_status function(const NAME_params *params, ...)`.

    Attributes:
        function: The name of the function in tflm_ops/include/nk_ops.h.
        arguments: The arguments after the parameters in the call, in order.
        parameters: Gives the fields of the parameter struct in their order, from the operator and
            the rank of its output; by default the fields of the dataclass. A function without
            fields takes no parameter struct.
        slides_a_window: Whether the function takes images of limited height and width.
    """

    function: str
    arguments: tuple[CArgument | Count, ...]
    parameters: Callable[[Any, int], Mapping[str, Any]] = lambda op, rank: own_fields(op)
    slides_a_window: bool = False

    @property
    def struct(self) -> str:
        """Returns the name of the parameter struct: the function's name without element types."""
        stem = self.function.replace("_s8_f32", "").replace("_f32_s8", "").removesuffix("_s8")
        return f"{stem}_params"


@dataclass(frozen=True)
class RowWindow:
    """The input rows under an output row y: `kernel` rows from y * stride - pad_top on.

    Attributes:
        kernel: Rows from the first to the last, with dilation.
        stride: Input rows from one output row to the next.
        pad_top: Rows above the input; the parameter `pad_top` of the C function, if not 0.
        is_element_wise: Whether an output element depends on the input elements at the same place
            alone, so that the output may overwrite an input of the same shape.
    """

    kernel: int = 1
    stride: int = 1
    pad_top: int = 0
    is_element_wise: bool = False


Reader: TypeAlias = Callable[[OperatorReader], Op]
# Takes the operator, its activations with any batch size, the shape of the output with that batch
# size and the nested level.
Kernel: TypeAlias = Callable[[Any, Sequence[Array], Shape, int], Array]


@dataclass(frozen=True, eq=False)
class Registration:
    """One operator.

    Attributes:
        op: The class of the prepared operator.
        readers: For each TFLite name that becomes this operator, the function that checks the
            operator and resolves its parameters.
        run: The NumPy kernel, bit-exact with TFLite's reference kernel (docs/quantization.md).
        c_call: The C function; None for a Reshape, which copies nothing or bytes, and for a
            NestedSparseConv, whose function depends on its stream (`cortex_m.scratch`).
        custom_readers: The readers for custom codes.
        mixes_samples: Whether the operator would act differently on a larger first axis.
        row_window: Gives the input rows under an output row; None if the C function cannot compute
            some rows of the output alone.
    """

    op: type[Op]
    readers: Mapping[str, Reader]
    run: Kernel
    c_call: CCall | None
    custom_readers: Mapping[str, Reader] = dataclasses.field(default_factory=dict)
    mixes_samples: Callable[[Any, Program], bool] = lambda op, program: False
    row_window: Callable[[Any], RowWindow | None] = lambda op: None


def same_row(op: Op) -> RowWindow:
    """The window of an element-wise operator."""
    return RowWindow(is_element_wise=True)


def clamp(y: Int64Array, low: int, high: int) -> Int8Array:
    """Wraps to 32 bits, in which the C kernels add the output offset, and clamps to low..high."""
    return np.clip(wrap_int32(y), low, high).astype(np.int8)
