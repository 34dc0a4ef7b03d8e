"""What can be wrong with a .tflite file."""

from __future__ import annotations


class ModelError(ValueError):
    """A .tflite file that cannot be run: foreign, damaged, dynamic, not int8, inconsistent."""


class UnsupportedOpError(ModelError):
    """An operator, or a form of one, that this package does not implement; the text names it."""
