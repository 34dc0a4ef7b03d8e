"""The stated stack against the call graphs of gcc, and against firmware."""

import re

import pytest

from nested_keras.codegen import sources
from nested_keras.cortex_m import stack
from nested_keras.devices.toolchain import cortex_m7_toolchain, run_tool
from nested_keras.firmware import generate
from tests.nested_keras.codegen.call_graph import CallGraph
from tests.nested_keras.codegen.programs import (
    every_op,
    float_ends,
    image_chain,
    nested_net,
    wide_net,
)

pytestmark = pytest.mark.arm


def call_graph(library, files, optimisation, folder):
    core = [flag for flag in cortex_m7_toolchain().flags if flag.startswith("-m")]
    flags = [*core, "-std=c11", optimisation, "-ffunction-sections", "-fcallgraph-info=su"]
    includes = [f"-I{path}" for path in (*library.include_dirs, sources.tflm_ops_dir() / "include")]
    for file in files:
        out = ["-c", str(file), "-o", str(folder / f"{file.stem}.o")]
        run_tool(["arm-none-eabi-gcc", *flags, *includes, *out])
    return CallGraph(folder)


@pytest.fixture(scope="module", params=["-O2", "-Os"])
def graph(request, tmp_path_factory):
    """All kernels and a model, compiled with one level of optimisation."""
    version = run_tool(["arm-none-eabi-gcc", "-dumpversion"]).strip()
    if not version.startswith("12."):
        pytest.skip(f"the numbers are those of gcc 12: got {version}")
    folder = tmp_path_factory.mktemp("graph")
    library = generate(nested_net(), folder / "net")
    files = [library.sources[0], *sorted((sources.tflm_ops_dir() / "src").glob("*/*.c"))]
    return call_graph(library, files, request.param, folder)


def kernels():
    """The functions of nk_ops.h and nk_nested_conv.h that run a layer."""
    include = sources.tflm_ops_dir() / "include"
    texts = [(include / name).read_text() for name in ("nk_ops.h", "nk_nested_conv.h")]
    found = {name for text in texts for name in re.findall(r"^nk_status (\w+)\(", text, re.M)}
    return sorted(found)


def test_every_kernel_keeps_to_the_stated_stack(graph):
    depths = {name: graph.depth(name) for name in kernels()}
    assert len(depths) >= 20
    stated = {name: stack.KERNEL_BYTES.get(name, stack.OTHER_KERNELS_BYTES) for name in depths}
    assert {name: depth for name, depth in depths.items() if depth > stated[name]} == {}
    assert set(stack.KERNEL_BYTES) <= set(depths)


def test_no_stated_number_is_much_too_large(graph):
    for name, stated in stack.KERNEL_BYTES.items():
        assert stated - 100 < graph.depth(name)
    assert graph.depth("model_check") > stack.CHECK_BYTES - 128
    more = graph.depth("nk_stream_validate") - graph.depth("nk_stream_validate_in_place")
    assert stack.UNPACKING_CHECK_BYTES - 100 < more <= stack.UNPACKING_CHECK_BYTES


def test_the_generated_functions_keep_to_the_stated_stack(graph):
    assert graph.depth("model_check") <= stack.CHECK_BYTES
    assert graph.frame("run_nested") <= stack.STREAM_BYTES
    whole = graph.depth("model_invoke", ["nk_nested_conv2d_s8"])
    bound = stack.stack_bytes([("nk_nested_conv2d_s8", True)], parameters=2, operands=1)
    assert bound - 100 < whole <= bound


@pytest.mark.parametrize("optimisation", ["-O2", "-Os"])
def test_weights_in_a_file_keep_to_the_stated_stack(optimisation, tmp_path):
    library = generate(nested_net(), tmp_path / "net", weights="external")
    stream = sources.tflm_ops_dir() / "src" / "stream"
    files = [library.sources[0], *sorted(stream.glob("*.c"))]
    graph = call_graph(library, files, optimisation, tmp_path)
    assert graph.depth("model_open") <= stack.CHECK_BYTES
    assert graph.frame("run_nested") <= stack.STREAM_BYTES


@pytest.mark.parametrize("optimisation", ["-O2", "-Os"])
@pytest.mark.parametrize(
    ("make", "arena"),
    [(every_op, None), (float_ends, None), (wide_net, None), (image_chain, "smallest")],
)
@pytest.mark.parametrize("weights", ["compiled", "external"])
def test_many_tensors_keep_to_the_stated_stack(make, arena, optimisation, weights, tmp_path):
    library = generate(make(), tmp_path / "net", weights=weights, arena=arena)
    graph = call_graph(library, library.sources[:1], optimisation, tmp_path)
    prog = library.program
    operands = max(len(op.inputs) for op in prog.ops)
    stated = stack.call_bytes(
        len(prog.inputs) + len(prog.outputs),
        operands,
        external_weights=weights == "external",
        strips=arena is not None,
    )
    # Either of two parts of the second, where the compiler has split the function.
    second = max(graph.frame("model_invoke_in"), graph.frame("model_invoke_in.part.0"))
    assert graph.frame("model_invoke") + second <= stated
    rows = "run_rows" if arena else "run_nested"
    assert graph.frame(rows) <= stack.STREAM_BYTES


def test_a_bound_is_that_of_the_deepest_operator():
    calls = stack.call_bytes(2, 1)
    wide = [("nk_add_s8", False), ("nk_depthwise_conv2d_s8", False)]
    assert stack.stack_bytes(wide, parameters=2, operands=1) - calls in range(2088, 2096)
    assert stack.stack_bytes([], parameters=2, operands=0) == 72
    nested = [("nk_nested_fully_connected_s8", True)]
    # Less than the check of the weights.
    assert stack.stack_bytes(nested, parameters=0, operands=0) == stack.CHECK_BYTES


def test_a_task_of_two_and_a_half_kilobytes_runs_sums_of_convolutions():
    residual = [("nk_nested_conv2d_add_s8", True), ("nk_nested_conv2d_s8", True)]
    assert stack.stack_bytes(residual, parameters=2, operands=2) <= 2560
