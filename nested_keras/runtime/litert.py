"""Our operators in LiteRT: a delegate in pure Python, and a model class on top of it.

The delegate runs NESTED_SPARSE_CONV and INT8_LOOKUP.

The delegate takes two builtin operators as well. LiteRT does not define what QUANTIZE from float32
to int8 gives for NaN and for values far outside the range (docs/quantization.md). LiteRT's
reference SOFTMAX of int8 ends the process where the exponentials add up to 512 or more, as those of
1,000 even classes do.

The delegate registers a kernel through TFLite's C delegate interface with ctypes, so nothing has to
be compiled (docs/decisions/0001-litert-delegate.md). The NumPy kernels run the operators.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from nested_keras.format import Stream
from nested_keras.format.levels import check_level
from nested_keras.runtime import litert_abi
from nested_keras.runtime.larger_batch import with_batch
from nested_keras.runtime.runner import Array, ModelFile, ModelRunner, read_model
from nested_keras.tflite import flatbuffer, operators
from nested_keras.tflite.file_reader import read_graph
from nested_keras.tflite.lowering import Interface, read_interface
from nested_keras.tflite.model_error import ModelError
from nested_keras.tflite.operators import Lookup, NestedSparseConv, Quantize, Softmax
from nested_keras.tflite.operators.lookup import INT8_LOOKUP
from nested_keras.tflite.operators.nested import NESTED_SPARSE_CONV, require_fit
from nested_keras.tflite.operators.probabilities import check_probabilities, prepare_softmax
from nested_keras.tflite.program import Program

# The number of inputs of our operators.
_INPUTS = {NESTED_SPARSE_CONV: 3, INT8_LOOKUP: 2}
_DELEGATE = "NestedDelegate"
_BUILTINS = {litert_abi.BUILTIN_QUANTIZE: "QUANTIZE", litert_abi.BUILTIN_SOFTMAX: "SOFTMAX"}
# Each exponential is at most 1, so fewer classes never add up to 512.
_MANY_CLASSES = 512
# Samples that one call of an interpreter runs, because Python's work per call does not grow with
# the samples.
_SAMPLES = 16


@dataclass
class _Kernel:
    """State of one replaced operator.

    Attributes:
        kind: "NESTED_SPARSE_CONV", "INT8_LOOKUP", "QUANTIZE" or "SOFTMAX".
        inputs: Tensor indices of input, level (-1 where left out) and stream; of INT8_LOOKUP the
            input and the table, of the others the input.
        output: Tensor index of the output.
        op: The prepared operator, set when the interpreter prepares the kernel.
        levels: Number of levels in the stream.
        beta: The factor of SOFTMAX.
    """

    kind: str
    inputs: tuple[int, ...]
    output: int
    op: NestedSparseConv | Lookup | Quantize | Softmax | None = None
    levels: int = 0
    beta: float = 1.0


class NestedDelegate:
    """Runs NESTED_SPARSE_CONV and INT8_LOOKUP in LiteRT and `tf.lite`.

    Runs QUANTIZE of float32 and SOFTMAX of 512 classes and more, too.

    Example:
      >>> interpreter = Interpreter(  # doctest: +SKIP
      ...     "model.tflite", experimental_delegates=[nested_keras.runtime.NestedDelegate()]
      ... )

    An operator whose level input is left out runs at `level`. An interpreter keeps its delegate
    alive; one delegate may serve several interpreters.

    Attributes:
        level: Level of operators without a level input; None is the densest.
    """

    def __init__(self, *, level: int | None = None) -> None:
        """Makes a delegate, which registers nothing before an interpreter takes the delegate.

        Raises:
            LayoutError: If this platform does not have 64 bits.
        """
        litert_abi.check_platform()
        self.level = level
        self._kernels: dict[int, _Kernel] = {}
        # A kernel's handle is its number from 1, because a null pointer means that `init` failed.
        self._handles = itertools.count(1)
        # The interpreter keeps pointers to these objects, so they live as long as the delegate.
        self._prepare_callback = litert_abi.DelegatePrepareFunction(self._on_delegate_prepare)
        self._registration = litert_abi.TfLiteRegistration(
            init=litert_abi.InitFunction(self._on_init),
            free=litert_abi.FreeFunction(self._on_free),
            prepare=litert_abi.NodeFunction(self._on_prepare),
            invoke=litert_abi.NodeFunction(self._on_invoke),
            builtin_code=litert_abi.BUILTIN_DELEGATE,
            custom_name=_DELEGATE.encode(),
            version=1,
        )
        self._delegate = litert_abi.TfLiteDelegate(
            prepare=self._prepare_callback, flags=litert_abi.FLAG_ALLOW_DYNAMIC_TENSORS
        )

    def _get_native_delegate_pointer(self) -> int:
        """Address of the TfLiteDelegate: the method that interpreters ask a delegate for."""
        return ctypes.addressof(self._delegate)

    def _on_delegate_prepare(self, address: int, delegate: int) -> int:
        return _guard(address, lambda context: self._replace_nodes(address, context, delegate))

    def _replace_nodes(
        self, address: int, context: litert_abi.TfLiteContext, delegate: int
    ) -> None:
        """Takes over our operators of the graph, one by one."""
        plan = ctypes.POINTER(ctypes.c_int)()
        _require_ok(context.get_execution_plan(address, ctypes.byref(plan)), "GetExecutionPlan")
        for index in litert_abi.int_array(plan):
            if _is_ours(context, *_node(address, context, index)):
                nodes = litert_abi.new_int_array(index)
                status = context.replace_node_subsets(
                    address,
                    self._registration,
                    ctypes.cast(nodes, ctypes.POINTER(ctypes.c_int)),
                    delegate,
                )
                _require_ok(status, "ReplaceNodeSubsetsWithDelegateKernels")

    def _on_init(self, address: int, buffer: int, _length: int) -> int | None:
        handle = next(self._handles)

        def init(context: litert_abi.TfLiteContext) -> None:
            params = litert_abi.TfLiteDelegateParams.from_address(buffer)
            (index,) = litert_abi.int_array(params.nodes_to_replace)
            node, registration = _node(address, context, index)
            inputs, outputs = litert_abi.int_array(node.inputs), litert_abi.int_array(node.outputs)
            kind = _kind(registration)
            count = _INPUTS.get(kind, 1)
            if len(inputs) != count or len(outputs) != 1:
                raise ValueError(
                    f"{kind}: expected {count} inputs and 1 output: got {inputs} and {outputs}"
                )
            kernel = _Kernel(kind, inputs, outputs[0])
            if kind == "SOFTMAX":
                kernel.beta = litert_abi.TfLiteSoftmaxParams.from_address(node.builtin_data).beta
            self._kernels[handle] = kernel

        return handle if _guard(address, init) == litert_abi.OK else None

    def _on_free(self, _address: int, handle: int | None) -> None:
        """Forgets the kernel of an interpreter that ends; the delegate may serve others."""
        self._kernels.pop(handle or 0, None)

    def _on_prepare(self, address: int, node: Any) -> int:
        return self._guard_node(address, node, self._prepare)

    def _guard_node(self, address: int, node: Any, action: Callable[..., None]) -> int:
        """Runs a callback of a node; the text of an error begins with the operator's kind."""
        kernel = self._kernels.get(node.contents.user_data or 0)
        name = kernel.kind if kernel else _DELEGATE
        return _guard(address, lambda context: action(context, node.contents), name=name)

    def _prepare(self, context: litert_abi.TfLiteContext, node: litert_abi.TfLiteNode) -> None:
        kernel = self._kernel(node)
        x, y = (
            litert_abi.describe(litert_abi.tensor(context, i))
            for i in (kernel.inputs[0], kernel.output)
        )
        if len(kernel.inputs) == 1 and x.shape != y.shape:
            raise ValueError(
                f"expected an output of the input's shape {list(x.shape)}: got {list(y.shape)}"
            )
        if kernel.kind == "QUANTIZE":
            kernel.op = Quantize(
                name=y.name, inputs=(), outputs=(), scale=y.scale, zero_point=y.zero_point
            )
            return
        if kernel.kind == "SOFTMAX":
            check_probabilities(y)
            kernel.op = prepare_softmax(x, beta=kernel.beta, name=y.name, inputs=(), outputs=())
            return
        if (x.dtype, y.dtype) != ("int8", "int8"):
            raise ValueError(f"expected int8 input and output: got {x.dtype} and {y.dtype}")
        if len(kernel.inputs) == 2:
            table = litert_abi.view(litert_abi.tensor(context, kernel.inputs[1]))
            if table.dtype != np.int8 or table.shape != (256,):
                raise ValueError(
                    f"the table must be int8[256]: got {table.dtype}{list(table.shape)}"
                )
            kernel.op = Lookup(name=y.name, inputs=(), outputs=(), table=table.copy())
            return
        layer = Stream.parse(litert_abi.constant(litert_abi.tensor(context, kernel.inputs[2])))
        try:
            require_fit(layer.params, x, y)
        except ModelError as error:
            raise ModelError(
                f"{error}; a nested model runs with the shapes of its file, which "
                "resize_tensor_input cannot change"
            ) from error
        kernel.op = NestedSparseConv(name=y.name, inputs=(), outputs=(), layer=layer)
        kernel.levels = len(layer.levels)

    def _on_invoke(self, address: int, node: Any) -> int:
        return self._guard_node(address, node, self._invoke)

    def _invoke(self, context: litert_abi.TfLiteContext, node: litert_abi.TfLiteNode) -> None:
        kernel = self._kernel(node)
        if kernel.op is None:
            raise RuntimeError("the kernel has not been prepared")
        x = litert_abi.view(litert_abi.tensor(context, kernel.inputs[0]))
        y = litert_abi.view(litert_abi.tensor(context, kernel.output))
        if not isinstance(kernel.op, NestedSparseConv):
            y[...] = operators.run_op(kernel.op, [x], y.shape, 0)
            return
        level = kernel.levels - 1 if self.level is None else self.level
        if kernel.inputs[1] >= 0:
            level = litert_abi.read_int32(litert_abi.tensor(context, kernel.inputs[1]))
        check_level(level, levels=kernel.levels)
        y[...] = operators.run_op(kernel.op, [x], y.shape, level)

    def _kernel(self, node: litert_abi.TfLiteNode) -> _Kernel:
        if not node.user_data:
            raise RuntimeError("the kernel could not be initialised")
        return self._kernels[node.user_data]


def _guard(
    address: int, action: Callable[[litert_abi.TfLiteContext], None], *, name: str = _DELEGATE
) -> int:
    """Runs a callback; an exception becomes the interpreter's error message and status."""
    context = litert_abi.TfLiteContext.from_address(address)
    try:
        action(context)
    except Exception as error:
        # An exception cannot pass through C. The interpreter raises RuntimeError with this text.
        text = f"{name}: {type(error).__name__}: {error}\n"
        context.report_error(address, text.replace("%", "%%").encode())
        return litert_abi.ERROR
    return litert_abi.OK


def _kind(registration: litert_abi.TfLiteRegistration) -> str:
    """Returns the custom code of an operator, or the name of one of `_BUILTINS`, or nothing."""
    if registration.builtin_code != litert_abi.BUILTIN_CUSTOM:
        return _BUILTINS.get(registration.builtin_code, "")
    return flatbuffer.text(registration.custom_name)


def _is_ours(context: litert_abi.TfLiteContext, node: Any, registration: Any) -> bool:
    """Says whether the delegate runs an operator."""
    if registration.builtin_code not in _BUILTINS:
        return _kind(registration) in _INPUTS
    ends = (*litert_abi.int_array(node.inputs), *litert_abi.int_array(node.outputs))
    tensors = [litert_abi.tensor(context, index) for index in ends]
    types = [litert_abi.dtype(tensor) for tensor in tensors]
    if _kind(registration) == "QUANTIZE":
        return types == ["float32", "int8"]
    shape = litert_abi.int_array(tensors[0].dims)
    return types == ["int8", "int8"] and bool(shape) and shape[-1] >= _MANY_CLASSES


def _node(address: int, context: litert_abi.TfLiteContext, index: int) -> tuple[Any, Any]:
    node = ctypes.POINTER(litert_abi.TfLiteNode)()
    registration = ctypes.POINTER(litert_abi.TfLiteRegistration)()
    status = context.get_node_and_registration(
        address, index, ctypes.byref(node), ctypes.byref(registration)
    )
    _require_ok(status, "GetNodeAndRegistration")
    return node.contents, registration.contents


def _require_ok(status: int, function: str) -> None:
    if status != litert_abi.OK:
        raise RuntimeError(f"{function} failed with status {status}")


class LiteRTModel(ModelRunner):
    """A nested or plain .tflite model in the LiteRT interpreter with its reference kernels.

    Unlike `ReferenceModel`, `LiteRTModel` runs any builtin operator that LiteRT knows.
    """

    def __init__(self, model: ModelFile, *, interface: Interface | Program | None = None) -> None:
        """Makes the interpreter.

        Args:
            model: The .tflite file: its bytes or its path.
            interface: The interface of the file, or its prepared graph, if read already.

        Raises:
            ModelError: If the file is damaged, or has a nested operator that is not valid.
            RuntimeError: If LiteRT refuses the file.
        """
        content = read_model(model)
        if interface is None:
            interface = read_interface(read_graph(flatbuffer.load(content)))
        self._content = content
        super().__init__(interface)
        self._delegate = NestedDelegate()
        self._interpreter = self._interpret(content)
        self._interpreter.allocate_tensors()
        # Positions, because the larger model has the same inputs under other indices.
        order = [each["index"] for each in self._interpreter.get_input_details()]
        self._inputs = [order.index(index) for index in interface.inputs]
        level = interface.level_input
        self._level = None if level is None else order.index(level)

    def _interpret(self, content: bytes) -> Any:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        return Interpreter(
            model_content=content,
            # Optimised kernels differ from the reference kernels by one step here and there.
            experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
            experimental_delegates=[self._delegate],
            num_threads=1,
        )

    @functools.cached_property
    def _larger(self) -> Any:
        """An interpreter of the same model for `_SAMPLES` inputs; None if the model forbids it."""
        tree = with_batch(self._content, _SAMPLES)
        if tree is None:
            return None
        try:
            interpreter = self._interpret(flatbuffer.save(tree))
            interpreter.allocate_tensors()
        except (ModelError, RuntimeError, ValueError):
            return None
        # An operator that reads its shape from another input could give other shapes.
        wanted = [list(tensor.shape) for tensor in tree.subgraph.tensors]
        shapes = {each["index"]: list(each["shape"]) for each in interpreter.get_tensor_details()}
        kept = all(shapes[index] == shape for index, shape in enumerate(wanted) if index in shapes)
        return interpreter if kept else None

    def _chunks(self, inputs: tuple[Array, ...]) -> Iterator[tuple[Array, ...]]:
        many = len(inputs[0]) // _SAMPLES * _SAMPLES
        if not many or self._chunk_size != 1 or self._larger is None:
            many = 0
        for start in range(0, many, _SAMPLES):
            yield tuple(value[start : start + _SAMPLES] for value in inputs)
        yield from super()._chunks(tuple(value[many:] for value in inputs))

    def _run_batch(self, inputs: tuple[Array, ...], level: int) -> tuple[Array, ...]:
        one = len(inputs[0]) == self._chunk_size
        interpreter = self._interpreter if one else self._larger
        indices = [each["index"] for each in interpreter.get_input_details()]
        for position, value in zip(self._inputs, inputs, strict=True):
            interpreter.set_tensor(indices[position], value)
        if self._level is not None:
            interpreter.set_tensor(indices[self._level], np.array([level], np.int32))
        self._delegate.level = level
        interpreter.invoke()
        outputs = interpreter.get_output_details()
        return tuple(interpreter.get_tensor(each["index"]) for each in outputs)
