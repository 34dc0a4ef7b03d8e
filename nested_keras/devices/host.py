"""The generated C on this PC: compiled with the machine's compiler, called through ctypes."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nested_keras.codegen.firmware_errors import FirmwareError
from nested_keras.codegen.library import GeneratedLibrary, generate
from nested_keras.detection.decoding import Decoder, Detections
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

    def __init__(
        self,
        model: AnyModel,
        *,
        decoder: Decoder | None = None,
        cache_dir: str | Path | None = None,
        arena: int | str | None = None,
    ) -> None:
        """Generates, compiles and loads the library.

        Args:
            model: Contents of a .tflite, its path, or a prepared graph.
            decoder: Of a detector (`runtime.decoder_for`), for `detect`.
            cache_dir: Where compiled objects are kept, to be shared by many models.
            arena: The most bytes of the arena, or "smallest", or None; see `generate`.

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
            library = generate(program, folder, decoder=decoder, arena=arena)
            self._dll = _load(library, folder if cache_dir is None else Path(cache_dir))
        self._max_boxes = 0 if decoder is None else decoder.max_boxes
        self.arena_bytes = library.arena_bytes
        self.data_bytes = library.data_bytes
        self._require_ok("model_check", self._dll.model_check())

    def detect(
        self, boxes: npt.NDArray[np.int8], scores: npt.NDArray[np.int8]
    ) -> tuple[Detections, ...]:
        """Finds the boxes in the outputs of a detector by `model_detect`.

        Args:
            boxes: int8 [n, A, 4].
            scores: int8 [n, A, classes + 1].

        Returns:
            For each image int32 [k, 6], as `Decoder.detect` returns them.

        Raises:
            ValueError: If the model has no decoder, or an output has another type or shape.
        """
        if not self._max_boxes:
            raise ValueError("detect needs a decoder: got a HostModel without one")
        for details, values in zip(self.output_details, (boxes, scores), strict=True):
            if values.dtype != np.int8 or values.shape[1:] != details.shape[1:]:
                raise ValueError(
                    f"output {details.name!r} must be int8 {['n', *details.shape[1:]]}: got "
                    f"{values.dtype} {list(values.shape)}"
                )
        found = []
        for pair in zip(boxes, scores, strict=True):
            room = np.empty((self._max_boxes, 6), np.int32)
            count = ctypes.c_int32()
            arrays = (*map(np.ascontiguousarray, pair), room)
            pointers = [ctypes.c_void_p(array.ctypes.data) for array in arrays]
            status = self._dll.model_detect(*pointers, ctypes.byref(count))
            self._require_ok("model_detect", status)
            found.append(room[: count.value])
        return tuple(found)

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
