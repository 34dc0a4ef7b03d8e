"""Small random detectors: anchors, scales and int8 outputs."""

import numpy as np

from nested_keras.detection import decoding


def random_anchors(rng, count):
    """Anchors float32 [count, 4] in and around the image."""
    centres = rng.uniform(0, 1, (count, 2))
    sizes = rng.uniform(0.02, 1.2, (count, 2))
    return np.concatenate([centres, sizes], axis=1).astype(np.float32)


def random_decoder(rng, *, count=30, classes=3, **settings):
    """A decoder of random anchors and scales."""
    return decoding.decoder(
        random_anchors(rng, count),
        boxes_scale=float(rng.uniform(0.01, 0.1)),
        boxes_zero_point=int(rng.integers(-128, 128)),
        scores_scale=float(rng.uniform(0.02, 0.3)),
        classes=classes,
        **settings,
    )


def random_outputs(rng, decoder, *, images=1, spread=127):
    """Int8 outputs; a small spread gives many equal scores."""
    count = len(decoder.anchors)
    boxes = rng.integers(-128, 128, (images, count, 4))
    scores = rng.integers(-spread - 1, spread + 1, (images, count, decoder.classes + 1))
    return boxes.astype(np.int8), scores.astype(np.int8)
