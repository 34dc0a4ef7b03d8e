from nested_keras.codegen.storage import Home, Place, plan_storage
from nested_keras.tflite import operators, program
from tests.nested_keras.codegen.programs import Builder, nested_net


def plan(prog):
    return plan_storage(prog, [0] * len(prog.ops))


def test_graph_inputs_and_outputs_live_in_the_callers_buffers():
    prog = nested_net()
    storage = plan(prog)
    assert storage.homes[prog.inputs[0]] == Home(Place.INPUT, 0)
    assert storage.homes[prog.outputs[0]] == Home(Place.OUTPUT, 0)
    assert storage.output_copies == ()


def test_a_reshape_shares_the_memory_of_its_input():
    prog = nested_net()
    storage = plan(prog)
    (reshape,) = (op for op in prog.ops if isinstance(op, operators.Reshape))
    assert storage.homes[reshape.inputs[0]] == storage.homes[reshape.outputs[0]]
    assert storage.homes[reshape.inputs[0]].place is Place.ARENA
    assert not storage.reshape_copies


def test_memory_of_a_reshaped_tensor_is_kept_until_its_last_reader():
    b = Builder()
    x = b.tensor((1, 4, 4, 4))
    first = b.conv(x, 4)
    flat = b.reshape(first, 1, 64)
    other = b.conv(x, 4)
    y = b.sum(b.reshape(flat, 1, 4, 4, 4), other)
    storage = plan(b.build([x], [y]))
    assert storage.homes[flat] == storage.homes[first]
    assert storage.homes[other] != storage.homes[first]
    # The second convolution needs the input and both results.
    assert storage.arena_bytes == 3 * 64


def test_what_is_reshaped_to_a_graph_output_is_computed_in_it():
    b = Builder()
    x = b.tensor((1, 4, 4, 4))
    y = b.conv(x, 4)
    flat = b.reshape(y, 1, 64)
    storage = plan(b.build([x], [flat]))
    assert storage.homes[y] == storage.homes[flat] == Home(Place.OUTPUT, 0)
    # Nothing is in the arena but places for input and output, which the convolution needs both.
    assert storage.arena_bytes == 2 * 64


def test_a_reshaped_graph_input_is_copied_to_a_graph_output():
    b = Builder()
    x = b.tensor((1, 4, 4, 4))
    flat = b.reshape(x, 1, 64)
    storage = plan(b.build([x], [flat]))
    assert storage.reshape_copies == {0}
    assert storage.homes[flat] == Home(Place.OUTPUT, 0)


def test_two_outputs_of_the_same_bytes_are_computed_once_and_copied_once():
    b = Builder()
    x = b.tensor((1, 4, 4, 4))
    y = b.conv(x, 4)
    first, second = b.reshape(y, 1, 64), b.reshape(y, 64)
    storage = plan(b.build([x], [first, second, first]))
    assert storage.homes[y] == storage.homes[first] == Home(Place.OUTPUT, 0)
    assert storage.homes[second] == Home(Place.OUTPUT, 1)
    assert storage.reshape_copies == {2}
    assert storage.output_copies == ((2, first),)


def test_a_graph_input_that_is_an_output_is_copied_at_the_end():
    b = Builder()
    x = b.tensor((1, 4))
    storage = plan(b.build([x], [x]))
    assert storage.output_copies == ((0, x),)


def test_scratch_does_not_touch_the_operators_tensors():
    b = Builder()
    x = b.tensor((1, 4, 4, 4))
    hidden = b.conv(x, 4)
    other = b.conv(hidden, 4)
    y = b.conv(other, 4)
    storage = plan_storage(b.build([x], [y]), [0, 32, 48])
    offsets = sorted([storage.homes[hidden].position, storage.homes[other].position])
    assert offsets == [0, 64]
    assert storage.scratch_offsets[1] == 128  # both tensors are alive
    assert storage.scratch_offsets[2] == (64 if storage.homes[other].position == 0 else 0)


def test_scratch_takes_the_widest_gap_that_the_arena_has():
    b = Builder()
    x = b.tensor((1, 4, 4, 4))
    hidden = b.conv(x, 16)
    other = b.conv(hidden, 4)
    y = b.conv(other, 4)
    sizes = [32, 16, 48]
    storage = plan_storage(b.build([x], [y]), sizes)
    assert storage.arena_bytes == 256 + 64 + 32  # of operator 0: no more than without gaps
    for index, size in enumerate(sizes):
        begin = storage.scratch_offsets[index]
        end = begin + storage.scratch_rooms[index]
        assert begin % 16 == 0
        assert begin + size <= end <= storage.arena_bytes
        alive = [
            block
            for block in storage.blocks
            if block.first <= index <= block.last and block.kind != "scratch"
        ]
        assert all(block.offset >= end or block.offset + block.size <= begin for block in alive)
    assert storage.scratch_rooms[2] > 2 * sizes[2]
    assert plan_storage(b.build([x], [y]), [0, 0, 0]).scratch_rooms == (0, 0, 0)


def test_inputs_and_outputs_have_places_in_the_arena_only_while_they_are_needed():
    b = Builder()
    x = b.tensor((1, 4, 4, 4))
    first = b.conv(x, 8)
    second = b.conv(first, 8)
    y = b.conv(second, 4)
    storage = plan(b.build([x], [y]))
    hidden = {storage.homes[first].position: first, storage.homes[second].position: second}
    assert sorted(hidden) == [0, 128]
    # The input takes the room of the tensor that comes later, the output that of the one before.
    assert storage.input_offsets == (storage.homes[second].position,)
    assert storage.output_offsets == (storage.homes[first].position,)
    assert storage.arena_bytes == 2 * 128


def test_an_input_that_is_copied_to_an_output_keeps_its_place_to_the_end():
    b = Builder()
    x = b.tensor((1, 4, 4, 4))
    y = b.conv(b.conv(x, 4), 4)
    storage = plan(b.build([x], [y, x]))
    places = (*storage.input_offsets, *storage.output_offsets)
    assert len(set(places)) == 3


def test_the_level_input_takes_no_memory():
    prog = nested_net()
    level = len(prog.tensors)
    tensors = (*prog.tensors, program.Tensor("level", (1,), "int32"))
    ops = tuple(
        operators.NestedSparseConv(op.name, (*op.inputs, level), op.outputs, op.layer)
        if isinstance(op, operators.NestedSparseConv)
        else op
        for op in prog.ops
    )
    with_level = program.Program(tensors, ops, prog.inputs, prog.outputs, prog.levels, level)
    assert plan(with_level).arena_bytes == plan(prog).arena_bytes
    assert level not in plan(with_level).homes
