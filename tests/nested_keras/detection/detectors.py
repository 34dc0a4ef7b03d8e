"""Small random detectors: anchors, scales, int8 outputs, and a whole nested model."""

import numpy as np

from nested_keras import runtime
from nested_keras.detection import decoding
from nested_keras.tflite import operators
from tests.nested_keras.codegen.programs import Builder


def random_anchors(rng, count):
    """Anchors float32 [count, 4] in and around the image."""
    centres = rng.uniform(0, 1, (count, 2))
    sizes = rng.uniform(0.02, 1.2, (count, 2))
    return np.concatenate([centres, sizes], axis=1).astype(np.float32)


def random_decoder(rng, *, count=30, classes=3, **settings):
    """A decoder of random anchors and scales; the settings are those of `Limits`."""
    return decoding.decoder(
        random_anchors(rng, count),
        boxes_scale=float(rng.uniform(0.01, 0.1)),
        boxes_zero_point=int(rng.integers(-128, 128)),
        scores_scale=float(rng.uniform(0.02, 0.3)),
        classes=classes,
        limits=decoding.Limits(**settings),
    )


def random_outputs(rng, decoder, *, images=1, spread=127):
    """Int8 outputs; a small spread gives many equal scores."""
    count = len(decoder.anchors)
    boxes = rng.integers(-128, 128, (images, count, 4))
    scores = rng.integers(-spread - 1, spread + 1, (images, count, decoder.classes + 1))
    return boxes.astype(np.int8), scores.astype(np.int8)


def detector_net(*, classes=3, side=6, levels=3, seed=4):
    """A prepared nested graph with the outputs boxes and scores, two anchors a pixel."""
    b = Builder(seed, levels=levels)
    x = b.tensor((1, side, side, 3))
    features = b.nested(x, 8)
    count = 2 * side * side
    outputs = []
    for values in (4, classes + 1):
        head = b.nested(features, 2 * values, kernel=1)
        output = b.tensor((1, count, values))
        outputs.append(b.add(operators.Reshape, [head], output))
    return b.build([x], outputs)


def detector_and_decoder(**settings):
    """The graph of `detector_net`, and a decoder with random anchors."""
    program = detector_net()
    count = program.tensors[program.outputs[0]].shape[1]
    anchors = random_anchors(np.random.default_rng(7), count)
    return program, runtime.decoder_for(program, anchors, decoding.Limits(**settings))
