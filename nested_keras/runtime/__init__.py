"""Run a nested .tflite on this PC: in LiteRT through a delegate, or in NumPy alone."""

from nested_keras.runtime.errors import ModelError, UnsupportedOpError
from nested_keras.runtime.litert import LiteRTModel, NestedDelegate
from nested_keras.runtime.lowering import lower
from nested_keras.runtime.program import Program
from nested_keras.runtime.reference import ReferenceModel

__all__ = [
    "LiteRTModel",
    "ModelError",
    "NestedDelegate",
    "Program",
    "ReferenceModel",
    "UnsupportedOpError",
    "lower",
]
