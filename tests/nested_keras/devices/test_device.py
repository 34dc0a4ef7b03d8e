"""The firmware on the emulated board."""

import re

import numpy as np
import pytest

from nested_keras.codegen import sources
from nested_keras.devices import qemu
from nested_keras.devices.toolchain import cortex_m7_toolchain
from nested_keras.firmware import BuildError, DeviceError, HostModel, QemuModel, build_firmware
from nested_keras.format import Stream
from nested_keras.tflite import operators
from tests.nested_keras.codegen.programs import (
    Builder,
    every_op,
    expected,
    float_ends,
    nested_net,
    pass_through,
    random_inputs,
    with_stream,
    wrong_nonzeros,
)
from tests.tflm_ops.cases import DEPTHWISE, make, stream_and_input

pytestmark = pytest.mark.arm

RUN_SOURCE = """
#include "firmware.h"
static const int32_t levels[] = {0};
static const uint8_t inputs[16];
static uint8_t outputs[16];
static uint64_t ops[1];
static int32_t stop = 1;
static volatile int32_t counter;
static void work(int32_t loops) {
  for (counter = 0; counter < loops; counter++) {
  }
}
static int32_t recurse(int32_t depth) {
  volatile int32_t block[64];
  block[depth & 63] = depth;
  return depth == 0 ? 0 : recurse(depth - 1) + block[depth & 63];
}
static nk_status check(void) { return (work(0), recurse(0), NK_OK); }
static nk_status invoke(const uint8_t *in, uint8_t *out, int32_t level) {
  (void)in;
  (void)level;
  (void)stop;
  out[0] = 1;
  BODY
  firmware_on_op(0);
  return NK_OK;
}
const firmware_run the_run = {1, levels, 1, inputs, 3, 0, outputs, 1, 1, ops, 0, check, invoke};
"""


def run_body(tmp_path, cache, body, *, board_flags=(), timeout_s=60.0):
    """Runs a firmware whose inference is a few C statements."""
    toolchain = cortex_m7_toolchain()
    boards = sources.tflm_ops_dir() / "boards"
    board = sources.board_dir("mps2_an500")
    includes = [sources.tflm_ops_dir() / "include", boards, boards / "common"]
    source = tmp_path / "run.c"
    source.write_text(RUN_SOURCE.replace("BODY", body))
    objects = [
        toolchain.compile(path, include_dirs=includes, cache_dir=cache, extra_flags=flags)
        for path, flags in (
            (source, ()),
            (boards / "common" / "main.c", ()),
            *((path, board_flags) for path in sources.board_sources("mps2_an500")),
            *((path, ()) for path in sources.sources_for(["nk_status_name"])),
        )
    ]
    elf = tmp_path / "firmware.elf"
    toolchain.link(objects, elf, flags=[f"-T{board / 'mps2_an500.ld'}"])
    return qemu.run(elf, timeout_s=timeout_s)


@pytest.mark.parametrize("make", [nested_net, every_op, float_ends, pass_through])
def test_device_and_host_and_numpy_agree_at_every_level(make, object_cache):
    prog = make()
    x = random_inputs(prog, 4)
    host = HostModel(prog, cache_dir=object_cache)
    result = QemuModel(prog, cache_dir=object_cache).run_all(x)
    assert result.levels == tuple(range(prog.levels))
    for level, got in zip(result.levels, result.outputs, strict=True):
        outputs = got if isinstance(got, tuple) else (got,)
        on_host = host.run(x, level)
        on_host = on_host if isinstance(on_host, tuple) else (on_host,)
        for y, y_host, wanted in zip(outputs, on_host, expected(prog, x, level), strict=True):
            assert y.dtype == wanted.dtype
            np.testing.assert_array_equal(y, wanted)
            np.testing.assert_array_equal(y_host, wanted)


def test_costs_of_a_nested_model(object_cache, tmp_path):
    prog = nested_net()
    model = QemuModel(prog, cache_dir=object_cache, build_dir=tmp_path)
    result = model.run_all(random_inputs(prog, 4))
    sparse, medium, dense = result.instructions
    assert 10_000 < sparse < medium < dense
    assert result.op_names == tuple(op.name for op in prog.ops)
    # The operators are the inference but for its calls and the profiling itself.
    totals = result.op_instructions.sum(axis=1)
    np.testing.assert_allclose(totals, result.instructions, rtol=0.01)
    by_name = dict(zip(result.op_names, result.op_instructions.T, strict=True))
    assert by_name["t3"].tolist() == [0, 0, 0]  # the Reshape
    np.testing.assert_allclose(by_name["t1"], by_name["t1"][0], atol=40)  # the dense stem
    assert (np.diff(by_name["t2"]) > 0).all()
    host = HostModel(prog, cache_dir=object_cache)
    assert (result.arena_bytes, result.model_bytes) == (host.arena_bytes, host.data_bytes)
    assert result.text_bytes > result.model_bytes
    assert 0 < result.stack_bytes < 64 * 1024
    assert (tmp_path / "firmware.elf").exists()


def nested_depthwise(kernel):
    stream, x, y_shape = stream_and_input(
        make(DEPTHWISE, size=(16, 16), channels=(4, 1), kernel=(kernel, kernel)),
        levels=3,
        profile="mixed",
        seed=0,
    )
    b = Builder(levels=3)
    image = b.tensor(x.shape)
    y = b.add(operators.NestedSparseConv, [image], b.tensor(y_shape), layer=Stream.parse(stream))
    return b.build([image], [y])


def plain_depthwise():
    b = Builder()
    image = b.tensor((1, 16, 16, 4))
    return b.build([image], [b.depthwise(image)])


@pytest.mark.parametrize(
    "prog",
    [
        *(float_ends(), nested_net(), plain_depthwise()),
        *(nested_depthwise(kernel) for kernel in (3, 5, 7)),
    ],
)
def test_the_stack_is_within_the_bound_that_the_library_states(prog, object_cache, tmp_path):
    model = QemuModel(prog, cache_dir=object_cache, build_dir=tmp_path)
    used = model.run_all(random_inputs(prog, 1)).stack_bytes
    header = (tmp_path / "model" / "model.h").read_text()
    (stated,) = re.findall(r"^#define MODEL_STACK_SIZE (\d+)$", header, re.MULTILINE)
    # main() of the firmware and its printing take the difference.
    assert int(stated) - 250 < used <= int(stated) + 200
    assert int(stated) <= 2600


def test_counts_are_the_same_in_every_run(object_cache):
    prog = nested_net()
    x = random_inputs(prog, 2)
    model = QemuModel(prog, cache_dir=object_cache)
    first, second = model.run_all(x), model.run_all(x)
    # The emulator starts SysTick within one of its ticks of 40 instructions.
    np.testing.assert_allclose(first.instructions, second.instructions, atol=40)


def test_run_takes_float_images_and_a_level(object_cache):
    prog = nested_net()
    x = np.random.default_rng(2).normal(0, 3, (3, 9, 7, 3)).astype(np.float32)
    model = QemuModel(prog, cache_dir=object_cache)
    host = HostModel(prog, cache_dir=object_cache)
    for level in (1, None):
        np.testing.assert_array_equal(model.run(x, level), host.run(x, level))


def test_a_level_out_of_range_is_refused(object_cache, tmp_path):
    x = random_inputs(nested_net(), 1)
    with pytest.raises(ValueError, match=r"level must be in 0\.\.2: got 3"):
        QemuModel(nested_net()).run(x, 3)
    with pytest.raises(ValueError, match=r"levels must be in 0\.\.2: got \(0, 3\)"):
        build_firmware(nested_net(), x, tmp_path, levels=(0, 3), cache_dir=object_cache)


def test_damaged_weights_stop_the_firmware(object_cache):
    prog = with_stream(nested_net(), wrong_nonzeros)
    with pytest.raises(DeviceError, match=r"(?s)exit status 1.*error check NK_ERROR_MALFORMED"):
        QemuModel(prog, cache_dir=object_cache).run(random_inputs(prog, 1))


@pytest.mark.parametrize(
    ("board", "images", "region", "size"),
    [
        ("mps2_an500", 90_000, "IMAGES", "16,777,216"),
        ("nucleo_f767zi", 12_000, "FLASH", "2,097,152"),
    ],
)
def test_images_that_do_not_fit_are_refused_with_the_number_that_does(
    board, images, region, size, object_cache, tmp_path
):
    def build(count):
        x = np.zeros((count, 9, 7, 3), np.int8)  # of 192 bytes each
        build_firmware(nested_net(), x, tmp_path, board=board, cache_dir=object_cache)

    expected = (
        rf"the firmware does not fit {board}: it needs [\d,]+ bytes for {region}, "
        rf"which has {size}; "
        rf"the {images:,} images take 192 bytes each: at most ([\d,]+) fit$"
    )
    with pytest.raises(BuildError, match=expected) as caught:
        build(images)
    most = int(re.search(expected, str(caught.value))[1].replace(",", ""))
    build(most)
    with pytest.raises(BuildError, match=f"at most {most:,} fit"):
        build(most + 1)


def test_instructions_are_counted(object_cache, tmp_path):
    # The loop of `work` is a load, an add, a store, a load, a compare and a branch.
    text = run_body(tmp_path, object_cache, "work(100000);")
    (line,) = (line for line in text.splitlines() if line.startswith("instructions "))
    assert abs(int(line.split()[2]) / 3 - 600_000) < 100
    (ops,) = (line for line in text.splitlines() if line.startswith("ops "))
    assert abs(int(ops.split()[2]) - 600_000) < 100


def test_counts_survive_the_wrap_of_the_counter(object_cache, tmp_path):
    # 600,000 instructions are 15,000 ticks: many periods of 256.
    flags = ("-DSYSTICK_RELOAD=0xFFu",)
    text = run_body(tmp_path, object_cache, "work(100000);", board_flags=flags)
    (line,) = (line for line in text.splitlines() if line.startswith("instructions "))
    # Each wrap costs an interrupt of a few instructions: 59 of them.
    assert 600_000 < int(line.split()[2]) / 3 < 601_500


def test_a_fault_is_reported(object_cache, tmp_path):
    with pytest.raises(DeviceError, match=r"(?s)exit status 9.*fault 3 pc=[0-9a-f]{8} cfsr="):
        run_body(tmp_path, object_cache, "*(volatile uint32_t *)0x90000000u = 1;")


def test_a_stack_overflow_does_not_go_unnoticed(object_cache, tmp_path):
    with pytest.raises(DeviceError, match=r"the firmware ended with exit status"):
        run_body(tmp_path, object_cache, "out[0] = (uint8_t)recurse(1000);")


def test_an_error_of_the_model_is_reported(object_cache, tmp_path):
    with pytest.raises(DeviceError, match=r"(?s)exit status 1.*error invoke 0 0 NK_ERROR_SHAPE"):
        run_body(tmp_path, object_cache, "if (stop) return NK_ERROR_SHAPE;")


def test_a_firmware_that_does_not_end_is_killed(object_cache, tmp_path):
    with pytest.raises(DeviceError, match=r"did not end within 2 s; its last lines:\n  nk-firm"):
        run_body(tmp_path, object_cache, "while (stop) counter++;", timeout_s=2.0)


@pytest.mark.parametrize("timeout_s", [0, -1.5])
def test_a_time_limit_has_to_be_positive(timeout_s, tmp_path):
    with pytest.raises(ValueError, match=f"timeout_s must be positive: got {timeout_s}"):
        qemu.run(tmp_path / "firmware.elf", timeout_s=timeout_s)


def test_a_file_that_is_no_firmware_is_refused(tmp_path):
    with pytest.raises(DeviceError, match=r"(?s)exit status 1, expected 0.*missing\.elf"):
        qemu.run(tmp_path / "missing.elf")
