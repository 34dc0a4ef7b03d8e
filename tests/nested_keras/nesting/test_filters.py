"""Grouped and transposed convolutions as plain convolutions, against Keras."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from nested_keras.nesting import filters

SHAPE = (2, 5, 4, 3)


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape or SHAPE).astype(np.float32)


def built(layer: Any, shape: tuple[int, ...] = SHAPE) -> Any:
    layer.build((None, *shape[1:]))
    return layer


def convolve(x: Any, kernel: Any, places: filters.Places, dilation: Any = 1) -> Any:
    ohwi = np.append(kernel, np.float32(0))[places]  # place -1 is the last
    return tf.nn.conv2d(x, ohwi.transpose(1, 2, 3, 0), 1, "VALID", dilations=dilation)


@pytest.mark.parametrize(("groups", "outputs"), [(2, 4), (3, 3), (6, 12), (1, 4)])
def test_grouped(groups: int, outputs: int) -> None:
    x = images(2, 5, 4, 6)
    layer = built(keras.layers.Conv2D(outputs, 3, groups=groups, use_bias=False), x.shape)
    places = filters.grouped(layer)
    if groups == 1:
        assert places is None
        return
    assert places is not None
    assert places.shape == (outputs, 3, 3, 6)
    used = places[places >= 0]
    assert sorted(used) == list(range(layer.kernel.numpy().size))
    y = convolve(x, layer.kernel.numpy(), places)
    np.testing.assert_allclose(y, layer(x), atol=1e-5)


def transposed(layer: Any, x: np.ndarray) -> np.ndarray:
    """What `filters` says a transposed convolution is, with NumPy's own depth to space."""
    axes = filters.up_axes(layer)
    padded = np.pad(x, ((0, 0), *((axis.before, axis.after) for axis in axes), (0, 0)))
    places = filters.transposed(layer)
    dilation = [axis.dilation for axis in axes]
    y = np.asarray(convolve(padded, layer.kernel.numpy(), places, dilation))
    batch, height, width, _ = y.shape
    down, across = (axis.stride for axis in axes)
    assert (height, width) == tuple(a.pixels(n) for a, n in zip(axes, x.shape[1:3], strict=True))
    y = y.reshape(batch, height, width, down, across, -1).transpose(0, 1, 3, 2, 4, 5)
    y = y.reshape(batch, height * down, width * across, -1)
    size = [(n - 1) * a.stride + a.reach for a, n in zip(axes, x.shape[1:3], strict=True)]
    return y[:, : size[0], : size[1]]


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("strides", [1, 2, 3, (1, 2), (3, 2), 5])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5, 7, (2, 3), (4, 1)])
def test_transposed(kernel: Any, strides: Any, padding: str) -> None:
    layer = built(keras.layers.Conv2DTranspose(2, kernel, strides, padding=padding, use_bias=False))
    want = np.asarray(layer(images()))
    got = transposed(layer, images())
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, atol=1e-5)
    # Each weight is there once.
    used = filters.transposed(layer)
    assert sorted(used[used >= 0]) == list(range(layer.kernel.numpy().size))


@pytest.mark.parametrize(
    ("kernel", "strides", "padding", "output_padding"),
    [
        (3, 2, "same", 0),
        (3, 2, "same", 1),
        (3, 2, "valid", 1),
        (4, 3, "same", 1),
        (4, 3, "same", 2),
        (5, 3, "same", (0, 2)),
        (2, 3, "valid", 0),
        (7, 2, "same", 1),
        ((3, 5), (2, 3), "same", (1, 2)),
    ],
)
def test_output_padding(kernel: Any, strides: Any, padding: str, output_padding: Any) -> None:
    layer = built(
        keras.layers.Conv2DTranspose(
            2, kernel, strides, padding=padding, output_padding=output_padding, use_bias=False
        )
    )
    want = np.asarray(layer(images()))
    got = transposed(layer, images())
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    ("kernel", "strides", "dilation", "output_padding"),
    [(1, 1, 1, None), (2, 2, 1, None), (5, 3, 1, None), (3, 2, 1, 1), (3, 1, 2, None)],
)
def test_transposed_series(
    kernel: int, strides: int, dilation: int, output_padding: int | None, padding: str
) -> None:
    layer = built(
        keras.layers.Conv1DTranspose(
            *(2, kernel, strides, padding),
            dilation_rate=dilation,
            output_padding=output_padding,
            use_bias=False,
        ),
        (2, 7, 3),
    )
    x = images(2, 7, 3)
    np.testing.assert_allclose(transposed(layer, x[:, None])[:, 0], layer(x), atol=1e-5)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("kernel", "dilation"), [(3, 2), (4, (1, 3)), ((2, 3), 3), (1, 2)])
def test_dilation(kernel: Any, dilation: Any, padding: str) -> None:
    layer = built(
        keras.layers.Conv2DTranspose(
            2, kernel, padding=padding, dilation_rate=dilation, use_bias=False
        )
    )
    want = np.asarray(layer(images()))
    got = transposed(layer, images())
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_a_common_layer_needs_no_padding() -> None:
    """Twice the size with kernels of 2 and 4 pixels, and the same size with 3."""
    for kernel, strides, size in ((2, 2, 1), (4, 2, 3), (3, 1, 3)):
        layer = keras.layers.Conv2DTranspose(2, kernel, strides, padding="same")
        for axis in filters.up_axes(layer):
            assert axis.size == size
            assert axis.pads_as_same
