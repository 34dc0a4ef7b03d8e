import numpy as np
import pytest

from nested_keras.devices.records import from_records, input_layout, output_layout, to_records
from nested_keras.tflite import program
from tests.nested_keras.codegen.programs import float_ends, nested_net, random_inputs


def test_tensors_of_a_record_start_at_multiples_of_16():
    layout = output_layout(float_ends())  # float32[10], int8[10], int8[256]
    assert layout.offsets == (0, 48, 64)
    assert (layout.size, layout.stride) == (320, 320)
    assert input_layout(nested_net()).stride == 192  # 9 * 7 * 3 = 189


def test_records_round_trip():
    prog = float_ends()
    layout = input_layout(prog)
    arrays = random_inputs(prog, 5)
    records = to_records(layout, arrays)
    assert records.shape == (5, layout.stride)
    for got, wanted in zip(from_records(layout, records), arrays, strict=True):
        assert got.dtype == wanted.dtype
        np.testing.assert_array_equal(got, wanted)


def test_a_model_batch_is_one_record():
    tensors = (program.Tensor("x", (2, 3), "int8"),)
    prog = program.Program(tensors, (), (0,), (0,), 1, None)
    x = np.arange(12, dtype=np.int8).reshape(4, 3)
    layout = input_layout(prog)
    records = to_records(layout, [x])
    assert records[:, :6].tolist() == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]
    np.testing.assert_array_equal(from_records(layout, records)[0], x)
    with pytest.raises(ValueError, match=r"n a positive multiple of 2: got \(3, 3\)"):
        to_records(layout, [x[:3]])


def test_a_wrong_number_of_inputs_is_refused():
    with pytest.raises(ValueError, match="expected 2 inputs: got 1"):
        to_records(input_layout(float_ends()), [np.zeros((1, 6, 6, 4), np.float32)])


def test_a_wrong_dtype_is_refused():
    with pytest.raises(ValueError, match="input 't0' must be int8: got float64"):
        to_records(input_layout(nested_net()), [np.zeros((1, 9, 7, 3))])


@pytest.mark.parametrize("shape", [(1, 9, 7), (1, 9, 7, 4), (0, 9, 7, 3)])
def test_a_wrong_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"must have shape \[n, 9, 7, 3\] .*: got \("):
        to_records(input_layout(nested_net()), [np.zeros(shape, np.int8)])


def test_inputs_of_different_lengths_are_refused():
    first, second = random_inputs(float_ends(), 3)
    with pytest.raises(ValueError, match=r"equally many images of every input: got \[3, 2\]"):
        to_records(input_layout(float_ends()), [first, second[:2]])
