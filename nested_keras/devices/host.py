"""The generated C on this PC: compiled with the machine's compiler, called through ctypes."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np

from nested_keras.codegen.firmware_errors import FirmwareError
from nested_keras.codegen.library import GeneratedLibrary, generate
from nested_keras.devices import process
from nested_keras.devices.toolchain import host_toolchain
from nested_keras.runtime.runner import AnyModel, Array, ModelRunner, load_program


class HostModel(ModelRunner):
    """A model run by its generated C library; the interface is that of `ReferenceModel`.

    Not thread-safe: the library has one static arena.

    Example:
      >>> model = HostModel("model.tflite")  # doctest: +SKIP
      >>> y = model.run(x, level=0)  # doctest: +SKIP
    """

    def __init__(self, model: AnyModel, *, cache_dir: str | Path | None = None) -> None:
        """Generates, compiles and loads the library.

        Args:
            model: Contents of a .tflite, its path, or a prepared graph.
            cache_dir: Where compiled objects are kept, to be shared by many models.

        Raises:
            ToolchainError: There is no C compiler.
            FirmwareError: `model_check` refused the packed weights.
            CodegenError: The graph holds something that cannot be printed.
            nested_keras.runtime.ModelError: The bytes are no model that can be run.
        """
        program = load_program(model)
        super().__init__(program)
        # Once loaded, the library does not need its file any more.
        with process.temporary_folder() as folder:
            library = generate(program, folder)
            self._dll = _load(library, folder if cache_dir is None else Path(cache_dir))
        self.arena_bytes = library.arena_bytes
        self.data_bytes = library.data_bytes
        self._require_ok("model_check", self._dll.model_check())

    def _run_batch(self, inputs: tuple[Array, ...], level: int) -> tuple[Array, ...]:
        contiguous = [np.ascontiguousarray(value) for value in inputs]
        outputs = tuple(np.empty(t.shape, t.dtype) for t in self.output_details)
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (*contiguous, *outputs)]
        status = self._dll.model_invoke(*pointers, ctypes.c_int32(level))
        self._require_ok("model_invoke", status)
        return outputs

    def _require_ok(self, function: str, status: int) -> None:
        if status != 0:
            name = self._dll.nk_status_name(ctypes.c_int(status)).decode("ascii")
            raise FirmwareError(f"{function} returned {name}, expected NK_OK")


def _load(library: GeneratedLibrary, cache_dir: Path) -> ctypes.CDLL:
    """Compiles the library to a shared object and opens it."""
    toolchain = host_toolchain()
    shared = library.directory / f"lib{library.name}.so"
    toolchain.link(library.compile(toolchain, cache_dir), shared)
    dll = ctypes.CDLL(str(shared))
    dll.nk_status_name.restype = ctypes.c_char_p
    return dll
