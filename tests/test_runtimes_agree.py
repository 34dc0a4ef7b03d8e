"""Every runtime gives the same bytes, for every model of the zoo at every level."""

import os

import numpy as np
import pytest

from nested_keras import firmware, runtime
from tests import zoo

pytestmark = pytest.mark.slow


def as_tuple(outputs):
    return outputs if isinstance(outputs, tuple) else (outputs,)


@pytest.mark.parametrize("name", zoo.names())
def test_all_runtimes_give_the_same_bytes(name, object_cache, tmp_path):
    tflite = zoo.exported(name).tflite
    data = zoo.data(name)
    reference = runtime.ReferenceModel(tflite)
    litert = runtime.LiteRTModel(tflite)
    tflm = firmware.TflmModel(tflite)
    host = firmware.HostModel(tflite, cache_dir=object_cache)
    device = firmware.QemuModel(tflite, build_dir=tmp_path, cache_dir=object_cache).run_all(data)
    assert device.levels == tuple(range(reference.levels))
    for level in device.levels:
        expected = as_tuple(reference.run(data, level))
        others = (litert.run(data, level), tflm.run(data, level), host.run(data, level))
        for other in (*others, device.outputs[level]):
            for want, got in zip(expected, as_tuple(other), strict=True):
                np.testing.assert_array_equal(got, want, err_msg=f"{name}, level {level}")


@pytest.mark.skipif(
    not os.environ.get("TFLM_ROOT"),
    reason="TFLM_ROOT does not name a TFLite Micro tree with a library built for the Cortex-M7",
)
@pytest.mark.parametrize("name", ["residual_relu", "separable", "squeeze_excite", "two_inputs"])
def test_tflite_micro_on_the_cortex_m7_gives_the_same_bytes(name, tmp_path):
    """With the operators of that library, which may be CMSIS-NN's, beside the nested ones."""
    tflite = zoo.exported(name).tflite
    data = zoo.data(name)
    reference = runtime.ReferenceModel(tflite)
    device = firmware.QemuModel(tflite, runtime="tflm", build_dir=tmp_path).run_all(data)
    for level in range(reference.levels):
        expected, received = reference.run(data, level), device.outputs[level]
        for want, got in zip(as_tuple(expected), as_tuple(received), strict=True):
            np.testing.assert_array_equal(got, want)


def test_the_zoo_is_large_and_not_constant():
    names = zoo.names()
    assert len(names) >= 40
    varied = 0
    for name in names[::8]:
        tflite = zoo.exported(name).tflite
        outputs = as_tuple(runtime.ReferenceModel(tflite).run(zoo.data(name)))
        varied += any(len(np.unique(output)) > 1 for output in outputs)
    assert varied >= len(names[::8]) - 1


def test_tflite_micro_rounds_the_last_dense_layer_alike():
    """As a builtin it would be off by one step in about one of 500 outputs."""
    name = "four_levels_default_exclude"
    tflite = zoo.exported(name).tflite
    reference, tflm = runtime.ReferenceModel(tflite), firmware.TflmModel(tflite)
    shape = (2000, *reference.input_details[0].shape[1:])
    x = np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8)
    for level in range(reference.levels):
        np.testing.assert_array_equal(tflm.run(x, level), reference.run(x, level))
