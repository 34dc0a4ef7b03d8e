"""A model on an emulated board, with the instructions that it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nested_keras.detection.decoding import Decoder, Detections
from nested_keras.devices import line_protocol, process, qemu, renode
from nested_keras.devices.board import Board
from nested_keras.devices.firmware_build import DEFAULT_BOARD, Firmware, build_firmware
from nested_keras.devices.records import detections_from_records, from_records, output_layout
from nested_keras.devices.tflm_firmware import TflmFirmware, build_tflm_firmware
from nested_keras.runtime.runner import AnyModel, Array, ModelRunner, load_program, read_model
from nested_keras.tflite.program import Program

RUNTIMES = ("standalone", "tflm")
"""The runtimes of a device: generated C, or TFLite Micro."""


@dataclass(frozen=True, eq=False)
class DeviceResult:
    """Outputs and costs of a model on the device.

    Attributes:
        levels: The levels run, in order.
        outputs: For each level the output [n, ...], or a tuple of them for several outputs.
        instructions: Mean instructions of an inference at each level.
        op_names: Names of the operators.
        op_instructions: Instructions of each operator for the first image, int64 [len(levels),
            ops]; 0 for a Reshape, which shares its input's memory. All 0 with a TFLite Micro that
            was built without error strings, which has no profiler.
        arena_bytes: Size of the static arena; with TFLite Micro the bytes of the arena in use.
        stack_bytes: Deepest use of the stack, the firmware's own part included.
        text_bytes: Code and constants.
        model_bytes: The part of text_bytes that is the model's constants.
        detections: Of a detector, for each level the boxes of each image, int32 [k, 6] as
            `Decoder.detect` returns them; found by the device, but with TFLite Micro on this PC.
    """

    levels: tuple[int, ...]
    outputs: tuple[Any, ...]
    instructions: tuple[float, ...]
    op_names: tuple[str, ...]
    op_instructions: npt.NDArray[np.int64]
    arena_bytes: int
    stack_bytes: int
    text_bytes: int
    model_bytes: int
    detections: tuple[tuple[Detections, ...], ...] | None = None


class DeviceModel(ModelRunner):
    """A model run by firmware on an emulated board; the interface is that of `ReferenceModel`.

    Each call builds a firmware that carries the images, runs the firmware and parses its output.
    """

    _board: ClassVar[str]  # of the emulator

    def __init__(
        self,
        model: AnyModel,
        *,
        runtime: str = "standalone",
        board: str | Path | None = None,
        decoder: Decoder | None = None,
        build_dir: str | Path | None = None,
        cache_dir: str | Path | None = None,
        timeout_s: float = 300.0,
    ) -> None:
        """Prepares the model; nothing is built yet.

        Args:
            model: Contents of a .tflite, its path, or a prepared graph.
            runtime: "standalone", the generated C; or "tflm", TFLite Micro, for which TFLM_ROOT
                must name a tree with a library built for the Cortex-M7, and `model` must be a
                .tflite.
            board: The name of a folder of tflm_ops/boards, or the path of a folder elsewhere; by
                default the board of the emulator.
            decoder: Of a detector (`runtime.decoder_for`): each inference finds the boxes, too.
            build_dir: Receives the firmware of the latest run; a temporary folder by default.
            cache_dir: Where compiled objects are kept, to be shared by many models.
            timeout_s: Time limit of a run in seconds.

        Raises:
            ValueError: An unknown runtime, or a prepared graph for TFLite Micro.
            nested_keras.runtime.ModelError: The bytes are no model that can be run.
        """
        if runtime not in RUNTIMES:
            raise ValueError(f"runtime must be one of {', '.join(RUNTIMES)}: got {runtime!r}")
        self._chosen_board = board or self._board
        self._tflite: bytes | None = None
        if runtime == "tflm":
            if isinstance(model, Program):
                raise ValueError("TFLite Micro needs the .tflite: got a prepared graph")
            self._tflite = read_model(model)
        self._program = load_program(model)
        super().__init__(self._program)
        self._decoder = decoder
        self._build_dir = build_dir
        self._cache_dir = cache_dir
        self._timeout_s = timeout_s

    def run_all(
        self, x: Array | Sequence[Array], *, levels: Sequence[int] | None = None
    ) -> DeviceResult:
        """Runs a batch at several levels.

        Args:
            x: As for `run`.
            levels: The levels; all by default.

        Returns:
            Outputs and instruction counts.

        Raises:
            ValueError: Number, shape or type of the inputs or a level are wrong.
            ToolchainError: A tool is missing.
            BuildError: The model or the images do not fit the board.
            DeviceError: The firmware failed, printed something unexpected or took too long.
        """
        self._find_emulator()  # first, because the build takes longer
        if self._build_dir is not None:
            return self._run_in(self._build_dir, x, levels)
        with process.temporary_folder() as folder:
            return self._run_in(folder, x, levels)

    def build(
        self,
        x: Array | Sequence[Array],
        out_dir: str | Path,
        *,
        levels: Sequence[int] | None = None,
        board: str | Path | None = None,
    ) -> Firmware | TflmFirmware:
        """Builds the firmware that runs a batch, but does not run the firmware.

        Args:
            x: As for `run`.
            out_dir: Receives firmware.elf and the files that the ELF is made of.
            levels: The levels; all by default.
            board: As for the model, in the place of the model's.

        Returns:
            The firmware.

        Raises:
            ValueError: Number, shape or type of the inputs or a level are wrong, or there is no
                such board.
            ToolchainError: A tool is missing.
            BuildError: The model or the images do not fit the board.
        """
        inputs = self._checked_inputs(x)
        board = board or self._chosen_board
        if self._tflite is not None:
            return build_tflm_firmware(self._tflite, inputs, out_dir, levels=levels, board=board)
        return build_firmware(
            self._program,
            inputs,
            out_dir,
            levels=levels,
            board=board,
            cache_dir=self._cache_dir,
            decoder=self._decoder,
        )

    @property
    def _chunk_size(self) -> int:
        return 1 << 30  # all images go into one firmware

    def _run_batch(self, inputs: tuple[Array, ...], level: int) -> tuple[Array, ...]:
        (output,) = self.run_all(inputs, levels=(level,)).outputs
        return output if isinstance(output, tuple) else (output,)

    def _run_in(
        self, folder: str | Path, x: Array | Sequence[Array], levels: Sequence[int] | None
    ) -> DeviceResult:
        firmware = self.build(x, folder, levels=levels)
        return self._result(firmware, line_protocol.parse(self._run_elf(firmware.elf)))

    def _find_emulator(self) -> None:
        """Raises ToolchainError where the emulator is missing."""
        raise NotImplementedError

    def _run_elf(self, elf: Path) -> str:
        """Runs a firmware within the time limit; returns the text that the firmware printed."""
        raise NotImplementedError

    def _result(
        self, firmware: Firmware | TflmFirmware, run: line_protocol.DeviceRun
    ) -> DeviceResult:
        layout = output_layout(self._program)
        outputs = [from_records(layout, records) for records in run.outputs]
        detections = None
        if self._decoder is not None and self._tflite is not None:
            detections = tuple(self._decoder.detect(*values) for values in outputs)
        elif self._decoder is not None:
            detections = tuple(detections_from_records(layout, records) for records in run.outputs)
        return DeviceResult(
            levels=run.levels,
            outputs=tuple(o[0] if len(o) == 1 else o for o in outputs),
            instructions=tuple(run.instructions.tolist()),
            op_names=tuple(op.name for op in self._program.ops),
            op_instructions=run.op_instructions,
            arena_bytes=run.arena_bytes,
            stack_bytes=run.stack_bytes,
            text_bytes=firmware.text_bytes,
            model_bytes=firmware.model_bytes,
            detections=detections,
        )


class QemuModel(DeviceModel):
    """A model on a board of QEMU: by default mps2_an500, a Cortex-M7.

    Example:
      >>> model = QemuModel("model.tflite")  # doctest: +SKIP
      >>> result = model.run_all(x)  # doctest: +SKIP
      >>> result.instructions  # doctest: +SKIP
    """

    _board = DEFAULT_BOARD

    def _find_emulator(self) -> None:
        qemu.find_qemu()
        self._machine()

    def _machine(self) -> str:
        board = Board.read(self._chosen_board)
        if board.machine is None:
            raise ValueError(
                f"QEMU has no machine for the board {board.folder.name}: its board.json names none"
            )
        return board.machine

    def _run_elf(self, elf: Path) -> str:
        return qemu.run(elf, machine=self._machine(), timeout_s=self._timeout_s)


class RenodeModel(DeviceModel):
    """A model on Renode's NUCLEO-F767ZI; the images have to fit its flash beside the program."""

    _board = renode.BOARD

    def _find_emulator(self) -> None:
        renode.find_renode()

    def _run_elf(self, elf: Path) -> str:
        return renode.run(elf, timeout_s=self._timeout_s)
