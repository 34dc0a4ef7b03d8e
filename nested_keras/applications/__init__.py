"""The networks of the paper and of MLPerf Tiny, from standard Keras layers.

Each function returns an untrained functional model with random weights, which `nested_keras.nest`
takes without changes. Layers have fixed names ("stem", "block2_conv1", ...), equal at every width.
"""

from nested_keras.applications.ds_cnn import ds_cnn
from nested_keras.applications.mobilenet import mobilenet_v1, mobilenet_v2
from nested_keras.applications.resnet import resnet8, resnet9
from nested_keras.applications.ssd import ssd_anchors, ssd_mobilenet_v2

__all__ = [
    "ds_cnn",
    "mobilenet_v1",
    "mobilenet_v2",
    "resnet8",
    "resnet9",
    "ssd_anchors",
    "ssd_mobilenet_v2",
]
