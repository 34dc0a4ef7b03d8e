import ctypes

import pytest

from nested_keras.codegen import ctext, sources
from nested_keras.codegen.operator_calls import print_op
from nested_keras.cortex_m.scratch import nested_conv_scratch_bytes
from nested_keras.devices.toolchain import host_toolchain
from nested_keras.format import Stream
from tests.nested_keras.codegen.programs import Builder
from tests.nested_keras.format.streams import encode_packed
from tests.tflm_ops.cases import CASES, stream_and_input

PROBE = """
#include "nk_nested_conv.h"
static const _Alignas(16) uint8_t data[] = {%s};
int32_t probe(void);
int32_t probe(void) {
  static const nk_conv_dims dims = {%s};
  nk_stream stream;
  if (nk_stream_open(data, sizeof data, &stream) != NK_OK) {
    return -2;
  }
  return nk_nested_conv_s8_get_buffer_size(&stream, &dims);
}
"""


def asked_for(data, dims, object_cache, tmp_path):
    """The bytes that the C function asks for."""
    source = tmp_path / "probe.c"
    source.write_text(PROBE % (",".join(map(str, data)), ",".join(map(str, dims))))
    toolchain = host_toolchain()
    include = sources.tflm_ops_dir() / "include"
    needed = sources.sources_for(["nk_stream_open", "nk_nested_conv_s8_get_buffer_size"])
    objects = [
        toolchain.compile(path, include_dirs=[include], cache_dir=object_cache)
        for path in (source, *needed)
    ]
    toolchain.link(objects, tmp_path / "probe.so")
    asked = ctypes.CDLL(str(tmp_path / "probe.so")).probe()
    assert asked >= 0
    return asked


@pytest.mark.parametrize(
    "name", ["3x3", "dilation 2", "depthwise", "depthwise 1x1", "row", "3x3 long gaps", "block 4"]
)
def test_planned_scratch_to_unpack_is_what_the_kernel_asks_for(name, object_cache, tmp_path):
    _, x_shape, y_shape = CASES[name]
    data, _, _ = stream_and_input(
        CASES[name], levels=3, profile="mixed", seed=1, pack=encode_packed
    )
    dims = [x_shape[0], 1, 1, 1, 1]
    if len(x_shape) == 4:
        dims = [*x_shape[:3], *y_shape[1:3]]
    asked = asked_for(data, dims, object_cache, tmp_path)
    layer = Stream.parse(data)
    assert nested_conv_scratch_bytes(layer, dims) == asked
    assert nested_conv_scratch_bytes(layer, dims, any_weights=True) >= asked


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (1, 3, 2, 4), (2, 8, 5, 3), (7, 12)])
def test_planned_scratch_is_what_the_kernel_asks_for(shape, object_cache, tmp_path):
    b = Builder(levels=2)
    output = b.nested(b.tensor(shape), 4, stride=2)
    dims = [7, 1, 1, 1, 1] if len(shape) == 2 else [*shape[:3], *b.tensors[output].shape[1:3]]
    asked = asked_for(b.ops[0].layer.data, dims, object_cache, tmp_path)
    assert print_op(b.build([0], [output]), 0, ctext.Constants()).scratch_bytes == asked
