"""A model in TFLite Micro's own interpreter on this PC, with the adapter that firmware uses.

The interpreter comes from the PyPI package tflite-micro; the adapter (tflm_ops/tflm) is compiled
on first use and found by it through `custom_op_registerers`.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.metadata
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nested_keras.codegen import sources
from nested_keras.devices import process
from nested_keras.devices.toolchain import Toolchain, host_toolchain
from nested_keras.runtime.runner import Array, ModelFile, ModelRunner, read_model
from nested_keras.tflite import flatbuffer
from nested_keras.tflite.file_reader import read_graph
from nested_keras.tflite.lowering import read_interface

WHEEL_VERSION = "0.dev20260930204519"
"""The one version of tflite-micro whose binary interface the plug-in is written for."""

ARENA_BYTES = 64 << 20
"""Default arena: more than a microcontroller's model needs; untouched pages cost nothing."""

# In a few hundred bytes the interpreter cannot place its own objects, and crashes.
_MIN_ARENA_BYTES = 1024
_REGISTERER = "NestedKerasRegisterOps"
# Our ADD and MEAN in the places of TFLite Micro's, as in firmware of such a model.
_BUILTINS = "NestedKerasRegisterBuiltins"
_CXX_FLAGS = ("-std=c++17", "-O2", "-fPIC", "-fno-rtti", "-fno-exceptions", "-fvisibility=hidden")


class TflmModel(ModelRunner):
    """A nested or plain .tflite model in TFLite Micro; the interface is that of `ReferenceModel`.

    Runs any builtin operator that TFLite Micro knows, with its portable reference kernels.

    Example:
      >>> model = TflmModel("model.tflite")  # doctest: +SKIP
      >>> y = model.run(x, level=0)  # doctest: +SKIP
    """

    def __init__(self, model: ModelFile, *, arena_bytes: int = ARENA_BYTES) -> None:
        """Compiles the adapter at the first use in a process, and makes the interpreter.

        Args:
            model: Contents of a .tflite or its path.
            arena_bytes: Size of TFLite Micro's arena.

        Raises:
            ImportError: The package tflite-micro is missing or of another version.
            ToolchainError: There is no C or C++ compiler.
            ValueError: An arena of less than 1024 bytes.
            nested_keras.runtime.ModelError: The bytes are no model that can be run.
            RuntimeError: TFLite Micro refuses the model, or the arena is too small.
        """
        tree = flatbuffer.load(read_model(model))
        read_graph(tree)  # checks the parts that flatbuffer.load() takes on trust
        # All buffers inside the flatbuffer and aligned: TFLite Micro takes both on trust.
        content = flatbuffer.save(tree)
        graph = read_graph(tree)
        interface = read_interface(graph)
        super().__init__(interface)
        order = graph.inputs
        self._input_positions = tuple(order.index(tensor) for tensor in interface.inputs)
        level = interface.level_input
        self._level_position = None if level is None else order.index(level)
        self._interpreter = TflmInterpreter(
            content,
            arena_bytes=arena_bytes,
            is_ours=any(operator.custom for operator in graph.operators),
        )

    def _run_batch(self, inputs: tuple[Array, ...], level: int) -> tuple[Array, ...]:
        for position, value in zip(self._input_positions, inputs, strict=True):
            self._interpreter.set_input(np.ascontiguousarray(value), position)
        if self._level_position is not None:
            self._interpreter.set_input(np.array([level], np.int32), self._level_position)
        self._interpreter.invoke(external_level=level)
        return tuple(
            self._interpreter.get_output(position) for position in range(len(self.output_details))
        )


class TflmInterpreter:
    """The package's interpreter with our operators in it, and errors that say the cause."""

    def __init__(
        self, content: bytes, *, arena_bytes: int = ARENA_BYTES, is_ours: bool = False
    ) -> None:
        """Allocates the tensors, which prepares and checks every operator.

        Args:
            content: The .tflite, which TFLite Micro itself takes on trust.
            arena_bytes: Size of the arena.
            is_ours: Whether our kernels run ADD and MEAN.

        Raises:
            ImportError, ToolchainError: As `TflmModel`.
            ValueError: The arena is too small even to ask.
            RuntimeError: TFLite Micro refuses the model; the text ends with the operator's message.
        """
        if arena_bytes < _MIN_ARENA_BYTES:
            raise ValueError(f"arena_bytes must be at least {_MIN_ARENA_BYTES}: got {arena_bytes}")
        runtime = _runtime()
        self._plugin = _plugin()
        self._content = content
        registerers = [_REGISTERER, _BUILTINS] if is_ours else [_REGISTERER]
        # The interpreter prints the number of resource variables.
        with (
            self._explained("TFLite Micro refused the model"),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            self._interpreter = runtime.Interpreter.from_bytes(
                content, custom_op_registerers=registerers, arena_size=arena_bytes
            )

    def set_input(self, value: Array, position: int) -> None:
        """Copies a value into graph input `position`."""
        self._interpreter.set_input(value, position)

    def invoke(self, *, external_level: int = 0) -> None:
        """Runs the model; operators without a level input run at `external_level`.

        Raises:
            RuntimeError: An operator failed; the interpreter can be used again.
        """
        self._plugin.nested_keras_set_level(ctypes.c_int32(external_level))
        with self._explained("TFLite Micro failed"):
            self._interpreter.invoke()

    def get_output(self, position: int) -> Array:
        """A copy of graph output `position`."""
        return np.array(self._interpreter.get_output(position))

    @contextlib.contextmanager
    def _explained(self, task: str) -> Iterator[None]:
        self._plugin.nested_keras_take_messages()
        try:
            yield
        except RuntimeError as error:
            message = self._plugin.nested_keras_take_messages().decode("ascii", "replace")
            raise RuntimeError(f"{task}: {message or error}") from error


def _runtime() -> Any:
    """The package's Python module."""
    try:
        version = importlib.metadata.version("tflite-micro")
    except importlib.metadata.PackageNotFoundError:
        raise ImportError(
            "TFLite Micro needs the package tflite-micro (Linux on x86-64): "
            "pip install 'nested_keras[tflm]'"
        ) from None
    if version != WHEEL_VERSION:
        # Its C++ interface is private and changes: another version could crash.
        raise ImportError(f"expected tflite-micro {WHEEL_VERSION}: got {version}")
    from tflite_micro.python.tflite_micro import runtime

    return runtime


@functools.cache
def _plugin() -> ctypes.CDLL:
    """Compiles and loads the adapter, once for the process."""
    with process.temporary_folder() as folder:
        shared = build_plugin(folder)
        # The interpreter looks for the registerer among the symbols of the whole process.
        plugin = ctypes.CDLL(str(shared), mode=ctypes.RTLD_GLOBAL)
    plugin.nested_keras_take_messages.restype = ctypes.c_char_p
    return plugin


def build_plugin(folder: Path) -> Path:
    """Compiles the adapter and the kernels to a shared library in `folder`."""
    include = sources.tflm_ops_dir() / "include"
    adapters, declarations = sources.tflm_adapters(), sources.tflm_abi_dir()
    kernels = sources.sources_for(sources.functions_used(*adapters))
    c = host_toolchain()
    cxx = Toolchain("c++", _CXX_FLAGS, ("-shared",))
    objects = [
        c.compile(
            kernel, include_dirs=(include,), cache_dir=folder, extra_flags=("-fvisibility=hidden",)
        )
        for kernel in kernels
    ]
    objects += [
        cxx.compile(
            source, include_dirs=(include, declarations.parent, declarations), cache_dir=folder
        )
        for source in (*adapters, declarations / "wheel_plugin.cc")
    ]
    shared = folder / "libnested_keras_tflm.so"
    cxx.link(objects, shared)
    return shared
