"""The operators of a dense model as cases for the baseline."""

import numpy as np
import pytest

from nested_keras import runtime
from nested_keras.bench import bench_firmware
from nested_keras.bench.operator_cases import OperatorCase
from nested_keras.bench.program_cases import DenseCase, program_cases
from nested_keras.format import LayerKind
from nested_keras.tflite import operators
from tests.nested_keras.codegen.programs import every_op
from tests.nested_keras.tflite.nested_models import (
    conv_params,
    dense_params,
    nested_model,
    random_layer,
)


def dense_program():
    layers = (
        random_layer(conv_params(), levels=1, seed=1),
        random_layer(dense_params(input_offset=7), levels=1, seed=2),
    )
    return runtime.lower(nested_model(*layers, shapes=((1, 5, 3, 4), (1, 5, 3, 4), (1, 5))))


def test_each_layer_is_a_case_with_its_output():
    conv, fc = program_cases(dense_program())
    assert [conv.kind, fc.kind] == [LayerKind.CONV, LayerKind.FULLY_CONNECTED]
    for case in (conv, fc):
        assert isinstance(case, DenseCase)
        np.testing.assert_array_equal(case.y, operators.run_op(case.dense, [case.x], case.y.shape))
    assert set(fc.dense.shift) == {0}
    assert len(set(fc.dense.multiplier)) == 1


def test_an_operator_that_the_benchmark_lacks_is_named():
    with pytest.raises(ValueError, match="expected a layer, Add, Mean, AveragePool2D or Softmax"):
        program_cases(every_op())


@pytest.mark.arm
def test_the_cases_run_on_the_own_kernels(tmp_path):
    cases = program_cases(dense_program())
    assert not any(isinstance(case, OperatorCase) for case in cases)
    library = bench_firmware.own_library(tmp_path)
    for measured in bench_firmware.measure(library, cases, tmp_path):
        assert measured.profile.instructions > 500
