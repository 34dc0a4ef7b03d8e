"""Run a nested .tflite on this PC: in LiteRT through a delegate, or in NumPy alone."""

from nested_keras.runtime.detector import decoder_for
from nested_keras.runtime.litert import LiteRTModel, NestedDelegate
from nested_keras.runtime.reference import ReferenceModel
from nested_keras.tflite.lowering import lower
from nested_keras.tflite.model_error import ModelError, UnsupportedOpError
from nested_keras.tflite.program import Program

__all__ = [
    "LiteRTModel",
    "ModelError",
    "NestedDelegate",
    "Program",
    "ReferenceModel",
    "UnsupportedOpError",
    "decoder_for",
    "lower",
]
