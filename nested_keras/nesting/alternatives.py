"""The layers and operators that a nested model cannot have, and a replacement for each.

docs/supported.md lists these sentences, except for the layers that `entries.ENTRIES` has.
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
}

_IN_THE_DATA = "do this to the data before they enter the model, as in tf.data.Dataset.map"
LAYERS = {
    "Lambda": "use one of Keras's own layers in its place, or " + _IN_THE_DATA,
    **dict.fromkeys(("Resizing", "CenterCrop", "AutoContrast", "Equalization"), _IN_THE_DATA),
    **dict.fromkeys(
        ("LayerNormalization", "GroupNormalization", "UnitNormalization"),
        "use BatchNormalization in its place",
    ),
    "Dot": "use Multiply in its place",
}
OPERATORS = {
    **dict.fromkeys(
        ("Dot", "Einsum", "Matmul", "Tensordot"), "use Dense or a convolution in its place"
    ),
    **dict.fromkeys(
        ("Conv", "DepthwiseConv", "ConvTranspose"), "use the layer of the same kind in its place"
    ),
    "BatchNorm": "use the layer BatchNormalization in its place",
    "Repeat": "use UpSampling1D or UpSampling2D in its place",
    "StopGradient": "set trainable=False for the layers before it in its place",
    "Where": "use maximum, minimum or a product in its place",
}


def for_layer(kind: str, supported: str) -> str:
    """Returns advice on a layer to use in the place of a refused one, by the name of its class."""
    if kind.startswith("Random") or kind in ("AugMix", "CutMix", "MixUp"):
        return _IN_THE_DATA
    return LAYERS.get(kind, f"use one of these in its place, {supported}")


def for_operator(kind: str) -> str:
    """Returns advice on a replacement of a refused operator, by the name of its class."""
    return OPERATORS.get(
        kind,
        "use one of Keras's layers in its place, or Activation with a function of your own if the "
        "operator acts on each value alone",
    )
