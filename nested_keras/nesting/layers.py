"""Layers whose kernel is masked at one level, and batch normalisation with statistics per level.

A layer is called with ``level=`` as a Python integer (keyword only: Keras refuses positional
arguments that are no tensors); without it, the densest level runs. The integer is recorded in a
functional graph, so one graph runs one level.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras import ops

from nested_keras.format.levels import check_level
from nested_keras.nesting import keras_graph, masks
from nested_keras.typing import KerasArgument, KerasLayer, KerasStore, KerasTensor, KerasVariable

keras_graph.check_backend()  # first, because the modules below call TensorFlow
_register = keras.saving.register_keras_serializable(package="nested_keras")


def several_workers() -> bool:
    """Says whether the current strategy spreads training over several workers."""
    strategy = tf.distribute.get_strategy()
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


class NestedKernel(keras.layers.Layer):
    """The part that all layers with a nested kernel share; mixed into a Keras layer class.

    Attributes:
        sparsities: Final fraction of zeros per level, not increasing.
        block_shape: Weights pruned together: (1, 1), (1, 2) or (1, 4).
        level_map: uint8 variable of the kernel's shape (int32 under a strategy of several
            workers): the first level that uses the weight, N where no level does. The map starts at
            0: every level is dense until the layer is pruned.
        regrow: Whether weights that no level uses receive the gradient of the densest level; see
            `nested_keras.callbacks.NestedPruning`. False until set.
        input_axis: The axis of the input channels in the kernel, along which blocks lie.
    """

    input_axis = -2

    def __init__(
        self,
        *args: KerasArgument,
        sparsities: Iterable[float],
        block_shape: Iterable[int] = (1, 1),
        **kwargs: KerasArgument,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.sparsities = masks.check_sparsities(sparsities, strict=False)
        self.regrow = False
        self.block_shape = masks.check_block_shape(block_shape)
        if getattr(self, "data_format", "channels_last") != "channels_last":
            raise ValueError(
                f"{self.name}: data_format must be 'channels_last': got {self.data_format!r}"
            )

    @property
    def levels(self) -> int:
        """The number of levels."""
        return len(self.sparsities)

    def build(self, input_shape: Sequence[int]) -> None:
        """Creates the kernel, the bias and the level map."""
        super().build(input_shape)
        self.level_map = self.add_weight(
            name="level_map",
            shape=self.kernel.shape,
            dtype="int32" if several_workers() else "uint8",  # no uint8 travels between workers
            initializer="zeros",
            trainable=False,
            autocast=False,
        )
        self.built = True

    def mask(self, level: int) -> npt.NDArray[np.bool_]:
        """Returns the weights that a level keeps, as bools of the kernel's shape."""
        level = check_level(level, levels=self.levels)
        return np.asarray(self.level_map.numpy() <= level)

    @property
    def blocks(self) -> int:
        """The number of blocks of weights that are kept or pruned together."""
        found = masks.block_map(self.level_map.numpy(), self.block_shape, self.input_axis)
        return int(found.size)

    def kept_blocks(self, level: int) -> int:
        """Returns how many blocks a level has now."""
        found = masks.block_map(self.level_map.numpy(), self.block_shape, self.input_axis)
        return int(np.count_nonzero(found <= level))

    def final_blocks(self, level: int) -> int:
        """Returns how many blocks a level has at its final sparsity."""
        return masks.kept_blocks(self.sparsities[level], self.blocks)

    def symbolic_mask(self, level: int, dtype: str) -> Any:
        """Returns the mask of a level as a tensor of zeros and ones that follows the level map.

        Args:
            level: -1 (a level below the sparsest: nothing is kept) to N-1.
            dtype: The dtype of the result.

        Returns:
            A tensor of the kernel's shape.
        """
        return ops.cast(ops.less(self.level_map, level + 1), dtype)

    def masked_kernel(self, level: int | None = None) -> Any:
        """Returns the kernel with the weights that the level leaves out set to zero."""
        level = check_level(level, levels=self.levels)
        kernel = self.kernel
        mask = self.symbolic_mask(level, kernel.dtype)
        masked = ops.multiply(kernel, mask)
        if self.regrow and level == self.levels - 1:
            # The value of this term is zero; the gradient passes straight through.
            masked += (kernel - ops.stop_gradient(kernel)) * (1.0 - mask)
        return masked

    def prune(self, ratio: float = 1.0, *, regrow: bool = False) -> None:
        """Recomputes the level map from the weights' magnitudes, and zeroes unused weights.

        A level first takes the weights that the level has now, so a lost weight comes back to a
        level only where the sparsity of the level falls.

        Args:
            ratio: How far along the ramp, 0..1: each level's sparsity is scaled by it.
            regrow: Keep the values of weights that no level uses, and rank all weights alike, so
                that every weight may come back.

        Raises:
            ValueError: If the ratio is out of range.
        """
        if not 0.0 <= ratio <= 1.0:
            raise ValueError(f"ratio must lie in [0, 1]: got {ratio}")
        kernel = self.kernel.numpy()
        scaled = [sparsity * ratio for sparsity in self.sparsities]
        before = None if regrow else self.level_map.numpy()
        level_map = masks.level_map(
            kernel, scaled, block_shape=self.block_shape, within=before, axis=self.input_axis
        )
        self.level_map.assign(level_map)
        if not regrow:
            self.kernel.assign(np.where(level_map < self.levels, kernel, np.zeros_like(kernel)))

    def finish(self, outputs: KerasTensor) -> Any:
        """Adds the bias and applies the activation."""
        if self.use_bias:
            outputs = ops.add(outputs, self.bias)
        return outputs if self.activation is None else self.activation(outputs)

    # Conv2D and Dense save their kernel and bias only; Layer saves all variables.
    def save_own_variables(self, store: KerasStore) -> None:
        """Saves the kernel, the bias and the level map."""
        keras.layers.Layer.save_own_variables(self, store)

    def load_own_variables(self, store: KerasStore) -> None:
        """Loads the kernel, the bias and the level map."""
        keras.layers.Layer.load_own_variables(self, store)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the layer again."""
        nested = {"sparsities": list(self.sparsities), "block_shape": list(self.block_shape)}
        return {**super().get_config(), **nested}


@_register
class NestedConv2D(NestedKernel, keras.layers.Conv2D):
    """`keras.layers.Conv2D` with a nested kernel (kernel_h, kernel_w, in / groups, out).

    Args:
        filters: As Conv2D, and so are the arguments not named here.
        kernel_size: As Conv2D.
        sparsities: Fraction of zeros per level, level 0 first, never increasing: a layer may have
            the same weights at several levels.
        block_shape: (1, 1), (1, 2) or (1, 4): blocks along the input channels.
        **kwargs: Other arguments of Conv2D. `data_format` must be channels_last.
    """

    def call(self, inputs: KerasTensor, level: int | None = None) -> Any:
        """Convolves (batch, h, w, in) with the kernel of one level."""
        return self.finish(self.convolution_op(inputs, self.masked_kernel(level)))


class _NestedTranspose(NestedKernel):
    """What the transposed convolutions share; the kernel is (..., out, in)."""

    input_axis = -1

    def call(self, inputs: KerasTensor, level: int | None = None) -> Any:
        """Convolves (batch, ..., in) with the kernel of one level."""
        outputs = ops.conv_transpose(
            inputs,
            self.masked_kernel(level),
            strides=self.strides,
            padding=self.padding,
            output_padding=self.output_padding,
            data_format=self.data_format,
            dilation_rate=self.dilation_rate,
        )
        return self.finish(outputs)


@_register
class NestedConv2DTranspose(_NestedTranspose, keras.layers.Conv2DTranspose):
    """`keras.layers.Conv2DTranspose` with a nested kernel (kernel_h, kernel_w, out, in).

    Its arguments are those of Conv2DTranspose, and `sparsities` and `block_shape` as in
    `NestedConv2D`.
    """


@_register
class NestedConv1DTranspose(_NestedTranspose, keras.layers.Conv1DTranspose):
    """`keras.layers.Conv1DTranspose` with a nested kernel (kernel_size, out, in).

    Its arguments are those of Conv1DTranspose, and `sparsities` and `block_shape` as in
    `NestedConv2D`.
    """


@_register
class NestedConv1D(NestedKernel, keras.layers.Conv1D):
    """`keras.layers.Conv1D` with a nested kernel (kernel_size, in / groups, out).

    Its arguments are those of Conv1D, and `sparsities` and `block_shape` as in `NestedConv2D`.
    """

    def call(self, inputs: KerasTensor, level: int | None = None) -> Any:
        """Convolves (batch, length, in) with the kernel of one level."""
        if before := causal_padding(self):
            inputs = ops.pad(inputs, ((0, 0), (before, 0), (0, 0)))
        outputs = ops.conv(
            inputs,
            self.masked_kernel(level),
            strides=self.strides,
            padding="valid" if self.padding == "causal" else self.padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )
        return self.finish(outputs)


def causal_padding(layer: KerasLayer) -> int:
    """Returns the zeros before the first step, so that no output depends on a later step."""
    return layer.dilation_rate[0] * (layer.kernel_size[0] - 1) * (layer.padding == "causal")


class _NestedDepthwise(NestedKernel):
    """The part that the depthwise convolutions share."""

    def __init__(self, kernel_size: int | Sequence[int], **kwargs: KerasArgument) -> None:
        super().__init__(kernel_size, **kwargs)
        if self.block_shape != (1, 1):
            raise ValueError(
                f"{self.name}: block_shape of a depthwise kernel must be (1, 1): "
                f"got {self.block_shape}"
            )

    def call(self, inputs: KerasTensor, level: int | None = None) -> Any:
        """Convolves (batch, ..., in) with the kernel of one level."""
        outputs = ops.depthwise_conv(
            inputs,
            self.masked_kernel(level),
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )
        return self.finish(outputs)


@_register
class NestedDepthwiseConv2D(_NestedDepthwise, keras.layers.DepthwiseConv2D):
    """`keras.layers.DepthwiseConv2D` with a nested kernel (kernel_h, kernel_w, in, multiplier).

    Its arguments are those of DepthwiseConv2D, and `sparsities` as in `NestedConv2D`. `block_shape`
    must be (1, 1): a depthwise output channel has one input channel.
    """


@_register
class NestedDepthwiseConv1D(_NestedDepthwise, keras.layers.DepthwiseConv1D):
    """`keras.layers.DepthwiseConv1D` with a nested kernel (kernel_size, in, multiplier).

    Its arguments are those of DepthwiseConv1D, and `sparsities` as in `NestedDepthwiseConv2D`.
    """


@_register
class NestedDense(NestedKernel, keras.layers.Dense):
    """`keras.layers.Dense` with a nested kernel (in, out).

    Its arguments are those of Dense, and `sparsities` and `block_shape` as in `NestedConv2D`.
    """

    def call(self, inputs: KerasTensor, level: int | None = None) -> Any:
        """Multiplies (batch, ..., in) with the kernel of one level."""
        return self.finish(ops.matmul(inputs, self.masked_kernel(level)))


@_register
class NestedBatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` over the last axis with one set of values per level.

    gamma, beta, moving_mean and moving_variance have shape (levels, channels). Statistics pooled
    over the levels would destroy the sparse ones.

    Args:
        levels: The number of levels, 1..16.
        shared_affine: Whether the levels share gamma and beta, which then have shape (1, channels).
        **kwargs: Arguments of BatchNormalization. `axis` must be -1, `renorm` False.

    Attributes:
        statistics_sink: None, or a function (layer, level, mean, variance) that each call hands
            the statistics of its batch, float (channels,). While the function is set, the layer
            normalises with these statistics in inference too and leaves its moving averages alone;
            see `nested_keras.callbacks.reestimate_batch_norm`.
    """

    def __init__(
        self, *, levels: int, shared_affine: bool = False, **kwargs: KerasArgument
    ) -> None:
        # Files of Keras 3.14 and later have these arguments, which older versions do not know.
        renorm = {key: kwargs.pop(key) for key in tuple(kwargs) if key.startswith("renorm")}
        super().__init__(**kwargs)
        if not 1 <= levels <= masks.MAX_LEVELS:
            raise ValueError(f"levels must be in 1..{masks.MAX_LEVELS}: got {levels}")
        if self.axis != -1:
            raise ValueError(f"{self.name}: axis must be -1: got {self.axis}")
        if renorm.get("renorm"):
            raise ValueError(f"{self.name}: renorm must be False: got True")
        self.levels = levels
        self.shared_affine = shared_affine
        self.statistics_sink: Callable[[Any, int, Any, Any], None] | None = None

    def build(self, input_shape: Sequence[int]) -> None:
        """Creates the weights, each (levels, channels)."""
        self.input_spec = keras.InputSpec(ndim=len(input_shape), axes={-1: input_shape[-1]})
        names = ["moving_mean", "moving_variance"]
        names = ["beta"] * self.center + names
        names = ["gamma"] * self.scale + names
        for name in names:
            trainable = name in ("gamma", "beta")
            variable = self.add_weight(
                name=name,
                shape=(1 if trainable and self.shared_affine else self.levels, input_shape[-1]),
                initializer=getattr(self, f"{name}_initializer"),
                regularizer=getattr(self, f"{name}_regularizer") if trainable else None,
                constraint=getattr(self, f"{name}_constraint") if trainable else None,
                trainable=trainable,
                autocast=False,
            )
            setattr(self, name, variable)
        self.built = True

    def call(
        self,
        inputs: KerasTensor,
        training: bool | None = None,
        mask: KerasTensor = None,
        level: int | None = None,
    ) -> Any:
        """Normalises (batch, ..., channels) with the values of one level."""
        level = check_level(level, levels=self.levels)
        trains = training and self.trainable and self.statistics_sink is None
        if trains and mask is None and self._fuses(inputs):
            return self._train_fused(inputs, level)
        # In float32, as in Keras, because half precision would overflow.
        x = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        if self.statistics_sink is not None:
            mean, variance = _moments(x, mask, synchronized=self.synchronized)
            self.statistics_sink(self, level, mean, variance)
        elif trains:
            mean, variance = _moments(x, mask, synchronized=self.synchronized)
            self._update(self.moving_mean, level, mean)
            self._update(self.moving_variance, level, variance)
        else:
            mean = ops.cast(self.moving_mean[level], x.dtype)
            variance = ops.cast(self.moving_variance[level], x.dtype)
        row = self._affine_row(level)
        outputs = ops.batch_normalization(
            x,
            mean=mean,
            variance=variance,
            axis=-1,
            offset=ops.cast(self.beta[row], x.dtype) if self.center else None,
            scale=ops.cast(self.gamma[row], x.dtype) if self.scale else None,
            epsilon=self.epsilon,
        )
        return ops.cast(outputs, self.compute_dtype)

    def _affine_row(self, level: int) -> int:
        return 0 if self.shared_affine else level

    def _fuses(self, inputs: KerasTensor) -> bool:
        """Says whether TensorFlow has one operator for the whole of a training step."""
        return len(inputs.shape) in (3, 4) and inputs.dtype in ("float32", "float16", "bfloat16")

    def _train_fused(self, inputs: KerasTensor, level: int) -> Any:
        """Normalises by the batch's statistics; this halves the time of a whole train step."""
        channels = inputs.shape[-1]
        row = self._affine_row(level)
        gamma = self.gamma[row] if self.scale else ops.ones(channels)
        beta = self.beta[row] if self.center else ops.zeros(channels)
        is_image = len(inputs.shape) == 4
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs if is_image else tf.expand_dims(inputs, 1),
            scale=ops.cast(gamma, "float32"),
            offset=ops.cast(beta, "float32"),
            mean=ops.zeros(0, "float32"),
            variance=ops.zeros(0, "float32"),
            epsilon=self.epsilon,
            is_training=True,
        )
        # The operator divides by n - 1 samples (Bessel's correction), Keras divides by n.
        samples = ops.cast(ops.prod(ops.shape(inputs)[:-1]), "float32")
        self._update(self.moving_mean, level, mean)
        self._update(self.moving_variance, level, variance * (samples - 1.0) / samples)
        return outputs if is_image else tf.squeeze(outputs, 1)

    def _update(self, moving: KerasVariable, level: int, batch: KerasTensor) -> None:
        """Moves one level's row of a moving average towards the batch's statistic."""
        old = moving.value
        new = old * self.momentum + ops.cast(batch, old.dtype) * (1.0 - self.momentum)
        row = np.arange(self.levels)[:, None] == level
        moving.assign(ops.where(row, new, old))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the layer again."""
        kept = {k: v for k, v in super().get_config().items() if not k.startswith("renorm")}
        return {**kept, "levels": self.levels, "shared_affine": self.shared_affine}


def _moments(x: KerasTensor, mask: KerasTensor, *, synchronized: bool) -> tuple[Any, Any]:
    """Returns the mean and the variance of each channel over the samples that the mask keeps."""
    axes = list(range(len(x.shape) - 1))
    if mask is None:
        return ops.moments(x, axes=axes, synchronized=synchronized)
    weights = ops.broadcast_to(ops.expand_dims(ops.cast(mask, x.dtype), -1), ops.shape(x))
    total = ops.sum(weights, axes) + keras.config.epsilon()
    mean = ops.sum(weights * x, axes) / total
    return mean, ops.sum(weights * ops.square(x - mean), axes) / total
