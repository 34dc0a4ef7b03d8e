import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from nested_keras.codegen.strips import Graph, Group, Move, row_bytes
from nested_keras.tflite import operators
from nested_keras.tflite.operators import elementwise, run_op
from tests.nested_keras.codegen.programs import Builder


def image_net(draw):
    """A chain of convolutions, pools, additions and tables, some of them with a way around."""
    b = Builder(draw(st.integers(0, 99)), levels=2)
    height, width = draw(st.integers(5, 14)), draw(st.integers(1, 6))
    x = y = b.tensor((1, height, width, draw(st.sampled_from((2, 4)))))
    for _ in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(("conv", "nested", "depthwise", "pool", "table", "residual")))
        channels = b.tensors[y].shape[-1]
        if kind in ("conv", "nested"):
            kernel, stride = draw(st.sampled_from((1, 3, 5))), draw(st.integers(1, 2))
            make = b.conv if kind == "conv" else b.nested
            y = make(y, draw(st.sampled_from((2, 4))), kernel=kernel, stride=stride)
        elif kind == "depthwise":
            y = b.depthwise(y)
        elif kind == "pool":
            y = max_pool(b, y)
        elif kind == "table":
            table = b.int8(256)
            y = b.add(
                operators.Lookup, [y], b.tensor(b.tensors[y].shape), table=table, dtype="int8"
            )
        else:
            y = b.sum(b.conv(b.nested(y, channels), channels, kernel=1), y)
    return b.build([x], [y])


def max_pool(b, source):
    n, h, w, c = b.tensors[source].shape
    window = {
        "filter_h": 3,
        "filter_w": 2,
        "stride_h": 2,
        "stride_w": 1,
        "pad_top": 1,
        "pad_left": 0,
        "activation_min": -128,
        "activation_max": 127,
    }
    return b.add(operators.MaxPool2D, [source], b.tensor((n, -(-h // 2), w, c)), **window)


def run_whole(prog, x):
    """Every tensor, each operator at once."""
    values = {prog.inputs[0]: x}
    for op in prog.ops:
        values[op.outputs[0]] = run_op(
            op, [operand(prog, values, i) for i in op.inputs], prog.tensors[op.outputs[0]].shape, 1
        )
    return values


def operand(prog, values, index):
    data = prog.tensors[index].data
    return values[index] if data is None else data


def run_strips(prog, group: Group, values):
    """The group's output, computed from buffers of the planned size by rows alone."""
    memory = {
        index: np.full(rows * row_bytes(prog.tensors[index]), -77, np.int8)
        for index, rows in group.capacities.items()
    }
    outer = {i for op in prog.ops[group.first : group.last + 1] for i in op.inputs} - set(memory)
    memory |= {i: values[i].ravel().copy() for i in outer if prog.tensors[i].data is None}
    output = prog.ops[group.last].outputs[0]
    size = prog.tensors[output].nbytes
    memory[output] = np.full(size, -77, np.int8)
    if group.overwrites is not None:
        source = memory[group.overwrites]
        shared = np.full(max(size, source.size), -77, np.int8)
        shared[: source.size] = source
        memory[group.overwrites] = memory[output] = shared

    def rows_of(index, first, count):
        step = row_bytes(prog.tensors[index])
        return memory[index][first * step : (first + count) * step]

    for step in group.steps:
        if isinstance(step, Move):
            kept = rows_of(step.tensor, step.first, step.count).copy()
            rows_of(step.tensor, 0, step.count)[:] = kept
            continue
        op = prog.ops[step.op]
        layer = {"pad_top": step.pad_top} if hasattr(op, "pad_top") else {}
        if isinstance(op, operators.NestedSparseConv):
            op = operators.dense_op(op.layer, 1)
            layer = {"pad_top": step.pad_top}
        inputs = []
        for rows in step.inputs:
            entry = prog.tensors[rows.tensor]
            if entry.data is not None:
                inputs.append(entry.data)
                continue
            part = rows_of(rows.tensor, rows.first, rows.count).copy()
            assert part.size == rows.count * row_bytes(entry)  # the rows are in the buffer
            inputs.append(part.reshape(1, rows.count, *entry.shape[2:]))
        made = prog.tensors[step.output.tensor].shape
        shape = (1, step.output.count, *made[2:])
        made = run_op(dataclasses.replace(op, **layer), inputs, shape)
        target = rows_of(step.output.tensor, step.output.first, step.output.count)
        assert target.size == made.size  # the buffer has room
        target[:] = made.ravel()
    return memory[output][:size]


@settings(max_examples=60)
@given(st.data())
def test_strips_compute_what_whole_operators_compute(data):
    prog = image_net(data.draw)
    x = np.random.default_rng(0).integers(-128, 128, prog.tensors[prog.inputs[0]].shape, np.int8)
    values = run_whole(prog, x)
    graph = Graph(prog)
    first = data.draw(st.integers(0, len(prog.ops) - 1))
    last = data.draw(st.integers(first, len(prog.ops) - 1))
    group = graph.group(first, last, data.draw(st.integers(1, graph.height(last))))
    if group is None:
        return
    np.testing.assert_array_equal(
        run_strips(prog, group, values), values[prog.ops[last].outputs[0]].ravel()
    )
    made = [call.output.count for call in group.calls() if call.op == first]
    assert sum(made) <= graph.height(first)  # no row is computed twice


def test_a_chain_keeps_a_few_rows_of_each_image():
    b = Builder()
    x = b.tensor((1, 32, 4, 2))
    first = b.conv(x, 4)
    y = b.conv(first, 4)
    group = Graph(b.build([x], [y])).group(0, 1, 4)
    assert group.capacities == {first: 4 + 2}  # a strip and the rows above and below
    assert len([call for call in group.calls() if call.op == 1]) == 32 // 4


def test_the_output_of_a_residual_block_takes_the_place_of_its_input():
    b = Builder()
    x = b.tensor((1, 16, 4, 4))
    y = b.sum(b.conv(b.conv(x, 4), 4), x)
    prog = b.build([x], [y])
    assert Graph(prog).group(0, 2, 2).overwrites == x


@pytest.mark.parametrize("channels", [4, 6])
def test_an_output_that_would_catch_up_with_its_input_has_a_place_of_its_own(channels):
    b = Builder()
    x = b.tensor((1, 16, 4, 4))
    y = b.conv(b.depthwise(x), channels)
    group = Graph(b.build([x], [y])).group(0, 1, 2)
    assert (group.overwrites == x) == (channels == 4)


def test_a_convolution_does_not_overwrite_what_it_reads():
    b = Builder()
    x = b.tensor((1, 16, 4, 4))
    group = Graph(b.build([x], [b.conv(x, 4, kernel=1)])).group(0, 0, 2)
    assert group.overwrites is None


def test_no_group_hides_a_tensor_that_is_read_elsewhere():
    b = Builder()
    x = b.tensor((1, 8, 4, 4))
    inner = b.conv(x, 4)
    y = b.conv(inner, 4)
    graph = Graph(b.build([x], [y, inner]))
    assert graph.group(0, 1, 2) is None
    assert graph.group(1, 1, 2) is not None


def test_operators_without_rows_are_in_no_group():
    b = Builder()
    x = b.tensor((1, 8, 4, 4))
    y = b.nested(b.reshape(b.conv(x, 4), 1, 128), 5)
    graph = Graph(b.build([x], [y]))
    assert graph.group(0, 0, 2) is not None
    assert graph.group(0, 1, 2) is None
    assert graph.group(2, 2, 1) is None


def test_a_factor_for_each_channel_is_read_as_a_whole():
    b = Builder()
    x, factor = b.tensor((1, 8, 4, 4)), b.tensor((1, 1, 1, 4))
    y = b.add(elementwise.Maximum, [b.conv(x, 4), factor], b.tensor((1, 8, 4, 4)))
    group = Graph(b.build([x, factor], [y])).group(0, 1, 2)
    reads = [call.inputs[1] for call in group.calls() if call.op == 1]
    assert {(rows.first, rows.count) for rows in reads} == {(0, 1)}
