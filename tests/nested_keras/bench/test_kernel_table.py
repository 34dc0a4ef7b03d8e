"""The kernel benchmark on a few quick layers."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from nested_keras.bench import bench_firmware, cmsis, kernel_table
from nested_keras.bench.core import CORES
from nested_keras.bench.layer_cases import LAYERS, cases_of
from nested_keras.bench.operator_cases import operator_cases
from nested_keras.firmware import DeviceError, ToolchainError

pytestmark = pytest.mark.arm

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
BY_LABEL = {layer.label: layer for layer in LAYERS}
FC = dataclasses.replace(BY_LABEL["FC 256->64"], sparsities=(0.0, 0.9), block_sizes=(1, 4))
QUICK = (
    FC,
    BY_LABEL["FC 256->64, 3 levels"],
    BY_LABEL["FC 256->64, dense operator"],
    BY_LABEL["depthwise 3x3 64ch @8x8"],
    BY_LABEL["depthwise 3x3 64ch @8x8, dense operator"],
    dataclasses.replace(BY_LABEL["1x1 64->64 @8x8"], sparsities=(0.95,)),
    BY_LABEL["1x1 64->64 @8x8, dense operator"],
)
OPERATORS = tuple(
    case
    for case in operator_cases()
    if case.label in ("add 64ch @8x8", "average pool 8x8 64ch", "softmax 10")
)
KEYS = [
    "layer",
    "sparsity",
    "block_shape",
    "instructions",
    "cycles",
    "memory_cycles",
    "cmsis_instructions",
    "cmsis_cycles",
    "speedup_instructions",
    "speedup_cycles",
    "scratch_bytes",
]


@pytest.fixture(scope="module")
def work_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def benchmark(work_dir):
    return kernel_table.run(layers=QUICK, operators=OPERATORS, work_dir=work_dir)


def test_rows_are_in_order(benchmark):
    got = [(row.layer, row.sparsity, row.block_shape) for row in benchmark.rows]
    assert got[:6] == [
        ("FC 256->64", 0.0, "1x1"),
        ("FC 256->64", 0.9, "1x1"),
        ("FC 256->64", 0.9, "1x4"),
        ("FC 256->64, 3 levels", 0.9, "1x1"),
        ("FC 256->64, 3 levels", 0.8, "1x1"),
        ("FC 256->64, 3 levels", 0.7, "1x1"),
    ]
    assert len(got) == 14
    assert got[-3:] == [(case.label, 0.0, "1x1") for case in OPERATORS]


def test_the_committed_table_has_these_rows(benchmark):
    page = (BENCHMARKS / "kernels.md").read_text()
    if cmsis.compiler_version() not in page.splitlines()[3]:
        pytest.skip(f"kernels.md was counted with another compiler: {cmsis.compiler_version()}")
    committed = {
        (row["layer"], row["sparsity"], row["block_shape"]): row
        for row in json.loads((BENCHMARKS / "kernels.json").read_text())
    }
    for row in benchmark.rows:
        expected = committed[row.layer, row.sparsity, row.block_shape]
        # Where the linker puts code and data decides which lines share a set.
        assert row.memory_cycles == pytest.approx(expected.pop("memory_cycles"), rel=0.05)
        assert dataclasses.asdict(row).items() >= expected.items()


def test_json_rows_have_the_announced_keys(benchmark):
    rows = json.loads(json.dumps([row.to_dict() for row in benchmark.rows]))
    assert all(list(row) == KEYS for row in rows)
    for row in rows:
        assert row["speedup_instructions"] == pytest.approx(
            row["cmsis_instructions"] / row["instructions"], abs=5e-4
        )
        assert row["speedup_cycles"] == pytest.approx(row["cmsis_cycles"] / row["cycles"], abs=5e-4)
        # Two instructions a cycle is the most that the core can do.
        assert row["cycles"] >= row["instructions"] / 2


def test_the_baseline_is_that_of_the_shape(benchmark):
    costs = cmsis.recorded().costs
    for row in benchmark.rows:
        cost = costs[row.layer.removesuffix(", 3 levels").removesuffix(", dense operator")]
        assert (row.cmsis_instructions, row.cmsis_cycles) == (cost.instructions, cost.cycles)


def test_counts_repeat_exactly(benchmark, work_dir):
    assert (
        kernel_table.run(layers=QUICK, operators=OPERATORS, work_dir=work_dir).rows
        == benchmark.rows
    )


def test_the_table_shows_every_row_and_what_the_figures_are(benchmark):
    lines = kernel_table.table(benchmark).splitlines()
    assert lines[2].split()[:5] == [
        "FC",
        "256->64",
        "1x1",
        "dense",
        f"{benchmark.rows[0].instructions:,}",
    ]
    assert len(lines) == 2 + len(benchmark.rows) + 5
    assert lines[-4].startswith("Baseline: CMSIS-NN v7.0.0-43-g99f736a6")
    assert "uncalibrated" in lines[-3]


@pytest.mark.parametrize("name", ["m4", "m33"])
def test_a_core_without_caches_has_a_baseline_of_its_own(benchmark, work_dir, name):
    core = CORES[name]
    other = kernel_table.run(layers=QUICK[:1], operators=(), work_dir=work_dir, core=core)
    cost = cmsis.recorded(name).costs["FC 256->64"]
    for row, m7 in zip(other.rows, benchmark.rows, strict=False):
        assert (row.cmsis_instructions, row.cmsis_cycles) == (cost.instructions, cost.cycles)
        assert row.instructions == pytest.approx(m7.instructions, rel=0.05)
        assert row.memory_cycles == row.cycles > row.instructions
    text = kernel_table.table(other)
    assert "memory" not in text
    assert f"{core.title} issue model" in text


def test_a_wrong_output_is_reported_with_its_place(work_dir):
    (case,) = cases_of(dataclasses.replace(FC, sparsities=(0.0,), block_sizes=(1,)))
    y = case.y.copy()
    y[0, 0, 0, 5] ^= 1
    library = bench_firmware.own_library(work_dir)
    message = (
        r"nested_keras, FC 256->64 at sparsity 0: 1 of 64 outputs differ from the reference; "
        rf"the first is output 5: expected {y[0, 0, 0, 5]}, got {case.y[0, 0, 0, 5]}"
    )
    with pytest.raises(DeviceError, match=message):
        bench_firmware.measure(library, [dataclasses.replace(case, y=y)], work_dir)


def test_a_refused_call_is_an_error(work_dir):
    (case,) = cases_of(dataclasses.replace(FC, sparsities=(0.0,), block_sizes=(1,)))
    library = bench_firmware.own_library(work_dir)
    with pytest.raises(DeviceError, match=r"the call returned \d+, expected 0"):
        bench_firmware.measure(library, [dataclasses.replace(case, level=1)], work_dir)


def test_a_short_console_is_an_error(monkeypatch, work_dir):
    (case,) = cases_of(dataclasses.replace(FC, sparsities=(0.0,), block_sizes=(1,)))
    library = bench_firmware.own_library(work_dir)
    for console, message in (
        ("", "expected 1 results and `end`: got 0 and ''"),
        ("case 1 0 0 00\nend\n", r"expected `case 0 STATUS SCRATCH HEX`: got 'case 1 0 0 00'"),
        ("case 0 0 0 00\nend\n", "expected 64 output bytes: got 1"),
    ):
        run = bench_firmware.counter.CountedRun(console, ({},))
        monkeypatch.setattr(bench_firmware.counter, "count", lambda *_, run=run, **__: run)
        with pytest.raises(DeviceError, match=message):
            bench_firmware.measure(library, [case], work_dir)


def test_a_layer_without_a_recorded_baseline_is_refused(work_dir):
    layer = dataclasses.replace(FC, name="FC 256->63", out_channels=63)
    with pytest.raises(
        ValueError, match="no baseline is recorded for FC 256->63; set CMSIS_NN_ROOT"
    ):
        kernel_table.run(layers=[layer], operators=(), work_dir=work_dir)


def test_a_missing_compiler_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolchainError, match="apt install gcc-arm-none-eabi"):
        kernel_table.run(layers=[FC])


def test_the_outputs_that_were_compared_are_not_trivial(benchmark):
    cases = [case for layer in QUICK for case in cases_of(layer)] + list(OPERATORS)
    assert len(cases) == len(benchmark.rows)
    assert all(np.unique(case.y).size >= min(20, case.y.size // 2) for case in cases)
