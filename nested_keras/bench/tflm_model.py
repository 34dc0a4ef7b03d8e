"""The model benchmark in TFLite Micro: every operator of a .tflite, at every level, on QEMU."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from nested_keras.bench import counter, whole_model
from nested_keras.bench.profile import Listing
from nested_keras.bench.whole_model import LevelCost
from nested_keras.codegen import sources
from nested_keras.codegen.firmware_errors import DeviceError
from nested_keras.devices import process
from nested_keras.devices.tflm_firmware import build_tflm_firmware
from nested_keras.runtime.reference import ReferenceModel
from nested_keras.runtime.runner import ModelFile, load_program, read_model

_ARENA = re.compile(r"^arena (\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class TflmBenchmark:
    """All levels of a model in TFLite Micro.

    Attributes:
        levels: From the sparsest on.
        arena_bytes: The bytes of TFLite Micro's arena in use, with input and output.
        flash_bytes: Code and constants of the firmware, the model among them.
    """

    levels: tuple[LevelCost, ...]
    arena_bytes: int
    flash_bytes: int


def run(model: ModelFile, *, work_dir: Path | None = None, exact: bool = True) -> TflmBenchmark:
    """Builds TFLite Micro's firmware and runs one random input at every level.

    Args:
        model: Contents of a .tflite, or its path.
        work_dir: Keeps the firmware and its objects; a temporary folder by default.
        exact: Whether to compare the outputs with the NumPy reference. A dense model has
            FULLY_CONNECTED, which TFLite Micro rounds twice (docs/quantization.md).

    Returns:
        Instructions and modelled cycles.

    Raises:
        ToolchainError: TFLM_ROOT, the cross compiler, CMake or QEMU is missing.
        BuildError: A compiler refused a source.
        DeviceError: An output differs from the reference, or the run failed.
        nested_keras.runtime.ModelError: The bytes are no model that can be run.
    """
    if work_dir is None:
        with process.temporary_folder() as folder:
            return run(model, work_dir=folder, exact=exact)
    content = read_model(model)
    program = load_program(content)
    reference = ReferenceModel(program)
    inputs = [whole_model.random_input(tensor) for tensor in reference.input_details]
    bench = sources.tflm_ops_dir() / "bench"
    firmware = build_tflm_firmware(
        content,
        inputs,
        work_dir,
        main=bench / "nk_bench_model_main.c",
    )
    counted = counter.count(firmware.elf, work_dir)
    outputs, op_order = whole_model.parse_console(counted.console, program)
    if exact:
        for level, output in enumerate(outputs):
            whole_model.check_output(output, reference.run(inputs, level), level)
    arena = _ARENA.search(counted.console)
    if arena is None:
        raise DeviceError("expected the bytes of the arena from the firmware")
    listing = Listing(firmware.elf)
    profiles = [listing.profile(region) for region in counted.regions]
    return TflmBenchmark(
        levels=whole_model.level_costs(program, profiles, op_order),
        arena_bytes=int(arena.group(1)),
        flash_bytes=firmware.text_bytes + firmware.data_bytes,
    )
