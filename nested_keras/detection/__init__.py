"""Object detection: anchors, targets, losses, data sets with boxes, average precision.

A detector is a Keras model with the outputs `boxes` [n, A, 4], offsets against A anchors
(`box_coding`), and `scores` [n, A, classes + 1], logits with the background first. Boxes are
(y0, x0, y1, x1) in 0..1 of the image. Only the losses and `dataset` need TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nested_keras.detection.anchors import Anchors
from nested_keras.detection.box_coding import decode, encode
from nested_keras.detection.coco import read_coco
from nested_keras.detection.decoding import Decoder, Limits
from nested_keras.detection.detection_data import DetectionData, Example
from nested_keras.detection.finding import Finder
from nested_keras.detection.matching import Matcher
from nested_keras.detection.scene_changes import SceneChanges
from nested_keras.detection.scenes import SceneReader, dataset
from nested_keras.detection.voc import read_voc

if TYPE_CHECKING:
    from nested_keras.detection.detection_losses import BoxLoss, DetectorLoss, ScoreLoss

_WITH_KERAS = dict.fromkeys(("BoxLoss", "DetectorLoss", "ScoreLoss"), "detection_losses")

__all__ = [
    "Anchors",
    "BoxLoss",
    "Decoder",
    "DetectionData",
    "DetectorLoss",
    "Example",
    "Finder",
    "Limits",
    "Matcher",
    "SceneChanges",
    "SceneReader",
    "ScoreLoss",
    "dataset",
    "decode",
    "encode",
    "read_coco",
    "read_voc",
]


def __getattr__(name: str) -> Any:
    if name not in _WITH_KERAS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WITH_KERAS[name]}"), name)
