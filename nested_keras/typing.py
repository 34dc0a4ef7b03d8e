"""Names for the types of values that pass from room to room.

Keras and TensorFlow bring no type stubs, so the names of their objects stand for `Any`. The names
tell the reader the real type.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Int8Array: TypeAlias = npt.NDArray[np.int8]
Int32Array: TypeAlias = npt.NDArray[np.int32]
UInt8Array: TypeAlias = npt.NDArray[np.uint8]
Float32Array: TypeAlias = npt.NDArray[np.float32]
FloatArray: TypeAlias = npt.NDArray[np.float64]

# Of Keras.
KerasModel: TypeAlias = Any  # keras.Model, nested or not
KerasLayer: TypeAlias = Any  # keras.layers.Layer
KerasOperation: TypeAlias = Any  # a node of a functional graph: a layer, or an operator
KerasTensor: TypeAlias = Any  # a tensor, symbolic or with values, or a structure of tensors
KerasVariable: TypeAlias = Any  # keras.Variable
KerasOptimizer: TypeAlias = Any  # keras.optimizers.Optimizer, or its name
KerasLoss: TypeAlias = Any  # the argument of `compile(loss=...)`
KerasMetrics: TypeAlias = Any  # the argument of `compile(metrics=...)`
KerasMetric: TypeAlias = Any  # keras.metrics.Metric
KerasCallback: TypeAlias = Any  # keras.callbacks.Callback
KerasCallbacks: TypeAlias = Any  # the argument of `fit(callbacks=...)`
KerasStore: TypeAlias = Any  # the argument of `save_own_variables`: by name, an array
KerasArgument: TypeAlias = Any  # an argument that passes on to Keras
Activation: TypeAlias = Any  # a function of a tensor, or a layer, or its name
Logs: TypeAlias = "dict[str, Any] | None"  # the logs that Keras passes to a callback

# Of data.
Data: TypeAlias = Any  # arrays, a dict of arrays, a tf.data.Dataset, or an iterable of batches
BatchData: TypeAlias = Any  # x, (x, y) or (x, y, sample_weight) of one batch
Value: TypeAlias = Any  # an array, or a tensor that training can differentiate by
Schedule: TypeAlias = Any  # a number, or a schedule of the number by the step

# Of other libraries.
CPointer: TypeAlias = Any  # a pointer of ctypes
Json: TypeAlias = Any  # a value that `json.dumps` takes
SchemaObject: TypeAlias = Any  # an object of LiteRT's flatbuffer schema, or a field of an object
Subparsers: TypeAlias = Any  # the result of argparse's `add_subparsers`
Flags: TypeAlias = Any  # a parser of argparse, or a group of its flags
