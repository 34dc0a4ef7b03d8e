"""What to use in the place of what a nested model cannot have.

docs/supported.md lists these sentences, but for the layers that `entries.ENTRIES` has.
"""

from __future__ import annotations

ACTIVATIONS = (
    "such as 'relu', 'relu6', 'leaky_relu', 'hard_silu', 'silu', 'sigmoid', 'tanh' or 'softmax'"
)

# After "must have key=value: got value".
ARGUMENTS = {
    "data_format": " (channels_last is the only order that the kernels know)",
    "renorm": " (use a plain BatchNormalization in its place)",
    "lora_rank": " (save the model and load it without LoRA first)",
    "threshold": " (use a plain ReLU in its place)",
}

_IN_THE_DATA = "do this to the data before they enter the model, as in tf.data.Dataset.map"
_ACTIVATION = "use ReLU, LeakyReLU or an Activation in its place"
LAYERS = {
    "Lambda": "use one of Keras's own layers in its place, or " + _IN_THE_DATA,
    **dict.fromkeys(("Rescaling", "Normalization", "Resizing", "CenterCrop"), _IN_THE_DATA),
    **dict.fromkeys(("ELU", "PReLU"), _ACTIVATION),
    **dict.fromkeys(
        ("LayerNormalization", "GroupNormalization", "UnitNormalization"),
        "use BatchNormalization in its place",
    ),
    **dict.fromkeys(
        ("Subtract", "Average"),
        "use Add in its place, as the weights before it can learn the sign and the factor",
    ),
    "Dot": "use Multiply in its place",
    "AlphaDropout": "use Dropout in its place",
    "Conv1DTranspose": "use Conv2DTranspose in its place, on data of shape (length, 1, channels)",
}
OPERATORS = {
    "Add": "use the layer Add for two tensors, or the bias of the layer before for a constant",
    "Subtract": "use the layer Add for two tensors, or the bias of the layer before for a constant",
    "Multiply": "use the layer Multiply for two tensors, or the weights of the layer before for a "
    "constant",
    "Divide": "use the weights of the layer before",
    "TrueDivide": "use the weights of the layer before",
    "Mean": "use the layer GlobalAveragePooling2D in its place",
    "Max": "use the layer GlobalMaxPooling2D in its place",
    "Relu": "use the layer ReLU in its place",
    "Relu6": "use the layer ReLU(6.0) in its place",
    "LeakyRelu": "use the layer LeakyReLU in its place",
    "Pad": "use the layer ZeroPadding2D in its place",
    "DepthToSpace": "use the layers Reshape((h, w, b, b, c)), Permute((1, 3, 2, 4, 5)) and "
    "Reshape((h * b, w * b, c)) in its place, for blocks of b x b pixels",
    "SpaceToDepth": "use the layers Reshape((h, b, w, b, c)), Permute((1, 3, 2, 4, 5)) and "
    "Reshape((h, w, b * b * c)) in its place, for blocks of b x b pixels",
    **dict.fromkeys(
        ("Sigmoid", "Tanh", "Silu", "HardSilu"), "use the layer Activation in its place"
    ),
    **dict.fromkeys(
        ("Softmax", "Reshape", "Concatenate"), "use the layer of the same name in its place"
    ),
}


def for_layer(kind: str, supported: str) -> str:
    """Returns what to use in the place of a layer, by the name of its class."""
    if kind.startswith("Random") or kind in ("AugMix", "CutMix", "MixUp"):
        return _IN_THE_DATA
    return LAYERS.get(kind, f"use one of these in its place, {supported}")


def for_operator(kind: str) -> str:
    """Returns what to use in the place of an operator, by the name of its class."""
    return OPERATORS.get(kind, "use one of Keras's layers in its place")
