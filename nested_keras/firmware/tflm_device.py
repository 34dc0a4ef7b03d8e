"""A model on the emulated Cortex-M7 with TFLite Micro as its runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nested_keras.firmware import qemu, results
from nested_keras.firmware.device import DeviceResult, QemuModel
from nested_keras.firmware.tflm_firmware import ARENA_BYTES, build_tflm_firmware
from nested_keras.runtime.runner import Array, read_model


class TflmQemuModel(QemuModel):
    """A model run by TFLite Micro on QEMU's mps2-an500; the interface is that of `QemuModel`.

    Needs TFLM_ROOT: a TFLite Micro tree with a library built for the Cortex-M7. In the result,
    `arena_bytes` is what TFLite Micro uses of its arena, and `op_instructions` are zeros where its
    library was built without error strings.
    """

    def __init__(
        self,
        model: bytes | str | Path,
        *,
        build_dir: str | Path | None = None,
        arena_bytes: int = ARENA_BYTES,
        timeout_s: float = 300.0,
    ) -> None:
        """Prepares the model; nothing is built yet.

        Args:
          model: Contents of a .tflite or its path.
          build_dir: Receives the firmware of the latest run; a temporary folder by default.
          arena_bytes: Size of the arena.
          timeout_s: Time limit of a run in seconds.

        Raises:
          nested_keras.runtime.ModelError: The bytes are no model that can be run.
        """
        self._content = read_model(model)
        self._arena_bytes = arena_bytes
        super().__init__(self._content, build_dir=build_dir, timeout_s=timeout_s)

    def _run_in(
        self, folder: Path, inputs: tuple[Array, ...], levels: Sequence[int] | None
    ) -> DeviceResult:
        firmware = build_tflm_firmware(
            self._content,
            inputs,
            folder,
            levels=levels,
            arena_bytes=self._arena_bytes,
        )
        text = qemu.run(firmware.elf, timeout_s=self._timeout_s)
        return self._result(firmware, results.parse(text))
