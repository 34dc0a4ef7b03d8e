"""The model benchmark: every operator of a .tflite, at every level, in the generated C firmware."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nested_keras import files
from nested_keras.bench import counter
from nested_keras.bench.caches import DEFAULT, Memory
from nested_keras.bench.code_size import code_bytes
from nested_keras.bench.core import CORES, M7, Core
from nested_keras.bench.profile import Listing, Profile
from nested_keras.codegen import marks, sources
from nested_keras.codegen.firmware_errors import DeviceError
from nested_keras.codegen.library import GeneratedLibrary, generate
from nested_keras.cortex_m import cycles
from nested_keras.devices import process
from nested_keras.devices.board import Board
from nested_keras.devices.firmware_build import generated_model, incbin_source, run_source
from nested_keras.devices.qemu import last_lines
from nested_keras.devices.records import (
    Array,
    from_records,
    input_layout,
    output_layout,
    to_records,
)
from nested_keras.report.table import format_table
from nested_keras.runtime.reference import ReferenceModel
from nested_keras.runtime.runner import ModelFile
from nested_keras.tflite.operators import NestedSparseConv
from nested_keras.tflite.program import Program, Tensor

# The code outside the operators: argument checks, copies, the return.
_GLUE = "(between operators)"


@dataclass(frozen=True)
class OpCost:
    """One operator at one level.

    Attributes:
        name: The name of the output tensor.
        kind: Class of the prepared operator, such as "NestedSparseConv".
        instructions: Exact.
        cycles: Modelled, with all code and data at hand.
        memory_cycles: Modelled, with the caches of the memory system; on a core whose model has no
            caches the same as `cycles`.
        predicted_cycles: The prediction of the cost model (`cortex_m.cycles`); None for operators
            without a stream.
    """

    name: str
    kind: str
    instructions: int
    cycles: int
    memory_cycles: int
    predicted_cycles: int | None = None


@dataclass(frozen=True)
class LevelCost:
    """One inference at one level.

    Attributes:
        level: 0 is the sparsest.
        instructions: Instructions of the whole inference; exact.
        cycles: Cycles of the whole inference; modelled.
        memory_cycles: The same with the caches of the memory system.
        ops: The operators in order, then the code between operators.
    """

    level: int
    instructions: int
    cycles: int
    memory_cycles: int
    ops: tuple[OpCost, ...]


@dataclass(frozen=True)
class ModelBenchmark:
    """All levels of a model.

    Attributes:
        levels: From the sparsest on.
        arena_bytes: Static working memory of the generated code, with places for input and output.
        io_bytes: Input and output buffers, for a caller with buffers of its own.
        data_bytes: Bytes of the constants: weights, tables, streams.
        code_bytes: Bytes of machine code; see `code_size.code_bytes`.
        memory: The memory system of `memory_cycles`; None on a core whose model has no caches.
        core: The name of the core.
    """

    levels: tuple[LevelCost, ...]
    arena_bytes: int
    io_bytes: int
    data_bytes: int
    code_bytes: int
    memory: Memory | None
    core: str = M7.name

    def to_dict(self) -> dict[str, Any]:
        """Returns the result for the JSON file."""
        return asdict(self)


def run(
    model: ModelFile,
    *,
    memory: Memory = DEFAULT,
    work_dir: Path | None = None,
    arena: int | str | None = None,
    core: Core = M7,
) -> ModelBenchmark:
    """Builds the generated firmware, runs one random input at every level and checks the outputs.

    Args:
        model: Contents of a .tflite, or its path.
        memory: The caches to simulate, beside the cycles without; of no effect on a core whose
            model has no caches.
        work_dir: Keeps the firmware and its objects; a temporary folder by default.
        arena: The most bytes of the arena, or "smallest", or None; see `firmware.generate`.
        core: The core.

    Returns:
        Instructions and modelled cycles.

    Raises:
        ToolchainError: arm-none-eabi-gcc, qemu-system-arm or the PC's compiler is missing.
        BuildError: A compiler refused a source.
        DeviceError: An output differs from the NumPy reference, or the run failed.
        nested_keras.runtime.ModelError: The bytes are no model that can be run.
    """
    if work_dir is None:
        with process.temporary_folder() as folder:
            return run(model, memory=memory, work_dir=folder, arena=arena, core=core)
    library = generate(model, work_dir / "model", arena=arena)
    reference = ReferenceModel(library.program)
    inputs = [random_input(tensor) for tensor in reference.input_details]
    elf = _build(library, inputs, work_dir, core)
    counted = counter.count(elf, work_dir, machine=core.machine, memory=memory)
    outputs, op_order = parse_console(counted.console, library.program)
    for level, output in enumerate(outputs):
        check_output(output, reference.run(inputs, level), level)
    listing = Listing(elf, core)
    profiles = [listing.profile(region, memory) for region in counted.regions]
    return ModelBenchmark(
        levels=level_costs(library.program, profiles, op_order, core=core.name),
        arena_bytes=library.arena_bytes,
        io_bytes=sum(tensor.nbytes for tensor in _interface(library.program)),
        data_bytes=library.data_bytes,
        code_bytes=code_bytes(library, work_dir, core),
        memory=memory if core.has_caches else None,
        core=core.name,
    )


def table(benchmark: ModelBenchmark) -> str:
    """One row for each operator and one for the whole inference; columns by level."""
    memory = benchmark.memory
    header = ["operator", "kind"]
    for level in benchmark.levels:
        header += [f"instr. L{level.level}", f"cycles L{level.level}"]
        header += [*(["memory"] if memory else []), "predicted"]
    rows = []
    for ops in zip(*(level.ops for level in benchmark.levels), strict=True):
        rows.append([ops[0].name, ops[0].kind, *_cells(ops, memory)])
    rows.append(["whole inference", "", *_cells(benchmark.levels, memory)])
    title = CORES[benchmark.core].title
    misses = f"`memory` adds {memory.description};\n" if memory else ""
    return (
        f"{format_table(header, rows)}\n\n"
        f"Arena {benchmark.arena_bytes:,} bytes with input and output ({benchmark.io_bytes:,}), "
        f"constants {benchmark.data_bytes:,} bytes, code {benchmark.code_bytes:,} bytes.\n"
        "L0 is the sparsest level.\n"
        f"Instructions are exact; cycles come from a static, uncalibrated {title} issue model;\n"
        f"{misses}"
        "predicted cycles come from the exporter's cost model.\n"
        "Every output equals the NumPy reference."
    )


def _cells(costs: Sequence[OpCost | LevelCost], memory: Memory | None) -> list[str]:
    cells = []
    for each in costs:
        predicted = each.predicted_cycles if isinstance(each, OpCost) else None
        cells += [
            f"{each.instructions:,}",
            f"{each.cycles:,}",
            *([f"{each.memory_cycles:,}"] if memory else []),
            "" if predicted is None else f"{predicted:,}",
        ]
    return cells


def _interface(program: Program) -> list[Tensor]:
    return [program.tensors[i] for i in (*program.inputs, *program.outputs)]


def random_input(tensor: Tensor) -> Array:
    """Returns seeded random values for an input of a model."""
    rng = np.random.default_rng(0)
    if tensor.dtype in ("int8", "uint8"):
        limits = np.iinfo(tensor.dtype)
        return rng.integers(limits.min, limits.max, tensor.shape, tensor.dtype, endpoint=True)
    return rng.standard_normal(tensor.shape).astype(tensor.dtype)


def _build(library: GeneratedLibrary, inputs: Sequence[Array], work_dir: Path, core: Core) -> Path:
    toolchain = core.toolchain()
    program = library.program
    bench, boards = sources.tflm_ops_dir() / "bench", sources.boards_dir()
    record = work_dir / "model_bench_input.bin"
    files.write_bytes(record, to_records(input_layout(program), inputs).tobytes())
    image = work_dir / "model_bench_input.S"
    files.write_text(image, incbin_source("firmware_images", record.resolve(), section=".images"))
    run_file = work_dir / "model_bench_run.c"
    files.write_text(
        run_file,
        run_source(
            program,
            tuple(range(program.levels)),
            images=1,
            banner=marks.comment(library.model_sha256),
            declarations=generated_model(program),
        ),
    )
    include_dirs = (*library.include_dirs, boards, boards / "common")
    objects = library.compile(toolchain, work_dir, first_include=bench / "nk_bench_model.h")
    for source in (run_file, bench / "nk_bench_model_main.c", *sources.board_sources(core.board)):
        objects.append(toolchain.compile(source, include_dirs=include_dirs, cache_dir=work_dir))
    elf = work_dir / "model_bench.elf"
    linker_script = Board.read(core.board).linker_script
    toolchain.link([*objects, image], elf, flags=(f"-T{linker_script}",))
    return elf


def parse_console(console: str, program: Program) -> tuple[list[tuple[Array, ...]], list[int]]:
    """The outputs at each level and the operators in the order of their ends."""
    lines = console.splitlines()
    if len(lines) != program.levels + 3 or lines[-1] != "end":
        raise DeviceError(f"expected {program.levels} levels and `end`{last_lines(console)}")
    layout = output_layout(program)
    outputs = []
    for level, line in enumerate(lines[: program.levels]):
        keyword, number, digits = line.split(" ")
        data = np.frombuffer(bytes.fromhex(digits), np.uint8)
        if (keyword, number, data.size) != ("level", str(level), layout.size):
            raise DeviceError(
                f"expected `level {level}` and {layout.size} bytes: got {line[:80]!r}"
            )
        outputs.append(from_records(layout, data[np.newaxis]))
    return outputs, [int(word) for word in lines[-2].split(" ")[1:]]


def check_output(output: tuple[Array, ...], expected: object, level: int) -> None:
    """Compares the outputs at a level with the reference; raises DeviceError."""
    tensors = expected if isinstance(expected, tuple) else (expected,)
    for index, (got, want) in enumerate(zip(output, tensors, strict=True)):
        wrong = int(np.count_nonzero(got != want))
        if wrong:
            raise DeviceError(
                f"output {index} at level {level}: {wrong} of {got.size} values differ from the "
                "reference"
            )


def level_costs(
    program: Program,
    profiles: Sequence[Profile],
    op_order: Sequence[int],
    *,
    core: str = M7.name,
) -> tuple[LevelCost, ...]:
    """Shares out the counted regions: a level has one per operator and one for the end."""
    per_level = len(op_order) // program.levels
    if len(profiles) != (per_level + 1) * program.levels:
        raise DeviceError(
            f"expected {(per_level + 1) * program.levels} counted regions: got {len(profiles)}"
        )
    levels = []
    for level in range(program.levels):
        own = profiles[level * (per_level + 1) : (level + 1) * (per_level + 1)]
        # An operator that runs strip by strip has several regions.
        regions: dict[int, list[Profile]] = {}
        for index, profile in zip(op_order[level * per_level :], own[:-1], strict=False):
            regions.setdefault(index, []).append(profile)
        ops = [
            _op_cost(program, index, profiles=parts, level=level, core=core)
            for index, parts in regions.items()
        ]
        glue = own[-1]
        ops.append(OpCost(_GLUE, "", glue.instructions, glue.cycles, glue.memory_cycles))
        levels.append(
            LevelCost(
                level=level,
                instructions=sum(each.instructions for each in own),
                cycles=sum(each.cycles for each in own),
                memory_cycles=sum(each.memory_cycles for each in own),
                ops=tuple(ops),
            )
        )
    return tuple(levels)


def _op_cost(
    program: Program, index: int, *, profiles: Sequence[Profile], level: int, core: str
) -> OpCost:
    op = program.ops[index]
    predicted = None
    if isinstance(op, NestedSparseConv):
        kind = op.layer.params.kind
        size = cycles.ImageSize.of(kind, *program.shapes(op))
        predicted = cycles.predict_levels(op.layer, size, core)[level]
    return OpCost(
        op.name,
        type(op).__name__,
        sum(each.instructions for each in profiles),
        sum(each.cycles for each in profiles),
        sum(each.memory_cycles for each in profiles),
        predicted,
    )
