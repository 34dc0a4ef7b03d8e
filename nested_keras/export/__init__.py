"""From a trained nested model to a .tflite; `steps.py` lists the steps.

`to_tflite`, `to_saved_model`, `build` and `quantize_aware` need TensorFlow and load it on the first
call; `strip_model` and `summarize_model` do not.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from nested_keras.export.export_errors import ExportError, UnsupportedLayerError
from nested_keras.tflite.strip import LayerSummary, strip_model, summarize_model
from nested_keras.typing import Data, KerasModel

if TYPE_CHECKING:
    from nested_keras.export.interface import TypeLike
    from nested_keras.export.steps import ExportedModel

__all__ = [
    "ExportError",
    "LayerSummary",
    "UnsupportedLayerError",
    "build",
    "quantize_aware",
    "strip_model",
    "summarize_model",
    "supports",
    "to_saved_model",
    "to_tflite",
]


def supports(
    model: KerasModel,
    sparsities: Iterable[float] = (0.9, 0.8, 0.7),
    *,
    block_shape: Iterable[int] = (1, 1),
    exclude: Iterable[str] | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    shared_affine: bool = False,
) -> list[str]:
    """Says before training whether `nest` and `to_tflite` carry a model.

    `supports` makes all checks of `nest`, and the checks of the export that need no representative
    data: each layer, each call of a layer, and whether every level equals the model in float.

    Args:
        model: The Keras model to nest.
        sparsities: As `nested_keras.nest` takes it, and so are the other arguments.
        block_shape: Weights pruned together.
        exclude: Names of the layers whose kernel stays dense.
        overrides: Other sparsities or block shapes, by the name of the layer.
        shared_affine: Whether the levels share gamma and beta.

    Returns:
        One sentence for each problem, with the name of the layer and a layer to use in its place;
        an empty list where there is no problem.
    """
    from nested_keras.export import problems

    return problems.problems_of(
        model,
        sparsities,
        block_shape,
        exclude=exclude,
        overrides=overrides,
        shared_affine=shared_affine,
    )


def to_tflite(
    model: KerasModel,
    *,
    representative_dataset: Data,
    inference_input_type: TypeLike = "int8",
    inference_output_type: TypeLike = "int8",
    optimize: Literal["latency", "size"] | int = "latency",
) -> bytes:
    """Exports a nested model as an int8 .tflite with the run-time input `level`.

    Args:
        model: A `NestedModel` with fixed input shapes.
        representative_dataset: Examples that show the range of every activation, in float as the
            model takes them: an array [n, ...] (for several inputs a list of arrays, or a dict by
            the names of the inputs), an iterable of such batches x, (x, y) or (x, y, sample_weight)
            as for `fit` (`tf.data.Dataset`, `keras.utils.PyDataset`, a generator), or a callable
            that returns such an iterable. An iterable without a length, such as a generator or
            `.repeat()`, is read up to 2,000 examples. Give a sample of all the data, because sorted
            data begin with one class.
        inference_input_type: Type of the inputs: "int8", "uint8" or "float32", or NumPy's or
            TensorFlow's type of that name. A file with another type than int8 begins with QUANTIZE.
        inference_output_type: Type of the outputs, with the same choices. A file with another type
            than int8 ends with QUANTIZE or DEQUANTIZE.
        optimize: "latency" stores each level as the kernels run it fastest. "size" stores each
            level in the fewest bytes: weights in codes that the kernels unpack at every call, and
            rounded tables, which move an output by at most one step. A number is the most bytes of
            the file: the levels that save most bytes for each predicted cycle become small, until
            the file fits.

    Returns:
        The .tflite file. The export has compared every level with a dense int8 model, bit for bit,
        before "size" or a number of bytes rounds the tables.

    Raises:
        ExportError: The model, a layer or the data cannot be exported; the text gives the name and
            the reason.
    """
    exported = build(
        model,
        representative_dataset=representative_dataset,
        inference_input_type=inference_input_type,
        inference_output_type=inference_output_type,
        optimize=optimize,
    )
    return exported.tflite


def to_saved_model(model: KerasModel, path: str | os.PathLike[str]) -> None:
    """Writes a nested model as a TensorFlow SavedModel with the run-time input `level`.

    TensorFlow loads the SavedModel without this package and without Keras:

        loaded = tf.saved_model.load(path)
        outputs = loaded.serve(x, level)

    `serve` takes the inputs of the model in their order and then the level, an int32 in
    0..levels-1. `serve` gives the float outputs of `at_level(level)`, and refuses another level.
    The signature `serving_default` takes the same tensors by name: the names of the inputs, and
    "level".

    Args:
        model: A `NestedModel`, trained or not.
        path: The folder to write, whole or not at all. A SavedModel at this path is replaced.

    Raises:
        ExportError: If the model is no `NestedModel`, an input is named "level", or the path is
            something other than a SavedModel.
    """
    from nested_keras.export import saved_model

    saved_model.to_saved_model(model, path)


def quantize_aware(model: KerasModel, *, representative_dataset: Data) -> None:
    """Makes a trained nested model compute every level as its int8 export will.

    After this call `fit`, `evaluate` and `at_level` round weights and activations to their int8
    values, with a gradient that passes straight through. A short `fit` at a low learning rate then
    wins back the accuracy that int8 costs. The rounding equals the export: one int8 set of weights
    for all levels, with a scale per output channel that follows the weights, and ranges of the
    activations that all levels share. The ranges are measured by this call and stay fixed, also in
    `to_tflite` and in saved files: a loaded model rounds as the saved model does. BatchNorm keeps
    its statistics, and dropout is off.

    Args:
        model: A trained `NestedModel` with fixed input shapes; compiled before or after.
        representative_dataset: As `to_tflite`; without effect where the model has ranges already.

    Raises:
        ExportError: As `to_tflite`.
    """
    from nested_keras.export import aware

    aware.quantize_aware(model, representative_dataset=representative_dataset)


def build(
    model: KerasModel,
    *,
    representative_dataset: Data,
    inference_input_type: TypeLike = "int8",
    inference_output_type: TypeLike = "int8",
    optimize: Literal["latency", "size"] | int = "latency",
) -> ExportedModel:
    """Exports a nested model, together with the dense int8 model of its densest level.

    Args:
        model: As `to_tflite`.
        representative_dataset: As `to_tflite`.
        inference_input_type: As `to_tflite`.
        inference_output_type: As `to_tflite`.
        optimize: As `to_tflite`.

    Returns:
        Both files.

    Raises:
        ExportError: As `to_tflite`.
    """
    from nested_keras.export import steps

    return steps.build(
        model,
        representative_dataset=representative_dataset,
        inference_input_type=inference_input_type,
        inference_output_type=inference_output_type,
        optimize=optimize,
    )
