import numpy as np
import pytest

from nested_keras import export, report
from nested_keras.runtime import LiteRTModel, ModelError
from nested_keras.tflite import flatbuffer
from tests import zoo


@pytest.mark.parametrize("levels", [1, 3, 5])
def test_stripped_model_computes_what_its_levels_did(levels):
    tflite, x = zoo.exported("five_levels").tflite, zoo.data("five_levels")
    stripped = export.strip_model(tflite, levels)
    short, full = LiteRTModel(stripped), LiteRTModel(tflite)
    assert short.levels == levels
    for level in range(levels):
        np.testing.assert_array_equal(short.run(x, level), full.run(x, level))
    with pytest.raises(ValueError, match=f"level must be in 0..{levels - 1}: got {levels}"):
        short.run(x, levels)


def test_fewer_levels_make_a_smaller_file():
    tflite = zoo.exported("five_levels").tflite
    sizes = [len(export.strip_model(tflite, levels)) for levels in range(1, 6)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]
    assert export.strip_model(tflite, 5) == tflite


@pytest.mark.parametrize("levels", [0, 6, -1])
def test_levels_out_of_range(levels):
    with pytest.raises(ValueError, match=rf"levels must be in 1..5: got {levels}"):
        export.strip_model(zoo.exported("five_levels").tflite, levels)


@pytest.mark.parametrize("levels", [1.0, (0,), None])
def test_levels_of_another_type(levels):
    with pytest.raises(TypeError, match=r"levels must be an integer in 1..5: got"):
        export.strip_model(zoo.exported("five_levels").tflite, levels)


def test_refuses_a_model_without_levels():
    with pytest.raises(ValueError, match="without NESTED_SPARSE_CONV"):
        export.strip_model(zoo.exported("five_levels").dense_tflite, 1)


@pytest.mark.parametrize("function", [lambda m: export.strip_model(m, 1), export.summarize_model])
@pytest.mark.parametrize("cut", [0, 5, 500])
def test_foreign_and_truncated_files(function, cut):
    with pytest.raises(ModelError):
        function(zoo.exported("five_levels").tflite[:cut])
    with pytest.raises(ModelError, match=r"not a \.tflite file"):
        function(b"\x7fELF" * 10)


def test_summary_counts_every_level():
    made = zoo.make("four_levels_default_exclude")
    rows = export.summarize_model(zoo.exported(made.name).tflite)
    assert [(row.name, row.kind, row.nested) for row in rows] == [
        ("conv2d", "conv", True),
        ("conv2d_1", "conv", True),
        ("conv2d_2", "conv", True),
        ("dense", "fully_connected", True),
    ]
    masked = made.model.get_layer("conv2d_1")
    kernel = np.asarray(masked.kernel)
    for level, nnz in enumerate(rows[1].nnz):
        kept = masked.mask(level) & (np.abs(kernel) > np.abs(kernel).max() / 100)
        # Small kept weights may round to zero.
        assert kept.sum() <= nnz <= masked.mask(level).sum()
    assert rows[1].weights == kernel.size
    assert list(rows[1].bytes) == sorted(set(rows[1].bytes))
    # The first convolution keeps all its weights, but its BatchNorm differs between levels.
    assert len(set(rows[0].nnz)) == 1
    for row in rows:
        assert row.block_size in (1, 2, 4)
        assert len(row.encodings) == len(row.cycles) == 4
        assert list(row.cycles) == sorted(row.cycles)
    assert rows[0].encodings[0] in ("DENSE", "DELTA8")
    assert rows[0].encodings[1:] == ("EMPTY", "EMPTY", "EMPTY")
    # So does the last layer, which does not differ at all.
    assert len(set(rows[3].nnz)) == 1


def test_summary_of_a_layer_that_stays_builtin():
    rows = export.summarize_model(zoo.exported("depthwise_plain_bias").tflite)
    (row,) = (row for row in rows if row.name == "dw")
    assert (row.kind, row.nested) == ("depthwise", False)
    assert (row.block_size, row.encodings, row.cycles) == (None, (), ())
    outputs = row.weights // 9  # one 3x3 filter each
    assert row.bytes == (row.weights + 4 * outputs + 4 * outputs,) * len(row.nnz)


@pytest.mark.parametrize("name", ["resnext", "transposed_uneven", "conv_dilated", "series_causal"])
def test_gaps_between_weights_are_no_weights(name):
    made = zoo.make(name)
    tflite = zoo.exported(name).tflite
    for content, levels in ((tflite, made.model.levels), (export.strip_model(tflite, 1), 1)):
        rows = [row for row in export.summarize_model(content) if row.nested]
        kernels = {row.name: made.model.get_layer(row.name) for row in rows}
        assert any(hasattr(layer, "level_map") for layer in kernels.values())
        for row in rows:
            layer = kernels[row.name]
            assert row.weights == np.prod(layer.kernel.shape)
            for level in range(levels):
                mask = layer.mask(level) if hasattr(layer, "level_map") else True
                kept = np.count_nonzero(np.asarray(layer.kernel) * mask)
                # Some are zero in int8, or cannot change an output.
                assert 0.5 * kept <= row.nnz[level] <= kept
        size = sum(row.weights for row in export.summarize_model(content))
        for level in report.level_sizes(content):
            assert level.sparsity == 1 - level.nnz / size


def test_damaged_numbers_of_weights():
    tree = flatbuffer.load(zoo.exported("resnext").tflite)
    (entry,) = (e for e in tree.root.metadata if e.name == b"nested_keras.kernel_weights")
    buffer = tree.root.buffers[entry.buffer]
    for data in (b"", b"{", b"[1]", b'{"x": "many"}'):
        buffer.data = np.frombuffer(data, np.uint8)
        with pytest.raises(ModelError, match=r"'nested_keras.kernel_weights' must be numbers"):
            export.summarize_model(flatbuffer.save(tree))
