"""The model benchmark on a small nested model."""

import json

import numpy as np
import pytest

from nested_keras.bench import whole_model
from nested_keras.bench.caches import MEMORIES
from nested_keras.bench.core import CORES
from nested_keras.bench.counter import CountedRun
from nested_keras.firmware import DeviceError, ToolchainError
from nested_keras.runtime import ModelError, ReferenceModel
from tests.nested_keras.tflite.nested_models import (
    conv_params,
    dense_params,
    nested_model,
    random_layer,
)

pytestmark = pytest.mark.arm

LEVELS = 2


@pytest.fixture(scope="module")
def tflite():
    layers = (
        random_layer(conv_params(), levels=LEVELS, seed=1),
        random_layer(dense_params(input_offset=7), levels=LEVELS, seed=2),
    )
    return nested_model(*layers, shapes=((1, 5, 3, 4), (1, 5, 3, 4), (1, 5)))


@pytest.fixture(scope="module")
def work_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("model")


@pytest.fixture(scope="module")
def benchmark(tflite, work_dir):
    return whole_model.run(tflite, work_dir=work_dir)


def test_every_operator_is_counted_at_every_level(benchmark):
    assert [cost.level for cost in benchmark.levels] == [0, 1]
    for cost in benchmark.levels:
        kinds = [op.kind for op in cost.ops]
        assert kinds == ["NestedSparseConv", "NestedSparseConv", ""]
        assert cost.instructions == sum(op.instructions for op in cost.ops)
        assert cost.cycles == sum(op.cycles for op in cost.ops)
        assert cost.ops[0].instructions > cost.ops[1].instructions > 100
        assert cost.ops[-1].instructions < 30


def test_a_denser_level_costs_more(benchmark):
    sparse, dense = benchmark.levels
    assert dense.instructions > sparse.instructions
    assert dense.cycles > sparse.cycles


def test_json(benchmark):
    content = json.loads(json.dumps(benchmark.to_dict()))
    assert list(content) == [
        *("levels", "arena_bytes", "io_bytes", "data_bytes", "code_bytes", "memory", "core"),
    ]
    assert content["io_bytes"] == 5 * 3 * 4 + 5
    # A convolution's kernel, a fully connected one and the reading of streams.
    assert 10_000 < content["code_bytes"] < 25_000
    assert list(content["levels"][0]) == ["level", "instructions", "cycles", "memory_cycles", "ops"]
    assert list(content["levels"][0]["ops"][0]) == [
        *("name", "kind", "instructions", "cycles", "memory_cycles", "predicted_cycles")
    ]


def test_the_table_ends_with_the_whole_inference(benchmark):
    lines = whole_model.table(benchmark).splitlines()
    (whole,) = (line for line in lines if line.startswith("whole inference"))
    sparse, dense = benchmark.levels
    numbers = [
        number
        for level in (sparse, dense)
        for number in (level.instructions, level.cycles, level.memory_cycles)
    ]
    assert whole.split()[2:] == [f"{number:,}" for number in numbers]


def test_the_table_shows_predicted_beside_counted(benchmark):
    first = whole_model.table(benchmark).splitlines()[2].split()[2:]
    ops = [cost.ops[0] for cost in benchmark.levels]
    numbers = [
        number
        for op in ops
        for number in (op.instructions, op.cycles, op.memory_cycles, op.predicted_cycles)
    ]
    assert first == [f"{number:,}" for number in numbers]


def test_memory_adds_the_misses_of_its_caches(benchmark, tflite, work_dir):
    assert "16 KB caches" in whole_model.table(benchmark)
    small = whole_model.run(tflite, work_dir=work_dir, memory=MEMORIES["4k-tcm"])
    assert "4 KB caches, 20 cycles a line of flash;" in whole_model.table(small)
    for cost, other in zip(benchmark.levels, small.levels, strict=True):
        assert cost.cycles == other.cycles < min(cost.memory_cycles, other.memory_cycles)
        assert sum(op.memory_cycles for op in cost.ops) == cost.memory_cycles


def test_a_core_without_caches_has_no_column_for_memory(benchmark, tflite, work_dir):
    m33 = whole_model.run(tflite, work_dir=work_dir, core=CORES["m33"])
    assert (m33.core, m33.memory) == ("m33", None)
    text = whole_model.table(m33)
    assert "memory" not in text
    assert "Cortex-M33 issue model" in text
    for cost, m7 in zip(m33.levels, benchmark.levels, strict=True):
        assert cost.memory_cycles == cost.cycles > m7.cycles
        assert cost.instructions == pytest.approx(m7.instructions, rel=0.02)
        assert cost.ops[0].predicted_cycles > m7.ops[0].predicted_cycles


def test_what_has_no_stream_has_no_prediction(benchmark):
    for cost in benchmark.levels:
        assert [op.predicted_cycles is None for op in cost.ops] == [False, False, True]


def test_a_wrong_output_is_an_error(tflite, work_dir, monkeypatch):
    right = ReferenceModel.run
    monkeypatch.setattr(
        ReferenceModel, "run", lambda self, x, level=None: right(self, x, level) ^ np.int8(1)
    )
    with pytest.raises(DeviceError, match="output 0 at level 0: 5 of 5 values differ"):
        whole_model.run(tflite, work_dir=work_dir)


@pytest.mark.parametrize(
    ("console", "message"),
    [
        ("", "expected 2 levels and `end`; nothing was printed"),
        ("level 0 00\nlevel 1 00\narena 9\nops 0 1 0 1\nend\n", "expected `level 0` and 5 bytes"),
    ],
)
def test_a_broken_console_is_an_error(tflite, work_dir, monkeypatch, console, message):
    monkeypatch.setattr(
        whole_model.counter, "count", lambda elf, folder, machine, memory: CountedRun(console, ())
    )
    with pytest.raises(DeviceError, match=message):
        whole_model.run(tflite, work_dir=work_dir)


def test_lost_regions_are_an_error(tflite, work_dir, monkeypatch):
    count = whole_model.counter.count

    def lossy(elf, folder, machine, memory):
        run = count(elf, folder, machine=machine, memory=memory)
        return CountedRun(run.console, run.regions[:-1])

    monkeypatch.setattr(whole_model.counter, "count", lossy)
    with pytest.raises(DeviceError, match="expected 6 counted regions: got 5"):
        whole_model.run(tflite, work_dir=work_dir)


def test_what_is_no_model_is_refused():
    with pytest.raises(ModelError):
        whole_model.run(b"no model")


def test_a_missing_compiler_is_named(tflite, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolchainError, match="apt install gcc-arm-none-eabi"):
        whole_model.run(tflite)
